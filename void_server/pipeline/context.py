"""A job under way: its shot opened, the object found, ready for the stages that follow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .. import engines
from ..api.errors import SequenceError
from ..api.files import write_atomically
from ..api.shot import Shot
from ..api.version import ROTO, VersionFolder
from ..imaging import exr, matte
from ..imaging.colour import ColourSpace
from ..imaging.footage import Footage
from ..imaging.sequence import Sequence
from ..imaging.window import Window
from . import provenance, segment
from .inputs import Source, as_exr, headers_of, open_source, reopen_source, to_be_segmented
from .progress import READING, SEGMENTING, ProgressTracker

# A roto that covers more of every frame is rarely intended.
_NEARLY_ALL = 0.8


@dataclass
class JobContext:
    """State shared by all stages of a job. ``warnings`` go to the artist at its end."""

    shot: Shot
    engine: engines.Engine
    version: VersionFolder
    tracker: ProgressTracker
    source: Source
    footage: Footage
    job_id: str
    digests: provenance.Digests
    warnings: list[str] = field(default_factory=list)

    @property
    def frames(self) -> tuple[int, ...]:
        """The frames to work on."""
        return self.source.frames

    def clip(self, scratch: Path | None = None) -> engines.Clip:
        """The shot as engines see it, once it has a quadmask; ``scratch`` is a folder of this process alone.

        Where the artist gave no prompt, it is the scene that the reasoner describes.
        """
        prompt = self.shot.prompt or str(self.version.reasoning().get("scene", ""))
        return engines.Clip(
            self.footage,
            self.version.quadmask,
            replace(self.shot, prompt=prompt),
            scratch or self.version.intermediate,
            kept=self.version.intermediate,
            pixel_aspect=self.source.pixel_aspect,
        )

    def plate_window(self, frame: int) -> Window:
        """The data window of a plate's frame."""
        return exr.read_header(self.source.plate.path(frame)).data_window

    def write(self, path: Path, pixels: Any, channels: tuple[str, ...], window: Window) -> None:
        """Write an image of the plate's format, and hash it."""
        _write_like(self.source, path, pixels, channels, window, self.header)
        self.digests.note(path)

    def write_mattes(
        self,
        path: Path,
        mattes: Any,
        within: Window,
        beyond: tuple[float, ...],
        channels: tuple[str, ...],
        window: Window,
    ) -> None:
        """Write mattes of a frame's ``window``, which are ``beyond`` but ``within`` a part of it, and hash them."""
        exr.write_within(
            path,
            mattes,
            within,
            beyond,
            channels,
            data_window=window,
            display_window=self.source.display,
            pixel_aspect=self.source.pixel_aspect,
            metadata=self.header,
        )
        self.digests.note(path)

    @cached_property
    def header(self) -> dict[str, str]:
        """What the header of every new frame says of the job."""
        return provenance.header(self.job_id, self.shot)


def open_context(
    job_id: str, shot: Shot, engine: engines.Engine, version: VersionFolder, tracker: ProgressTracker
) -> JobContext:
    """Read the shot, and find the object where the roto is to be made.

    Raises :class:`~void_server.api.errors.InputError` naming what is wrong with the files.
    """
    warnings: list[str] = []
    digests = provenance.Digests(version)
    with tracker.stage(READING):
        given = _source(shot, version)
        source, colour = as_exr(given, shot, version.intermediate, lambda frame: tracker.at(0.0, frame))
        if not to_be_segmented(shot):
            footage = _look(source, colour, version, tracker)
        provenance.note_inputs(version, shot, given, lambda frame: tracker.at(1.0, frame))
    if to_be_segmented(shot):
        with tracker.stage(SEGMENTING):
            source, warnings = _segment(job_id, shot, source, colour, version, tracker)
            footage = _look(source, colour, version, tracker)
    notices = [*source.notes, *warnings, *_survey_warnings(footage)]
    return JobContext(shot, engine, version, tracker, source, footage, job_id, digests, notices)


def _source(shot: Shot, version: VersionFolder) -> Source:
    """The shot's files. Their headers are read until the shot was surveyed, then what they said is taken up."""
    if version.survey.is_file():
        return reopen_source(shot, json.loads(version.headers.read_text(encoding="utf-8")))
    source = open_source(shot)
    write_atomically(version.headers, json.dumps(headers_of(source)), parents=True)
    return source


def _look(source: Source, colour: ColourSpace, version: VersionFolder, tracker: ProgressTracker) -> Footage:
    """Survey the whole shot once."""
    count = len(source.frames)
    finished: set[int] = set()

    def at(frame: int) -> None:
        finished.add(frame)
        tracker.at(len(finished) / count, frame)

    assert source.roto is not None, "the roto is given, or was made"
    footage = Footage(source.plate, source.roto, source.frames, colour, source.canvas, version.intermediate)
    footage.look(at)
    removed = footage.survey.removed
    if not any(removed.values()):
        raise matte.empty("roto", source.roto, count, footage.survey.highest)
    if min(removed.values()) >= 0.999:
        raise SequenceError(
            f"The roto {source.roto.name} covers the whole picture in all {count} frames, which leaves no "
            "background to reconstruct from; is it inverted?"
        )
    return footage


def _segment(
    job_id: str, shot: Shot, source: Source, colour: ColourSpace, version: VersionFolder, tracker: ProgressTracker
) -> tuple[Source, list[str]]:
    """Make the roto; returns the source with it, and warnings. Runs once per job, even if resumed."""
    roto = Sequence("roto", {frame: version.roto(frame) for frame in source.frames})
    file = version.warnings("segmented")
    if not version.missing(source.frames, ROTO):
        return replace(source, roto=roto), list(json.loads(file.read_text())) if file.is_file() else []
    # only the plate is there to look at yet
    footage = Footage(source.plate, None, source.frames, colour, source.canvas, version.intermediate / "segmenting")
    footage.look(lambda frame: tracker.at(0.0, frame))

    header, digests = provenance.header(job_id, shot), provenance.Digests(version)

    def write(path: Path, image: exr.FloatImage) -> None:
        _write_like(source, path, image[..., None].astype(np.float16), ("A",), source.canvas, header)
        digests.note(path)

    warnings, device = segment.write_roto(shot, source, footage, roto, write, tracker.at)
    write_atomically(version.segmenter_device, device)
    write_atomically(file, json.dumps(warnings))
    return replace(source, roto=roto), warnings


def _survey_warnings(footage: Footage) -> list[str]:
    warnings = []
    least = min(footage.survey.removed.values(), default=0.0)
    if least > _NEARLY_ALL:
        warnings.append(
            f"The roto covers {least:.0%} of the frame or more in every frame, which leaves almost no "
            "background to reconstruct from; is it inverted?"
        )
    for name, broken in (("plate", footage.survey.broken), ("roto", footage.survey.broken_roto)):
        if broken:
            frame, count = next(iter(broken.items()))
            warnings.append(
                f"The {name} has NaN or Inf pixels, {count} in frame {frame} and some in {len(broken)} of "
                f"{len(footage.frames)} frames; they count as 0, and stay as they are where nothing is "
                "rewritten. If they show, clean them before the job."
            )
    return warnings


def _write_like(
    source: Source, path: Path, pixels: Any, channels: tuple[str, ...], window: Window, header: Mapping[str, str]
) -> None:
    exr.write(
        path,
        pixels,
        channels,
        data_window=window,
        display_window=source.display,
        pixel_aspect=source.pixel_aspect,
        metadata=header,
        flat=not {*exr.RGB} & {*channels},
    )
