"""A suite for ``void evaluate --suite``: pairs in the form of their own folder, wherever they came from."""

from __future__ import annotations

from pathlib import Path

from ...api.files import write_atomically
from ..layout import PLATE, ROTO, TRUTH, PairFolder
from ..source import PairSource
from .copycat import copy


def write(pair: PairSource, out: Path) -> list[str]:
    """Copy a pair's sequences bit for bit, and write its facts, last; returns notes for whoever exports."""
    target = PairFolder(out / pair.name)
    for name, found in {PLATE: pair.plate, TRUTH: pair.truth, **pair.masks}.items():
        # a truth that is the same in every frame stays one file
        alone = name == TRUTH and len({*found.files.values()}) == 1
        copy(found, pair.frames[:1] if alone else pair.frames, target.folder / name, name)
    write_atomically(target.facts_file, pair.facts.model_dump_json(indent=1))
    return [] if ROTO in pair.masks else ["has no roto: engines cannot be run on it, results can be judged"]
