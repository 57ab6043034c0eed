"""What moves in the sample shots: a figure that walks, a ball, blocks that fall. Premultiplied RGBA, antialiased."""

from __future__ import annotations

import math

import cv2
import numpy as np

from ..imaging.exr import FloatImage

_FINE = 2  # drawn this much larger, then averaged down


def _shaded(cover: FloatImage, colour: tuple[float, float, float], light: FloatImage) -> FloatImage:
    rgb = np.array(colour, np.float32) * light[..., None]
    return np.concatenate([rgb, np.ones_like(light)[..., None]], axis=-1) * cover[..., None]


def _over(below: FloatImage, above: FloatImage) -> FloatImage:
    return below * (1 - above[..., 3:]) + above


def figure(height: int, phase: float) -> FloatImage:
    """A walking figure ``height`` pixels tall in the middle of (height, height, 4); ``phase`` counts its steps."""
    size = height * _FINE
    picture = np.zeros((size, size, 4), np.float32)
    x = np.linspace(-1, 1, size, dtype=np.float32)[None, :].repeat(size, axis=0)
    light = np.clip(0.75 - 0.9 * x, 0.25, 1.25)

    def limb(points: list[tuple[float, float]], thick: float, colour: tuple[float, float, float]) -> None:
        nonlocal picture
        mask = np.zeros((size, size), np.uint8)
        line = np.array([[round((0.5 + px) * size), round(py * size)] for px, py in points], np.int32)
        cv2.polylines(mask, [line], False, 255, max(1, round(thick * size)), cv2.LINE_AA)
        picture = _over(picture, _shaded(mask.astype(np.float32) / np.float32(255), colour, light))

    swing = math.sin(2 * math.pi * phase)
    jeans, coat, skin = (0.03, 0.06, 0.17), (0.42, 0.045, 0.03), (0.5, 0.28, 0.18)
    limb([(0.0, 0.33), (-0.05 - 0.06 * swing, 0.45), (-0.09 * swing, 0.56)], 0.05, (0.3, 0.03, 0.02))
    limb([(0.0, 0.55), (-0.03 - 0.07 * swing, 0.76), (-0.13 * swing - 0.02, 0.965)], 0.075, (0.02, 0.045, 0.13))
    limb([(0.0, 0.55), (0.03 + 0.07 * swing, 0.76), (0.13 * swing - 0.02, 0.975)], 0.08, jeans)
    limb([(0.0, 0.3), (0.0, 0.55)], 0.15, coat)
    limb([(0.0, 0.3), (0.05 + 0.05 * swing, 0.43), (0.1 * swing, 0.54)], 0.055, (0.5, 0.06, 0.04))
    limb([(0.0, 0.13), (0.005, 0.14)], 0.13, skin)
    limb([(-0.08, 0.085), (0.1, 0.085)], 0.02, (0.25, 0.02, 0.02))
    limb([(-0.02, 0.06), (0.03, 0.06)], 0.07, (0.3, 0.03, 0.02))
    return cv2.resize(picture, (height, height), interpolation=cv2.INTER_AREA)


def ball(diameter: int, turned: float) -> FloatImage:
    """A striped ball as (diameter, diameter, 4), rolled on by ``turned`` of its diameters."""
    size = diameter * _FINE
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) * (2.04 / size) - 1.02
    inside = x * x + y * y < 1
    z = np.sqrt(np.clip(1 - x * x - y * y, 0, 1))
    angle = np.arctan2(x, z) * 0.55 + np.arctan2(y, x) * 0.45 - 2 * turned
    stripe = (np.sin(6 * angle) > 0)[..., None]
    colour = np.where(stripe, np.array([0.75, 0.32, 0.03]), np.array([0.7, 0.66, 0.55]))
    light = np.clip(0.35 + 0.5 * z - 0.35 * x - 0.45 * y, 0.06, 1.3)[..., None]
    picture = np.concatenate([colour * light, np.ones_like(light)], axis=-1) * inside[..., None]
    return cv2.resize(picture.astype(np.float32), (diameter, diameter), interpolation=cv2.INTER_AREA)


def block(height: int, fallen: float, colour: tuple[float, float, float]) -> FloatImage:
    """A block ``height`` pixels tall, tipped over to the right by ``fallen`` of a right angle.

    As (height, 3 height, 4), with the edge over which it tips in the middle of the lowest row.
    """
    size = height * _FINE
    thick, turn = 0.22 * size, math.pi / 2 * fallen
    corners = np.array([(-thick, 0), (0, 0), (0, -0.95 * size), (-thick, -0.95 * size)])
    turned = corners @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    lifted = turned - [0, max(float(turned[:, 1].max()), 0.0)]
    mask = np.zeros((size, 3 * size), np.uint8)
    cv2.fillConvexPoly(mask, np.round(lifted + np.array([1.5 * size, size - 1])).astype(np.int32), 255, cv2.LINE_AA)
    light = np.full(mask.shape, 1.1 - 0.3 * fallen, np.float32)
    picture = _shaded(mask.astype(np.float32) / np.float32(255), colour, light)
    return cv2.resize(picture, (3 * height, height), interpolation=cv2.INTER_AREA)
