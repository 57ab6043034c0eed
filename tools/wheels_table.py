"""Looks up which pinned packages have no wheel where, for install.md: ``python tools/wheels_table.py``.

It takes half an hour, or less with the names of a few systems. It asks the package registry that uv is set up for, and
ends with an error where that does not answer.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "nuke_plugin")]

from void_server.api.errors import JobFailed  # noqa: E402
from void_server.cli import licences, wheels  # noqa: E402

PINS, PAGE = ROOT / "constraints.txt", ROOT / "docs" / "install.md"
_BEGIN, _END = "<!-- wheels -->\n", "<!-- end -->"
# that there is no wheel, or that the pinned version is not for this Python
_LACKING = re.compile(
    r"Wheels are required for `([^`]+)`|([\w.-]+)==\S+ (?:has no (?:usable )?wheels|depends on Python)"
)


def name_of(pin: str) -> str:
    """The name of a pinned package, as everybody normalises it."""
    return re.sub(r"[-_.]+", "-", pin.partition("==")[0]).lower()


def lacking(pins: Sequence[str], python: str, system: str) -> set[str]:
    """Those of the pinned packages that have no wheel for that Python on that system."""
    left, found = list(pins), set()
    while left:
        try:
            wheels.resolve(left, PINS, python, system, alone=True)
        except JobFailed as error:
            named = _LACKING.search(str(error))
            if named is None:
                raise
            found.add(name_of(named[1] or named[2]))
            left = [pin for pin in left if name_of(pin) not in found]
        else:
            break
    return found


def missing(systems: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """By package, then by system, the Pythons without a wheel of it."""
    pins = [line for line in PINS.read_text().splitlines() if line and not line.startswith("#")]
    found: dict[str, dict[str, list[str]]] = {}
    for system in systems:
        for python in wheels.PYTHONS:
            print(f"Python {python} on {system}", file=sys.stderr)
            # those that lacked one elsewhere by themselves, so that the others come to an end at once
            doubtful = [pin for pin in pins if name_of(pin) in found]
            for name in lacking([pin for pin in pins if pin not in doubtful], python, system):
                found.setdefault(name, {}).setdefault(system, []).append(python)
            for pin in doubtful:
                for name in lacking([pin], python, system):
                    found[name].setdefault(system, []).append(python)
    return found


def table(found: dict[str, dict[str, list[str]]], systems: Sequence[str]) -> str:
    """The table of the page."""
    extras = {name_of(one.name): ", ".join(one.extras) or "VOID itself" for one in licences.packages()}
    rows = ["| package | for | " + " | ".join(systems) + " |", "|---|---|" + "---|" * len(systems)]
    for name, where in sorted(found.items()):
        cells = [_cell(where.get(system, [])) for system in systems]
        rows.append(f"| {name} | {extras.get(name, 'others of these')} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def _cell(pythons: Sequence[str]) -> str:
    return "none" if len(pythons) == len(wheels.PYTHONS) else f"not {', '.join(pythons)}" if pythons else ""


if __name__ == "__main__":
    wanted = sys.argv[1:] or list(wheels.SYSTEMS)
    made = table(missing(wanted), wanted)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    PAGE.write_text(before + _BEGIN + made + _END + rest.partition(_END)[2], encoding="utf-8")
    print(made)
