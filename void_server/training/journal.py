"""What a training tells of itself: a line of numbers for every step, a page, and TensorBoard's files if it is there."""

from __future__ import annotations

import json
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any

from ..plugins import installed
from . import page
from .config import Training
from .store import not_written, writing

#: The steps whose mean is told.
_RECENT = 50


class Journal:
    """The log of a training whose first ``done`` steps it has already; only one of its processes ``writes``."""

    def __init__(self, config: Training, skipped: dict[str, str], done: int, *, writes: bool) -> None:
        self._config, self._skipped, self._writes = config, skipped, writes
        self._path = config.out / "log.jsonl"
        self._entries = [entry for entry in _read(self._path) if entry["step"] <= done]
        self._recent: deque[dict[str, Any]] = deque(self._entries[-_RECENT:], maxlen=_RECENT)
        self._board: Any = None

    def __enter__(self) -> Journal:
        if self._writes:
            # steps beyond the last state are done again
            with writing(self._path) as temporary:
                temporary.write_text("".join(json.dumps(entry) + "\n" for entry in self._entries), encoding="utf-8")
            if installed("tensorboard"):
                from torch.utils.tensorboard import SummaryWriter

                self._board = SummaryWriter(str(self._config.out / "tensorboard"), purge_step=len(self._entries))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._board is not None:
            self._board.close()

    def note(self, step: int, **numbers: float) -> None:
        """Note what a step came to. Raises :class:`~void_server.api.errors.JobFailed` where it cannot be written."""
        entry = {"step": step, **numbers, "time": time.time()}
        self._entries.append(entry)
        self._recent.append(entry)
        if not self._writes:
            return
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise not_written(self._path, error) from error
        if self._board is not None:
            for name, number in numbers.items():
                self._board.add_scalar(name, number, step)

    @property
    def words(self) -> str:
        """Where the training is, for a terminal."""
        last = self._entries[-1]
        loss = sum(entry["loss"] for entry in self._recent) / len(self._recent)
        return f"step {last['step']} of {self._config.run.steps}, loss {loss:.4f}"

    def write_page(self, results: list[Path] | None = None) -> None:
        """Write the page anew; with the files that came of the training, once it has ended."""
        if self._writes:
            text = page.page(self._config, self._entries, self._skipped, results or [])
            with writing(self._config.out / "index.html") as temporary:
                temporary.write_text(text, encoding="utf-8")


def _read(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; a last one that a killed process has not finished is left out."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]
