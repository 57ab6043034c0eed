"""An evaluation as one HTML page that needs nothing beside it: figures, and the worst frames beside each other."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from ..imaging import jpeg
from ..imaging.exr import FloatImage
from ..pipeline.report.page import document, listing
from .judging import JUDGED, Judged, totals
from .results import Result
from .scoring import CHANGED, MEASURES, Score

#: So many frames of each result are shown, so wide; errors are shown so much larger.
_WORST, _WIDTH, _AMPLIFIED = 3, 300, 4
_QUALITY = 88
#: Around what changes, as a share of its size.
_MARGIN = 0.25


def page(judged: Sequence[Judged], title: str = "Evaluation") -> str:
    """The whole page."""
    shots = "".join(_shot(one) for one in judged)
    means = {method: groups.get(CHANGED, {}) for method, groups in totals(judged).items()}
    legend = [(one.name, one.help) for one in MEASURES if any(one.name in figures for figures in means.values())]
    about = "One shot" if len(judged) == 1 else f"Means over {len(judged)} shots"
    return document(
        title,
        f"<h1>{escape(title)}</h1>"
        f'<p class="about">{about}, of all changed pixels.</p>'
        f"{_figures('method', means)}{shots}<h2>What the figures mean</h2>{listing(('figure', ''), legend)}",
    )


def columns(rows: Iterable[Mapping[str, float]]) -> list[str]:
    """The measures that any of the rows has, in their order."""
    known = {name for row in rows for name in row}
    return [one.name for one in MEASURES if one.name in known]


def cells(figures: Mapping[str, float], names: Iterable[str]) -> list[str]:
    """The figures as they are written."""
    digits = {one.name: one.digits for one in MEASURES}
    return [f"{figures[name]:.{digits[name]}f}" if name in figures else "" for name in names]


def _figures(first: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    names = columns(rows.values())
    return listing((first, *names), [(name, *cells(figures, names)) for name, figures in rows.items()])


def _shot(one: Judged) -> str:
    notes = "".join(f'<p class="warning">{escape(text)}</p>' for text in (*one.failures, *one.notes))
    methods = _figures("method", {each.method: each.figures for each in one.scores})
    parts = [f"<h2>{escape(one.name)}</h2>{notes}{methods}"]
    for each in one.scores:
        if each.method in JUDGED:
            parts += [_groups(each), _worst(one, each, one.results[each.method])]
    return "".join(parts)


def _groups(score: Score) -> str:
    inside = _figures("pixels", score.groups)
    return f"<details><summary>{escape(score.method)}: by origin and class</summary>{inside}</details>"


def _worst(one: Judged, score: Score, result: Result) -> str:
    rows = []
    for frame in score.worst[:_WORST]:
        index = one.material.frames.index(frame)
        pictures = "".join(
            f'<td><img alt="{escape(name)} of frame {frame}" src="{_data(picture)}"></td>'
            for name, picture in _pictures(one, result, index)
        )
        figures = score.frames[frame]
        told = ", ".join(
            f"{n} {c}" for n, c in zip(columns([figures]), cells(figures, columns([figures])), strict=True)
        )
        rows.append(f"<tr>{pictures}</tr><tr><td colspan=4>frame {frame}: {escape(told)}</td></tr>")
    names = [name for name, _ in _pictures(one, result, 0)]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    title = f"<h2>{escape(one.name)}, {escape(score.method)}: the worst frames</h2>"
    return f'{title}<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _pictures(one: Judged, result: Result, index: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """The part of a frame where anything changes: plate, result, truth and error, those that there are."""
    material, part = one.material, _part(one.material.changed(index))
    image = result.shown[index][part]
    if material.plate is not None:
        yield "plate", _small(material.plate[index][part])
    yield "result", _small(image)
    if material.truth is not None:
        true = material.truth[index][part]
        yield "truth", _small(true)
        yield f"error x {_AMPLIFIED}", _small(np.clip(np.abs(image - true) * _AMPLIFIED, 0, 1))


def _part(changed: NDArray[np.bool_]) -> tuple[slice, slice]:
    height, width = changed.shape
    if not changed.any():
        return slice(0, height), slice(0, width)
    x, y, w, h = cv2.boundingRect(changed.astype(np.uint8))
    more = round(_MARGIN * max(w, h))
    return slice(max(y - more, 0), min(y + h + more, height)), slice(max(x - more, 0), min(x + w + more, width))


def _small(image: FloatImage) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    scale = _WIDTH / max(width, height)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    resized = cv2.resize(image, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=way)
    return np.round(np.clip(resized, 0, 1) * 255).astype(np.uint8)


def _data(picture: NDArray[np.uint8]) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.encoded(picture, _QUALITY)).decode()}"
