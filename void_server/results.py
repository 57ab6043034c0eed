"""Where everything that a job makes lies in its version folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .imaging.footage import SURVEY

REASONING = "reasoning.json"
_WORK = ".work"


@dataclass(frozen=True)
class Results:
    """Where a job's results lie in its version folder."""

    folder: Path

    def plate(self, frame: int) -> Path:
        """The counterfactual plate."""
        return self.folder / "plate" / f"void_plate.{frame:04d}.exr"

    def mattes(self, frame: int) -> Path:
        """The mattes of the four classes, and the blend."""
        return self.folder / "mattes" / f"void_mattes.{frame:04d}.exr"

    def quadmask(self, frame: int) -> Path:
        """The quadmask, as code/255."""
        return self.folder / "quadmask" / f"void_quadmask.{frame:04d}.exr"

    def roto(self, frame: int) -> Path:
        """The roto, where the job made it."""
        return self.folder / "roto" / f"void_roto.{frame:04d}.exr"

    @property
    def reasoning(self) -> Path:
        """Why each region is in the quadmask."""
        return self.folder / REASONING

    def told(self) -> dict[str, Any]:
        """What the reasoner told, empty where none was asked."""
        return dict(json.loads(self.reasoning.read_text())) if self.reasoning.is_file() else {}

    @property
    def work(self) -> Path:
        """What only the job itself needs."""
        return self.folder / _WORK

    @property
    def survey(self) -> Path:
        """What is there once the shot was looked at."""
        return self.work / SURVEY

    def warnings(self, part: str) -> Path:
        """What a part of the job, done by itself, has to say."""
        return self.work / f"warnings_{part}.json"
