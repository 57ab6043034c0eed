"""The report shows what it should, whatever the files are called."""

from __future__ import annotations

import dataclasses
import html.parser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from void_server.api.shot import Shot
from void_server.quadmask import classes
from void_server.report import Thumbnail, write_report
from void_server.report.contact_sheet import COLOURS, contact_sheet, overlay
from void_server.report.page import page


def thumbnail(frame: int, width: int = 96, *, result: bool = True) -> Thumbnail:
    plate = np.full((54, width, 3), 0.5, np.float32)
    codes = np.full((54, width), classes.KEEP, np.uint8)
    codes[:9], codes[9:18], codes[18:27] = classes.REMOVE, classes.OVERLAP, classes.AFFECTED
    return Thumbnail(frame, plate, plate * 0.9 if result else None, codes)


def manifest(**changes: Any) -> dict[str, Any]:
    shares = {"remove": 0.1, "overlap": 0.05, "affected": 0.2, "keep": 0.65}
    return {
        "schema": 1,
        "id": "0123456789ab",
        "shot": Shot("/shots/a<b>&c.%04d.exr", "/shots/roto", prompt="<script>alert(1)</script>").to_dict(),
        "frames": [1001, 1002],
        "software": {"void-nuke": "0.1.0"},
        "device": "CPU",
        "colour": {"space": "lin_rec709", "maximum": 12.0},
        "timings": {"Reading the shot": 1.25},
        "classes": {"1001": shares, "1002": shares},
        "warnings": ["Frame <1001> & more"],
        **changes,
    }


class Page(html.parser.HTMLParser):
    """Collects text and tags, and insists that tags close in order."""

    EMPTY = ("meta", "img", "br", "rect")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self.tags.append(tag)
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_names_and_prompts_are_text_never_markup(tmp_path: Path) -> None:
    write_report(tmp_path, manifest(), [thumbnail(1001)])
    page = Page((tmp_path / "report/report.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert "a<b>&c.%04d.exr 1001-1002" in page.text
    assert "<script>alert(1)</script>" in page.text
    assert "Frame <1001> & more" in page.text
    assert page.tags.count("rect") == 6


@pytest.mark.parametrize(("result", "rows"), [(True, 4), (False, 2)])
def test_the_sheet_has_a_row_for_each_kind_of_picture(result: bool, rows: int) -> None:
    thumbnails = [thumbnail(frame, result=result) for frame in (1, 2, 3)]
    sheet = cv2.imdecode(np.frombuffer(contact_sheet(thumbnails), np.uint8), cv2.IMREAD_COLOR)
    assert rows * 54 < sheet.shape[0] < (rows + 1) * 54 + 110
    assert sheet.shape[1] > 3 * 96


def test_large_frames_are_shrunk_small_ones_never_enlarged() -> None:
    def width(of: int) -> int:
        return cv2.imdecode(np.frombuffer(contact_sheet([thumbnail(1, of)]), np.uint8), cv2.IMREAD_COLOR).shape[1]

    assert width(1920) == width(480)
    assert width(480) - width(96) == 480 - 96


def test_each_class_has_its_colour() -> None:
    shown = overlay(thumbnail(1).plate, thumbnail(1).codes)
    for row, code in ((0, classes.REMOVE), (9, classes.OVERLAP), (18, classes.AFFECTED)):
        assert np.argmax(shown[row, 0]) == np.argmax(COLOURS[code])
    assert np.ptp(shown[40, 0]) == 0


def test_the_page_says_why_each_region_is_there() -> None:
    region = {
        "name": "shadow <of the man>",
        "kind": "artefact",
        "why": "he stands in the light",
        "rule": "the pixels alone",
        "confidence": 0.8,
        "frames": {"1003": {"share": 0.1, "middle": [0.5, 0.5]}, "1001": {"share": 0.1, "middle": [0.5, 0.5]}},
    }
    text = page(manifest(), b"", [region])
    for part in ("shadow &lt;of the man&gt;", "he stands in the light", "the pixels alone", "1001-1003", "80%"):
        assert part in text
    assert "Why it is affected" not in page(manifest(), b"")


def test_labels_are_on_the_sheet_and_inside_the_picture() -> None:
    plain = Thumbnail(1001, np.full((90, 160, 3), 0.5, np.float32), None, np.full((90, 160), 255, np.uint8))
    sheets = [
        cv2.imdecode(np.frombuffer(contact_sheet([one]), np.uint8), cv2.IMREAD_COLOR)
        for one in (plain, dataclasses.replace(plain, labels=(("shadow", 0.99, 0.99), ("reflection", 0.99, 0.99))))
    ]
    changed = np.argwhere((sheets[0] != sheets[1]).any(axis=-1))
    top, left = 48 + 90 + 10, 190
    assert changed[:, 0].min() >= top
    assert changed[:, 0].max() < top + 90
    assert changed[:, 1].min() >= left
    assert changed[:, 1].max() < left + 160


def test_points_are_told_in_words() -> None:
    told = manifest()
    assert "prompts" not in page(told, b"")
    told["shot"]["prompts"] = [{"frame": 1001, "kind": "point", "at": [640.0, 360.5], "object": 1}]
    assert "point 640,360.5 in 1001" in page(told, b"")
