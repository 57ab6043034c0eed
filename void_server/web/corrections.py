"""Corrections of a quadmask that were drawn on the page: cells of the grid, and strokes of a brush.

Runs in a process of its own, as :mod:`void_server.web.pictures` does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .. import plugins
from ..api.cells import AFFECTED, KEEP
from ..api.errors import SettingError
from ..api.version import VersionFolder
from ..imaging import exr
from ..imaging.sequence import find
from ..quadmask import edits

#: The most that may be drawn in one correction.
_MOST_STROKES, _MOST_POINTS = 500, 5000


@dataclass(frozen=True)
class Stroke:
    """A stroke of the brush through ``points``, (x, y) in pixels of the frame, on frames ``first`` to ``last``.

    What it covers becomes ``what``, affected or keep; ``radius`` is that of the brush.
    """

    what: str
    points: tuple[tuple[float, float], ...]
    radius: float
    first: int
    last: int

    @classmethod
    def from_dict(cls, data: Any) -> Stroke:
        """A stroke as the page sends it. Raises :class:`SettingError` for what is none."""
        try:
            points = tuple((float(x), float(y)) for x, y in data["points"])
            stroke = cls(data["what"], points, float(data["radius"]), int(data["first"]), int(data["last"]))
        except (LookupError, TypeError, ValueError) as error:
            raise SettingError("A stroke of the brush is not as the page draws it; load the page again.") from error
        numbers = [stroke.radius, *(value for point in points for value in point)]
        good = 0 < len(points) <= _MOST_POINTS and all(math.isfinite(n) and abs(n) < 2**15 for n in numbers)
        if stroke.what not in (AFFECTED, KEEP) or not good or stroke.radius <= 0:
            raise SettingError("A stroke of the brush is too long, too far outside, or empty; draw it again.")
        return stroke


def strokes_of(data: Any) -> tuple[Stroke, ...]:
    """The strokes as the page sends them. Raises :class:`SettingError`."""
    if not isinstance(data, list) or len(data) > _MOST_STROKES:
        raise SettingError(f"A correction has at most {_MOST_STROKES} strokes; correct in several steps.")
    return tuple(map(Stroke.from_dict, data))


def correct(quadmask: Path, out: Path, cells: Sequence[str], strokes: Sequence[Stroke], engine: str) -> Path:
    """Write a corrected copy of the quadmask, for an engine, to a new version folder in ``out``; its folder there.

    Raises :class:`~void_server.api.errors.InputError` where a cell or a range is wrong.
    """
    original = find(str(quadmask), "quadmask")
    mattes: dict[str, str | None] = dict.fromkeys((AFFECTED, KEEP))
    for frame, path in original.files.items():
        _, display = exr.windows(path)
        for what, drawn in _drawn(strokes, frame, display.width, display.height).items():
            mattes[what] = str(out / what)
            target = out / what / f"{what}.{frame:04d}.exr"
            exr.write(target, drawn.astype(np.float16)[..., None], ("A",), pixel_aspect=exr.pixel_aspect(path))
    # an engine that only the server has makes no such rule
    known = engine in plugins.engines()
    rule = known and bool(plugins.find(plugins.ENGINES, engine).first_frame_unaffected)
    folder, _ = edits.edit(str(quadmask), out, cells, mattes[AFFECTED], mattes[KEEP], first_frame_unaffected=rule)
    return VersionFolder(folder).quadmask(0).parent


def _drawn(strokes: Sequence[Stroke], frame: int, width: int, height: int) -> Mapping[str, NDArray[np.bool_]]:
    """What the strokes of a frame make affected, and what they keep; later ones win. Empty where there are none."""
    here = [stroke for stroke in strokes if stroke.first <= frame <= stroke.last]
    if not here:
        return {}
    marks = np.zeros((height, width), np.uint8)
    for stroke in here:
        line = np.round(np.array(stroke.points)).astype(np.int32).reshape(-1, 1, 2)
        value = 1 if stroke.what == AFFECTED else 2
        thickness = max(1, round(2 * stroke.radius))
        cv2.polylines(marks, [line], False, value, thickness, cv2.LINE_8)
        for x, y in line[:, 0]:
            cv2.circle(marks, (int(x), int(y)), thickness // 2, value, cv2.FILLED)
    return {AFFECTED: marks == 1, KEEP: marks == 2}
