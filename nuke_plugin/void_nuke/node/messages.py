"""What is said in a window of Nuke's own, or in its Error Console. Uses nuke, on its main thread."""

from __future__ import annotations

import nuke

from . import plain


def say(text: str) -> None:
    """Show text, whoever wrote it, until the artist closes the window."""
    nuke.message(plain.lines(text))


def note(text: str) -> None:
    """Write text, whoever wrote it, into the Error Console."""
    nuke.error(plain.lines(text))
