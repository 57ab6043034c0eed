"""Regions that depart from the background, followed from frame to frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.camera import Mask

Labels = NDArray[np.int32]

#: So many pixels must two regions share to be the same one a frame later.
_SHARED = 12


@dataclass
class Chain:
    """One thing that departs from the background, over time: its pixels per frame, and the frames touching the object."""

    area: dict[int, int] = field(default_factory=dict)
    touching: list[int] = field(default_factory=list)

    @property
    def first(self) -> int:
        """Its first frame."""
        return min(self.area)

    @property
    def contact(self) -> int | None:
        """The first frame in which it touches the object, if it ever does."""
        return min(self.touching, default=None)


class Chains:
    """Links the regions of consecutive frames into chains (union-find over connected components)."""

    def __init__(self) -> None:
        self._parent: list[int] = [0]
        self._regions: list[tuple[int, int, bool]] = [(0, 0, False)]

    def _root(self, label: int) -> int:
        while self._parent[label] != label:
            self._parent[label] = self._parent[self._parent[label]]
            label = self._parent[label]
        return label

    def add(self, time: int, mask: Mask, near: Mask, before: Labels | None) -> Labels:
        """Label the regions of one frame, 0 elsewhere.

        ``near`` is where a region touches the object; ``before`` holds the labels of the frame before, in this frame's
        pixels.
        """
        count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        offset = len(self._parent) - 1
        labels = np.where(labels > 0, labels + offset, 0).astype(np.int32)
        touching = set(np.unique(labels[near]).tolist())
        for number in range(1, count):
            label = number + offset
            self._parent.append(label)
            self._regions.append((time, int(stats[number, cv2.CC_STAT_AREA]), label in touching))
        if before is not None:
            both = (labels > 0) & (before > 0)
            pairs, shared = np.unique(np.stack([labels[both], before[both]]), axis=1, return_counts=True)
            for label, other in pairs.T[shared >= _SHARED].tolist():
                self._parent[self._root(label)] = self._root(other)
        return labels

    def chains(self) -> dict[int, Chain]:
        """All chains, by the label that stands for each."""
        found: dict[int, Chain] = {}
        for label, (time, area, touching) in self._labelled():
            chain = found.setdefault(self._root(label), Chain())
            chain.area[time] = chain.area.get(time, 0) + area
            if touching:
                chain.touching.append(time)
        return found

    def _labelled(self) -> Iterator[tuple[int, tuple[int, int, bool]]]:
        return iter(list(enumerate(self._regions))[1:])

    def roots(self) -> Labels:
        """For each label, the label of its chain; 0 for 0."""
        return np.array([self._root(label) for label in range(len(self._parent))], np.int32)
