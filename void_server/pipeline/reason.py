"""The stage that finds what a removal affects, by the reasoner that the shot asks for."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np

from ..api.errors import SettingError
from ..api.files import write_atomically
from ..api.shot import Prompt, Shot
from ..api.version import QUADMASK
from ..imaging.parallel import in_order
from ..imaging.sequence import Sequence
from ..imaging.window import Window
from ..quadmask import classes, reasoners, segmentation
from ..quadmask.reasoning import Reasoning
from ..quadmask.segmentation import names
from . import suggestions
from .context import JobContext
from .gridding import fills_cells, grid_for
from .inputs import to_be_segmented

#: The value that a file holds for each code.
_VALUES = (np.arange(256) / np.float32(255)).astype(np.float16)
#: The quadmask of a frame, in a window.
Codes = Callable[[int, Window], classes.Quadmask]


def check(shot: Shot) -> None:
    """Raise :class:`SettingError` if the reasoner is unknown, or something it needs is missing."""
    settings = shot.settings
    check_request(shot)
    reasoner = reasoners.find(settings.reasoner)
    reasoner.check(settings)
    if to_be_segmented(shot) or reasoner.segments:
        segmentation.check(settings.segmenter)
    if any(prompt.kind == Prompt.NAMED for prompt in shot.prompts) and (wrong := names.missing()):
        raise SettingError(f"{wrong}; or click on the object instead of naming it.")


def check_request(shot: Shot) -> None:
    """Raise :class:`SettingError` where the reasoner is not known, would ignore a setting, or has no analysis."""
    settings = shot.settings
    reasoner = reasoners.find(settings.reasoner)
    reasoners.check_settings(settings)
    segmentation.check_name(settings.segmenter)
    if reasoner.reads_analysis and not shot.analysis:
        raise SettingError(f"The reasoner {settings.reasoner} needs an analysis; give its file with --analysis.")
    if shot.analysis and not reasoner.reads_analysis:
        raise SettingError(
            f"Only the reasoner file reads the analysis {shot.analysis}, but the reasoner is "
            f"{settings.reasoner}; use --reasoner file, or leave out the analysis."
        )
    reasoner.check_shot(shot)


def write_quadmask(context: JobContext) -> list[str]:
    """Write the missing quadmask frames, and why each region is in them; returns warnings."""
    version, tracker = context.version, context.tracker
    missing = version.missing(context.frames, QUADMASK)
    if not missing:
        return list(version.reasoning().get("warnings", []))
    if context.source.quadmask is not None:
        codes, warnings = _given(context.source.quadmask), []
    else:
        reasoner = reasoners.find(context.shot.settings.reasoner)

        def report(share: float, sending: str = "") -> None:
            tracker.at(0.8 * share, sending=sending)

        reasoning = reasoner.reason(context.shot, context.footage, version.intermediate, report)
        suggestions.of_contact(context, reasoning)
        if fills_cells(context):
            reasoning.regions += reasoning.implied
        else:
            suggestions.of_implied(context, reasoning)
        codes, warnings = _found(context, reasoning), reasoning.warnings
        if reasoning.answer:
            write_atomically(version.folder / "answer.txt", reasoning.answer)
        write_atomically(version.reasoning_file, json.dumps(reasoning.to_dict(context.frames), indent=2))

    def write(frame: int) -> None:
        window, canvas = context.plate_window(frame), context.source.canvas
        found = codes(frame, window)
        # before the frame exists, so that a resumed job still knows
        shares = classes.shares(found, canvas.width * canvas.height)
        write_atomically(version.class_shares(frame), json.dumps(shares))
        context.write(version.quadmask(frame), _VALUES[found][..., None], ("Y",), window)

    for done, (frame, _) in enumerate(in_order(write, missing)):
        tracker.at(0.8 + 0.2 * (done + 1) / len(missing), frame)
    return warnings


def _given(quadmask: Sequence) -> Codes:
    return lambda frame, window: classes.read(quadmask.path(frame), window, quadmask.channels)


def _found(context: JobContext, reasoning: Reasoning) -> Codes:
    """The quadmask that a reasoning makes of the roto."""
    source, footage = context.source, context.footage
    indices = {frame: index for index, frame in enumerate(context.frames)}
    grid = grid_for(context, reasoning)

    def codes(frame: int, window: Window) -> classes.Quadmask:
        roto, index = footage.read_roto(frame, window), indices[frame]
        belongings, affected = reasoning.belongings(index), reasoning.affected(index)
        if belongings is not None:
            roto = np.maximum(roto, footage.enlarged(belongings, window))
        if affected is None or (index == 0 and context.engine.first_frame_unaffected):
            return classes.assemble(roto, np.zeros(roto.shape, bool))
        whole = footage.enlarged(affected, source.canvas)
        if grid:
            whole = grid.whole(whole, source.canvas)
        return classes.assemble(roto, whole[source.canvas.slices(window)])

    return codes
