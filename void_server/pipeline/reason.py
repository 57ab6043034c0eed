"""The stage that finds what a removal affects, by the reasoner that the shot asks for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..api.errors import JobFailed, SettingError
from ..api.files import open_regular, write_atomically
from ..api.shot import Settings, Shot
from ..imaging.footage import Footage
from ..imaging.parallel import in_order
from ..imaging.sequence import Sequence
from ..imaging.window import Window
from ..quadmask import REASONERS, analysts, classes, image_reasoner, question, regions, segmentation
from ..quadmask.analysis import Analysis, read_answer, read_file
from ..quadmask.grid import Grid, in_cells
from ..quadmask.reasoning import Reasoning
from .context import JobContext

#: The quadmask of a frame, in a window.
Codes = Callable[[int, Window], classes.Quadmask]

#: The number of attempts before a malformed answer fails the job.
_ANSWERS = 2
FILE, IMAGE, NONE = "file", "image", "none"
# In bytes; a longer answer is truncated, and refused for that.
_LARGEST_ANALYSIS = 1 << 24


def check(shot: Shot) -> None:
    """Raise :class:`SettingError` if the reasoner is unknown, or something it needs is missing."""
    settings = shot.settings
    check_request(shot)
    if settings.reasoner in analysts.NAMES:
        analysts.choose(settings)
    if shot.prompts or settings.only_roto or settings.reasoner in (*analysts.NAMES, FILE):
        segmentation.checkpoint_for(settings.segmenter)


def check_request(shot: Shot) -> None:
    """Raise :class:`SettingError` where the reasoner is not known, would ignore a setting, or has no analysis."""
    settings = shot.settings
    if settings.reasoner not in REASONERS:
        names = ", ".join(REASONERS)
        raise SettingError(f"The reasoner {settings.reasoner!r} is not installed; choose from {names}.")
    if settings.reasoner_model and settings.reasoner not in analysts.NAMES:
        asking = " or ".join(analysts.NAMES)
        raise SettingError(
            f"The reasoner {settings.reasoner} asks no language model, so it would ignore "
            f"{settings.reasoner_model!r}; choose reasoner {asking}, or name no model."
        )
    segmentation.check_name(settings.segmenter)
    if settings.reasoner == FILE:
        if not shot.analysis:
            raise SettingError("The reasoner file needs an analysis; give its file with --analysis.")
        _read(shot)
    elif shot.analysis:
        raise SettingError(
            f"Only the reasoner file reads the analysis {shot.analysis}, but the reasoner is "
            f"{shot.settings.reasoner}; use --reasoner file, or leave out the analysis."
        )


def write_quadmask(context: JobContext) -> list[str]:
    """Write the missing quadmask frames, and why each region is in them; returns warnings."""
    version, tracker = context.version, context.tracker
    missing = [frame for frame in context.frames if not version.quadmask(frame).is_file()]
    if not missing:
        return list(version.reasoning().get("warnings", []))
    if context.source.quadmask is not None:
        codes, warnings = _given(context.source.quadmask), []
    else:
        reasoning = reason(context.shot, context.footage, version.intermediate, lambda share: tracker.at(0.8 * share))
        codes, warnings = _found(context, reasoning), reasoning.warnings
        if reasoning.answer:
            write_atomically(version.folder / "answer.txt", reasoning.answer)
        write_atomically(version.reasoning_file, json.dumps(reasoning.to_dict(context.frames), indent=2))

    def write(frame: int) -> None:
        window = context.plate_window(frame)
        values = (codes(frame, window) / np.float32(255)).astype(np.float16)
        context.write(version.quadmask(frame), values[..., None], ("Y",), window)

    for done, (frame, _) in enumerate(in_order(write, missing)):
        tracker.at(0.8 + 0.2 * (done + 1) / len(missing), frame)
    return warnings


def _given(quadmask: Sequence) -> Codes:
    return lambda frame, window: classes.read(quadmask.path(frame), window, quadmask.channels)


def _found(context: JobContext, reasoning: Reasoning) -> Codes:
    """The quadmask that a reasoning makes of the roto."""
    source, footage = context.source, context.footage
    indices = {frame: index for index, frame in enumerate(context.frames)}
    grid = Grid(source.display) if in_cells(context.shot.settings) else None

    def codes(frame: int, window: Window) -> classes.Quadmask:
        roto, index = footage.read_roto(frame, window), indices[frame]
        belongings, affected = reasoning.belongings(index), reasoning.affected(index)
        if belongings is not None:
            roto = np.maximum(roto, footage.enlarged(belongings, window))
        if affected is None:
            return classes.assemble(roto, np.zeros(roto.shape, bool))
        whole = footage.enlarged(affected, source.canvas)
        if grid:
            whole = grid.whole(whole, source.canvas)
        return classes.assemble(roto, whole[source.canvas.slices(window)])

    return codes


def reason(shot: Shot, footage: Footage, scratch: Path, report: Callable[[float], None]) -> Reasoning:
    """Find what the removal affects, and what belongs to the object.

    Raises :class:`~void_server.api.errors.JobFailed` if a service gives no usable answer.
    """
    reasoner = shot.settings.reasoner
    if reasoner == NONE:
        return Reasoning()
    if reasoner == IMAGE:
        return image_reasoner.reason(footage, scratch, report)
    reasoning = Reasoning()
    # first, as it is what may fail
    analysis = _read(shot) if reasoner == FILE else _asked_once(shot, footage, scratch, reasoning)
    report(0.2)
    evidence = image_reasoner.reason(footage, scratch, lambda share: report(0.2 + 0.4 * share))
    segmenter = segmentation.choose(shot.settings.segmenter, shot.settings.device)
    found = regions.find(
        analysis, footage, evidence.affected, segmenter, scratch, lambda share: report(0.6 + 0.4 * share)
    )
    reasoning.regions, reasoning.scene, reasoning.device = found, analysis.scene, segmenter.device
    if segmenter.warning and any(segmenter.name in region.rule for region in found):
        reasoning.warnings.append(segmenter.warning)
    if not found:
        reasoning.warnings.append("The analysis names nothing that the removal would change; check that this is right.")
    return reasoning


def _read(shot: Shot) -> Analysis:
    assert shot.analysis, "checked at submission"
    path = Path(shot.analysis)
    try:
        with open_regular(path) as file:
            return read_file(file.read(_LARGEST_ANALYSIS).decode("utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"The analysis {path} cannot be read ({error}); name a JSON file.") from error


def _asked_once(shot: Shot, footage: Footage, scratch: Path, reasoning: Reasoning) -> Analysis:
    """The model's analysis; a resumed job reuses the answer it has."""
    file = scratch / "analysis.json"
    if file.is_file():
        data = json.loads(file.read_text(encoding="utf-8"))
        reasoning.asked, reasoning.answer, reasoning.warnings = data["asked"], data["answer"], data["warnings"]
        return Analysis.model_validate(data["analysis"])
    analysis = _ask(shot.settings, footage, shot.prompt, reasoning)
    data = {
        "asked": reasoning.asked,
        "answer": reasoning.answer,
        "warnings": reasoning.warnings,
        "analysis": analysis.model_dump(),
    }
    write_atomically(file, json.dumps(data))
    return analysis


def _ask(settings: Settings, footage: Footage, hint: str, reasoning: Reasoning) -> Analysis:
    analyst = analysts.choose(settings)
    query = question.build(footage, hint, with_clip=analyst.takes_clips)
    complaint = ""
    for _ in range(_ANSWERS):
        begin = time.monotonic()
        reply = analyst.ask(query, complaint)
        reasoning.asked.append(
            {
                "to": analyst.host,
                "model": analyst.model,
                "what": query.contents,
                "seconds": round(time.monotonic() - begin, 1),
                "tokens_in": reply.tokens_in,
                "tokens_out": reply.tokens_out,
            }
        )
        reasoning.answer = reply.text
        try:
            analysis, notes = read_answer(
                reply.text, analyst.boxes, query.frames, query.size if analyst.in_pixels else None
            )
        except SettingError as error:
            complaint = f"Your last answer could not be used: {error}. Answer again, with JSON of the schema alone."
            wrong = str(error)
            continue
        if notes:
            reasoning.warnings.append(f"The model's answer was corrected: {'; '.join(notes)}.")
        return analysis
    raise JobFailed(
        f"{analyst.model} gave no usable answer in {_ANSWERS} attempts: {wrong}. Resume to ask again, or "
        "choose another model or reasoner.",
        reasoning.answer,
    )
