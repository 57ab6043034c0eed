"""What made the version that a node shows, and how to take it up again elsewhere. Uses nuke, on its main thread."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional, cast

import nuke

from void_server.api.errors import InputError, SettingError
from void_server.api.settings import TYPES, declarations
from void_server.api.shot import SCENE_LINEAR_REC709, Settings, Shot, title

from ..node import declared, plain, ranges, versions
from ..node import knobs as k
from ..node.node import VoidNode, one_step
from ..node.tile import of_version
from ..node.versions import Result
from . import colour

#: Nuke's own name for it, without OCIO.
_NUKE_LINEAR = "linear"


def shown(void: VoidNode) -> Result:
    """The version that the node shows. Raises :class:`InputError` where there is none."""
    result = void.shown
    if result is None:
        raise InputError(f"{void.name} shows no version; choose one in the pulldown result, or press Remove.")
    return result


def story(void: VoidNode) -> str:
    """What made the version: method, when, by whom, and in what it differs from what the node is set to now."""
    result = shown(void)
    file, shot = _shot(result)
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(file.stat().st_mtime))
    with suppress(NotImplementedError, KeyError, OSError):
        # where the system knows, and the owner still has an account
        made += f" by {file.owner()}"
    by = title(shot.settings.engine) if result.has_plate else f"quadmask, analysis {title(shot.settings.reasoner)}"
    lines = [f"{result.name}: {by}, frames {ranges.text(result.frames)}, {made}", result.folder.as_posix()]
    lines += [f"{_label(void, name)}: {value}, now {now}" for name, value, now in _differences(void, shot)]
    return "\n".join([*lines, "Set as the node is now."] if len(lines) == 2 else lines)


def restore(void: VoidNode) -> None:
    """Set the node to what made the version. Raises :class:`SettingError` where it does not offer that."""
    result = shown(void)
    changes = _differences(void, _shot(result)[1])
    for name, value, _ in changes:
        knob = void.node[name]
        if isinstance(knob, nuke.Enumeration_Knob) and value not in knob.values():
            raise SettingError(f"{void.name}: {_label(void, name)} {value!r} is no longer there; nothing was changed.")
    with one_step("VOID settings"):
        for name, value, _ in changes:
            void.node[name].setValue(value)
    named = ", ".join(_label(void, name) for name, _, _ in changes) or "nothing differed"
    void.show(void.state, f"Settings of {result.name}: {named}.", of_version(result))


def create_reads(void: VoidNode) -> None:
    """Make Reads of the version's plate, patch and mattes beside the node, which need nothing of ours in any script."""
    result = shown(void)
    plain.check_folder(result.folder)
    space, config = _shot(result)[1].colorspace, colour.working_space("")[1]
    x, y = void.node.xpos() + 200, void.node.ypos()
    with void.node.parent(), one_step("VOID Reads"):
        if result.has_plate:
            for part, file in (("plate", result.plate), ("patch", result.patch)):
                read = _read(void, part, file, result, x, y)
                _interpret(read, space, config)
                x += 110
            # its colours are multiplied by its alpha, also where the space is not linear
            read["premultiplied"].setValue(True)
        mattes = _read(void, "mattes", result.mattes, result, x, y)
        mattes["raw"].setValue(True)


def _read(void: VoidNode, part: str, file: str, result: Result, x: int, y: int) -> nuke.Node:
    read = nuke.nodes.Read()
    read.setName(f"{void.node.name()}_{part}_{result.name}")
    cast(nuke.File_Knob, read["file"]).fromUserText(f"{file} {result.first}-{result.last}")
    read["origset"].setValue(True)
    read.setXYpos(x, y)
    return read


def _interpret(read: nuke.Node, space: str, config: Optional[str]) -> None:
    """Let the Read know the plate's colour space; where Nuke has no name for it, raw, which is right in this script."""
    knob = cast(nuke.Enumeration_Knob, read["colorspace"])
    wanted = _NUKE_LINEAR if config is None and space == SCENE_LINEAR_REC709 else space
    roles = colour.roles_of(config)
    labels = {colour.space_in(label, roles): label for label in reversed(knob.values())}
    if wanted in labels:
        # what comes behind a tab in Nuke 17 is no part of a value
        knob.setValue(labels[wanted].partition("\t")[0])
    else:
        read["raw"].setValue(True)
        read["label"].setValue("raw")


def _shot(result: Result) -> tuple[Path, Shot]:
    """What describes the version, and the shot in it, of its first view. Raises :class:`SettingError`."""
    file = versions.described(result.folders[0])
    try:
        if file is None:
            raise ValueError("it is gone")
        return file, Shot.from_dict(versions.read_manifest(file)["shot"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise SettingError(f"What made {result.name} cannot be read ({error}).") from error


def _differences(void: VoidNode, shot: Shot) -> list[tuple[str, Any, Any]]:
    """Knobs that were set otherwise when the version was made: name, value then, value now."""
    then = {k.PROMPT: plain.lines(shot.prompt)}
    now: dict[str, Any] = {k.PROMPT: void.plain_text(k.PROMPT)}
    if shot.frames and shot.frames != _frames(void):
        then.update({k.FRAMES: k.CUSTOM, k.CUSTOM_RANGE: plain.plain(shot.frames)})
        now.update({k.FRAMES: void.text(k.FRAMES), k.CUSTOM_RANGE: void.text(k.CUSTOM_RANGE)})
    settings = shot.settings
    for one in declarations(Settings):
        if void.has(one.name):
            then[one.name], now[one.name] = getattr(settings, one.name), void.value(one.name, one.type)
    own = ((declared.ENGINES, settings.engine, settings.engine_settings),
           (declared.REASONERS, settings.reasoner, settings.reasoner_settings))  # fmt: skip
    for kind, name, values in own:
        for setting, place in void.places(kind, name).items():
            if setting in values and isinstance(values[setting], TYPES[place.type]):
                then[place.knob], now[place.knob] = values[setting], void.value(place.knob, place.type)
    same_kind = {name: plain.plain(value) if isinstance(value, str) and name != k.PROMPT else value
                 for name, value in then.items()}  # fmt: skip
    return [(name, value, now[name]) for name, value in same_kind.items() if value != now[name]]


def _frames(void: VoidNode) -> str:
    try:
        return ranges.text(void.frames())
    except SettingError:
        # no plate is connected, or the range is not readable: another one than that of the version
        return ""


def _label(void: VoidNode, name: str) -> str:
    return void.node[name].label() or name.replace("_", " ")
