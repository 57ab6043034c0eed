"""What the plugin adds to Nuke's start: ``python benchmarks/nuke_start.py``.

Times init.py and menu.py in fresh interpreters with the tests' stand-in for Nuke, whose own share is measured apart and
is the baseline, as are the packages that only the first press loads.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUNS = 9
CASES = {
    "stand-in alone (baseline)": "",
    "init.py": "run('init.py')",
    "init.py and menu.py": "run('init.py'); run('menu.py')",
    "and the first press": "run('init.py'); run('menu.py'); import void_nuke.buttons",
}
PROGRAM = """
import sys, time
begin = time.perf_counter()
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests/nuke_standin"]
import nuke
def run(name): nuke.standin_run(sys.argv[1] + "/" + name)
{}
print(time.perf_counter() - begin)
"""


def seconds(code: str) -> float:
    """The median time of a program in fresh interpreters."""
    command = [sys.executable, "-c", PROGRAM.format(code), str(ROOT)]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(RUNS)]
    return statistics.median(float(run.stdout) for run in runs)


def main() -> None:
    """Print the table."""
    baseline = seconds(CASES["stand-in alone (baseline)"])
    print(f"{'case':<28} {'ms':>7} {'beyond the baseline':>20} {'ratio':>7}")
    for name, code in CASES.items():
        took = seconds(code)
        print(f"{name:<28} {1000 * took:>7.1f} {1000 * (took - baseline):>17.1f} ms {took / baseline:>7.2f}")


if __name__ == "__main__":
    main()
