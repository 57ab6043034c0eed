"""What rests in a shot whose camera does, at the analysed size, and what departs from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from ...imaging.channels import largest
from ...imaging.exr import FloatImage
from ...imaging.footage import Footage
from ...imaging.light import Light, LitScene
from ...imaging.masks import Mask, Masks, grown
from ...imaging.parallel import results
from ...imaging.runs import runs
from ...imaging.sequence import spread
from ...imaging.temporal import median

#: Something moves where frames this far apart differ by so much, display-referred, over this share of the frame.
_APART, _DIFFERS, _LEAST = 3, 0.05, 0.0005
#: So many frames tell what rests; what departs from it by so much, and by so many times what is usual there, moves.
_SAMPLES, _DEPARTS, _ABOVE_NOISE = 48, 0.03, 4.0
#: Rows that are worked on at once.
_BAND = 32


def anything_moves(footage: Footage, hidden: Sequence[Mask]) -> bool:
    """Whether anything but light and noise changes in what is seen: most shots are settled here."""
    kernel = np.ones((3, 3), np.uint8)

    def differs(index: int) -> bool:
        one, other = (footage.small_plate(number) for number in (index, index + _APART))
        change = largest(np.abs(cv2.GaussianBlur(other - one, (0, 0), 1.5)))
        seen = cv2.dilate((hidden[index] | hidden[index + _APART]).astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
        moved = cv2.morphologyEx(((change > _DIFFERS) & seen).astype(np.uint8), cv2.MORPH_OPEN, kernel)
        return bool(np.count_nonzero(moved) > _LEAST * moved.size)

    pairs = [index for run in runs(footage.frames) for index in run[:-_APART]]
    return any(results(differs, pairs))


class Resting:
    """The analysed frames, what rests in them, and what departs from that; all in the mean light.

    ``hidden`` says, frame by frame, where no scene is seen; ``removed``, where the object is to blame and not
    a shadow or reflection of it that lies apart, on a thing that moves.
    """

    def __init__(self, footage: Footage, hidden: Masks, removed: Masks, light: Light) -> None:
        self.footage, self.hidden, self.removed = footage, hidden, removed
        #: What moves is followed in each of these for itself.
        self.runs = runs(footage.frames)
        self._near = Masks.of(grown(mask, 1) for mask in hidden)
        self._samples = spread(len(hidden), _SAMPLES)
        self.lit: LitScene | None = None
        if light.changes:
            pictures = [footage.small_plate(index) for index in self._samples]
            free = [~self._near[index] for index in self._samples]
            self.lit = LitScene.fitted(light, footage.curve, self._samples, pictures, free)
        nothing = np.zeros(footage.small_size, bool)
        self.rest, self.noise = self._resting(dict.fromkeys(self._samples, nothing))
        self._departs = Masks.of(results(self._departing, range(len(hidden))))

    def plate(self, index: int) -> FloatImage:
        """The frame, (height, width, 3), display-referred."""
        rgb = self.footage.small_plate(index)
        return rgb if self.lit is None else self.lit.in_mean_light(index, rgb)

    def departs(self, index: int) -> Mask:
        """Where the frame departs from the scene at rest."""
        return self._departs[index]

    def leave_out(self, covered: Callable[[int], Mask]) -> None:
        """See the scene at rest without what is ``covered`` in each frame, wherever any frame does."""
        self.rest, _ = self._resting({index: covered(index) for index in self._samples})
        self._departs = Masks.of(results(self._departing, range(len(self.hidden))))

    def _resting(self, covered: Mapping[int, Mask]) -> tuple[FloatImage, FloatImage]:
        """The median of what is seen and not ``covered``, and how far frames usually depart from it."""
        height, width = self.footage.small_size
        plates = [self.plate(index) for index in self._samples]
        free = [~self._near[index] for index in self._samples]
        rest, noise = np.empty((height, width, 3), np.float32), np.empty((height, width), np.float32)
        for top in range(0, height, _BAND):
            rows = slice(top, top + _BAND)
            samples = np.stack([plate[rows].reshape(-1, 3) for plate in plates])
            seen = np.stack([mask[rows].ravel() for mask in free])
            clear = np.stack([seen[i] & ~covered[index][rows].ravel() for i, index in enumerate(self._samples)])
            found = median(samples, np.where(clear.any(axis=0), clear, seen))
            rest[rows] = found.reshape(-1, width, 3)
            away = largest(np.abs(samples - found))[..., None]
            noise[rows] = median(away, seen)[:, 0].reshape(-1, width)
        return rest, cv2.blur(noise, (5, 5))

    def _departing(self, index: int) -> Mask:
        away = largest(np.abs(cv2.GaussianBlur(self.plate(index) - self.rest, (0, 0), 1)))
        found = ((away > np.maximum(_DEPARTS, _ABOVE_NOISE * self.noise)) & ~self._near[index]).astype(np.uint8)
        found = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        return (cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)) > 0) & ~self.hidden[index]
