"""Plate, roto and quadmask as EXR sequences, written by temporary nodes. Uses nuke, on its main thread."""

from __future__ import annotations

import os
import shutil
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterable, Iterator, Mapping, Optional, Sequence, Union, cast

import nuke

from void_server.api.errors import JobCancelled, SequenceError
from void_server.api.files import is_written, temporary_beside

from ..node import knobs as k
from ..node import ranges
from ..node.node import VoidNode
from ..node.plain import check_folder
from . import upstream
from .stamps import Stamps

_FOLDER = "source"
# What the server reads as codes: remove 0, overlap 63, affected 127, keep 255. Painting one class over another need
# not take the other out: the object counts most, and keep is what is left.
_OBJECT = "quadmask.remove > 0.5 || quadmask.overlap > 0.5"
_AFFECTED = "quadmask.affected > 0.5 || quadmask.overlap > 0.5"
_CODE = f"({_OBJECT}) ? (({_AFFECTED}) ? 63 : 0) : (({_AFFECTED}) ? 127 : 255)"
_MATTES = "16 bit half"
_HALF_SOURCES = ("16-bit half float", "8-bit fixed")


@dataclass(frozen=True)
class Written:
    """An exported sequence: its pattern, its frames in files, the hash of what it was made from, and its data type.

    ``in_place`` says that the artist's own files are what is needed, and nothing is written.
    """

    pattern: str
    files: tuple[str, ...]
    key: str
    depth: str
    in_place: bool = False


@dataclass(frozen=True)
class Exported:
    """What was exported in one view, and ``key``, which is the same as long as plate and roto are.

    There is no roto where the node's points stand for it.
    """

    plate: Written
    roto: Optional[Written]
    quadmask: Optional[Written]

    @property
    def patterns(self) -> dict[str, str]:
        """The patterns to be written, by their role: plate, roto, quadmask."""
        named = {"plate": self.plate, "roto": self.roto, "quadmask": self.quadmask}
        return {role: written.pattern for role, written in named.items() if written and not written.in_place}

    @property
    def key(self) -> str:
        """The hash of plate and roto."""
        return _key(self.plate.key, self.roto.key if self.roto else "")


def _key(plate: str, roto: str) -> str:
    return f"{plate}-{roto}"


def source(keys: Iterable[str]) -> str:
    """What a version of all views was made from, by the hashes of each view."""
    return " ".join(sorted(set(keys)))


def look(void: VoidNode, view: str) -> dict[str, upstream.Upstream]:
    """What plate, roto and quadmask depend on in a view, by their role; no file is looked at, and no picture."""
    region = _region(void)
    return {
        role: upstream.look(one.source, f"{role} {one.alpha} {region} {view}") for role, one in _inputs(void).items()
    }


def source_of(views: Sequence[Mapping[str, upstream.Upstream]], files: Stamps) -> str:
    """The same for what :func:`look` has found in each view. Any thread may ask: this takes time."""

    def hash_of(role: str, found: Mapping[str, upstream.Upstream]) -> str:
        return found[role].fingerprint(files) if role in found else ""

    return source(_key(hash_of("plate", found), hash_of("roto", found)) for found in views)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Full resolution inside, and afterwards everything as it was: proxy, undo, and whether the script needs saving."""
    root = nuke.root()
    proxy, modified = bool(root["proxy"].value()), root.modified()
    recorded = not nuke.Undo.disabled()
    # nodes that are gone at the end are no step of undo
    nuke.Undo.disable()
    try:
        if proxy:
            root["proxy"].setValue(False)
        yield
    finally:
        if proxy:
            root["proxy"].setValue(True)
        if recorded:
            nuke.Undo.enable()
        if root.modified() != modified:
            root.setModified(modified)


def plan(
    void: VoidNode,
    out: Path,
    frames: Sequence[int],
    view: str,
    files: Stamps,
    where_it_lies: Callable[[str, nuke.Node, str], Optional[str]] = lambda *_: None,
    scale: float = 1.0,
) -> Exported:
    """What the server needs of ``frames`` in ``view``, and where below ``out`` :func:`write` is to write it.

    The plate is raw, at full resolution, with its bounding box, in half or float; the roto is its alpha. ``files`` has
    seen the files upstream, or sees them now. ``where_it_lies`` gives the artist's own files for a role, the node that
    is connected, and a view, where these are all that it takes. With a ``scale`` below 1 the frames are that much
    smaller.
    """
    keys = {role: found.fingerprint(files) for role, found in look(void, view).items()}
    planned: dict[str, Written] = {}
    with _undisturbed():
        for role, one in _inputs(void).items():
            own = None if one.alpha or _region(void) else where_it_lies(role, one.source, view)
            if own is None:
                planned[role] = _planned(void, out, frames, view, role, one, keys[role], scale)
            else:
                planned[role] = Written(own, tuple(own % frame for frame in frames), keys[role], "", in_place=True)
    return Exported(planned["plate"], planned.get("roto"), planned.get("quadmask"))


def write(
    void: VoidNode,
    patterns: Mapping[str, str],
    frames: Sequence[int],
    view: str,
    *,
    depth: str,
    scale: float = 1.0,
) -> None:
    """Write those of ``frames`` that are not there yet of the node's inputs, each to the pattern of its role.

    What lacks the same frames is rendered at once, so that what is upstream of several inputs is computed once.
    ``depth`` is the plate's data type; mattes are half. Raises :class:`SequenceError` where frames are missing
    afterwards, :class:`JobCancelled` where the artist stopped it.
    """
    inputs, region = _inputs(void), _region(void)
    renders: dict[tuple[int, ...], list[str]] = {}
    for role, pattern in patterns.items():
        if missing := _missing(pattern, frames):
            renders.setdefault(missing, []).append(role)
    with _undisturbed():
        for missing, roles in renders.items():
            with ExitStack() as made:
                targets = []
                for role in roles:
                    node = made.enter_context(_temporary(void, inputs[role], region, scale))
                    datatype = depth if role == "plate" else _MATTES
                    targets.append(_Target(role, Path(patterns[role]), node, datatype))
                _render(targets, missing, view)
    for role, pattern in patterns.items():
        if absent := _missing(pattern, frames):
            raise SequenceError(
                f"{void.name}: Nuke did not write frame {absent[0]} of the {role}"
                f"{f' and {len(absent) - 1} more' if absent[1:] else ''} to {Path(pattern).parent}; is the disk full, "
                "or read-only?"
            )


def _missing(pattern: str, frames: Sequence[int]) -> tuple[int, ...]:
    """The frames of a sequence that are not written yet."""
    return tuple(frame for frame in frames if not is_written(Path(pattern % frame)))


@dataclass(frozen=True)
class _Input:
    """An input to be written; ``alpha`` is an expression for the matte where it is not the input's own alpha."""

    name: str
    source: nuke.Node
    alpha: Optional[str] = None


def _inputs(void: VoidNode) -> dict[str, _Input]:
    """What is to be written, by its role."""
    plate, roto = void.source(k.PLATE_INPUT), void.source(k.ROTO_INPUT)
    given = void.source(k.QUADMASK_INPUT) if void.has(k.REMOVE) else None
    assert plate is not None, "checked before"
    inputs = {"plate": _Input(k.PLATE_INPUT, plate)}
    if given:
        inputs["quadmask"] = _Input(k.QUADMASK_INPUT, given, f"({_CODE}) / 255")
    if roto is not None:
        inputs["roto"] = _Input(k.ROTO_INPUT, roto)
    elif given:
        inputs["roto"] = _Input(k.QUADMASK_INPUT, given, _OBJECT)
    return inputs


def _planned(
    void: VoidNode, out: Path, frames: Sequence[int], view: str, role: str, one: _Input, key: str, scale: float
) -> Written:
    depth = _datatype(void, role, one.source, frames[0], view)
    # the hash names the folder: what has changed goes elsewhere, and jobs that use the old files keep them
    again = "" if void.checked(k.REUSE) else f"_{uuid.uuid4().hex[:8]}"
    size = f"_{scale:.4f}" if scale < 1 else ""
    folder = out / _FOLDER / f"{role}_{key}_{depth.rpartition(' ')[2]}{size}{again}"
    pattern = (folder / f"{role}.%04d.exr").as_posix()
    return Written(pattern, tuple(pattern % frame for frame in frames), key, depth)


def _datatype(void: VoidNode, role: str, source: nuke.Node, frame: int, view: str) -> str:
    if role != "plate":
        return _MATTES
    choice = void.text(k.DATATYPE)
    if choice == k.AUTOMATIC:
        # what was computed from a half file has more precision than that, so only an untouched one counts as half
        depth = source.metadata("input/bitsperchannel", frame, view)
        choice = k.HALF if upstream.untouched(source) and depth in _HALF_SOURCES else k.FLOAT
    return "16 bit half" if choice == k.HALF else "32 bit float"


def _region(void: VoidNode) -> Optional[tuple[int, int, int, int]]:
    """The region of interest in pixels, None for the whole picture."""
    if not void.checked(k.USE_ROI):
        return None
    left, bottom, right, top = (round(float(part)) for part in void.node[k.ROI].value())
    if left >= right or bottom >= top:
        raise SequenceError(f"{void.name}: the region of interest is empty; draw it, or turn it off.")
    return left, bottom, right, top


@contextmanager
def _temporary(
    void: VoidNode, one: _Input, box: Optional[tuple[int, int, int, int]], scale: float
) -> Iterator[nuke.Node]:
    """Nodes inside the group that make what is to be written; gone afterwards. Yields a Write."""
    made: list[nuke.Node] = []
    current = void.node.node(one.name)
    with void.node:
        try:
            if one.alpha is not None:
                current = _below(current, nuke.nodes.Expression())
                made.append(current)
                for index in range(3):
                    current[f"expr{index}"].setValue("rgb"[index])
                current["expr3"].setValue(one.alpha)
            if box is not None:
                current = _below(current, nuke.nodes.Crop())
                made.append(current)
                current["box"].setValue(list(box))
                # no larger than what there is, and black outside
                _set(current, {"intersect": True, "crop": True, "reformat": False})
            if scale < 1:
                current = _below(current, nuke.nodes.Reformat())
                made.append(current)
                _set(current, {"type": "to box", "box_fixed": True, "resize": "distort", "pbb": False})
                for side, size in zip(("width", "height"), _scaled(one.source, scale)):
                    current[f"box_{side}"].setValue(size)
                # a code between two classes would be a third
                current["filter"].setValue("cubic" if one.name == k.PLATE_INPUT else "impulse")
            write = _below(current, nuke.nodes.Write())
            made.append(write)
            yield write
        finally:
            for node in reversed(made):
                nuke.delete(node)


def _scaled(source: nuke.Node, scale: float) -> tuple[int, int]:
    """The size of a node's format, made smaller."""
    return max(1, round(source.width() * scale)), max(1, round(source.height() * scale))


def _below(source: Optional[nuke.Node], node: nuke.Node) -> nuke.Node:
    node.setInput(0, source)
    return node


@dataclass(frozen=True)
class _Target:
    """What a Write writes: the role, its pattern, and the data type."""

    role: str
    pattern: Path
    node: nuke.Node
    datatype: str


# What a studio may have set for all its Writes, and an export must not have. Knobs that this Nuke lacks are left out.
_NEUTRAL: dict[str, Union[bool, str]] = {
    **dict.fromkeys(("disable", "use_limit", "reading", "checkHashOnRead", "premultiplied", "autocrop"), False),
    **dict.fromkeys(("beforeRender", "beforeFrameRender", "afterFrameRender", "afterRender"), ""),
    "raw": True,
}


def _render(targets: Sequence[_Target], frames: Sequence[int], view: str) -> None:
    """Render all targets at once, each into a folder beside its own; whole frames move there when all are done."""
    # of this process alone: on a farm, others write other frames
    parts = {target.role: temporary_beside(check_folder(target.pattern.parent)) for target in targets}
    roles = " and ".join(parts)
    try:
        for target in targets:
            # made here, not by the Write, whose knob for it is not in every version
            parts[target.role].mkdir(parents=True, exist_ok=True)
            _set_up(target, parts[target.role])
        nuke.executeMultiple([target.node for target in targets], nuke.FrameRanges([ranges.text(frames, " ")]), [view])
        for target in targets:
            target.pattern.parent.mkdir(exist_ok=True)
            for file in parts[target.role].iterdir():
                os.replace(file, target.pattern.parent / file.name)
    except RuntimeError as error:
        # Nuke says so when the artist presses Cancel
        if "cancel" in str(error).lower():
            raise JobCancelled("Stopped while Nuke wrote the frames; nothing was submitted.") from error
        raise SequenceError(f"Nuke could not write the {roles}: {error}") from error
    except OSError as error:
        folder = targets[0].pattern.parents[1]
        raise SequenceError(f"{folder} cannot be written ({error.strerror}); choose another folder.") from error
    finally:
        for part in parts.values():
            shutil.rmtree(part, ignore_errors=True)


def _set_up(target: _Target, folder: Path) -> None:
    """Make the Write write into ``folder``."""
    write = target.node
    # first the type: others are knobs of the type
    write["file_type"].setValue("exr")
    write["file"].setValue((folder / target.pattern.name).as_posix())
    write["channels"].setValue("rgb" if target.role == "plate" else "alpha")
    write["datatype"].setValue(target.datatype)
    compression = cast(nuke.Enumeration_Knob, write["compression"])
    # the words differ between versions of Nuke
    compression.setValue(next(name for name in compression.values() if name.lower().startswith("zip")))
    _set(write, _NEUTRAL)


def _set(node: nuke.Node, values: Mapping[str, Union[bool, str]]) -> None:
    """Set knobs, as far as the node has them, whatever a studio has made their defaults."""
    for name, value in values.items():
        knob = node.knob(name)
        if knob is not None:
            knob.setValue(value)
