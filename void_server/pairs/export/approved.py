"""Approved versions of real shots as pairs: plate, roto and final comp, from a table that says who approved them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...api.errors import InputError, SequenceError
from ...api.files import read_json
from ...api.shot import Shot
from ...api.version import PLATE, QUADMASK, ROTO, VersionFolder
from ...imaging import sequence
from ...imaging.sequence import Sequence
from ...quadmask import classes
from .. import layout
from ..layout import PairFacts
from ..source import PairSource
from .rights import Rights

#: The columns of the table. A shot has a version, or names its plate and quadmask; the final comp is the truth.
COLUMNS = (
    *("name", "version", "plate", "roto", "quadmask", "final", "prompt", "fps", "colorspace"),
    *("source", "licence", "approved_by"),
)
_REQUIRED = ("name", "source", "licence", "approved_by")


def approved_shots(table: Path) -> Iterator[tuple[PairSource, Rights]]:
    """The shots of a CSV table with their rights. Paths in it are relative to it.

    Raises :class:`InputError` naming the line where a column, a file or an approval is missing.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The table {table} cannot be read: {error}.") from None
    if not rows:
        raise InputError(f"The table {table} has no shots; its first line names columns: {', '.join(COLUMNS)}.")
    if unknown := [name for name in rows[0] if name not in COLUMNS]:
        raise InputError(f"The table {table} has a column {unknown[0]!r}; it may have {', '.join(COLUMNS)}.")
    for line, row in enumerate(rows, 2):
        said = {name: (words or "").strip() for name, words in row.items()}
        if lacking := [name for name in _REQUIRED if not said.get(name)]:
            raise InputError(
                f"Line {line} of {table} has no {lacking[0].replace('_', ' ')}; nothing is exported for which nobody "
                "answers."
            )
        if "/" in said["name"] or "\\" in said["name"] or said["name"].startswith("."):
            raise InputError(f"Line {line} of {table}: the name {said['name']!r} is no name of a folder.")
        try:
            yield _shot(table.parent, said), Rights(said["source"], said["licence"], said["approved_by"])
        except InputError as error:
            raise type(error)(f"Line {line} of {table} ({said['name']}): {error}", error.detail) from error


def _shot(beside: Path, said: Mapping[str, str]) -> PairSource:
    def named(column: str) -> str:
        return str(beside / Path(said[column]).expanduser()) if said.get(column) else ""

    plate, roto, quadmask, final = (named(column) for column in ("plate", "roto", "quadmask", "final"))
    prompt, space = said.get("prompt", ""), said.get("colorspace", "")
    frames: tuple[int, ...] = ()
    drawn = sequence.find(roto, "roto") if roto else None
    codes: Sequence | None = None
    if version := named("version"):
        folder = VersionFolder(Path(version))
        try:
            manifest = read_json(folder.manifest)
            shot, frames = Shot.from_dict(manifest["shot"]), tuple(manifest["frames"])
            space = space or manifest["colour"]["space"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SequenceError(f"{folder.manifest} cannot be read as the manifest of a version: {error!r}.") from None
        plate, prompt = plate or shot.plate, prompt or shot.prompt
        drawn = drawn or _roto(shot, folder, frames)
        codes = Sequence(QUADMASK, {frame: folder.quadmask(frame) for frame in frames})
        final = final or str(folder.plate(frames[0]).parent)
    if not plate or not final or not (quadmask or codes):
        raise SequenceError("it needs a version, or a plate, a quadmask and the final comp.")
    seen, true = sequence.find(plate, PLATE), sequence.find(final, "final comp")
    frames = frames or seen.frames
    masks = {layout.ROTO: drawn} if drawn else {}
    found = sequence.find(quadmask, QUADMASK) if quadmask else codes
    assert found is not None, "one of the two is there"
    masks[layout.QUADMASK] = classes.chosen(found, frames)
    for what, one in {"plate": seen, "final comp": true, **masks}.items():
        if one.movie:
            raise SequenceError(f"the {what} {one.name} is a movie; write it as EXR frames, which are exact.")
        for frame in frames:
            one.path(frame)
    facts = PairFacts(fps=_rate(said.get("fps", "")), prompt=prompt, colour=space or PairFacts().colour)
    return PairSource(said["name"], _some(seen, frames), _some(true, frames), masks, facts)


def _roto(shot: Shot, folder: VersionFolder, frames: tuple[int, ...]) -> Sequence | None:
    """The roto that a version was made with: its own where the job made one; None where the quadmask took its place."""
    if not folder.missing(frames, ROTO):
        return Sequence(ROTO, {frame: folder.roto(frame) for frame in frames})
    return sequence.find(shot.roto, "roto").moved(shot.roto_offset) if shot.roto else None


def _some(found: Sequence, frames: tuple[int, ...]) -> Sequence:
    return Sequence(found.name, {frame: found.path(frame) for frame in frames})


def _rate(words: str) -> float:
    try:
        rate = float(words or PairFacts().fps)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1000:
        raise InputError(f"fps is {words!r}; give frames a second, such as 24.")
    return rate
