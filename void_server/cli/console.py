"""The command's output on a terminal, and in pipes and files."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from ..api.job import Job, JobState

# Columns for what is not read on a terminal: no line is that long.
_UNBROKEN = 100_000
_STYLES = {
    JobState.DONE: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
    JobState.INTERRUPTED: "yellow",
    JobState.RUNNING: "cyan",
    JobState.QUEUED: "default",
}


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} left"


class JobProgress:
    """A progress bar on a terminal, a line per stage elsewhere, nothing if switched off; all on stderr.

    What goes to a service is said in any case, once.
    """

    def __init__(self, job: Job, wanted: bool) -> None:
        self._wanted = wanted
        self._stage = self._sending = ""
        self._bar: Progress | None = None
        self._job = job

    def __enter__(self) -> JobProgress:
        console = Console(stderr=True)
        if self._wanted and console.is_terminal:
            left = TextColumn("{task.fields[frame]}  {task.fields[left]}")
            columns = TextColumn("{task.description:<26}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), left
            self._bar = Progress(*columns, console=console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self._job.state.value, total=1.0, frame="", left="")
        elif self._wanted:
            print(f"job {self._job.id}", file=sys.stderr)
        return self

    def update(self, job: Job) -> None:
        """Show the job's current progress."""
        progress = job.progress
        if progress.sending not in ("", self._sending):
            self._sending = progress.sending
            line = f"sending        {progress.sending}"
            if self._bar is not None:
                self._bar.console.print(line, soft_wrap=True, markup=False, highlight=False)
            else:
                print(line, file=sys.stderr)
        stage = progress.stage or job.state.value
        if self._bar is not None:
            frame = f"frame {progress.frame}" if progress.frame is not None else ""
            left = _left(progress.seconds_left)
            self._bar.update(self._task, description=stage, completed=progress.fraction, frame=frame, left=left)
        elif self._wanted and stage != self._stage:
            print(f"{progress.fraction:4.0%} {stage}", file=sys.stderr)
        self._stage = stage

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


class ByteProgress:
    """A progress bar for transfers; call it with the bytes done and the total."""

    def __init__(self, title: str, wanted: bool) -> None:
        console = Console(stderr=True)
        columns = TextColumn(f"{title:<26}"), BarColumn(), DownloadColumn()
        self._bar = Progress(*columns, console=console, transient=True, disable=not (wanted and console.is_terminal))

    def __enter__(self) -> ByteProgress:
        self._bar.start()
        self._task = self._bar.add_task("")
        return self

    def __call__(self, done: int, total: int) -> None:
        """Update the bytes done."""
        self._bar.update(self._task, completed=done, total=total)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


class StepProgress:
    """A progress bar on a terminal, a line every few seconds elsewhere; call it with the share done and words."""

    #: Seconds between two lines.
    _EVERY = 10.0

    def __init__(self, wanted: bool) -> None:
        console = Console(stderr=True)
        self._lines = wanted and not console.is_terminal
        self._last = -math.inf
        columns = BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.description}")
        self._bar = Progress(*columns, console=console, transient=True, disable=not wanted or self._lines)

    def __enter__(self) -> StepProgress:
        self._bar.start()
        self._task = self._bar.add_task("", total=1.0)
        return self

    def __call__(self, share: float, words: str) -> None:
        """Show how far it is."""
        self._bar.update(self._task, completed=share, description=words)
        if self._lines and (time.monotonic() - self._last > self._EVERY or share >= 1):
            self._last = time.monotonic()
            print(f"{share:4.0%} {words}", file=sys.stderr)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


def printer() -> Console:
    """A console for stdout: as wide as the terminal, unlimited elsewhere."""
    console = Console()
    if not console.is_terminal:
        console.width = _UNBROKEN
    return console


def show_jobs(jobs: Sequence[Job], *, again: bool = False) -> None:
    """Show a table of jobs, replacing the previous one if shown ``again``."""
    console = printer()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("id", "state", "", "stage", "begun", "folder"):
        table.add_column(title, overflow="fold")
    for job in jobs:
        stage = str(job.error) if job.error else f"{job.progress.stage} {_left(job.progress.seconds_left)}"
        table.add_row(
            job.id, _state(job), f"{job.progress.fraction:.0%}", escape(stage), _begun(job), escape(job.folder)
        )
    if again:
        console.clear()
    console.print(table if jobs else "no jobs yet")


def show_job(job: Job) -> None:
    """Show a job, one line per field."""
    progress = job.progress
    frame = f"frame {progress.frame}" if progress.frame is not None else ""
    far = [f"{progress.fraction:.0%}", progress.stage, frame, _left(progress.seconds_left)]
    lines = {
        "id": job.id,
        "state": _state(job),
        "progress": "  ".join(filter(None, far)),
        "sending": escape(progress.sending),
        "begun": _begun(job),
        "folder": escape(job.folder),
        "error": escape(str(job.error or "")),
    }
    console = printer()
    for name, value in lines.items():
        if value:
            console.print(f"{name:<10}{value}", soft_wrap=True, highlight=False)
    for warning in job.warnings:
        console.print(f"{'warning':<10}{escape(warning)}", soft_wrap=True, highlight=False)


def _state(job: Job) -> str:
    return f"[{_STYLES[job.state]}]{job.state.value}[/]"


def _begun(job: Job) -> str:
    return time.strftime("%d %b %H:%M", time.localtime(job.created))
