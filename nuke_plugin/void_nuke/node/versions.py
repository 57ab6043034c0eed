"""Where results go and what versions there are."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from void_server.api import shot
from void_server.api.account import user
from void_server.api.errors import SettingError
from void_server.api.files import read_json
from void_server.api.job import MANIFEST
from void_server.api.version import MATTES, PATCH, PLATE, QUADMASK, ROTO, VersionFolder, pattern

from .plain import check_folder

_VERSION = re.compile(r"v\d{3,9}", re.ASCII)
_VERSION_IN_NAME = re.compile(r"[._-]?v\d+$", re.IGNORECASE)
_ON_FARM = "farm.json"
#: No manifest is as large; what is, is none of ours, and would take Nuke's time and memory.
_LARGEST = 64 * 2**20
#: Frames as knobs hold them.
_FRAMES = range(-(2**31), 2**31)


def output_folder(template: str, script: str, node: str) -> Path:
    """The folder for a node's versions, from ``template`` with {script_dir}, {script}, {node} and {user}.

    ``script`` is the path of the saved script, empty for an untitled one; {script} is its name without version, as the
    version of a result is its own. Raises :class:`SettingError`.
    """
    if not script and ("{script_dir}" in template or "{script}" in template):
        raise SettingError("The script has no name yet; save it first, or set an output folder on this node.")
    path = Path(script)
    values = {
        "script_dir": path.parent.as_posix(),
        "script": _VERSION_IN_NAME.sub("", path.stem) or path.stem,
        "node": node.replace(".", "_"),
        "user": user(),
    }
    try:
        folder = template.format(**values)
    except (KeyError, IndexError, ValueError) as error:
        known = ", ".join("{" + name + "}" for name in values)
        raise SettingError(
            f"The output folder {template!r} cannot be expanded ({error}); choose from {known}."
        ) from error
    if not Path(folder).is_absolute():
        raise SettingError(f"The output folder {folder!r} is not an absolute path; start it with / or a drive letter.")
    return check_folder(Path(folder))


@dataclass(frozen=True)
class Result:
    """A version: its folder, its views (none: one for all), its frames, and whether it has a plate.

    A version on a farm is one from its submission on; its frames come one after the other.
    """

    folder: Path
    views: tuple[str, ...]
    frames: tuple[int, ...]
    has_plate: bool
    finished: bool = True

    @property
    def first(self) -> int:
        """Its first frame."""
        return self.frames[0]

    @property
    def last(self) -> int:
        """Its last frame."""
        return self.frames[-1]

    @property
    def name(self) -> str:
        """The version, such as v001."""
        return self.folder.name

    @property
    def version(self) -> int:
        """The version's number."""
        return int(self.name[1:])

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where the files are: the version folder, or one of each view in it."""
        return tuple(self.folder / view / "v001" for view in self.views) or (self.folder,)

    @property
    def _below(self) -> str:
        return f"{self.folder.as_posix()}/%V/v001" if self.views else self.folder.as_posix()

    @property
    def plate(self) -> str:
        """The counterfactual plate, as a Read's file."""
        return f"{self._below}/{pattern(PLATE)}"

    @property
    def patch(self) -> str:
        """The new pixels alone, as a Read's file."""
        return f"{self._below}/{pattern(PATCH)}"

    @property
    def mattes(self) -> str:
        """The mattes, as a Read's file."""
        return f"{self._below}/{pattern(MATTES)}"

    @property
    def roto(self) -> str:
        """The roto that was made for it, as a Read's file."""
        return f"{self._below}/{pattern(ROTO)}"

    def quadmask(self, view: str) -> str:
        """The quadmask of a view, as a sequence."""
        return f"{self._below.replace('%V', view)}/{pattern(QUADMASK)}"

    @property
    def files(self) -> VersionFolder:
        """The files of the version, of its first view where it has several."""
        return VersionFolder(self.folders[0])


def result_in(folder: Path) -> Optional[Result]:
    """The version in ``folder``, None where it is neither finished nor on a farm in every view."""
    if not is_version(folder.name):
        return None
    own = described(folder)
    manifests = [own] if own else [one for path in sorted(folder.glob("*/v001")) if (one := described(path))]
    views = tuple(manifest.parents[1].name for manifest in manifests if manifest.parent != folder)
    started = {path.parent.name for path in folder.glob("*/v001")}
    if not manifests or started - set(views):
        return None
    try:
        found = [read_manifest(manifest) for manifest in manifests]
        frames = tuple(sorted({frame for manifest in found for frame in manifest["frames"]}))
        has_plate = all(manifest["shot"]["settings"]["until"] == shot.PLATE for manifest in found)
    except (OSError, ValueError, LookupError, TypeError):
        # somebody else's file, or one that is just being written: not a version of ours
        return None
    finished = all(manifest.name == MANIFEST for manifest in manifests)
    return Result(folder, views, frames, has_plate, finished)


def is_version(name: str) -> bool:
    """Whether a folder is called like a version, such as v001."""
    return _VERSION.fullmatch(name) is not None


def read_manifest(file: Path) -> dict[str, Any]:
    """What describes a version, with its frames checked. Raises OSError, ValueError, LookupError or TypeError."""
    if file.stat().st_size > _LARGEST:
        raise ValueError(f"{file} is too large")
    read: dict[str, Any] = read_json(file)
    frames = read["frames"]
    if not isinstance(frames, list) or not frames or not all(type(f) is int and f in _FRAMES for f in frames):
        raise ValueError(f"{file} names no frames")
    return read


def described(folder: Path) -> Optional[Path]:
    """What describes a version: its manifest, or what was submitted to a farm."""
    return next((folder / name for name in (MANIFEST, _ON_FARM) if os.path.isfile(folder / name)), None)


def results(out: Path) -> list[Result]:
    """The versions in an output folder, the oldest first."""
    folders = sorted(out.glob("v[0-9][0-9][0-9]*")) if out.is_dir() else []
    return [found for found in map(result_in, folders) if found]
