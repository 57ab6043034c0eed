"""What a studio sets once for its farm: the engine, the command on the blades, defaults of the fields.

A JSON file: ``$VOID_FARM_SETTINGS``, else ``farm.json`` in the state folder.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..api.errors import SettingError
from ..api.files import write_atomically
from ..api.home import home
from .fields import Fields
from .pathmap import Rule, rules

ENVIRONMENT = "VOID_FARM_SETTINGS"


@dataclass(frozen=True)
class Site:
    """The settings. ``options`` are those of single engines, by the engine's name.

    ``nuke`` is the command of Nuke without a window on the farm, empty where the farm has none; ``nuke_limits`` are the
    licences, by name and number, that such a task takes.
    """

    engine: str = "local"
    command: tuple[str, ...] = ("void",)
    nuke: tuple[str, ...] = ()
    nuke_limits: dict[str, int] = field(default_factory=dict)
    fields: Fields = field(default_factory=Fields)
    path_map: tuple[Rule, ...] = ()
    environment: tuple[str, ...] = ("VOID_WEIGHTS", "SAM2_WEIGHTS", "OCIO", "VOID_HOME", ENVIRONMENT)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)


def load() -> Site:
    """The studio's settings, or the defaults. Raises :class:`SettingError` naming the file."""
    file = Path(os.environ.get(ENVIRONMENT) or home() / "farm.json")
    if not file.is_file():
        if os.environ.get(ENVIRONMENT):
            raise SettingError(f"The farm settings {file} are not there; correct ${ENVIRONMENT}.")
        return Site()
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        unknown = sorted(set(data) - set(Site.__dataclass_fields__))
        if unknown:
            raise ValueError(f"there is no setting {unknown[0]!r}; known are {', '.join(Site.__dataclass_fields__)}")
        return Site(
            engine=str(data.get("engine", Site.engine)),
            command=tuple(map(str, data.get("command", Site.command))),
            nuke=tuple(map(str, data.get("nuke", Site.nuke))),
            nuke_limits={str(name): int(count) for name, count in data.get("nuke_limits", {}).items()},
            fields=Fields.from_dict(data.get("fields", {})),
            path_map=tuple(rules({"path_mapping_rules": data.get("path_map", [])})),
            environment=tuple(map(str, data.get("environment", Site.environment))),
            options=dict(data.get("options", {})),
        )
    except (OSError, ValueError, KeyError, TypeError, SettingError) as error:
        raise SettingError(f"The farm settings {file} cannot be used: {error}") from error


def remembered(script: Path) -> dict[str, Any]:
    """What was last said for a script, or beside a version folder; nothing where nothing was, or it cannot be read."""
    try:
        return dict(json.loads(_beside(script).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def remember(script: Path, fields: Fields) -> None:
    """Keep what was said beside the script or version folder; where that cannot be written, it is not kept."""
    changed = {name: value for name, value in fields.__dict__.items() if value != getattr(Fields(), name)}
    for passing in ("name", "comment", "user"):
        changed.pop(passing, None)
    try:
        write_atomically(_beside(script), json.dumps(changed, indent=2))
    except OSError:
        return


def _beside(script: Path) -> Path:
    # versions share theirs
    name = script.name if script.suffix else "versions"
    return script.with_name(f".{name}.void_farm.json")
