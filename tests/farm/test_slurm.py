"""Slurm, all of it: controller, node daemon, two GPUs."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import pytest

from void_server.api.version import VersionFolder
from void_server.farm import control, site
from void_server.farm.schedulers import slurm
from void_server.farm.submit import submit

from . import slurm_cluster
from .conftest import open_gate, same
from .jobs import Make, handed, planned, results_of, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if reason := slurm_cluster.lacking():
        pytest.skip(f"{reason}: Slurm was not tested")
    with slurm_cluster.running(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture
def in_cluster(cluster: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, cluster[name])


@pytest.mark.usefixtures("in_cluster")
def test_slurm_does_the_stages_in_their_order(wanted: Make, site: site.Site, whole: VersionFolder) -> None:
    ((job, submission),) = submit([wanted(priority=40, cores=1, memory_gb=1)], site, "slurm")
    scheduler, ids = handed(job)
    until(lambda: (job.folder / "job.json").is_file() or "failed" in str(scheduler.states(ids)))
    logs = "".join(path.read_text() for path in (job.folder / "logs").iterdir())
    assert same(results_of(job), whole), logs
    until(lambda: set(scheduler.states(ids).values()) == {"not in the queue"})
    assert list(submission.ids) == ["check", "quadmask", "finish", "report"]


@pytest.mark.usefixtures("in_cluster")
def test_slurm_gives_each_task_its_gpu_and_its_licence(wanted: Make, site: site.Site, tmp_path: Path) -> None:
    job = planned(wanted({"engine": "void"}, limits={"void": 1}, cores=1, gpu_task_memory_gb=1), site, "slurm")
    script = tmp_path / "gpu.sh"
    script.write_text(f'#!/bin/sh\necho "gpu $CUDA_VISIBLE_DEVICES" > {tmp_path}/seen\n')
    options = slurm.options(job, job.stage("remove"), site, "group", [])
    subprocess.run(["sbatch", *options, "--wait", str(script)], check=True, capture_output=True)
    assert (tmp_path / "seen").read_text() in ("gpu 0\n", "gpu 1\n")
    refused = slurm.options(
        dataclasses.replace(job, fields=dataclasses.replace(job.fields, gpus=3)), job.stage("remove"), site, "g", []
    )
    assert subprocess.run(["sbatch", *refused, str(script)], check=False, capture_output=True).returncode != 0


@pytest.mark.usefixtures("in_cluster")
def test_slurm_job_that_was_stopped_goes_on(wanted: Make, gated: site.Site, whole: VersionFolder) -> None:
    ((job, _),) = submit([wanted(frames_per_task=12, cores=1, memory_gb=1)], gated, "slurm")
    scheduler, ids = handed(job)
    until(lambda: any((job.folder / "plate").glob("void_*.exr")))
    scheduler.cancel(ids, gated)
    until(lambda: set(scheduler.states(ids).values()) == {"not in the queue"})
    made = {path: path.stat().st_mtime_ns for path in (job.folder / "plate").glob("void_*.exr")}
    assert not (job.folder / "job.json").exists()
    open_gate()
    control.again(job, gated)
    until(lambda: (job.folder / "job.json").is_file())
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert same(results_of(job), whole)
