"""How large must a farm be? Simulates a night's batch on 1 to 500 GPUs, from measured times of the stages.

    python benchmarks/farm.py [--removal SECONDS] [--load SECONDS] [--cpus N] [--measure FOLDER]

Each shot is a CPU task that finds the quadmask, a GPU task that removes, CPU tasks that finish its frames, and a
report. Two ways are compared:

in-task   each GPU task loads the model before it works
server    GPUs run inference servers, which load the model once a night (the baseline is in-task: ratio of makespans)

The CPU stages' times are measured on this machine: on the shot in FOLDER, or one of `void sample`. The times of removal
and loading are the ones given, as there may be no GPU here; the defaults are estimates, and say so in the table.
"""

from __future__ import annotations

import argparse
import heapq
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from void_server.api.shot import Shot
from void_server.farm.fields import Fields
from void_server.farm.plan import plan
from void_server.farm.tasks.run import run_tasks
from void_server.sample import write_sample


@dataclass(frozen=True)
class Times:
    """Seconds that each stage of a shot takes; ``finish`` is for each of its tasks."""

    quadmask: float
    load: float
    removal: float
    finish: float
    finish_tasks: int
    report: float


@dataclass(frozen=True)
class Night:
    """A batch's makespan in seconds, the share of it that GPUs computed, and how often models were loaded."""

    makespan: float
    busy: float
    loads: int


class Pool:
    """Machines of one kind; a task goes to the one that is free first."""

    def __init__(self, count: int) -> None:
        self._free = [(0.0, number) for number in range(count)]
        self._used: set[int] = set()

    def take(self, ready: float, seconds: float, first: float = 0.0) -> float:
        """When a task that is ready then, and takes so long, is done; ``first`` is what a machine's first one costs."""
        free, number = heapq.heappop(self._free)
        cost = seconds + (first if number not in self._used else 0.0)
        self._used.add(number)
        end = max(free, ready) + cost
        heapq.heappush(self._free, (end, number))
        return end

    @property
    def used(self) -> int:
        """How many machines had anything to do."""
        return len(self._used)


def simulate(shots: int, gpus: int, cpus: int, times: Times, *, server: bool) -> Night:
    """A batch of equal shots, all submitted at once, with so many slots for CPU tasks beside each GPU."""
    cpu, gpu = Pool(gpus * cpus), Pool(gpus)
    masks = [cpu.take(0.0, times.quadmask) for _ in range(shots)]
    removals = []
    for ready in sorted(masks):
        seconds = times.removal + (0.0 if server else times.load)
        removals.append(gpu.take(ready, seconds, times.load if server else 0.0))
    ends = []
    for ready in sorted(removals):
        finished = max(cpu.take(ready, times.finish) for _ in range(times.finish_tasks))
        ends.append(cpu.take(finished, times.report))
    makespan = max(ends)
    return Night(makespan, shots * times.removal / (makespan * gpus), gpu.used if server else shots)


def measured(folder: Path | None, load: float, removal: float) -> Times:
    """The CPU stages of one shot, done for real, task by task."""
    with tempfile.TemporaryDirectory() as temporary:
        if folder is None:
            folder = Path(temporary) / "shot"
            write_sample(folder, "walkby", (1920, 1080), range(1001, 1086))
        job = plan(Shot(str(folder / "plate"), str(folder / "roto")), Fields()).begin(Path(temporary) / "out")
        seconds: dict[str, float] = {}
        for stage in job.stages:
            begin = time.monotonic()
            for task in range(stage.tasks):
                run_tasks(job, stage.name, (task,), str, lambda _: None)
            seconds[stage.name] = (time.monotonic() - begin) / stage.tasks
        tasks = job.stage("finish").tasks
    return Times(seconds["quadmask"], load, removal, seconds["finish"], tasks, seconds["report"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--removal", type=float, default=60.0, help="seconds of the GPU task (estimate)")
    parser.add_argument("--load", type=float, default=60.0, help="seconds to load the model (estimate)")
    parser.add_argument("--cpus", type=int, default=4, help="slots for CPU tasks beside each GPU")
    parser.add_argument("--measure", type=Path, help="a shot with plate/ and roto/")
    given = parser.parse_args()
    times = measured(given.measure, given.load, given.removal)
    print(
        f"measured here: quadmask {times.quadmask:.0f} s, finish {times.finish_tasks} x {times.finish:.0f} s, report "
        f"{times.report:.0f} s; given: removal {times.removal:.0f} s, "
        f"loading {times.load:.0f} s, {given.cpus} CPU slots beside each GPU\n"
    )
    print("| shots | GPUs | in-task | GPUs compute | loads | server | GPUs compute | loads | server / in-task |")
    print("|---|---|---|---|---|---|---|---|---|")
    for shots in (1, 20, 200, 2000):
        for gpus in (1, 8, 50, 500):
            if gpus > 4 * shots:
                continue
            one, other = (simulate(shots, gpus, given.cpus, times, server=server) for server in (False, True))
            cells = [f"{_hours(night.makespan)} | {night.busy:.0%} | {night.loads}" for night in (one, other)]
            print(f"| {shots} | {gpus} | {' | '.join(cells)} | {other.makespan / one.makespan:.2f} |")


def _hours(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d}" if minutes >= 60 else f"{minutes} min"


if __name__ == "__main__":
    main()
