"""Settings for one user or for the whole studio, as JSON files."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Optional

from void_server.api.client import Keys, default_address
from void_server.api.errors import SettingError
from void_server.api.files import read_json, write_atomically
from void_server.api.home import home

from .packages import ROOT

DEFAULT_OUTPUT = "{script_dir}/void/{script}/{node}"


@dataclass(frozen=True)
class Settings:
    """What the nodes use where their own knobs are empty.

    ``server`` is an address; ``key`` and ``server_key`` name key files for servers beyond this machine. ``output`` is
    the template of the folder for versions. ``transfer`` is path or upload. ``path_map`` lists, per disk, where it is
    mounted on each system: ``{"linux": "/mnt/show", "windows": "S:/", "darwin": "/Volumes/show"}``, and
    ``server_system`` is the server's. ``hooks`` is a Python file of the studio's. ``void_command`` is the command
    ``void`` of the installation that has the server and the farm, as words; ``server_options`` are further options of
    its ``serve`` for a server on this machine, and ``local_roots`` the folders that it may use beside home and output.
    """

    server: str = ""
    key: str = ""
    server_key: str = ""
    output: str = DEFAULT_OUTPUT
    transfer: str = "path"
    path_map: list[dict[str, str]] = field(default_factory=list)
    server_system: str = ""
    hooks: str = ""
    void_command: list[str] = field(default_factory=list)
    server_options: list[str] = field(default_factory=list)
    local_roots: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The server's address: this one, else the environment's, else that of a server on this machine."""
        return self.server or default_address()

    @property
    def keys(self) -> Optional[Keys]:
        """The key files, None where none are set."""
        if self.key and self.server_key:
            return Keys(os.path.expanduser(self.key), os.path.expanduser(self.server_key))
        return Keys.from_environment()


def user_file() -> Path:
    """The user's own settings."""
    return home() / "nuke.json"


def files() -> list[Path]:
    """All files that settings come from; a later one overrides an earlier one."""
    studio = os.environ.get("VOID_NUKE_SETTINGS")
    return [ROOT / "installed.json", *([Path(studio)] if studio else []), user_file()]


def load() -> Settings:
    """The settings as they are now. Raises :class:`SettingError` naming file and entry."""
    values: dict[str, Any] = {}
    studio = os.environ.get("VOID_NUKE_SETTINGS")
    for file in files():
        if file.is_file():
            values.update(_read(file))
        elif studio and file == Path(studio):
            raise SettingError(f"VOID_NUKE_SETTINGS names {file}, which does not exist; correct the variable.")
    return Settings(**values)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        data = read_json(file)
    except (OSError, ValueError) as error:
        raise SettingError(f"The settings file {file} cannot be read: {error}.") from error
    default = dataclasses.asdict(Settings())
    if not isinstance(data, dict):
        raise SettingError(f"The settings file {file} must hold names and values in braces.")
    for name, value in data.items():
        if name not in default:
            raise SettingError(f"{file}: there is no setting {name!r}; known are {', '.join(default)}.")
        if type(value) is not type(default[name]):
            raise SettingError(f"{file}: {name} must be a {type(default[name]).__name__}, not {value!r}.")
    return data


def save_user(changes: Mapping[str, Any]) -> None:
    """Write ``changes`` into the user's own file; an empty value takes the entry out of it."""
    file = user_file()
    values = dict(_read(file)) if file.is_file() else {}
    values.update(changes)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps({n: v for n, v in values.items() if v}, indent=2))
