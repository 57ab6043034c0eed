"""How every command of ``void`` begins and ends: its arguments, its JSON, its errors and exit codes."""

from __future__ import annotations

import json
import sys
from typing import Any

import typer
from typer.core import TyperCommand

from ..api.errors import InputError, JobCancelled, SettingError, VoidError
from ..interruption import Interrupted, interruptible

FAILED, WRONG_INPUT = 1, 2
AS_JSON = "--json"

#: What may be given empty, which says that there is none.
_MAY_BE_EMPTY = ("roto", "prompt", "why", "path_map", "note")


class Command(TyperCommand):
    """Refuses empty arguments. An empty path would mean the folder one is in: mostly a script's variable not set."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; ends with what is wrong with them."""
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        for param in self.get_params(ctx):
            value = given.get(param.name)
            texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
            if not all(text.strip() for text in texts) and not self.may_be_empty(param):
                raise typer.BadParameter("it is empty.", ctx, param_hint=" / ".join(param.opts))
        return super().parse_args(ctx, args)

    def may_be_empty(self, param: Any) -> bool:
        """Whether an empty argument says that there is none."""
        return param.name in _MAY_BE_EMPTY


class App(typer.Typer):
    """An app whose commands take ``-h`` and refuse empty arguments; it ends with :func:`run`."""

    def __init__(self, **options: Any) -> None:
        names = {"help_option_names": ["-h", "--help"]}
        super().__init__(no_args_is_help=True, pretty_exceptions_enable=False, context_settings=names, **options)

    def command(self, name: str | None = None, **options: Any) -> Any:
        """See :meth:`typer.Typer.command`."""
        return super().command(name, **{"cls": Command, **options})


def run(app: App) -> int:
    """Run the command that was typed; its exit code. Errors become a sentence on stderr."""
    try:
        with interruptible():
            return app(prog_name="void", standalone_mode=False) or 0
    except typer.TyperException as error:
        # a command without arguments has shown its help
        return failed(SettingError(_usage(error))) if error.format_message() else WRONG_INPUT
    except (VoidError, Interrupted) as error:
        return failed(error)
    except OSError as error:
        return failed(VoidError(str(error)))


def _usage(error: typer.TyperException) -> str:
    """What is wrong with the words of a command, and where to look."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "void"
    said = " ".join(error.format_message().split())
    return f"{said}{'' if said.endswith(('.', '?', ')')) else '.'} See: {path} --help"


def failed(error: VoidError | Interrupted, **about: Any) -> int:
    """Say why a command failed, or was stopped, with ``--json`` for programs too, ``about`` what; its exit code."""
    print(f"void: {error}", file=sys.stderr)
    if AS_JSON in sys.argv:
        told = JobCancelled(str(error)) if isinstance(error, Interrupted) else error
        print_json({**about, "error": told.to_dict()})
    if isinstance(error, Interrupted):
        return error.exit_code
    return WRONG_INPUT if isinstance(error, InputError) else FAILED


def print_json(said: dict[str, Any]) -> None:
    """Print what a program is to read: one object, in one line."""
    print(json.dumps(said))
