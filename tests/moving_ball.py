"""A shot to find an object in, and how well it was found."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from void_server.quadmask import segmentation

SIZE = (96, 160)


def ball_at(index: int) -> tuple[int, int]:
    return 30 + 9 * index, 50 + 2 * index


class Moving:
    """A red ball over a textured floor, and a blue box that stands; frames as they are asked for."""

    def __init__(self, count: int = 8) -> None:
        rng = np.random.default_rng(0)
        floor = cv2.GaussianBlur(rng.random((*SIZE, 3), np.float32), (0, 0), 2) * 0.3 + 0.3
        self._floor, self._count = floor.astype(np.float32), count
        self.asked: list[int] = []

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> np.ndarray:
        self.asked.append(index)
        frame = self._floor.copy()
        cv2.rectangle(frame, (120, 10), (145, 30), (0.1, 0.1, 0.8), cv2.FILLED)
        cv2.circle(frame, ball_at(index), 14, (0.8, 0.1, 0.1), cv2.FILLED)
        return frame

    def truth(self, index: int) -> np.ndarray:
        return cv2.circle(np.zeros(SIZE, np.uint8), ball_at(index), 14, 1, cv2.FILLED) > 0


def box_around(index: int) -> tuple[float, float, float, float]:
    x, y = ball_at(index)
    return x - 17, y - 17, x + 18, y + 18


def mattes(segmenter: segmentation.Segmenter, frames: Any, hints: Any) -> dict[tuple[int, int], np.ndarray]:
    found: dict[tuple[int, int], np.ndarray] = {}
    for number, index, matte in segmenter.follow(frames, hints):
        assert (number, index) not in found
        assert matte.shape == frames[index].shape[:2]
        assert matte.min() >= 0
        assert matte.max() <= 1
        found[number, index] = matte
    return found


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())
