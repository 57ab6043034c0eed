"""What a studio sets once for its farm: the scheduler, the command on the blades, defaults of the fields.

A JSON file: ``$VOID_FARM_SETTINGS``, else ``farm.json`` in the state folder.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from .. import plugins
from ..api import notices
from ..api.errors import SettingError
from ..api.files import read_json, write_atomically
from ..api.home import home
from ..api.settings import declarations
from ..api.version import PREVIEW_FPS, PREVIEW_MOVIE
from .fields import Fields, check_limits
from .mail import Mail
from .pathmap import Rule, rules

ENVIRONMENT = "VOID_FARM_SETTINGS"
#: Settings whose values are never shown.
_PRIVATE = ("mail", "options")


def _own_command() -> tuple[str, ...]:
    """The command that this is, by its full path: machines of a farm mostly have the same installation."""
    beside = Path(sys.executable).with_name("void.exe" if os.name == "nt" else "void")
    return (str(beside) if beside.is_file() else "void",)


@dataclass(frozen=True)
class Site:
    """The settings. ``options`` are those of single schedulers, by the scheduler's name.

    ``nuke`` is the command of Nuke without a window on the farm, empty where the farm has none; ``nuke_limits`` are the
    licences, by name and number, that such a task takes. ``batches`` is the folder for the records of batches,
    ``hooks`` the Python file with the studio's function that hears of jobs and batches that ended, ``mail`` how it is
    written to people, None where it is not.
    """

    scheduler: str = "local"
    command: tuple[str, ...] = field(default_factory=_own_command)
    nuke: tuple[str, ...] = ()
    nuke_limits: dict[str, int] = field(default_factory=dict)
    fields: Fields = field(default_factory=Fields)
    path_map: tuple[Rule, ...] = ()
    environment: tuple[str, ...] = (
        "VOID_WEIGHTS",
        "SAM2_WEIGHTS",
        "OCIO",
        PREVIEW_MOVIE,
        PREVIEW_FPS,
        "VOID_HOME",
        notices.ENVIRONMENT,
        ENVIRONMENT,
    )
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    batches: Path = field(default_factory=lambda: home() / "batches")
    hooks: str = ""
    mail: Mail | None = None


def load() -> Site:
    """The studio's settings, or the defaults. Raises :class:`SettingError` naming the file."""
    file = Path(os.environ.get(ENVIRONMENT) or home() / "farm.json")
    if not file.is_file():
        if os.environ.get(ENVIRONMENT):
            raise SettingError(f"The farm settings {file} are not there; correct ${ENVIRONMENT}.")
        return Site()
    try:
        said = _Settings.model_validate_json(file.read_text(encoding="utf-8"))
        check_limits("nuke_limits", said.nuke_limits)
        return Site(
            scheduler=said.scheduler,
            command=tuple(said.command or Site().command),
            nuke=tuple(said.nuke),
            nuke_limits=said.nuke_limits,
            fields=Fields.from_dict(said.fields),
            path_map=tuple(rules({"path_mapping_rules": said.path_map})),
            environment=tuple(said.environment),
            options=_checked(said.options),
            batches=Path(said.batches) if said.batches else Site().batches,
            hooks=said.hooks,
            mail=said.mail,
        )
    except ValidationError as error:
        raise SettingError(f"The farm settings {file} cannot be used: {_in_words(error, _Settings)}") from error
    except (OSError, ValueError, SettingError) as error:
        raise SettingError(f"The farm settings {file} cannot be used: {error}") from error


class Options(BaseModel):
    """What the settings may say for one scheduler alone; a scheduler with options has a subclass with its fields."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _checked(given: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The options, by scheduler, once each has taken its own. Raises :class:`SettingError` naming what is wrong."""
    for name, values in given.items():
        if name not in (known := plugins.names(plugins.SCHEDULERS)):
            raise SettingError(f"there is no scheduler {name!r} that could have options; known are {', '.join(known)}.")
        model: type[Options] = plugins.find(plugins.SCHEDULERS, name).options
        try:
            model.model_validate(values)
        except ValidationError as error:
            raise SettingError(_in_words(error, model, f"options.{name}.")) from error
    return given


class _Settings(BaseModel):
    """The file, as :class:`Site` has it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    scheduler: str = Site.scheduler
    command: list[str] = []
    nuke: list[str] = []
    nuke_limits: dict[str, int] = {}
    fields: dict[str, Any] = {}
    path_map: list[dict[str, str]] = []
    environment: list[str] = list(Site.environment)
    options: dict[str, dict[str, Any]] = {}
    batches: str = ""
    hooks: str = ""
    mail: Mail | None = None


def _in_words(error: ValidationError, model: type[BaseModel], prefix: str = "") -> str:
    """The first thing that is wrong, by the setting's name."""
    first = error.errors()[0]
    name = prefix + ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        known = _model_of(model, first["loc"]).model_fields
        return f"there is no setting {name}; known are {', '.join(known) or 'none'}."
    # all that is around it, or what is said of mail or to somebody's scheduler, may hold a password, which no log gets
    whole = first["type"] in ("missing", "json_invalid") or isinstance(first["input"], dict | list)
    private = name.split(".")[0] in _PRIVATE
    said = "" if whole or private else f", not {first['input']!r:.60}"
    return f"{name or 'the file'}: {first['msg'].removeprefix('Value error, ')}{said}."


def _model_of(model: type[BaseModel], place: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that the setting at this place belongs to, in ``model``."""
    for name in place[:-1]:
        field = model.model_fields.get(str(name))
        kinds = (field.annotation, *get_args(field.annotation)) if field else ()
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), model)
    return model


def remembered(script: Path) -> dict[str, Any]:
    """What was last said for a script, or beside a version folder; nothing where nothing was, or it cannot be read."""
    try:
        return dict(read_json(_beside(script)))
    except (OSError, ValueError, TypeError):
        return {}


def remember(script: Path, fields: Fields) -> None:
    """Keep what was said beside the script or version folder; where that cannot be written, it is not kept."""
    known = ((one, getattr(fields, one.name)) for one in declarations(Fields) if one.sticky)
    changed = {one.name: value for one, value in known if value != one.default}
    try:
        write_atomically(_beside(script), json.dumps(changed, indent=2))
    except OSError:
        return


def _beside(script: Path) -> Path:
    # versions share theirs
    name = script.name if script.suffix else "versions"
    return script.with_name(f".{name}.void_farm.json")
