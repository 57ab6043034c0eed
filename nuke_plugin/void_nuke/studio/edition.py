"""Which edition of Nuke this is. Uses nuke, on any thread."""

from __future__ import annotations

import nuke

_REFUSED = {"nc": "Non-commercial", "indie": "Indie"}


def refused() -> str:
    """The edition's name where its limits on plug-ins keep the nodes from working, empty elsewhere."""
    return next((edition for name, edition in _REFUSED.items() if nuke.env.get(name)), "")
