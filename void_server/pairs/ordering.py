"""A set of pairs as it was ordered: how many, from which seed, of which kinds, and how they are to look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from ..api.errors import SettingError
from . import check, index
from .drawing import seed_of
from .kinds import KINDS
from .layout import PairFolder, pairs_in
from .making import Look, Report, make


@dataclass(frozen=True)
class Order:
    """A set of pairs; what is drawn for each depends on ``seed`` and its number alone."""

    count: int
    seed: int = 1
    #: The kinds to take; all where none is named.
    kinds: tuple[str, ...] = ()
    look: Look = field(default_factory=Look)
    #: Blender's executable, or a Python with bpy; empty for what is found.
    blender: str = ""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise SettingError("A set has one pair or more; give --count.")
        if unknown := [kind for kind in self.kinds if kind not in KINDS]:
            raise SettingError(f"There is no kind of scene {unknown[0]!r}; take one of {', '.join(KINDS)}.")

    def kind(self, number: int) -> str:
        """The kind of pair ``number``, counted from 0: all come equally often, in an order drawn from the seed."""
        kinds = self.kinds or tuple(KINDS)
        turn, place = divmod(number, len(kinds))
        return Random(seed_of(self.seed, turn)).sample(kinds, len(kinds))[place]

    def folder(self, out: Path, number: int) -> Path:
        """The folder of pair ``number``."""
        return out / f"{number + 1:04d}_{self.kind(number)}"

    def make(self, out: Path, number: int, report: Report, threads: int = 0) -> PairFolder:
        """Make pair ``number``, or go on with it, as :func:`void_server.pairs.making.make`."""
        return make(
            self.folder(out, number),
            seed_of(self.seed, number),
            self.look,
            report,
            kind=self.kind(number),
            blender=self.blender,
            threads=threads,
        )

    def done(self, out: Path, number: int) -> bool:
        """Whether pair ``number`` is finished."""
        return PairFolder(self.folder(out, number)).facts_file.is_file()

    def to_dict(self) -> dict[str, Any]:
        """The order as plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Order:
        """What :meth:`to_dict` gave. Raises KeyError, TypeError or :class:`SettingError` for anything else."""
        return cls(data["count"], data["seed"], tuple(data["kinds"]), Look(**data["look"]), data["blender"])


def look_through(folder: Path) -> dict[str, list[str]]:
    """Check all finished pairs in a folder, and write the page that shows them; the faults of each by its name."""
    pairs = pairs_in(folder)
    found = {pair.name: check.faults(pair) for pair in pairs}
    index.write(folder, pairs, found)
    return found
