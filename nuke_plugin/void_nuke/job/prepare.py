"""From a node's knobs and inputs to its shots, exported or to be exported. Uses nuke, on its main thread."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Sequence

import nuke

from void_server.api import policy
from void_server.api.errors import InputError, SettingError
from void_server.api.files import new_version_folder
from void_server.api.settings import declarations
from void_server.api.shot import PLATE, QUADMASK, Settings, Shot

from ..node import declared, handles, ranges
from ..node import knobs as k
from ..node.node import VoidNode
from ..node.versions import Result
from ..studio import edition
from . import colour, export
from .direct import Direct
from .stamps import Stamps


@dataclass(frozen=True)
class Prepared:
    """A node's shots, one for each view that has a folder of its own, and the hash of what they were exported from."""

    shots: tuple[PreparedShot, ...]
    source: str


@dataclass(frozen=True)
class PreparedShot:
    """A shot, what was exported for it in which view and frames, and the folder for its version.

    ``view`` is empty where there is one only.
    """

    view: str
    exported_view: str
    frames: tuple[int, ...]
    shot: Shot
    out: str
    exported: export.Exported


def check_ready(void: VoidNode) -> None:
    """Raise VoidError where this Nuke, or what the node is connected to, does not allow a job."""
    _check_edition()
    _check_inputs(void)


def check_permitted(void: VoidNode, until: str, generative: Sequence[str], cloud: Sequence[str]) -> None:
    """Raise :class:`~void_server.api.errors.NotPermitted` where the studio's policy forbids the node's job.

    ``generative`` are the engines whose pixels a model makes, ``cloud`` the reasoners that send frames away, as whoever
    does the job says.
    """
    chosen = shot_settings(void, until)
    asks = not (void.has(k.REMOVE) and void.source(k.QUADMASK_INPUT) is not None)
    policy.load().check(chosen, generative=chosen.engine in generative, cloud=asks and chosen.reasoner in cloud)


def _check_edition() -> None:
    if name := edition.refused():
        raise InputError(
            f"VOID's nodes cannot run in Nuke {name}, which restricts plug-ins; "
            "write plate and roto yourself and run: void remove"
        )


def _check_inputs(void: VoidNode) -> None:
    void.plate()
    has_roto = void.source(k.ROTO_INPUT) is not None
    has_quadmask = void.has(k.REMOVE) and void.source(k.QUADMASK_INPUT) is not None
    if not has_roto and not has_quadmask and not handles.prompts(void):
        points = ", or set points on the object" if void.has(k.CLICKS) else ""
        raise SettingError(
            f"{void.name}: connect a roto to the second input; its alpha must cover the object in every frame{points}."
        )


def prepare(
    void: VoidNode,
    out: Path,
    *,
    only_quadmask: bool,
    written: bool = True,
    reads: Optional[Callable[[str], bool]] = None,
) -> Prepared:
    """Export what a node's job needs, or leave that to others, and describe it. Raises VoidError.

    ``reads`` says which of the artist's own files the job can read; without it, it reads none.
    """
    frames = void.frames()
    # before anything is written: what is wrong on the node is said at once
    described = _described(void, frames, QUADMASK if only_quadmask else PLATE)
    views = list(nuke.views())
    looked = Stamps()
    direct = Direct(frames, described["colorspace"], described["ocio"], reads or (lambda _: False))
    exported = {view: export.plan(void, out, frames, view, looked, direct.pattern) for view in views}
    if written:
        for view, planned in exported.items():
            export.write(void, planned.patterns, frames, view, depth=planned.plate.depth)
    # with several views, each gets a folder of its own in the version that the artist sees
    version = new_version_folder(out) if len(views) > 1 else None
    source = export.source(found.key for found in exported.values())
    found = _own_quadmask(void, source) if not only_quadmask else None
    shots = []
    for view, files in exported.items():
        quadmask = files.quadmask.pattern if files.quadmask else found.quadmask(view) if found else None
        shot = _shot(files, described, None if only_quadmask else quadmask)
        own, folder = (view, version / view) if version else ("", out)
        shots.append(PreparedShot(own, view, tuple(frames), shot, str(folder), files))
    return Prepared(tuple(shots), source)


def prepare_preview(void: VoidNode, out: Path, frames: Sequence[int], until: str, width: int) -> PreparedShot:
    """Export ``frames`` of what is looked at, at most ``width`` pixels wide, and describe them. Raises VoidError."""
    scale = min(1.0, width / void.plate().width())
    described = _described(void, frames, until)
    settings = replace(described["settings"], feather=described["settings"].feather * scale)
    prompts = tuple(
        replace(one, at=tuple(part * scale for part in one.at)) for one in described["prompts"] if one.frame in frames
    )
    viewer = nuke.activeViewer()
    view = str(viewer.view()) if viewer else next(iter(nuke.views()))
    files = export.plan(void, out, frames, view, Stamps(), scale=scale)
    export.write(void, files.patterns, frames, view, depth=files.plate.depth, scale=scale)
    quadmask = files.quadmask.pattern if files.quadmask else None
    shot = _shot(files, {**described, "settings": settings, "prompts": prompts}, quadmask)
    return PreparedShot("", view, tuple(frames), shot, str(out), files)


def _described(void: VoidNode, frames: Sequence[int], until: str) -> dict[str, Any]:
    """All that a shot says beside the files that are exported. Raises VoidError for what is wrong on the node."""
    space, ocio = colour.working_space(void.text(k.COLORSPACE))
    return {
        "prompts": handles.prompts(void),
        "frames": ranges.text(frames),
        "analysis": void.path(k.ANALYSIS) or None,
        "prompt": void.plain_text(k.PROMPT),
        "colorspace": space,
        "ocio": ocio,
        "settings": shot_settings(void, until),
    }


def _shot(files: export.Exported, described: Mapping[str, Any], quadmask: Optional[str]) -> Shot:
    return Shot(files.plate.pattern, files.roto.pattern if files.roto else "", quadmask=quadmask, **described)


def shot_settings(void: VoidNode, until: str) -> Settings:
    """The settings on the node's knobs: the common ones, and its engine's and its reasoner's own."""
    common = {one.name: void.value(one.name, one.type) for one in declarations(Settings) if void.has(one.name)}
    return Settings(
        **common,
        until=until,
        engine_settings=void.own_settings(declared.ENGINES, common.get(k.ENGINE, "")),
        reasoner_settings=void.own_settings(declared.REASONERS, common[k.REASONER]),
    )


def _own_quadmask(void: VoidNode, source: str) -> Optional[Result]:
    """The quadmask that the node shows, if plate and roto are still what it was made from."""
    shown = void.shown
    if shown is None or not shown.finished or shown.has_plate or void.source_of_shown != source:
        return None
    return shown
