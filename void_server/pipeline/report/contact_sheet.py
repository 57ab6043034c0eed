"""A few frames of a shot side by side: plate, quadmask, result, difference, and the highlights.

Pictures carry no text: cell numbers stand above and to the left of them, the names of regions below.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ...imaging.exr import FloatImage
from ...imaging.parallel import results
from ...quadmask.classes import AFFECTED, COLOURS, OVERLAP, REMOVE, Quadmask

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

LEGEND = {REMOVE: "remove", OVERLAP: "overlap", AFFECTED: "affected"}

_WIDTH = 480
_GROUND = (38, 38, 38)
_TEXT = (205, 205, 205)
_GAP = 10
_LINE = 48
_AMPLIFIED = 4
_SIDE = 190
_SMALL = 0.45
_SMALL_LINE = 20
# between two pictures, for the numbers of the cells' rows
_MARGIN = 26
_LONGEST_NAME = 48


@dataclass(frozen=True)
class Thumbnail:
    """One frame, small: plate and result display-referred (height, width, 3), and the quadmask (height, width).

    ``result`` is None where the job stopped before it, ``roto`` (0..1) is what there is in place of a quadmask.
    ``underexposed`` are plate and result again, graded down. ``labels`` are words for relative places (x, y).
    """

    frame: int
    plate: FloatImage
    result: FloatImage | None
    codes: Quadmask
    labels: tuple[tuple[str, float, float], ...] = ()
    roto: FloatImage | None = None
    underexposed: tuple[FloatImage, FloatImage] | None = None


@dataclass(frozen=True)
class Cells:
    """Where the grid's cells begin, and the last ends, relative to the pictures: 0..1 where they are in them."""

    columns: tuple[float, ...]
    rows: tuple[float, ...]


@dataclass(frozen=True)
class Sheet:
    """What the sheet shows: frames, all of one size; the cells to draw on their quadmasks, if any.

    ``stops`` is how far what is underexposed was graded down.
    """

    thumbnails: Sequence[Thumbnail]
    cells: Cells | None = None
    stops: int = 0


@dataclass(frozen=True)
class _Row:
    """A row of pictures; ``cells`` and ``labels`` (of each picture) stand around them."""

    title: str
    remark: str
    pictures: list[Picture]
    cells: Cells | None = None
    labels: Sequence[tuple[tuple[str, float, float], ...]] = ()

    @property
    def above(self) -> int:
        return _SMALL_LINE if self.cells else 0

    @property
    def below(self) -> int:
        return _SMALL_LINE * max(map(len, self.labels), default=0)


def peaks(image: FloatImage, width: int, height: int) -> FloatImage:
    """A smaller image in which each pixel has the largest value of those that it stands for, channel by channel.

    A mean would hide lone bright pixels.
    """
    block = [int(np.ceil(old / new)) + 1 for old, new in zip(image.shape[:2], (height, width), strict=True)]
    spread = cv2.dilate(image, np.ones(block, np.uint8)) if max(block) > 2 else image
    return cv2.resize(spread, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def _shrunk(thumbnail: Thumbnail) -> Thumbnail:
    height, width = thumbnail.codes.shape
    if width <= _WIDTH:
        return thumbnail
    size = _WIDTH, max(1, round(height * _WIDTH / width))

    def area(image: FloatImage | None) -> FloatImage | None:
        return None if image is None else cv2.resize(image, size, interpolation=cv2.INTER_AREA)

    plate = cv2.resize(thumbnail.plate, size, interpolation=cv2.INTER_AREA)
    codes = cv2.resize(thumbnail.codes, size, interpolation=cv2.INTER_NEAREST_EXACT)
    dark = thumbnail.underexposed
    return replace(
        thumbnail,
        plate=plate,
        result=area(thumbnail.result),
        codes=codes,
        roto=area(thumbnail.roto),
        underexposed=dark and (peaks(dark[0], *size), peaks(dark[1], *size)),
    )


def _bytes(image: FloatImage) -> Picture:
    return np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)


def overlay(plate: FloatImage, classes: Iterable[tuple[int, FloatImage | NDArray[np.bool_]]]) -> Picture:
    """The plate in grey with its classes, each a code and a matte, in colour; 8-bit RGB."""
    picture = _bytes(plate).mean(axis=-1, keepdims=True).repeat(3, axis=-1) * 0.8
    for code, matte in classes:
        picture += 0.65 * matte[..., None] * (np.array(COLOURS[code]) - picture)
    return picture.astype(np.uint8)


def _masked(thumbnail: Thumbnail) -> Picture:
    """The roto or the quadmask over the plate."""
    if thumbnail.roto is not None:
        return overlay(thumbnail.plate, [(REMOVE, thumbnail.roto)])
    return overlay(thumbnail.plate, [(code, thumbnail.codes == code) for code in COLOURS])


def _difference(plate: FloatImage, result: FloatImage) -> Picture:
    return _bytes(np.abs(plate - result) * _AMPLIFIED)


def _rows(small: Sequence[Thumbnail], cells: Cells | None, stops: int) -> list[_Row]:
    mask = "roto" if small[0].roto is not None else "quadmask"
    rows = [
        _Row("plate", "", [_bytes(t.plate) for t in small]),
        _Row(mask, "", [_masked(t) for t in small], cells, [t.labels for t in small]),
    ]
    results = [(t.plate, t.result) for t in small if t.result is not None]
    if results:
        rows.append(_Row("result", "", [_bytes(result) for _, result in results]))
        rows.append(_Row("difference", f"x {_AMPLIFIED}", [_difference(plate, result) for plate, result in results]))
    dark = [t.underexposed for t in small if t.underexposed is not None]
    if dark:
        rows.append(_Row("plate", f"-{stops} stops", [_bytes(plate) for plate, _ in dark]))
        rows.append(_Row("result", f"-{stops} stops", [_bytes(result) for _, result in dark]))
    return rows


def _write(sheet: Picture, text: str, x: int, y: int, size: float = 0.9, colour: Colour = _TEXT) -> None:
    cv2.putText(sheet, text, (x, y), cv2.FONT_HERSHEY_DUPLEX, size, colour, 1, cv2.LINE_AA)


def _width(text: str) -> int:
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, _SMALL, 1)[0][0])


def _draw_cells(sheet: Picture, cells: Cells, left: int, top: int, width: int, height: int) -> None:
    """Faint lines over the picture at (left, top), and the cells' numbers above and to the left of it."""
    picture = sheet[top : top + height, left : left + width]
    faint = picture.copy()
    for edge in cells.columns[1:-1]:
        faint[:, min(max(round(edge * width), 0), width - 1)] = 255
    for edge in cells.rows[1:-1]:
        faint[min(max(round(edge * height), 0), height - 1)] = 255
    picture[:] = cv2.addWeighted(picture, 0.8, faint, 0.2, 0)

    def numbers(edges: tuple[float, ...], length: int, needed: int) -> Iterable[tuple[int, int]]:
        """Every number, or every second, third, ... where there is no room for all; with the middle of its cell."""
        step = max(1, int(np.ceil(needed / max(1.0, (edges[1] - edges[0]) * length))))
        for number in range(0, len(edges) - 1, step):
            middle = round((edges[number] + edges[number + 1]) / 2 * length)
            if 0 <= middle < length:
                yield number, middle

    free = 0
    for number, x in numbers(cells.columns, width, _width("c00") + 4):
        text = f"c{number}"
        # the last cell may be cut by the frame's edge, and narrower than its number
        begin = max(left + x - _width(text) // 2, free)
        free = begin + _width(text) + 4
        _write(sheet, text, begin, top - 6, _SMALL)
    for number, y in numbers(cells.rows, height, _SMALL_LINE - 4):
        text = f"r{number}"
        _write(sheet, text, left - _width(text) - 4, top + y + 5, _SMALL)


def _draw_labels(
    sheet: Picture, labels: Sequence[tuple[str, float, float]], left: int, top: int, width: int, height: int
) -> None:
    """The names below the picture at (left, top), each with a thin line to the place that it is for."""
    # from right to left and downwards, so that no line crosses a name
    placed = sorted(labels, key=lambda label: -label[1])
    lines = []
    for number, (name, x, y) in enumerate(placed, 1):
        at = left + min(max(round(x * width), 0), width - 1), top + min(max(round(y * height), 0), height - 1)
        bottom = top + height + number * _SMALL_LINE
        cv2.line(sheet, at, (at[0], bottom - 3), _TEXT, 1)
        cv2.circle(sheet, at, 3, _TEXT, 1, cv2.LINE_AA)
        lines.append((name, at[0], bottom))
    for name, x, bottom in lines:
        text = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 3] + "..."
        begin = max(left, min(x + 5, left + width - _width(text)))
        if begin <= x:
            # a name moved in from the edge stands on its own line, and perhaps on those of others
            sheet[bottom - 15 : bottom + 3, begin - 2 : x + 1] = _GROUND
        _write(sheet, text, begin, bottom - 3, _SMALL)


def contact_sheet(shown: Sheet) -> bytes:
    """The sheet as PNG: a column for each frame, a row for each kind of picture."""
    small = list(results(_shrunk, shown.thumbnails))
    rows = _rows(small, shown.cells, shown.stops)
    height, width = small[0].codes.shape
    pitch = width + _GAP + (_MARGIN if shown.cells else 0)
    total = sum(row.above + height + row.below + _GAP for row in rows)
    sheet = np.full((_LINE + total + _LINE, _SIDE + len(small) * pitch, 3), _GROUND, np.uint8)
    for column, thumbnail in enumerate(small):
        _write(sheet, str(thumbnail.frame), _SIDE + column * pitch, _LINE - 15)
    top = _LINE
    for row in rows:
        top += row.above
        _write(sheet, row.title, _GAP, top + height // 2)
        _write(sheet, row.remark, _GAP, top + height // 2 + 30, 0.75)
        for column, picture in enumerate(row.pictures):
            left = _SIDE + column * pitch
            sheet[top : top + height, left : left + width] = picture
            if row.cells:
                _draw_cells(sheet, row.cells, left, top, width, height)
            if row.labels:
                _draw_labels(sheet, row.labels[column], left, top, width, height)
        top += height + row.below + _GAP
    _draw_legend(sheet, LEGEND if small[0].roto is None else {REMOVE: "roto"})
    # pictures have grain: longer matches hardly make the file smaller, and take most of the time
    options = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    good, png = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), options)
    assert good, "PNG takes any 8-bit picture"
    return png.tobytes()


def _draw_legend(sheet: Picture, names: dict[int, str]) -> None:
    x, y = _SIDE, sheet.shape[0] - _LINE // 2 + 4
    for code, name in names.items():
        cv2.rectangle(sheet, (x, y - 20), (x + 22, y + 2), COLOURS[code], cv2.FILLED)
        _write(sheet, name, x + 34, y, 0.75)
        x += 200
