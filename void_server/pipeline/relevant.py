"""Which of a shot's settings affect its result."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..api.shot import Shot
from ..engines import Engine
from ..quadmask import analysts
from .inputs import to_be_segmented
from .reason import FILE, NONE


def relevant(shot: Shot, engine: Engine) -> dict[str, Any]:
    """The settings that the job reads, in the order of their declaration, with their values."""
    settings = shot.settings
    names: set[str] = set()
    segmented = to_be_segmented(shot)
    if settings.only_roto:
        names.add("only_roto")
    else:
        names.add("feather")
        if not shot.quadmask:
            names.add("reasoner")
            segmented |= settings.reasoner in (*analysts.NAMES, FILE)
            names |= {"reasoner_model"} if settings.reasoner in analysts.NAMES else set()
            names |= {"cells"} if settings.reasoner != NONE else set()
        if settings.only_quadmask:
            names.add("only_quadmask")
        else:
            names |= {"engine", "grain", "seed", *engine.settings}
    if segmented:
        names |= {"segmenter", "device"}
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings) if field.name in names}
