"""A real Slurm of one node, for tests: munge, controller and node daemon as root, without systemd, with two GPUs.

The GPUs are character devices that stand for some; Slurm counts them, gives them out and tells the task which it got.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")


def lacking() -> str:
    """Why Slurm cannot be run here; empty if it can."""
    absent = [name for name in DAEMONS if not shutil.which(name, path=_path())]
    if absent:
        return f"{', '.join(absent)} not installed (Debian: apt install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "Slurm's daemons are run as root here, and this is somebody else"


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Slurm, until the block ends; gives the environment of its clients."""
    host = socket.gethostname().partition(".")[0]
    for name in ("state", "spool", "gpu"):
        (folder / name).mkdir()
    folder.chmod(0o755)
    for number in (0, 1):
        subprocess.run(["mknod", str(folder / "gpu" / f"nvidia{number}"), "c", "1", "3"], check=True)
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(os.urandom(1024))
    munge = folder / "munge.socket"
    (folder / "gres.conf").write_text(
        f"AutoDetect=off\nNodeName={host} Name=gpu Type=void File={folder}/gpu/nvidia[0-1]\n"
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 - 1000
    (folder / "slurm.conf").write_text(f"""\
ClusterName=void
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={munge}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=1000,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmdParameters=config_overrides
GresTypes=gpu
Licenses=void:1
KillWait=30
NodeName={host} NodeAddr=127.0.0.1 CPUs={max(2, os.cpu_count() or 2)} RealMemory={memory} Gres=gpu:void:2 State=UNKNOWN
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
""")
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": _path()}
    files = [f"--{name}={folder / file}" for name, file in (("pid-file", "munge.pid"), ("log-file", "munge.log"))]
    try:
        for command in (
            ["munged", "--force", f"--key-file={key}", f"--socket={munge}", f"--seed-file={folder}/seed", *files],
            ["slurmctld"],
            ["slurmd"],
        ):
            subprocess.run(command, env=environment, check=True, capture_output=True)
        _wait_until_idle(environment)
        yield environment
    finally:
        for daemon in ("slurmd", "slurmctld", "munge"):
            _stop(folder / f"{daemon}.pid")


def _wait_until_idle(environment: dict[str, str]) -> None:
    for _ in range(300):
        done = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True, check=False)
        if done.stdout.strip() == "idle":
            return
        time.sleep(0.1)
    raise RuntimeError(f"Slurm's node is not idle: {done.stdout}{done.stderr}")


def _stop(pid: Path) -> None:
    if pid.is_file():
        subprocess.run(["kill", pid.read_text().strip()], check=False, capture_output=True)
