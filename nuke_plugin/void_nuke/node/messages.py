"""What is said in a window of Nuke's own. Uses nuke, on its main thread."""

from __future__ import annotations

import nuke

from . import plain


def say(text: str) -> None:
    """Show text, whoever wrote it, until the artist closes the window."""
    nuke.message(plain.lines(text))
