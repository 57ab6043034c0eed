"""The way of a shot: reading, finding the object, reasoning, synthesis, finish, report.

Each stage leaves files in the job's version folder, and takes up what it finds there: a job that was stopped goes on
with the frames that are missing. What only the job itself needs lies in a hidden folder that goes when it is done.
"""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from . import __version__, engines, finish, reason, segment
from .api.errors import JobFailed, SequenceError
from .api.files import write_atomically
from .api.job import MANIFEST, Progress, Report
from .api.shot import Shot
from .imaging import exr
from .imaging.colour import ColourSpace
from .imaging.footage import SURVEY, Footage
from .imaging.parallel import in_order
from .imaging.sequence import Sequence
from .imaging.window import Window
from .quadmask import classes
from .quadmask.grid import Grid, in_cells
from .quadmask.reasoning import Reasoning
from .report import Thumbnail, write_report
from .source import Source, as_exr, open_source, to_be_segmented

REASONING = "reasoning.json"
SCHEMA = 1
_WORK = ".work"
_THUMBNAILS = 6
_PACKAGES = ("numpy", "opencv-python-headless", "OpenImageIO")
_READING, _SEGMENTING, _REASONING = "Reading the shot", "Finding the object", "Finding what is affected"
_REWRITING, _REPORTING = "Rewriting", "Reporting"
#: How long the stages usually take, one beside the other.
_WEIGHTS = {_READING: 0.15, _SEGMENTING: 0.6, _REASONING: 0.3, _REWRITING: 0.5, _REPORTING: 0.05}


@dataclass(frozen=True)
class Results:
    """Where a job's results lie in its version folder."""

    folder: Path

    def plate(self, frame: int) -> Path:
        """The counterfactual plate."""
        return self.folder / "plate" / f"void_plate.{frame:04d}.exr"

    def mattes(self, frame: int) -> Path:
        """The mattes of the four classes, and the blend."""
        return self.folder / "mattes" / f"void_mattes.{frame:04d}.exr"

    def quadmask(self, frame: int) -> Path:
        """The quadmask, as code/255."""
        return self.folder / "quadmask" / f"void_quadmask.{frame:04d}.exr"

    def roto(self, frame: int) -> Path:
        """The roto, where the job made it."""
        return self.folder / "roto" / f"void_roto.{frame:04d}.exr"

    @property
    def reasoning(self) -> Path:
        """Why each region is in the quadmask."""
        return self.folder / REASONING

    def told(self) -> dict[str, Any]:
        """What the reasoner told, empty where none was asked."""
        return dict(json.loads(self.reasoning.read_text())) if self.reasoning.is_file() else {}

    @property
    def work(self) -> Path:
        """What only the job itself needs."""
        return self.folder / _WORK

    @property
    def survey(self) -> Path:
        """What is there once the shot was looked at."""
        return self.work / SURVEY


def inspect(shot: Shot) -> None:
    """Check a submission: files, frames, formats, colour space, settings. Raises InputError with what to do."""
    reason.check(shot)
    engines.load(shot.settings)
    ColourSpace(shot.colorspace, shot.ocio)
    segment.check_prompts(shot, open_source(shot))


@dataclass
class _Course:
    """Tells how far the job is, and how long each stage took."""

    report: Report
    stages: tuple[str, ...]
    timings: dict[str, float] = field(default_factory=dict)
    _stage: str = ""
    _done: float = 0.0
    _begin: float = field(default_factory=time.monotonic)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage begins; it has taken its share when the block ends."""
        self._stage, begin = name, time.monotonic()
        self.at(0.0)
        yield
        self._done += self._share(name)
        self.timings[name] = round(time.monotonic() - begin, 3)

    def at(self, share: float, frame: int | None = None) -> None:
        """So much of the stage is done."""
        fraction = min(self._done + share * self._share(self._stage), 1.0)
        elapsed = time.monotonic() - self._begin
        left = elapsed / fraction - elapsed if fraction > 0.05 else None
        self.report(Progress(self._stage, frame, fraction, left))

    def _share(self, stage: str) -> float:
        return _WEIGHTS[stage] / sum(_WEIGHTS[name] for name in self.stages)


def _first_stages(shot: Shot) -> tuple[str, ...]:
    return (_READING, _SEGMENTING) if to_be_segmented(shot) else (_READING,)


def _stages(shot: Shot) -> tuple[str, ...]:
    """The stages of a job, in order."""
    settings = shot.settings
    if settings.only_roto:
        return (*_first_stages(shot), _REPORTING)
    rewriting = () if settings.only_quadmask else (_REWRITING,)
    return (*_first_stages(shot), _REASONING, *rewriting, _REPORTING)


def run(job_id: str, shot: Shot, folder: Path, report: Report) -> tuple[str, ...]:
    """Do the job in its version ``folder`` and return what the artist should be warned of.

    Raises InputError, JobCancelled out of ``report``, or OSError where the disk fails; finished frames stay.
    """
    results, course = Results(folder), _Course(report, _stages(shot))
    settings = shot.settings
    _clear_away(folder)
    engine = engines.load(settings)
    source, footage, warnings = _open(shot, results, course)
    if not settings.only_roto:
        with course.stage(_REASONING):
            warnings += _reason(shot, source, footage, results, course)
        clip = _clip(shot, source, footage, results, results.work)
        if settings.only_quadmask:
            _write_all_mattes(source, clip, results)
        else:
            with course.stage(_REWRITING):
                warnings += _rewrite(engine, source, clip, results, course, source.frames)
    _conclude(job_id, shot, source, footage, engine, results, warnings, course)
    return tuple(warnings)


class Part(str, Enum):
    """What one task of a render farm does of a job. Each part leaves files, and takes up those of the parts before."""

    QUADMASK = "quadmask"
    REMOVE = "remove"
    FINISH = "finish"
    REPORT = "report"


def run_part(
    part: Part, job_id: str, shot: Shot, folder: Path, report: Report, frames: tuple[int, ...] = ()
) -> tuple[str, ...]:
    """Do one part of a job: the quadmask, the model's work, the finish of some ``frames``, or the report.

    Several finishing parts may run at the same time, on several machines that share the folder. A part whose files are
    there already does nothing. Raises as :func:`run`; also JobFailed where the parts before are not done.
    """
    results = Results(folder)
    engine = engines.load(shot.settings)
    course = _Course(report, (*_first_stages(shot), _LAST_STAGE[part]))
    if part is Part.QUADMASK:
        _clear_away(folder)
    elif not results.survey.is_file():
        raise JobFailed(f"The quadmask of {folder} is not made yet; run that part first.")
    source, footage, warnings = _open(shot, results, course)
    if part is Part.QUADMASK:
        with course.stage(_REASONING):
            warnings += _reason(shot, source, footage, results, course)
        _note_warnings(results, part.value, warnings)
    elif part is Part.REMOVE:
        clip = _clip(shot, source, footage, results, results.work)
        with course.stage(_REWRITING):
            engine.prepare(clip, course.at)
        _note_warnings(results, part.value, clip.warnings)
    elif part is Part.FINISH:
        name = f"{part.value}_{frames[0]}"
        with course.stage(_REWRITING):
            clip = _clip(shot, source, footage, results, results.work / name)
            warnings = _rewrite(engine, source, clip, results, course, frames)
        _note_warnings(results, name, warnings)
    else:
        missing = [frame for frame in source.frames if not results.plate(frame).is_file()]
        if missing and not shot.settings.only_quadmask:
            raise JobFailed(f"Frame {missing[0]} of {folder} is not there yet ({len(missing)} are missing).")
        if shot.settings.only_quadmask:
            _write_all_mattes(source, _clip(shot, source, footage, results, results.work), results)
        told = [json.loads(file.read_text()) for file in sorted(results.work.glob("warnings_*.json"))]
        warnings = list(dict.fromkeys(text for texts in told for text in texts))
        _conclude(job_id, shot, source, footage, engine, results, warnings, course)
    return tuple(warnings)


_LAST_STAGE = {
    Part.QUADMASK: _REASONING,
    Part.REMOVE: _REWRITING,
    Part.FINISH: _REWRITING,
    Part.REPORT: _REPORTING,
}


def _note_warnings(results: Results, name: str, warnings: list[str]) -> None:
    write_atomically(results.work / f"warnings_{name}.json", json.dumps(warnings))


def _clear_away(folder: Path) -> None:
    """Take away what an attempt that was killed had half written."""
    for left in folder.glob("*/.void_*.exr"):
        left.unlink()


def _open(shot: Shot, results: Results, course: _Course) -> tuple[Source, Footage, list[str]]:
    """The shot's files and frames, the object found where it has to be; and what is to be said of them."""
    with course.stage(_READING):
        source, colour = as_exr(open_source(shot), shot, results.work, lambda frame: course.at(0.0, frame))
        if not to_be_segmented(shot):
            footage = _look(source, colour, results, course)
            return source, footage, _survey_warnings(footage)
    with course.stage(_SEGMENTING):
        source, found = _segment(shot, source, colour, results, course)
        footage = _look(source, colour, results, course)
    return source, footage, [*found, *_survey_warnings(footage)]


def _clip(shot: Shot, source: Source, footage: Footage, results: Results, scratch: Path) -> engines.Clip:
    return engines.Clip(
        footage,
        results.quadmask,
        _with_found_prompt(shot, results),
        scratch,
        kept=results.work,
        pixel_aspect=source.pixel_aspect,
    )


def _conclude(
    job_id: str,
    shot: Shot,
    source: Source,
    footage: Footage,
    engine: engines.Engine,
    results: Results,
    warnings: list[str],
    course: _Course,
) -> None:
    """Write report and manifest, the manifest last; what only the job itself needed goes."""
    with course.stage(_REPORTING):
        manifest = _manifest(job_id, shot, source, footage, engine, results, warnings, course)
        regions = results.told().get("regions", [])
        write_report(results.folder, manifest, _thumbnails(shot, source, footage, results, regions), regions)
    manifest["timings"] = course.timings
    write_atomically(results.folder / MANIFEST, json.dumps(manifest, indent=2))
    shutil.rmtree(results.work, ignore_errors=True)


def _look(source: Source, colour: ColourSpace, results: Results, course: _Course) -> Footage:
    """Look at all of the shot once."""
    count = len(source.frames)
    seen: set[int] = set()

    def at(frame: int) -> None:
        seen.add(frame)
        course.at(len(seen) / count, frame)

    assert source.roto is not None, "the roto is given, or was made"
    footage = Footage(source.plate, source.roto, source.frames, colour, source.canvas, results.work)
    footage.look(at)
    removed = footage.survey.removed
    if not any(removed.values()):
        raise SequenceError(
            f"The roto {source.roto.name} is empty in all {count} frames; draw what to remove, into its alpha."
        )
    if min(removed.values()) >= 0.999:
        raise SequenceError(
            f"The roto {source.roto.name} covers everything in all {count} frames; nothing is left to learn from."
        )
    return footage


def _segment(
    shot: Shot, source: Source, colour: ColourSpace, results: Results, course: _Course
) -> tuple[Source, list[str]]:
    """Make the roto; the source with it, and warnings."""
    # only the plate is there to look at yet
    footage = Footage(source.plate, None, source.frames, colour, source.canvas, results.work / "segmenting")
    footage.look(lambda frame: course.at(0.0, frame))

    def write(path: Path, matte: exr.FloatImage) -> None:
        _write_like(source, path, matte[..., None].astype(np.float16), ("A",), source.canvas)

    roto, warnings = segment.write_roto(shot, source, footage, results.roto, write, lambda share: course.at(share))
    return replace(source, roto=roto), warnings


def _survey_warnings(footage: Footage) -> list[str]:
    warnings = []
    for name, broken in (("plate", footage.survey.broken), ("roto", footage.survey.broken_roto)):
        if broken:
            frame, count = next(iter(broken.items()))
            warnings.append(
                f"The {name} has NaN or Inf pixels, {count} in frame {frame} and some in {len(broken)} of "
                f"{len(footage.frames)} frames; they count as 0 and stay as they are where nothing is rewritten. "
                "Clean them before the job if they show."
            )
    return warnings


def _plate_window(source: Source, frame: int) -> Window:
    return exr.read_header(source.plate.path(frame)).data_window


def _reason(shot: Shot, source: Source, footage: Footage, results: Results, course: _Course) -> list[str]:
    """Write the quadmask of every frame that has none yet, and why each region is in it."""
    missing = [frame for frame in source.frames if not results.quadmask(frame).is_file()]
    if not missing:
        return list(results.told().get("warnings", []))
    if source.quadmask is not None:
        codes, warnings = _given_codes(source.quadmask), []
    else:
        found = reason.reason(shot, footage, results.work, lambda share: course.at(0.8 * share))
        codes, warnings = _found_codes(shot, source, footage, found), found.warnings
        if found.answer:
            write_atomically(results.folder / "answer.txt", found.answer)
        write_atomically(results.reasoning, json.dumps(found.to_dict(source.frames), indent=2))

    def write(frame: int) -> None:
        window = _plate_window(source, frame)
        values = (codes(frame, window) / np.float32(255)).astype(np.float16)
        _write_like(source, results.quadmask(frame), values[..., None], ("Y",), window)

    for done, (frame, _) in enumerate(in_order(write, missing)):
        course.at(0.8 + 0.2 * (done + 1) / len(missing), frame)
    return warnings


_Codes = Callable[[int, Window], classes.Quadmask]


def _given_codes(given: Sequence) -> _Codes:
    return lambda frame, window: classes.read(given.path(frame), window)


def _found_codes(shot: Shot, source: Source, footage: Footage, found: Reasoning) -> _Codes:
    """The quadmask that a reasoning makes of the roto."""
    indices = {frame: index for index, frame in enumerate(source.frames)}
    grid = Grid(source.display) if in_cells(shot.settings) else None

    def codes(frame: int, window: Window) -> classes.Quadmask:
        roto, index = footage.read_roto(frame, window), indices[frame]
        belongings, affected = found.belongings(index), found.affected(index)
        if belongings is not None:
            roto = np.maximum(roto, footage.enlarged(belongings, window))
        if affected is None:
            return classes.assemble(roto, np.zeros(roto.shape, bool))
        whole = footage.enlarged(affected, source.canvas)
        if grid:
            whole = grid.whole(whole, source.canvas)
        return classes.assemble(roto, whole[source.canvas.slices(window)])

    return codes


def _with_found_prompt(shot: Shot, results: Results) -> Shot:
    """The shot with the scene that the reasoner describes as its prompt, where the artist gave none."""
    return shot if shot.prompt else replace(shot, prompt=results.told().get("scene", ""))


def _write_mattes(source: Source, finisher: finish.Finisher, index: int, results: Results) -> None:
    frame = source.frames[index]
    data = _plate_window(source, frame)
    _write_like(source, results.mattes(frame), finisher.mattes(index, data), finish.MATTE_CHANNELS, data)


def _write_all_mattes(source: Source, clip: engines.Clip, results: Results) -> None:
    """Write the mattes of a quadmask that is to be looked at, with the blend that rewriting would use."""
    finisher = finish.Finisher(clip, grain=False)
    missing = [index for index, frame in enumerate(source.frames) if not results.mattes(frame).is_file()]
    for _ in in_order(lambda index: _write_mattes(source, finisher, index, results), missing):
        pass


def _write_like(source: Source, path: Path, pixels: Any, channels: tuple[str, ...], window: Window) -> None:
    exr.write(
        path,
        pixels,
        channels,
        data_window=window,
        display_window=source.display,
        pixel_aspect=source.pixel_aspect,
    )


def _rewrite(
    engine: engines.Engine,
    source: Source,
    clip: engines.Clip,
    results: Results,
    course: _Course,
    frames: tuple[int, ...],
) -> list[str]:
    """Write the counterfactual plate and the mattes of those of ``frames`` that have none yet."""
    wanted = [
        index for index, frame in enumerate(source.frames) if frame in frames and not results.plate(frame).is_file()
    ]
    finisher = finish.Finisher(clip, grain=clip.settings.grain)

    def new_frames() -> Iterator[tuple[int, Window, exr.FloatImage]]:
        """The engine's frames, and between them those in which there is nothing to rewrite."""
        rest = iter(wanted)
        made = engine.synthesise(clip, wanted, lambda share: course.at(0.4 * share))
        for made_index, window, rgb in made:
            for index in rest:
                if index == made_index:
                    yield index, window, rgb
                    break
                yield index, Window(0, 0, 0, 0), np.zeros((0, 0, 3), np.float32)
        for index in rest:
            yield index, Window(0, 0, 0, 0), np.zeros((0, 0, 3), np.float32)

    def write(item: tuple[int, Window, exr.FloatImage]) -> int:
        index, window, rgb = item
        frame = source.frames[index]
        _write_mattes(source, finisher, index, results)
        finisher.write_plate(index, window, rgb, results.plate(frame))
        return frame

    for done, (_, frame) in enumerate(in_order(write, new_frames())):
        course.at(0.4 + 0.6 * (done + 1) / len(wanted), frame)
    return clip.warnings


def _thumbnails(
    shot: Shot, source: Source, footage: Footage, results: Results, regions: list[dict[str, Any]]
) -> list[Thumbnail]:
    settings = shot.settings
    indices = sorted({round(i) for i in np.linspace(0, len(source.frames) - 1, min(_THUMBNAILS, len(source.frames)))})
    height, width = footage.small_size
    # what is squeezed on disk is shown as the audience sees it
    shown = round(width * source.pixel_aspect), height

    def small(index: int) -> Thumbnail:
        frame = source.frames[index]
        result = None
        if not (settings.only_quadmask or settings.only_roto):
            linear = footage.colour.to_linear(exr.read_rgb(results.plate(frame), source.canvas))
            result = cv2.resize(linear, shown, interpolation=cv2.INTER_AREA)
            result = footage.curve.to_display(np.nan_to_num(result))
        codes = classes.resize(_codes_shown(shot, source, footage, results, frame), *shown)
        plate = cv2.resize(footage.small_plate(index), shown, interpolation=cv2.INTER_AREA)
        labels = tuple(
            (region["name"], *region["frames"][str(frame)]["middle"])
            for region in regions
            if str(frame) in region["frames"]
        )
        return Thumbnail(frame, np.clip(plate, 0, 1), None if result is None else np.clip(result, 0, 1), codes, labels)

    return [thumbnail for _, thumbnail in in_order(small, indices)]


def _codes_shown(shot: Shot, source: Source, footage: Footage, results: Results, frame: int) -> classes.Quadmask:
    """The quadmask of a frame, or, where there is only a roto, what that would remove."""
    if not shot.settings.only_roto:
        return classes.read(results.quadmask(frame), source.canvas)
    roto = footage.read_roto(frame, source.canvas)
    return classes.assemble(roto, np.zeros(roto.shape, bool))


def _manifest(
    job_id: str,
    shot: Shot,
    source: Source,
    footage: Footage,
    engine: engines.Engine,
    results: Results,
    warnings: list[str],
    course: _Course,
) -> dict[str, Any]:
    def shares(frame: int) -> dict[str, float]:
        return classes.shares(_codes_shown(shot, source, footage, results, frame))

    settings = shot.settings
    told = results.told()

    return {
        "schema": SCHEMA,
        "id": job_id,
        "shot": shot.to_dict(),
        "frames": list(source.frames),
        "software": _software(),
        "device": f"{platform.machine()} CPU",
        "engine": {} if settings.only_quadmask or settings.only_roto else engine.provenance(settings),
        "sent": told.get("asked", []),
        "scene": told.get("scene", ""),
        "colour": {"space": footage.colour.name, "maximum": footage.survey.maximum},
        "timings": dict(course.timings),
        "classes": {str(frame): share for frame, share in in_order(shares, source.frames)},
        "warnings": warnings,
    }


def _software() -> dict[str, str]:
    versions = {"void-nuke": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return versions
