"""The stage that exports plate and roto: Nuke, without a window, opens the script and writes what its node needs."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

import psutil

from ...api.errors import JobFailed, SettingError
from ...api.job import Progress, Report
from ..job import SCRIPT, FarmJob

# What Nuke gets to end by itself, in seconds.
_NOTICE = 20


def write_frames(job: FarmJob, frames: tuple[int, ...], here: Callable[[str], str], report: Report) -> None:
    """Have Nuke write those of ``frames`` that are not there yet.

    ``here`` gives a path of the submitting machine under its name on this one. Raises :class:`SettingError` where Nuke
    or the node is not there, :class:`JobFailed` with Nuke's last words; JobCancelled comes out of ``report``.
    """
    assert job.export is not None, "a job with this stage says what to export"
    patterns = {role: here(pattern) for role, pattern in job.export.patterns.items()}
    # Nuke wants forward slashes everywhere
    script, name = (job.folder / SCRIPT).as_posix(), Path(here(job.export.name)).as_posix()
    wanted = replace(job.export, script=script, name=name, patterns=patterns)
    frames = tuple(frame for frame in frames if not wanted.written((frame,)))
    if not frames:
        return
    with tempfile.TemporaryDirectory() as folder:
        order, words = Path(folder) / "export.json", Path(folder) / "stderr"
        order.write_text(json.dumps({**asdict(wanted), "frames": frames}), encoding="utf-8")
        command = [*wanted.nuke, str(_batch()), f"--export={order}"]
        try:
            with open(words, "wb") as errors:
                code = _wait(subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=errors), wanted.node, report)
        except OSError as error:
            raise SettingError(f"Nuke cannot be started ({error}); correct nuke in the farm settings.") from error
        said = words.read_text(encoding="utf-8", errors="replace")
    sys.stderr.write(said)
    if code:
        sentence = next((line for line in reversed(said.splitlines()) if line.startswith("void: ")), "")
        kind = SettingError if code == 2 and sentence else JobFailed
        raise kind(sentence.removeprefix("void: ") or f"Nuke ended with {code}; its words are in the log.", said)
    if not wanted.written(frames):
        raise JobFailed(f"Nuke ended well, but not all frames of {', '.join(patterns)} are there; see its log.", said)


def _batch() -> Path:
    """The program for Nuke, from the installation that this is."""
    found = find_spec("void_nuke")
    assert found is not None, "installed together with this"
    assert found.origin is not None
    return Path(found.origin).with_name("batch.py")


def _wait(nuke: subprocess.Popen[bytes], node: str, report: Report) -> int:
    try:
        while nuke.poll() is None:
            report(Progress(f"Nuke exports {node}", None, 0.0, None))
            time.sleep(0.2)
    finally:
        _end(nuke)
    return nuke.wait()


def _end(nuke: subprocess.Popen[bytes]) -> None:
    """End Nuke, which may have been started by a studio's script: the licence must not stay with it."""
    try:
        process = psutil.Process(nuke.pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        for one in family:
            with suppress(psutil.NoSuchProcess):
                ask(one)
        _, family = psutil.wait_procs(family, _NOTICE)
    nuke.wait()
