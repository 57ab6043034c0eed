"""Options that are derived from declarations of settings, and what was said with them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from .. import plugins
from ..api.settings import Declaration, declarations
from ..api.shot import Settings
from .frame import Command

_TYPES: dict[str, Any] = {"bool": bool, "int": int, "float": float, "str": str}
#: The kinds of plug-ins that declare settings, and how their panel in the help is called.
_PANELS = {plugins.ENGINES: "Engine {}", plugins.REASONERS: "Reasoner {}"}
_COMMON = declarations(Settings)


def offering(*names: str, kinds: Iterable[str] = ()) -> type[Command]:
    """A command that takes the common settings of these ``names``, all without any, and those of ``kinds`` of plug-ins.

    What was said with them :func:`said` gives. Plug-ins are looked for only when the command runs, or shows its help.
    """

    class Offering(Command):
        def get_params(self, ctx: Any) -> list[Any]:
            *own, for_help = super().get_params(ctx)
            taken = {param.name for param in own}
            return [*own, *(one for one in self._offered() if one.name not in taken), for_help]

        def _offered(self) -> list[Any]:
            if not hasattr(self, "_options"):
                common = [one for one in _COMMON if one.name in (names or {one.name})]
                found = {one.name: _option(one) for one in common}
                for kind in kinds:
                    for one, whose in _of(kind).values():
                        found.setdefault(one.name, _option(one, _PANELS[kind].format(", ".join(whose))))
                self._options = _params(found.values())
            return self._options

        def may_be_empty(self, param: Any) -> bool:
            return super().may_be_empty(param) or (param in self._offered() and param.default == "")

        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            left = super().parse_args(ctx, args)
            own = {param.name for param in self.params}
            offered = {name: ctx.params.pop(name) for name in set(ctx.params) - own}
            given = {name for name in offered if ctx.get_parameter_source(name).name != "DEFAULT"}
            negated = {one.name for one in self._offered() if one.opts[0].startswith("--no-")}
            ctx.obj = {
                name: not value if name in negated else value for name, value in offered.items() if name in given
            }
            return left

    return Offering


def said(context: typer.Context) -> dict[str, Any]:
    """The settings that were said to a command that offers some, by their names."""
    return dict(context.obj)


def settings_of(said: Mapping[str, Any]) -> Settings:
    """The settings that were ``said``, each where it belongs. Raises SettingError."""
    common = {one.name for one in _COMMON}
    values = {name: value for name, value in said.items() if name in common}
    if rest := {name: value for name, value in said.items() if name not in common}:
        for kind, table in ((plugins.ENGINES, "engine_settings"), (plugins.REASONERS, "reasoner_settings")):
            known = _of(kind)
            values[table] = {name: value for name, value in rest.items() if name in known}
    return Settings(**values)


def _of(kind: str) -> dict[str, tuple[Declaration, list[str]]]:
    """What the plug-ins of a kind declare, by its name, and which of them do."""
    found: dict[str, tuple[Declaration, list[str]]] = {}
    for name, declared in plugins.declared(kind).items():
        for one in declared:
            found.setdefault(one.name, (one, []))[1].append(name)
    return found


def _option(one: Declaration, panel: str | None = None) -> inspect.Parameter:
    words = one.name.replace("_", "-")
    flag, default, line = f"--{words}", one.default, one.help
    if default is True:
        # what is on by itself can only be switched off
        flag, default, line = f"--no-{words}", False, f"Do not {line[:1].lower()}{line[1:]}"
    option = typer.Option(flag, help=line, rich_help_panel=panel)
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(one.name, kind, default=default, annotation=Annotated[_TYPES[one.type], option])


def _params(options: Iterable[inspect.Parameter]) -> list[Any]:
    """The options as Typer makes them of a command's signature."""

    def command(**words: Any) -> None:
        del words

    signature = inspect.Signature(list(options))
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in signature.parameters.values()}
    app = typer.Typer(add_completion=False)
    app.command()(command)
    return list(typer.main.get_command(app).params)
