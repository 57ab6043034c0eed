"""A result: the frames of one method for one shot, and what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..api.errors import ColourError, SequenceError
from ..api.files import read_json
from ..api.shot import Shot
from ..api.version import MATTES, PLATE, QUADMASK, VersionFolder
from ..engines import origin
from ..imaging import exr, sequence
from ..imaging.colour import ColourSpace
from ..imaging.exr import FloatImage
from ..imaging.sequence import Sequence
from ..quadmask import classes
from ..quadmask.classes import Quadmask
from .material import Material, broken, of_sequences
from .pictures import Pictures


@dataclass(frozen=True)
class Result:
    """What one ``method`` made of a shot, by frame index.

    ``shown`` is display-referred, 0..1, ``linear`` gives a part of a frame in scene-linear Rec.709; both are (height,
    width, 3). ``raw`` are the file's own pixels, None for what was never written. ``origin`` holds the codes of
    :mod:`..engines.origin`.
    """

    method: str
    shown: Pictures[FloatImage]
    linear: Callable[[int, tuple[slice, slice]], FloatImage]
    raw: Pictures[FloatImage] | None = None
    origin: Pictures[NDArray[np.uint8]] | None = None
    quadmask: Pictures[Quadmask] | None = None
    #: More figures: seconds a frame, the peak of memory.
    cost: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source: Sequence | None = None
    #: What decided it: engine, settings, seed, hashes of weights; for the record.
    made_by: Mapping[str, Any] = field(default_factory=dict)


def of_pictures(material: Material, method: str, shown: Pictures[FloatImage]) -> Result:
    """A result that exists only display-referred, such as a baseline's."""
    return Result(method, shown, lambda index, part: material.curve.to_linear(shown[index][part]))


def of_sequence(material: Material, found: Sequence, method: str, **more: Any) -> Result:
    """A result that lies in EXR frames. Raises :class:`~void_server.api.errors.InputError` naming what is wrong."""
    raw = material.read(found, "result")
    note = broken(f"result {found.name} of {material.name}", raw, material.frames)
    return Result(
        method,
        Pictures(lambda index: material.shown(raw[index]), len(raw)),
        lambda index, part: material.linear(raw[index][part]),
        raw,
        notes=(note,) if note else (),
        source=found,
        **more,
    )


def of_version(material: Material, folder: Path, method: str, cost: Mapping[str, float] | None = None) -> Result:
    """The result in a version folder. Raises :class:`~void_server.api.errors.InputError` naming what is wrong."""
    version, manifest = VersionFolder(folder), manifest_of(folder)
    space = manifest["colour"]["space"]
    if space != material.colour.name:
        raise ColourError(
            f"The result {folder} is in {space}, the truth of {material.name} in {material.colour.name}; convert one, "
            "or name the right space with --colorspace."
        )
    count, frames = len(material.frames), material.frames
    missing = version.missing(frames, PLATE, MATTES, QUADMASK)
    if missing:
        raise SequenceError(
            f"Frame {missing[0]} of the result {folder} is missing ({len(missing)} of {count} in all); resume the job, "
            "or limit the comparison with --frames."
        )

    def origins(index: int) -> NDArray[np.uint8]:
        mattes = exr.read_channels(version.mattes(frames[index]), origin.CHANNELS, material.window)
        codes = np.array([0, *origin.NAMES], np.uint8)
        return codes[np.where(mattes.max(axis=-1) > 0, mattes.argmax(axis=-1) + 1, 0)]

    def quadmask(index: int) -> Quadmask:
        return classes.read(version.quadmask(frames[index]), material.window)

    given = manifest["shot"]["quadmask"]
    about = {name: manifest[name] for name in ("settings", "engine", "device", "software")}
    return of_sequence(
        material,
        Sequence(folder.name, {frame: version.plate(frame) for frame in frames}),
        method,
        origin=Pictures(origins, count),
        quadmask=None if given else Pictures(quadmask, count),
        cost=cost or {"s/frame": sum(manifest["timings"].values()) / len(manifest["frames"])},
        made_by=about,
    )


def version_in(folder: Path) -> Path | None:
    """A finished version: ``folder`` itself, or the newest in it; None where there is none."""
    versions = [one for one in folder.glob("v[0-9]*") if one.name[1:].isdecimal()]
    for one in (folder, *sorted(versions, key=lambda one: -int(one.name[1:]))):
        if VersionFolder(one).manifest.is_file():
            return one
    return None


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest of a version that has a plate. Raises :class:`SequenceError` where it has none."""
    path = VersionFolder(folder).manifest
    try:
        manifest: dict[str, Any] = read_json(path)
        until = manifest["shot"]["settings"]["until"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SequenceError(f"{path} cannot be read as the manifest of a version: {error!r}.") from None
    if until != PLATE:
        raise SequenceError(f"{folder} holds a {until} only, no plate to judge; let the job go on to the plate.")
    return manifest


def material_of(folder: Path, truth: Sequence | None = None, frames: tuple[int, ...] = ()) -> Material:
    """The shot that a version was made from, with its quadmask; ``truth`` where there is one, all frames or some.

    Raises :class:`~void_server.api.errors.InputError`, such as for a plate that has gone since.
    """
    manifest = manifest_of(folder)
    shot, version = Shot.from_dict(manifest["shot"]), VersionFolder(folder)
    frames = frames or tuple(manifest["frames"])
    quadmask = Sequence(f"quadmask of {folder.name}", {frame: version.quadmask(frame) for frame in frames})
    plate = sequence.find(shot.plate, "plate")
    # a movie's frames are in no file that could be compared bit for bit
    seen = None if plate.movie else plate
    if seen is None and truth is None:
        raise SequenceError(f"{folder} was made from the movie {shot.plate}; give a truth to judge it by.")
    colour = ColourSpace(manifest["colour"]["space"], shot.ocio)
    return of_sequences(folder.parent.name, seen, truth, quadmask, colour, frames)
