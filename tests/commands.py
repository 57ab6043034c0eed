"""The command `void`, run in the process of the test: a second or two less than in one of its own."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

from void_server.cli import app
from void_server.cli.frame import run


def void(*words: str | Path) -> CompletedProcess[str]:
    """What the command printed and its exit code, as of a process, neither output a terminal."""
    argv = ["void", *map(str, words)]
    out, err = io.StringIO(), io.StringIO()
    with mock.patch.object(sys, "argv", argv), redirect_stdout(out), redirect_stderr(err):
        code = run(app)
    return CompletedProcess(argv, code, out.getvalue(), err.getvalue())
