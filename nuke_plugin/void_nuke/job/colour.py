"""Which colour space a script works in. Uses nuke, on its main thread."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional, cast

import nuke

from void_server.api.errors import ColourError
from void_server.api.shot import SCENE_LINEAR_REC709

#: Nuke's own linear, whatever its primaries are called.
_NUKE_LINEAR = ("linear", "scene_linear", "scene-linear", "")


def working_space(chosen: str) -> tuple[str, Optional[str]]:
    """The colour space of the pixels in the graph, and the OCIO configuration that knows it (None: the built-in one).

    ``chosen`` is what the artist wrote, empty for the script's own. Raises :class:`ColourError`.
    """
    root = nuke.root()
    config = _config(root)
    if chosen:
        return chosen, config
    space = str(root["workingSpaceLUT"].value()) if root.knob("workingSpaceLUT") else ""
    if str(root["colorManagement"].value()) != "OCIO":
        return SCENE_LINEAR_REC709, None
    if config is None:
        if space.lower() in _NUKE_LINEAR:
            return SCENE_LINEAR_REC709, None
        # the built-in configuration knows the common spaces by the last part of Nuke's names, as in "ACES - ACEScg"
        return space.rpartition(" - ")[2], None
    if space.lower() in _NUKE_LINEAR[:1]:
        return "scene_linear", config
    return space, config


def _config(root: nuke.Node) -> Optional[str]:
    """The file of the OCIO configuration in use, None where it is built in; the environment's counts most."""
    named = os.environ.get("OCIO", "")
    if not named and str(root["colorManagement"].value()) == "OCIO":
        if str(root["OCIO_config"].value()) == "custom":
            named = str(cast(nuke.File_Knob, root["customOCIOConfigPath"]).evaluate())
        else:
            folder = Path(nuke.EXE_PATH).parent / "plugins" / "OCIOConfigs" / "configs"
            shipped = folder / str(root["OCIO_config"].value()) / "config.ocio"
            named = shipped.as_posix() if shipped.is_file() else ""
    if not named or named.startswith("ocio://"):
        return None
    if not Path(named).is_file():
        raise ColourError(f"The OCIO configuration {named} does not exist; correct it in the project settings.")
    return Path(named).as_posix()
