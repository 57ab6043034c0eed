"""CopyCat's and BigCat's form: an Input and a Ground Truth sequence for each pair, frame by frame, as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

from ...api.files import is_written, replacing
from ...imaging.sequence import Sequence
from ..source import PairSource

INPUT, GROUND_TRUTH = "input", "ground_truth"


def write(pair: PairSource, out: Path) -> list[str]:
    """Copy plate and truth of a pair bit for bit; returns no notes. Raises :class:`SequenceError` for a gap."""
    pair.check_steady("CopyCat reads every frame")
    for role, found in ((INPUT, pair.plate), (GROUND_TRUTH, pair.truth)):
        copy(found, pair.frames, out / role / pair.name, pair.name)
    return []


def copy(found: Sequence, frames: tuple[int, ...], folder: Path, name: str) -> None:
    """Copy frames of a sequence to ``folder/name.%04d``; those that are there are left as they are."""
    for frame in frames:
        source = found.path(frame)
        target = folder / f"{name}.{frame:04d}{source.suffix}"
        if not is_written(target):
            with replacing(target, parents=True) as temporary:
                shutil.copyfile(source, temporary)
