"""Processes killed, stopped and started again at random, and a disk that fails: no job is lost, no frame differs.

`make soak` goes on for twenty minutes, or as many as MINUTES says; it prints its seed, and $VOID_SOAK_SEED repeats it.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests import test_service
from tests.test_service import RunningServer, shot_of, wait_for
from void_server.api import Client, Job, JobState
from void_server.api.errors import VoidError
from void_server.api.version import VersionFolder
from void_server.imaging import exr

pytestmark = pytest.mark.slow
no_server_stays = test_service.no_server_stays

SECONDS = float(os.environ.get("VOID_SOAK_SECONDS", "12"))
#: Jobs that wait or run at the same time.
JOBS = 4
FRAMES = range(1001, 1009)
# What a job does here, with the writers that any job uses: frames that tell who made them, then the manifest.
PIPELINE = """
import hashlib, time
import numpy as np
from void_server.api.errors import JobFailed
from void_server.api.files import is_written, remove_leftovers, write_atomically
from void_server.api.job import Progress
from void_server.api.version import VersionFolder
from void_server.imaging import exr

def inspect(shot):
    pass

def run(job_id, shot, folder, report):
    version = VersionFolder(folder)
    remove_leftovers(folder)
    for frame in range(1001, 1009):
        report(Progress("working", frame, 0.5, None))
        if not is_written(version.plate(frame)):
            time.sleep(0.02)
            seed = int.from_bytes(hashlib.sha256(f"{shot.prompt} {frame}".encode()).digest()[:4], "little")
            exr.write(version.plate(frame), np.random.default_rng(seed).random((24, 32, 3)).astype(np.float16), exr.RGB)
    if missing := version.missing(range(1001, 1009), "plate"):
        raise JobFailed(f"{missing} are missing")
    write_atomically(version.manifest, shot.prompt)
    return ()
"""


class Disturbed:
    """A server whose processes and disk are disturbed; it is always at the same address."""

    def __init__(self, chance: random.Random, shot: Path, root: Path, control: Path, **config: object) -> None:
        self._chance, self._roots, self._control, self._config = chance, (shot, root), control, config
        self.address, self.done = "tcp://127.0.0.1:*", 0
        self.start()

    def start(self) -> None:
        self._control.unlink(missing_ok=True)
        self.running = RunningServer(*self._roots, address=self.address, **self._config)
        self.address = self.running.address

    def disturb(self) -> None:
        """Do something that a studio's machines do, too, only more often."""
        self._chance.choice([self._kill_worker, self._kill_server, self._kill_all, self._stop_worker, self._fail])()
        self.done += 1

    def _some_worker(self, number: int) -> list[psutil.Process]:
        workers = self.running.workers()[:1] if self._chance.random() < 0.5 else self.running.workers()
        for worker in workers:
            with suppress(psutil.NoSuchProcess):
                worker.send_signal(number)
        return workers

    def _kill_worker(self) -> None:
        self._some_worker(signal.SIGKILL)

    def _kill_server(self) -> None:
        workers = self.running.workers()
        self._end()
        # they notice by themselves
        wait_for(lambda: not any(map(_works, workers)))
        self.start()

    def _kill_all(self) -> None:
        self._some_worker(signal.SIGKILL)
        self._end()
        self.start()

    def _end(self) -> None:
        self.running.process.kill()
        self.running.process.wait()
        assert self.running.process.stdout
        self.running.process.stdout.close()

    def _stop_worker(self) -> None:
        stopped = self._some_worker(signal.SIGSTOP)
        time.sleep(self._chance.random())
        for worker in stopped:
            with suppress(psutil.NoSuchProcess):
                worker.send_signal(signal.SIGCONT)

    def _fail(self) -> None:
        """A disk that is full, broken, or taken away, for a moment."""
        error = self._chance.choice([errno.ENOSPC, errno.EIO, errno.EACCES])
        folder = self._chance.choice([self._roots[1], self._config["state"]])
        fresh = self._control.with_suffix(".new")
        fresh.write_text(f"{error} {self._chance.choice([5, 30, 100])} {folder}")
        fresh.rename(self._control)
        time.sleep(self._chance.random())
        self._control.unlink()

    def ask(self, request: Callable[[Client], Job]) -> Job | None:
        """What the server answers, None if it refuses, or is not there just now."""
        with suppress(VoidError), Client(self.address, timeout=5) as client:
            return request(client)
        return None


def _works(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def contents(folder: Path) -> dict[str, bytes]:
    """The files in a folder: of frames the pixels, as their header has the time; of others the bytes.

    Not who submitted and signed it, and when.
    """
    version = VersionFolder(folder)
    return {
        path.relative_to(folder).as_posix(): exr.read_rgb(path).tobytes()
        if path.suffix == ".exr"
        else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path not in (version.signature, version.submission)
    }


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc"), reason="no C compiler, or no Linux: NOT tested")
def test_whatever_dies_or_fails_no_job_is_lost_and_no_frame_differs(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = int(os.environ.get("VOID_SOAK_SEED") or random.randrange(10**6))
    print(f"VOID_SOAK_SEED={seed}")
    chance = random.Random(seed)
    place, root, control = tmp_path / "soak", tmp_path / "root", tmp_path / "soak" / "faults"
    for folder in (place, root):
        folder.mkdir()
    source = Path(__file__).parent / "faults" / "shim.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", place / "shim.so", source, "-ldl"], check=True)
    (place / "steady_pipeline.py").write_text(PIPELINE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")]))
    config = {"pipeline": "steady_pipeline", "workers": 2, "state": str(tmp_path / "state"), "queue_limit": 10**6}
    whole = RunningServer(shot, root, **{**config, "state": str(tmp_path / "undisturbed")})
    names = [f"job {number}" for number in range(6)]
    wanted = {}
    with Client(whole.address) as client:
        for name in names:
            *_, job = client.watch(client.submit(replace(shot_of(shot), prompt=name), str(root / "undisturbed")).id)
            assert job.state is JobState.DONE, job.error
            wanted[name] = contents(Path(job.folder))
            assert len(wanted[name]) == len(FRAMES) + 1
    whole.stop()

    monkeypatch.setenv("VOID_FAULTS", str(control))
    monkeypatch.setenv("LD_PRELOAD", str(place / "shim.so"))
    disturbed = Disturbed(chance, shot, root, control, worker_environment=["LD_PRELOAD", "VOID_FAULTS"], **config)
    monkeypatch.delenv("LD_PRELOAD")
    accepted: dict[str, str] = {}
    done: set[str] = set()
    asked: dict[str, str] = {}

    def go_on() -> bool:
        """Submit what the server has not taken yet, resume what failed; whether all is done."""
        if time.monotonic() < end:
            while len(asked) - len(done) < JOBS:
                asked[f"{chance.getrandbits(48):012x}"] = chance.choice(names)
        for job_id, name in asked.items():
            if job_id not in accepted:
                out, given = str(root / "out" / job_id), replace(shot_of(shot), prompt=name)
                if job := disturbed.ask(lambda c, i=job_id, g=given, o=out: c.submit(g, o, job_id=i)):  # type: ignore[misc]
                    accepted[job_id] = job.folder
        for job_id in set(accepted) - done:
            job = disturbed.ask(lambda c, i=job_id: c.status(i))  # type: ignore[misc]
            if job and job.state is JobState.DONE:
                done.add(job_id)
            elif job and job.state.ended:
                disturbed.ask(lambda c, i=job_id: c.resume(i))  # type: ignore[misc]
        return len(done) == len(asked)

    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        go_on()
        # some jobs are to come to their end meanwhile
        time.sleep(2 * chance.random())
        disturbed.disturb()
    control.unlink(missing_ok=True)
    if disturbed.running.process.poll() is not None:
        disturbed.start()
    wait_for(go_on, 120)
    disturbed.running.stop()
    print(f"{disturbed.done} disturbances, {len(asked)} jobs")
    for job_id, name in asked.items():
        assert contents(Path(accepted[job_id])) == wanted[name], job_id
        others = [folder for folder in Path(accepted[job_id]).parent.iterdir() if str(folder) != accepted[job_id]]
        # a server may be killed between a folder and its job, which then gets another one
        assert not any(contents(folder) for folder in others), job_id
