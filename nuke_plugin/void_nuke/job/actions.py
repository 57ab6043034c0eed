"""What the buttons do. Uses nuke, on its main thread. Errors are :class:`~void_server.api.errors.VoidError`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

import nuke

from void_server.api.cells import CellEdit
from void_server.api.client import Client, ServerInfo
from void_server.api.errors import InputError, ServerUnreachable, SettingError, VoidError
from void_server.api.files import new_version_folder
from void_server.api.settings import declarations
from void_server.api.shot import PLATE, QUADMASK, Prompt, Shot
from void_server.api.shot import Settings as ShotSettings

from ..node import cells, declared, points, versions
from ..node import knobs as k
from ..node.node import VoidNode, one_step
from ..node.tile import Tile
from ..node.versions import Result
from ..studio import hooks, settings
from ..ui.messages import say
from . import colour, export, local_server, session, shell
from .monitor import Order


def generate_quadmask(void: VoidNode) -> None:
    """Have the quadmask found, and nothing rewritten."""
    _start(void, only_quadmask=True)


def remove(void: VoidNode) -> None:
    """Have the object removed, with the quadmask that is connected, or that this node has found, or a new one."""
    _start(void, only_quadmask=False)


def stop(void: VoidNode) -> None:
    """Stop the node's job."""
    if not session.alive(void):
        raise InputError(f"{void.name} has no job to stop.")
    session.cancel(void)


def resume(void: VoidNode) -> None:
    """Go on with the node's job."""
    if session.alive(void):
        raise InputError(f"{void.name} is at work; there is nothing to resume.")
    if not void.tickets:
        raise InputError(f"{void.name} has no stopped job; press Remove or Generate quadmask.")
    session.resume(void)


def output_folder(void: VoidNode) -> Path:
    """The folder for the node's versions: by its knob, the studio's hook, or the settings' template."""
    now = settings.load()
    script = script_path()
    chosen = void.text(k.OUTPUT)
    if not chosen:
        context = {"script": script, "node": void.name}
        chosen = hooks.call(now.hooks, hooks.OUTPUT_FOLDER, context) or now.output
    return versions.output_folder(chosen, script, void.name)


def script_path() -> str:
    """The path of the script, empty while it has none; Nuke calls such a one Root."""
    name = nuke.root().name()
    return "" if name == "Root" else name


def address_of(void: VoidNode) -> str:
    """The address of the server that the node uses."""
    return void.text(k.SERVER) or settings.load().address


def show_version(void: VoidNode) -> None:
    """Show the version that the artist has picked."""
    name = void.text(k.RESULT)
    if name == k.NO_RESULT:
        void.show_result(None)
        return
    result = versions.result_in(_versions_folder(void) / name)
    if result is None:
        raise SettingError(f"{void.name}: version {name} is not in {_versions_folder(void)} any more.")
    void.show_result(result)
    what = "result" if result.has_plate else "quadmask"
    status = f"Shows the {what} {result.name}, frames {result.first}-{result.last}."
    void.show(k.DONE, status, Tile(version=result.version))


def refresh(void: VoidNode) -> None:
    """Offer the versions that there are now; another artist or the farm may have made some."""
    if void.shown or void.text(k.RESULT) != k.NO_RESULT:
        void.refresh_versions(_versions_folder(void))


def _versions_folder(void: VoidNode) -> Path:
    """Where the node's versions are: beside the one it shows, as the script may have been renamed since."""
    folder = void.text(k.FOLDER)
    return Path(folder).parent if folder else output_folder(void)


def change_cell(void: VoidNode, what: Optional[str]) -> None:
    """Make the cell under the handle affected or keep in the frame range, or, with None, take its changes back."""
    plate = _plate(void)
    x, y = (float(part) for part in void.node[k.CELL].value())
    row, column = cells.cell_at(x, y, plate.width(), plate.height())
    frames = void.frames()
    edits = [e for e in cells.parse(void.plain_text(k.GRID)) if what is not None or (e.row, e.column) != (row, column)]
    if what is not None:
        edits.append(CellEdit(row, column, what, frames[0], frames[-1]))
    with one_step("VOID cell"):
        void.node[k.GRID].setValue("\n".join(map(str, edits)))
        void.apply_grid()


def add_click(void: VoidNode, what: str) -> None:
    """Add the point under the handle, on the object or not on it, in the current frame."""
    plate = _plate(void)
    x, y = (float(part) for part in void.node[k.CLICK].value())
    if not (0 <= x < plate.width() and 0 <= y < plate.height()):
        raise SettingError(f"The point's handle is at {x:g}, {y:g}, outside the frame; put it on the object.")
    click = points.Click(nuke.frame(), what, x, y)
    with one_step("VOID point"):
        void.node[k.CLICKS].setValue("\n".join(map(str, [*points.parse(void.plain_text(k.CLICKS)), click])))


def clear_clicks(void: VoidNode) -> None:
    """Take the points of the current frame back."""
    kept = [click for click in points.parse(void.plain_text(k.CLICKS)) if click.frame != nuke.frame()]
    with one_step("VOID point"):
        void.node[k.CLICKS].setValue("\n".join(map(str, kept)))


def _prompts(void: VoidNode) -> tuple[Prompt, ...]:
    """The node's points as the server takes them."""
    plate = void.source(k.PLATE_INPUT)
    if plate is None or not void.has(k.CLICKS):
        return ()
    return tuple(click.prompt(plate.height()) for click in points.parse(void.plain_text(k.CLICKS)))


def _start(void: VoidNode, *, only_quadmask: bool) -> None:
    if not void.id:
        # the node was made while the plugin's callbacks were not there
        void.renew_id()
    if session.alive(void):
        raise InputError(f"{void.name} is at work already; stop it first, or use a second node.")
    check_ready(void)
    frames = void.frames()
    out = output_folder(void)
    address = address_of(void)
    upload = _is_upload(void)
    info = check_server(address, out)
    if info is not None:
        void.offer({k.ENGINE: info.engines, k.REASONER: info.reasoners})
        _offer_settings(void, info)
    prepared = prepare(void, out, only_quadmask=only_quadmask)
    orders = [
        Order(
            node=void.id,
            view=one.view,
            shot=one.shot,
            out=one.out,
            source=prepared.source,
            files=_files(one.shot, one.exported, frames) if upload else None,
        )
        for one in prepared.shots
    ]
    session.submit(void, orders, address)


@dataclass(frozen=True)
class Prepared:
    """A node's shots, one for each view that has a folder of its own, and the hash of what they were exported from."""

    shots: tuple[PreparedShot, ...]
    source: str


@dataclass(frozen=True)
class PreparedShot:
    """A shot, what was exported for it in which view, and the folder for its version.

    ``view`` is empty where there is one only.
    """

    view: str
    exported_view: str
    shot: Shot
    out: str
    exported: export.Exported


def prepare(void: VoidNode, out: Path, *, only_quadmask: bool, written: bool = True) -> Prepared:
    """Export what a node's job needs, or leave that to others, and describe it. Raises VoidError."""
    frames, prompts = void.frames(), _prompts(void)
    space, ocio = colour.working_space(void.text(k.COLORSPACE))
    views = list(nuke.views())
    make = export.export if written else export.plan
    exported = {view: make(void, out, frames, view) for view in views}
    # with several views, each gets a folder of its own in the version that the artist sees
    version = new_version_folder(out) if len(views) > 1 else None
    source = " ".join(sorted({found.key for found in exported.values()}))
    found = _own_quadmask(void, source) if not only_quadmask else None
    shots = []
    for view, files in exported.items():
        quadmask = files.quadmask.pattern if files.quadmask else found.quadmask(view) if found else None
        shot = Shot(
            plate=files.plate.pattern,
            roto=files.roto.pattern if files.roto else "",
            prompts=prompts,
            frames=_frames_text(frames),
            quadmask=None if only_quadmask else quadmask,
            prompt=void.plain_text(k.PROMPT),
            colorspace=space,
            ocio=ocio,
            settings=_shot_settings(void, only_quadmask),
        )
        shots.append(PreparedShot(view if version else "", view, shot, str(version / view if version else out), files))
    return Prepared(tuple(shots), source)


def check_ready(void: VoidNode) -> None:
    """Raise VoidError where this Nuke, or what the node is connected to, does not allow a job."""
    _check_edition()
    _check_inputs(void)


def _check_edition() -> None:
    for name, edition in (("nc", "Non-commercial"), ("indie", "Indie")):
        if nuke.env.get(name):
            raise InputError(
                f"Nuke {edition} restricts what plugins may write and touch, so VOID's nodes cannot work in it; "
                "write plate and roto by hand and use: void remove"
            )


def _plate(void: VoidNode) -> nuke.Node:
    """What is connected as the plate. Raises :class:`SettingError` where nothing is."""
    plate = void.source(k.PLATE_INPUT)
    if plate is None:
        raise SettingError(f"{void.name}: connect a plate to its first input.")
    return plate


def _check_inputs(void: VoidNode) -> None:
    _plate(void)
    has_quadmask = void.has(k.REMOVE) and void.source(k.QUADMASK_INPUT) is not None
    if void.source(k.ROTO_INPUT) is None and not has_quadmask and not _prompts(void):
        points = ", or give points on the object" if void.has(k.CLICKS) else ""
        raise SettingError(
            f"{void.name}: connect a roto to its second input; its alpha covers what to remove in every frame{points}."
        )


def _is_upload(void: VoidNode) -> bool:
    choice = void.text(k.TRANSFER)
    if choice == k.AUTOMATIC:
        choice = settings.load().transfer
    if choice not in (k.BY_PATH, k.BY_UPLOAD):
        raise SettingError(f"The VOID settings say transfer {choice!r}; make it path or upload.")
    return choice == k.BY_UPLOAD


def check_server(address: str, out: Path) -> Optional[ServerInfo]:
    """Make sure, before anything is exported, that a server answers or can be started. Raises ServerUnreachable.

    Returns what the server says of itself, None for one that is only just started.
    """
    now = settings.load()
    with Client(address, keys=now.keys, timeout=1.5) as client:
        try:
            return client.hello()
        except ServerUnreachable:
            # begun now, it is up by the time that the frames are written
            if not local_server.start(now, address, str(out)):
                raise
            return None


def _offer_settings(void: VoidNode, info: ServerInfo) -> None:
    """Give the node knobs for settings that it does not know. Raises :class:`SettingError` for one that cannot be."""
    for kind, chooser in ((declared.ENGINES, k.ENGINE), (declared.REASONERS, k.REASONER)):
        if not void.has(chooser):
            continue
        known = info.settings[kind]
        void.add_settings(kind, known)
        chosen = void.text(chooser)
        said = void.own_settings(kind, chosen)
        for one in known.get(chosen, ()):
            # a server's regular expression may take for ever; the server itself looks at these
            replace(one, pattern="").check(said.get(one.name, one.default))


def _shot_settings(void: VoidNode, only_quadmask: bool) -> ShotSettings:
    """What the node's knobs say of the common settings, and of its engine's and its reasoner's own."""
    common = {one.name: void.value(one.name, one.type) for one in declarations(ShotSettings) if void.has(one.name)}
    return ShotSettings(
        **common,
        until=QUADMASK if only_quadmask else PLATE,
        engine_settings=void.own_settings(declared.ENGINES, common.get(k.ENGINE, "")),
        reasoner_settings=void.own_settings(declared.REASONERS, common[k.REASONER]),
    )


def _own_quadmask(void: VoidNode, source: str) -> Optional[Result]:
    """The quadmask that the node shows, if plate and roto are still what it was made from."""
    shown = void.shown
    if shown is None or not shown.finished or shown.has_plate or void.text(k.SOURCE) != source:
        return None
    return shown


def _frames_text(frames: list[int]) -> str:
    """Frames as the server writes them, such as 1001-1040 or 1001-1009x2."""
    step = frames[1] - frames[0] if len(frames) > 1 else 1
    if frames == list(range(frames[0], frames[-1] + 1, step)):
        return f"{frames[0]}-{frames[-1]}" + (f"x{step}" if step > 1 else "")
    return ",".join(map(str, frames))


def _files(shot: Shot, exported: export.Exported, frames: list[int]) -> dict[str, list[str]]:
    """What to upload."""
    files = {"plate": list(exported.plate.files)}
    if exported.roto:
        files["roto"] = list(exported.roto.files)
    if shot.quadmask:
        files["quadmask"] = [shot.quadmask % frame for frame in frames]
    if shot.ocio:
        files["ocio"] = [shot.ocio]
    return files


def command_line(void: VoidNode) -> str:
    """The command that does the node's job without a window."""
    script = script_path()
    if not script:
        raise SettingError("The script has no name yet; save it first.")
    program = Path(__file__).parents[1].joinpath("batch.py").as_posix()
    return shell.command([nuke.EXE_PATH, "-t", program, f"--script={script}", f"--node={void.name}"])


def submit_by_hook(void: VoidNode) -> Optional[str]:
    """Hand the node to the studio's own hook; the sentence that it answers, None where there is no hook."""
    found = settings.load().hooks
    if hooks.hook(found, hooks.SUBMIT_TO_FARM) is None:
        return None
    command = command_line(void)
    nuke.scriptSave()
    context = {
        "script": script_path(),
        "node": void.name,
        "command": command,
        "frames": _frames_text(void.frames()),
        "settings": _shot_settings(void, only_quadmask=not void.has(k.REMOVE)),
    }
    return hooks.call(found, hooks.SUBMIT_TO_FARM, context)


def tell(error: VoidError, void: Optional[VoidNode] = None) -> None:
    """Show an error on the node and to the artist; without a window it is raised."""
    if void is not None and not session.alive(void):
        void.show(k.FAILED, str(error))
    if not nuke.GUI:
        raise error
    say(str(error))
