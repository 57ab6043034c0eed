"""Things that move by themselves and pass behind what is removed, under a camera at rest.

Each is a layer of its own, found by :mod:`.passers`. Where it is hidden, its pixels come from the nearest frames before
and after that show them. What it only darkens, its shadow, is a ratio to the scene, so that the scene's own texture
stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.channels import largest
from ...imaging.colour import Curve
from ...imaging.exr import FloatImage
from ...imaging.footage import Footage
from ...imaging.light import Light, LitScene
from ...imaging.masks import Mask, Masks
from ...imaging.window import Window
from ..clip import Clip
from .sampling import INTERPOLATED, Plates, analysed_positions, lookup, sample

#: A frame's samples at positions (n, 2), in analysed pixels: RGB (n, 3), and where the scene is seen.
Sampler = Callable[[int, FloatImage], tuple[FloatImage, Mask]]

#: Frames farther away do not show a hidden thing.
REACH = 60
#: Less than this share changes nothing; from the other on, the scene is not seen.
_ACTS, _HIDES = 0.02, 0.15


@dataclass(frozen=True)
class Layer:
    """A thing as its reference frame shows it, in analysed pixels.

    ``poses`` (frames, 2, 3) take it to each frame, NaN where it is not; ``opaque`` (height, width) is its matte;
    ``shade`` (height, width, 3) the share of the scene's light that it leaves to what it does not cover.
    """

    poses: NDArray[np.float64]
    opaque: FloatImage
    shade: FloatImage

    def there(self, index: int) -> bool:
        """Whether the thing is in frame ``index``."""
        return bool(np.isfinite(self.poses[index, 0, 0]))

    def own(self, index: int, at: FloatImage) -> FloatImage:
        """Positions ``at``, (n, 2), of frame ``index`` in the reference frame."""
        inverse = cv2.invertAffineTransform(self.poses[index])
        return (at @ inverse[:, :2].T + inverse[:, 2]).astype(np.float32)

    def moved(self, index: int, own: FloatImage) -> FloatImage:
        """Positions ``own``, (n, 2), of the reference frame in frame ``index``."""
        pose = self.poses[index]
        return (own @ pose[:, :2].T + pose[:, 2]).astype(np.float32)

    @cached_property
    def _acts(self) -> FloatImage:
        """How much the thing or its shadow changes the scene: (height, width)."""
        return np.maximum(self.opaque, largest(np.abs(self.shade - 1)))

    def box(self, index: int) -> Window:
        """The analysed pixels of frame ``index`` around the thing and its shadow."""
        x, y, width, height = cv2.boundingRect((self._acts > _ACTS).astype(np.uint8))
        corners = np.array([[x, y], [x + width, y], [x, y + height], [x + width, y + height]], np.float32)
        moved = self.moved(index, corners)
        (left, top), (right, bottom) = np.floor(moved.min(axis=0)) - 1, np.ceil(moved.max(axis=0)) + 2
        return Window(int(left), int(top), int(right - left), int(bottom - top))

    def covers(self, index: int, least: float = _ACTS) -> Mask:
        """The pixels of frame ``index`` that show the thing or its shadow, if that changes them by more than ``least``:
        (height, width).
        """
        if not self.there(index):
            return np.zeros(self.opaque.shape, bool)
        size = self.opaque.shape[::-1]
        return cv2.warpAffine(self._acts, self.poses[index], size, flags=cv2.INTER_LINEAR) > least


class Passing:
    """All things that pass behind the object in a shot.

    ``hidden`` says, frame by frame, where no scene is seen; ``lit`` how a light that changes acts on the analysed
    pixels.
    """

    def __init__(self, layers: Sequence[Layer], hidden: Masks, lit: LitScene | None) -> None:
        self.layers, self._hidden, self._lit = layers, hidden, lit

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], light: Light, footage: Footage) -> Passing:
        """Those that :meth:`arrays` describes."""
        poses, opaque, shade = (arrays[f"passing_{name}"] for name in ("poses", "opaque", "shade"))
        layers = [Layer(*layer) for layer in zip(poses, opaque, shade, strict=True)]
        hidden = Masks(arrays["passing_hidden"], footage.small_size[1])
        strengths = arrays["passing_strengths"]
        return cls(layers, hidden, LitScene(light, strengths, footage.curve) if light.changes else None)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that :meth:`load` needs."""
        count, shape = len(self._hidden), self._hidden[0].shape
        lit = np.zeros((0, *shape, 3), np.float32) if self._lit is None else self._lit.strengths
        return {
            "passing_poses": np.array([layer.poses for layer in self.layers]).reshape(-1, count, 2, 3),
            "passing_opaque": np.array([layer.opaque for layer in self.layers], np.float32).reshape(-1, *shape),
            "passing_shade": np.array([layer.shade for layer in self.layers], np.float32).reshape(-1, *shape, 3),
            "passing_hidden": self._hidden.packed,
            "passing_strengths": lit,
        }

    def covers(self, clip: Clip, index: int, window: Window) -> tuple[Mask, Mask]:
        """The plate's pixels in ``window`` of a frame that show a thing or its shadow, and those in which it
        hides the scene, (height, width).
        """
        acted, hidden = np.zeros((2, window.height, window.width), bool)
        for layer in self.layers:
            if layer.there(index) and not (part := self._part(clip, layer, index, window)).empty:
                at, where = analysed_positions(clip, part), window.slices(part)
                for result, mask in ((acted, layer.covers(index)), (hidden, layer.covers(index, _HIDES))):
                    result[where] |= cv2.remap(mask.astype(np.float32), at, None, cv2.INTER_LINEAR) > 0
        return acted, hidden

    @staticmethod
    def _part(clip: Clip, layer: Layer, index: int, window: Window) -> Window:
        return clip.footage.at_full_size(layer.box(index)).intersection(window)

    def _sample(self, plates: Plates, source: int, there: FloatImage) -> tuple[FloatImage, Mask]:
        """The plate at analysed positions, as :func:`sample`, in the mean light."""
        values, seen = sample(plates, source, there)
        if self._lit is not None:
            strengths = np.stack([lookup(lamp, there) for lamp in self._lit.strengths])
            values = replace(self._lit, strengths=strengths).in_mean_light(source, values)
        return values, seen

    def lay_over(self, plates: Plates, index: int, window: Window, rgb: FloatImage, grain: FloatImage) -> None:
        """Put all things over the scene ``rgb``, (height, width, 3), display-referred, in ``window`` of a frame.

        In place, all in the mean light; ``grain``, (height, width), is the share of the plate's grain that each has.
        """
        near = [layer for layer in self.layers if layer.there(index)]
        if not near:
            return
        clip = plates.clip
        new = clip.blend(index, window) > 0
        for layer in near:
            part = self._part(clip, layer, index, window)
            if part.empty:
                continue
            where = window.slices(part)
            rows, columns = np.nonzero(new[where])
            at = analysed_positions(clip, part)[rows, columns]
            # copies, as two slices in a row cannot be written through an index
            pixels, shares = rgb[where][rows, columns], grain[where][rows, columns]
            self.over(layer, index, at, pixels, shares, clip.footage.curve, partial(self._sample, plates))
            rgb[where][rows, columns], grain[where][rows, columns] = pixels, shares

    def over(
        self,
        layer: Layer,
        index: int,
        at: FloatImage,
        rgb: FloatImage,
        grain: FloatImage,
        curve: Curve,
        sampler: Sampler,
        away: int = 1,
    ) -> None:
        """Put one thing over pixels ``rgb``, (n, 3), in place, at analysed positions ``at``, (n, 2), of a frame.

        Its looks come from frames at least so far ``away``.
        """
        own = layer.own(index, at)
        shade, opaque = lookup(layer.shade, own), lookup(layer.opaque, own)
        inside = (own >= 0).all(axis=1) & (own <= np.array(layer.opaque.shape[::-1]) - 1).all(axis=1)
        shaded = inside & (np.abs(shade - 1) > 0.004).any(axis=1)
        rgb[shaded] = curve.to_display(curve.to_linear(rgb[shaded]) * shade[shaded])
        colours, weights = self._looks(layer, index, own, inside & (opaque > 0.004), sampler, away)
        total = weights.sum(axis=0)
        found = total > 0
        share = weights[:, found] / total[found]
        cover = opaque[found]
        rgb[found] += ((colours[:, found] * share[..., None]).sum(axis=0) - rgb[found]) * cover[:, None]
        grain[found] += (INTERPOLATED * (share**2).sum(axis=0) - grain[found]) * cover

    def _looks(
        self, layer: Layer, index: int, own: FloatImage, wanted: Mask, sampler: Sampler, away: int
    ) -> tuple[FloatImage, FloatImage]:
        """The thing as the nearest frame before and the nearest after show it: RGB (2, n, 3), and weights (2, n)."""
        colours, weights = np.zeros((2, len(own), 3), np.float32), np.zeros((2, len(own)), np.float32)
        for side, step in enumerate((-1, 1)):
            missing = np.flatnonzero(wanted)
            for source in range(index + step * away, index + step * (REACH + 1), step):
                if not (len(missing) and 0 <= source < len(self._hidden)):
                    break
                if not layer.there(source):
                    continue
                there = layer.moved(source, own[missing])
                free = (~self._hidden[source]).astype(np.float32)
                inside = ((there >= 0) & (there <= np.array(free.shape[::-1], np.float32) - 1)).all(axis=1)
                asked = np.flatnonzero((lookup(free, there) > 0.99) & inside)
                if not len(asked):
                    continue
                values, seen = sampler(source, there[asked])
                found = asked[seen]
                colours[side, missing[found]] = values[seen]
                weights[side, missing[found]] = 1 / np.float32(source - index) ** 2
                missing = np.delete(missing, found)
        return colours, weights
