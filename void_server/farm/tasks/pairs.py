"""Tasks that make counterfactual pairs: one pair a task, and a last one that looks through them all."""

from __future__ import annotations

from pathlib import Path

from ...api.job import Progress, Report
from ...pairs.index import PAGE
from ...pairs.ordering import Order, look_through
from ..job import PAIRS


def do(order: Order, folder: Path, stage: str, task: int, report: Report, *, threads: int) -> tuple[str, ...]:
    """Do a task of a set of pairs that lies in ``folder``; the faults of all of them are the last one's warnings."""
    if stage == PAIRS:
        order.make(folder, task, lambda what, share: report(Progress(what, None, share, None)), threads)
        return ()
    found = look_through(folder)
    return tuple(f"{name}: {fault}" for name, faults in found.items() for fault in faults)


def done(order: Order, folder: Path, stage: str, task: int) -> bool:
    """Whether a task is done, by the files that are there."""
    return order.done(folder, task) if stage == PAIRS else (folder / PAGE).is_file()
