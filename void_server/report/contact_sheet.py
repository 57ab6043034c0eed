"""A few frames of a shot side by side: plate, quadmask, result, difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ..imaging.exr import FloatImage
from ..quadmask.classes import AFFECTED, OVERLAP, REMOVE, Quadmask

Picture = NDArray[np.uint8]

#: How the classes are shown wherever they are shown, as RGB.
COLOURS = {REMOVE: (226, 62, 62), OVERLAP: (200, 70, 200), AFFECTED: (240, 170, 40)}
LEGEND = {REMOVE: "remove", OVERLAP: "overlap", AFFECTED: "affected"}

_WIDTH = 480
_GROUND = (38, 38, 38)
_TEXT = (205, 205, 205)
_GAP = 10
_LINE = 48
_AMPLIFIED = 4
_SIDE = 190


@dataclass(frozen=True)
class Thumbnail:
    """One frame, small: plate and result display-referred (height, width, 3), and the quadmask (height, width).

    ``result`` is None where the job stopped after the quadmask. ``labels`` are words at relative places (x, y).
    """

    frame: int
    plate: FloatImage
    result: FloatImage | None
    codes: Quadmask
    labels: tuple[tuple[str, float, float], ...] = ()


def _shrunk(thumbnail: Thumbnail) -> Thumbnail:
    height, width = thumbnail.codes.shape
    if width <= _WIDTH:
        return thumbnail
    size = _WIDTH, max(1, round(height * _WIDTH / width))

    def area(image: FloatImage | None) -> FloatImage | None:
        return None if image is None else cv2.resize(image, size, interpolation=cv2.INTER_AREA)

    plate = cv2.resize(thumbnail.plate, size, interpolation=cv2.INTER_AREA)
    codes = cv2.resize(thumbnail.codes, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return replace(thumbnail, plate=plate, result=area(thumbnail.result), codes=codes)


def _bytes(image: FloatImage) -> Picture:
    return np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)


def overlay(plate: FloatImage, codes: Quadmask) -> Picture:
    """The plate in grey with its classes in colour, 8-bit RGB."""
    grey = _bytes(plate).mean(axis=-1, keepdims=True).repeat(3, axis=-1) * 0.8
    shown = grey.copy()
    for code, colour in COLOURS.items():
        where = codes == code
        shown[where] = 0.35 * grey[where] + 0.65 * np.array(colour)
    return shown.astype(np.uint8)


def _labelled(picture: Picture, labels: Sequence[tuple[str, float, float]]) -> Picture:
    """The picture with words on it, none over another."""
    height, width = picture.shape[:2]
    taken: list[int] = []
    for text, x, y in labels:
        (wide, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
        left = max(2, min(round(x * width) - wide // 2, width - wide - 2))
        line = max(12, min(round(y * height), height - 6))
        while any(abs(line - other) < 15 for other in taken) and line > 24:
            line -= 15
        taken.append(line)
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(picture, text, (left, line), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, thickness, cv2.LINE_AA)
    return picture


def _difference(plate: FloatImage, result: FloatImage) -> Picture:
    return _bytes(np.abs(plate - result) * _AMPLIFIED)


def _write(sheet: Picture, text: str, x: int, y: int, size: float = 0.9, colour: tuple[int, int, int] = _TEXT) -> None:
    cv2.putText(sheet, text, (x, y), cv2.FONT_HERSHEY_DUPLEX, size, colour, 1, cv2.LINE_AA)


def contact_sheet(thumbnails: Sequence[Thumbnail]) -> bytes:
    """The sheet as PNG: a column for each frame, a row each for plate, quadmask, result and difference."""
    small = [_shrunk(thumbnail) for thumbnail in thumbnails]
    rows: list[tuple[str, str, list[Picture]]] = [
        ("plate", "", [_bytes(t.plate) for t in small]),
        ("quadmask", "", [_labelled(overlay(t.plate, t.codes), t.labels) for t in small]),
    ]
    made = [(t.plate, t.result) for t in small if t.result is not None]
    if made:
        rows.append(("result", "", [_bytes(result) for _, result in made]))
        rows.append(("difference", f"x {_AMPLIFIED}", [_difference(plate, result) for plate, result in made]))
    height, width = small[0].codes.shape
    sheet = np.full(
        (_LINE + len(rows) * (height + _GAP) + _LINE, _SIDE + len(small) * (width + _GAP), 3), _GROUND, np.uint8
    )
    for column, thumbnail in enumerate(small):
        _write(sheet, str(thumbnail.frame), _SIDE + column * (width + _GAP), _LINE - 15)
    for row, (title, remark, pictures) in enumerate(rows):
        top = _LINE + row * (height + _GAP)
        _write(sheet, title, _GAP, top + height // 2)
        _write(sheet, remark, _GAP, top + height // 2 + 30, 0.75)
        for column, picture in enumerate(pictures):
            left = _SIDE + column * (width + _GAP)
            sheet[top : top + height, left : left + width] = picture
    x, y = _SIDE, sheet.shape[0] - _LINE // 2 + 4
    for code, name in LEGEND.items():
        cv2.rectangle(sheet, (x, y - 20), (x + 22, y + 2), COLOURS[code], cv2.FILLED)
        _write(sheet, name, x + 34, y, 0.75)
        x += 200
    good, png = cv2.imencode(".png", np.ascontiguousarray(sheet[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 7])
    assert good, "PNG takes any 8-bit picture"
    return png.tobytes()
