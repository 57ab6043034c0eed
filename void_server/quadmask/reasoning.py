"""A reasoner's findings about a shot, region by region, so that people can see why, and correct them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..imaging.masks import Mask

#: What a region is.
BELONGING, ARTEFACT, OBJECT, UNKNOWN = "belonging", "artefact", "object", "unknown"


@dataclass(frozen=True)
class Region:
    """A part of the quadmask: what it is, why it is in, which rule or answer put it there, and how sure that is.

    ``mask`` gives it by frame index, at the analysed size.
    """

    name: str
    kind: str
    why: str
    rule: str
    confidence: float | None
    mask: Callable[[int], Mask] = field(repr=False)


@dataclass
class Reasoning:
    """All regions of a shot, the scene after the removal in words, and what an artist should know.

    ``contact`` is where an object that stands meets what it stands on: left, top, right, bottom as fractions of the
    frame. ``suggested`` are edits of cells that an artist may want, and that were not made. ``implied`` are regions
    that change although no picture shows it, for an engine that draws what would be there.

    ``asked`` says what was sent where, and ``answer`` is the reply, verbatim. ``device`` is the GPU the segmenter ran
    on, empty if it ran on none.
    """

    regions: list[Region] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    scene: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    answer: str = ""
    device: str = ""
    contact: tuple[float, float, float, float] | None = None
    suggested: list[str] = field(default_factory=list)
    implied: list[Region] = field(default_factory=list)

    def affected(self, index: int) -> Mask | None:
        """The pixels the removal affects in a frame; None if there are none."""
        return self._union(index, belongings=False)

    def belongings(self, index: int) -> Mask | None:
        """The belongings of the object in a frame; None if there are none."""
        return self._union(index, belongings=True)

    def _union(self, index: int, *, belongings: bool) -> Mask | None:
        masks = [region.mask(index) for region in self.regions if (region.kind == BELONGING) == belongings]
        return np.logical_or.reduce(masks) if masks else None

    def to_dict(self, frames: tuple[int, ...]) -> dict[str, Any]:
        """For reasoning.json: the regions, with where each is in its frames and how much of them it covers.

        Places are relative, 0..1 from the top left: the middle of the region.
        """
        regions = []
        for region in self.regions:
            places = {}
            for index, frame in enumerate(frames):
                mask = region.mask(index)
                if mask.any():
                    rows, columns = np.nonzero(mask)
                    x, y = np.median(columns) / mask.shape[1], np.median(rows) / mask.shape[0]
                    places[str(frame)] = {
                        "share": round(float(mask.mean()), 5),
                        "middle": [round(float(x), 4), round(float(y), 4)],
                    }
            words = {name: getattr(region, name) for name in ("name", "kind", "why", "rule", "confidence")}
            regions.append({**words, "frames": places})
        return {
            "regions": regions,
            "scene": self.scene,
            "asked": self.asked,
            "warnings": self.warnings,
            "suggested": self.suggested,
            "device": self.device,
        }
