"""What a pair is taken from: its sequences, what changes in them, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from ..api.errors import SequenceError
from ..api.shot import SCENE_LINEAR_REC709
from ..imaging import exr
from ..imaging.runs import runs
from ..imaging.sequence import Sequence
from ..imaging.window import Window
from ..quadmask import classes
from ..quadmask.classes import Quadmask
from .layout import CHANGE, EFFECTS, GRID, PLATE, QUADMASK, ROTO, TRUTH, PairFacts, PairFolder


@dataclass(frozen=True)
class PairSource:
    """The files of a pair, wherever they lie; ``truth`` has every frame of ``plate``.

    ``masks`` are the sequences that say what changes, as :data:`~void_server.pairs.layout` names them.
    """

    name: str
    plate: Sequence
    truth: Sequence
    masks: Mapping[str, Sequence]
    facts: PairFacts = field(default_factory=PairFacts)

    @property
    def frames(self) -> tuple[int, ...]:
        """The frames of the plate."""
        return self.plate.frames

    def check_steady(self, reader: str) -> None:
        """Raise :class:`SequenceError` where frames are missing in between, which ``reader`` cannot do without."""
        parts = runs(self.frames)
        if len(parts) > 1:
            before, after = self.frames[parts[0][-1]], self.frames[parts[1][0]]
            raise SequenceError(
                f"The pair {self.name} has a gap between the frames {before} and {after}, and {reader}; write these "
                "frames, or make two pairs of it."
            )

    @property
    def colour(self) -> str:
        """The colour space, as a configuration names it: what follows a comma tells how its numbers are kept."""
        space = self.facts.colour.partition(",")[0].strip()
        return SCENE_LINEAR_REC709 if space.lower() == "scene-linear rec.709" else space

    @property
    def changing(self) -> dict[str, Sequence]:
        """The masks of all that changes, whatever the reason: roto and change, else the wider quadmask."""
        if ROTO in self.masks and CHANGE in self.masks:
            return {name: self.masks[name] for name in (ROTO, CHANGE)}
        return self._quadmask(EFFECTS, QUADMASK)

    @property
    def published(self) -> dict[str, Sequence]:
        """The masks for a model that is trained as VOID was: the quadmask by its own rule, else all that changes.

        What is affected is in whole cells, as at inference, where the pair has it so.
        """
        found = next((name for name in (GRID, QUADMASK) if name in self.masks), None)
        return {found: self.masks[found]} if found else self.changing

    def _quadmask(self, *names: str) -> dict[str, Sequence]:
        for name in names:
            if name in self.masks:
                return {name: self.masks[name]}
        raise SequenceError(f"The pair {self.name} does not say what changes; it needs roto and change, or quadmask.")


def of_folder(pair: PairFolder) -> PairSource:
    """A pair in its own folder. Raises :class:`~void_server.api.errors.SequenceError` for what is missing."""
    plate, truth = pair.sequence(PLATE), pair.sequence(TRUTH)
    if len(truth.files) == 1:
        # where nothing moves in it, the truth is a single file
        truth = Sequence(truth.name, dict.fromkeys(plate.frames, next(iter(truth.files.values()))))
    masks = {name: pair.sequence(name) for name in (ROTO, CHANGE, EFFECTS, QUADMASK, GRID) if pair.has(name)}
    return PairSource(pair.name, plate, truth, masks, pair.facts())


def read_codes(masks: Mapping[str, Sequence], frame: int, window: Window) -> Quadmask:
    """The codes of a frame from roto and change, or from a quadmask. Raises InputError for files that are neither."""
    if CHANGE in masks:
        roto, change = (exr.read_matte(masks[name].path(frame), window) for name in (ROTO, CHANGE))
        found = change >= 0.5
        # on the object, what changes beside it changes too
        near = cv2.dilate(found.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        return classes.assemble(roto, np.where(roto >= 0.5, near, found))
    (quadmask,) = masks.values()
    return classes.read(quadmask.path(frame), window, quadmask.channels)
