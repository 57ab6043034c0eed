"""Blender as a process of its own: the program that is found, and orders to it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..api.errors import JobFailed, SettingError
from ..blender.protocol import MARK, ONE_THREAD
from .recipe import TICKS, Recipe

#: Names Blender's executable, or a Python 3.11 with the package bpy.
VARIABLE = "VOID_BLENDER"
_PROGRAM = Path(__file__).parents[1] / "blender" / "serve.py"
_BESIDE = str(Path(sys.prefix).parent / ".venv-blender" / "bin" / "python")
# what the log of a failure may hold
_LAST_WORDS = 6000
_RECIPE, _LOG = "recipe.json", "blender.log"


def command(named: str = "") -> list[str]:
    """The command that starts our program in Blender.

    That is ``named``, $VOID_BLENDER, this Python's bpy, the environment that `make blender` lays beside this one, or
    the Blender of this machine.

    Raises :class:`SettingError` where there is none.
    """
    named = named or os.environ.get(VARIABLE, "")
    if named:
        found = shutil.which(named)
        if not found:
            raise SettingError(f"Blender {named!r} cannot be run; name Blender's executable, or a Python with bpy.")
        return _started(found)
    if importlib.util.find_spec("bpy"):
        return _started(sys.executable)
    if found := shutil.which(_BESIDE) or shutil.which("blender"):
        return _started(found)
    raise SettingError(
        f"Rendering pairs needs Blender 5: install it, or bpy in a Python 3.11 (pip install bpy), and name it with "
        f"--blender or {VARIABLE}."
    )


def _started(program: str) -> list[str]:
    if Path(program).name.lower().startswith("python"):
        return [program, "-u", str(_PROGRAM)]
    return [program, "--background", "--factory-startup", "--python-exit-code", "1", "--python", str(_PROGRAM)]


def _one_threaded(command: list[str]) -> list[str]:
    if command[1] == "-u":
        return [*command, ONE_THREAD]
    return [command[0], "--threads", "1", *command[1:]]


def simulate(recipe: Recipe, folder: Path, *, blender: str = "") -> None:
    """Have Blender simulate a recipe, and write what comes of it to a new ``folder``. Raises :class:`JobFailed`.

    A process of its own does it on one thread: on several, Blender takes contacts of rigid bodies in an order of
    chance, and the same scene ends otherwise.
    """
    folder.mkdir(parents=True)
    file = folder / _RECIPE
    file.write_text(json.dumps(recipe.to_dict()), encoding="utf-8")
    with _Process(_one_threaded(command(blender)), folder / _LOG) as process:
        process.ask({"do": "simulate", "recipe": str(file), "ticks_a_second": TICKS})


class _Process:
    """Blender with our program. Use it in a ``with`` block, which ends the process."""

    def __init__(self, command: list[str], log: Path) -> None:
        """``log`` takes what Blender says beside its answers."""
        self._log = log
        with open(log, "wb") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, encoding="utf-8"
            )

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to an order. Raises :class:`JobFailed` where Blender fails."""
        assert self._process.stdin
        assert self._process.stdout
        said = ""
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            for line in self._process.stdout:
                if line.startswith(MARK):
                    answer: dict[str, Any] = json.loads(line.removeprefix(MARK))
                    if "error" in answer:
                        raise JobFailed("Blender could not do what it was told; see the detail.", answer["error"])
                    return answer
                said = (said + line)[-_LAST_WORDS:]
        except OSError:
            pass  # it has ended; what it said last says why
        said += self._log.read_text(encoding="utf-8", errors="replace")[-_LAST_WORDS:]
        last = next((line for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
        raise JobFailed(f"Blender ended before it was done ({last.strip()}); see the detail.", said)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                # an order that was never read
                with suppress(OSError):
                    stream.close()


class Renderer:
    """A Blender that has built one recipe. Use it in a ``with`` block, which ends the process."""

    def __init__(
        self,
        simulated: Path,
        folder: Path,
        size: tuple[int, int],
        per_frame: int,
        *,
        blender: str = "",
        threads: int = 0,
    ) -> None:
        """``simulated`` is a folder that :func:`simulate` wrote, ``folder`` is for what passes between the two;
        ``per_frame`` ticks are a frame; 0 threads are all cores.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._process = _Process(command(blender), folder / _LOG)
        try:
            built = self._process.ask(
                {
                    "do": "build",
                    "recipe": str(simulated / _RECIPE),
                    "size": size,
                    "ticks_a_second": TICKS,
                    "per_frame": per_frame,
                    "threads": threads,
                }
            )
        except BaseException:
            self.close()
            raise
        #: Where each body is at each tick, by state (plate, truth) and name.
        self.paths: dict[str, dict[str, list[list[float]]]] = built["paths"]
        #: What has rendered, for the facts.
        self.about = f"Blender {built['blender']}, Cycles on the {built['device']}"

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def render(
        self,
        state: str,
        index: int,
        file: Path,
        *,
        samples: int,
        percentage: int = 100,
        denoise: bool = True,
        border: tuple[float, float, float, float] = (0, 0, 1, 1),
    ) -> None:
        """Render frame ``index``, counted from 0, in a state to an EXR of many layers. Raises :class:`JobFailed`."""
        order = {
            "do": "render",
            "state": state,
            "frame": index + 1,
            "file": str(file),
            "samples": samples,
            "percentage": percentage,
            "denoise": denoise,
            "border": border,
        }
        self._process.ask(order)

    def close(self) -> None:
        """End the process."""
        self._process.close()
