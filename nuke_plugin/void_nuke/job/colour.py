"""Which colour space a script works in. Uses nuke, on its main thread."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Mapping, Optional, cast

import nuke

from void_server.api.errors import ColourError
from void_server.api.shot import BUILT_IN_OCIO, SCENE_LINEAR_REC709

_OCIO = "OCIO"
#: A role as Nuke labels it: scene_linear (ACES - ACEScg).
_LABELLED_ROLE = re.compile(r"([a-z][a-z0-9_]*) \((.+)\)")
_ROLE = re.compile(r"\s+([\w-]+)\s*:\s*([^#]*[^#\s])")


def working_space(chosen: str) -> tuple[str, Optional[str]]:
    """The colour space of the pixels in the graph, and the OCIO configuration that knows it.

    The configuration is a file, or the name of a built-in one (ocio://...); None where the script uses none. ``chosen``
    is what the artist wrote, empty for the script's own. Raises :class:`ColourError`: under OCIO nothing is guessed.
    """
    root = nuke.root()
    managed = str(root["colorManagement"].value()) == _OCIO
    config = _config(root, managed)
    if chosen:
        return chosen, config
    if not managed:
        return SCENE_LINEAR_REC709, None
    label = str(root["workingSpaceLUT"].value())
    space = space_in(label, roles_of(config))
    if not space:
        raise ColourError(
            f"The project settings name no working space (found {label!r} with the OCIO configuration {config}); "
            "choose one there, or set colour space on this node."
        )
    return space, config


def space_in(label: str, roles: Mapping[str, str]) -> str:
    """The colour space behind a label of Nuke's, which may be a role, and has more behind a tab in Nuke 17."""
    name = _first(label)
    labelled = _LABELLED_ROLE.fullmatch(name)
    # without a list of the roles, the server's OCIO knows them
    if labelled and (labelled[1] in roles or not roles):
        name = labelled[1]
    return roles.get(name, name)


def _first(label: str) -> str:
    """What a pulldown's item is; behind it, Nuke 17 has tabs with the item's menu and its aliases."""
    return label.partition("\t")[0].strip()


def _config(root: nuke.Node, managed: bool) -> Optional[str]:
    """The OCIO configuration in use, None where there is none; the environment's counts most."""
    named = os.environ.get("OCIO", "")
    if managed and not named:
        choice = _first(str(root["OCIO_config"].value()))
        knob = root.knob("customOCIOConfigPath" if choice == "custom" else "OCIOConfigPath")
        # evaluated, it is the file, whatever the configuration is called
        named = str(cast(nuke.File_Knob, knob).evaluate() or "") if knob else ""
        if not named:
            raise ColourError(
                f"The project settings use OCIO, but name no file for the configuration {choice!r}; choose another "
                "configuration there, or set $OCIO."
            )
    if not named:
        return None
    if named.startswith(BUILT_IN_OCIO):
        return named
    if not Path(named).is_file():
        raise ColourError(f"The OCIO configuration {named} does not exist; correct it in the project settings.")
    return Path(named).as_posix()


def roles_of(config: Optional[str]) -> Mapping[str, str]:
    """The roles of a configuration's file with their colour spaces, as far as its text lists them line by line."""
    if config is None or config.startswith(BUILT_IN_OCIO):
        return {}
    roles: dict[str, str] = {}
    inside = False
    for line in Path(config).read_text(encoding="utf-8", errors="replace").splitlines():
        if line[:1].strip():
            inside = line.partition("#")[0].strip() == "roles:"
        elif inside and (found := _ROLE.match(line)):
            roles[found[1]] = found[2].strip("'\"")
    return roles
