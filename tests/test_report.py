"""The report shows what it should, whatever the files are called."""

from __future__ import annotations

import dataclasses
import html.parser
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from void_server import engines
from void_server.api.settings import declarations
from void_server.api.shot import Prompt, Settings, Shot
from void_server.api.version import VersionFolder
from void_server.cli.declared import settings_of
from void_server.pipeline import origins
from void_server.pipeline.manifest import relevant
from void_server.pipeline.report import Cells, Sheet, Thumbnail, peaks, write_report
from void_server.pipeline.report.contact_sheet import contact_sheet, overlay
from void_server.pipeline.report.page import page
from void_server.quadmask import classes

# where the first picture of a sheet begins
TOP, LEFT, GAP = 48, 190, 10


def thumbnail(frame: int, width: int = 96, *, result: bool = True) -> Thumbnail:
    plate = np.full((54, width, 3), 0.5, np.float32)
    codes = np.full((54, width), classes.KEEP, np.uint8)
    codes[:9], codes[9:18], codes[18:27] = classes.REMOVE, classes.OVERLAP, classes.AFFECTED
    return Thumbnail(frame, plate, plate * 0.9 if result else None, codes)


def drawn(*thumbnails: Thumbnail, **changes: Any) -> np.ndarray:
    """The sheet's pixels, RGB."""
    png = contact_sheet(Sheet(thumbnails, **changes))
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def manifest(**changes: Any) -> dict[str, Any]:
    shares = {"remove": 0.1, "overlap": 0.05, "affected": 0.2, "keep": 0.65}
    return {
        "schema": 1,
        "id": "0123456789ab",
        "shot": Shot("/shots/a<b>&c.%04d.exr", "/shots/roto", prompt="<script>alert(1)</script>").to_dict(),
        "frames": [1001, 1002],
        "software": {"void-nuke": "0.1.0"},
        "device": {"quadmask": "x86_64 CPU", "plate": "A Large GPU, bfloat16, full"},
        "scene": "",
        "edits": [],
        "origin": {"recovered": 0.75, "filled": 0.25, "generated": 0.0},
        "colour": {"space": "lin_rec709", "maximum": 12.0, "overshoots": []},
        "timings": {"Reading the shot": 1.25},
        "classes": {"1001": shares, "1002": shares},
        "warnings": ["Frame <1001> & more"],
        **changes,
    }


def disclosed(text: str = "x") -> dict[str, Any]:
    tool = {"part": text, "title": text, "generative": True, "cloud": False, "model": text, "licence": text}
    return {
        "frames": {"1001": {"generative": True}, "1002": {"generative": False}},
        "sent": [{"what": text, "to": text}],
        "tools": [{**tool, "weights": {text: "0" * 64}}],
        "who": text,
        "machine": text,
        "when": text,
    }


def page_of(told: dict[str, Any], regions: Sequence[dict[str, Any]] = (), **settings: Any) -> str:
    return page({"settings": settings, **told}, b"", regions, disclosed())


class Page(html.parser.HTMLParser):
    """Collects text and tags, and insists that tags close in order."""

    EMPTY = ("meta", "img", "br", "rect", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        self.tags.append(tag)
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_names_prompts_warnings_and_answers_are_text_never_markup(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>" + "&lt;" * 3000
    region = {"name": evil, "kind": evil, "why": evil, "rule": evil, "confidence": None, "frames": {}}
    edit = {"when": evil, "who": evil, "add": evil, "grid": [evil], "why": evil, "frames_changed": 1}
    told = manifest(scene=evil, edits=[edit], warnings=["Frame <1001> & more", evil])
    settings = {"negative_prompt": evil, "reasoner_model": evil}
    version, sheet = VersionFolder(tmp_path), Sheet([thumbnail(1001)])
    write_report(version, {**told, "settings": settings}, sheet, [region], disclosed(evil))
    page = Page((tmp_path / "report/report.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert page.tags.count("img") == 1
    assert "a<b>&c.%04d.exr 1001-1002" in page.text
    assert "<script>alert(1)</script>" in page.text
    assert "Frame <1001> & more" in page.text
    assert page.text.count(evil) == 4 + 5 + 1 + 1 + 2 + 10
    assert "25.0%" in page.text
    assert page.tags.count("rect") == 6


def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    write_report(VersionFolder(tmp_path), {**manifest(), "settings": {}}, Sheet([thumbnail(1001)]), [], disclosed())
    text = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert {"link", "script", "iframe", "base", "object"}.isdisjoint(page.tags)
    fetched = [value for name, value in page.attributes if name in ("src", "href", "srcset", "poster", "data")]
    assert len(fetched) == 1
    assert str(fetched[0]).startswith("data:image/png;base64,")
    assert not re.search(r"url\(|@import|https?:", text.replace(str(fetched[0]), ""))


def test_the_page_is_made_for_phones_and_paper_too() -> None:
    text = page_of(manifest())
    assert ("content", "width=device-width, initial-scale=1") in Page(text).attributes
    assert "@media (max-width" in text
    assert "@media print" in text
    # what is wider than a phone scrolls by itself: the sheet, and tables of many columns
    for opened in re.findall(r"<table><tr><th>[^<]*</th><th>", text):
        assert f'<div class="wide">{opened}' in text


def with_highlights(one: Thumbnail) -> Thumbnail:
    dark = one.plate * 0.2
    return dataclasses.replace(one, underexposed=(dark, dark))


@pytest.mark.parametrize(("result", "dark", "rows"), [(True, True, 6), (True, False, 4), (False, False, 2)])
def test_the_sheet_has_a_row_for_each_kind_of_picture(result: bool, dark: bool, rows: int) -> None:
    thumbnails = [thumbnail(frame, result=result) for frame in (1, 2, 3)]
    sheet = drawn(*map(with_highlights, thumbnails) if dark else thumbnails, stops=4)
    assert rows * 54 < sheet.shape[0] < (rows + 1) * 54 + 110
    assert sheet.shape[1] > 3 * 96


def test_the_title_of_the_underexposed_rows_says_how_far_they_were_graded_down() -> None:
    four, five = (drawn(with_highlights(thumbnail(1)), stops=stops) for stops in (4, 5))
    changed = np.argwhere((four != five).any(axis=-1))
    # nothing but the number, in the last two rows
    assert changed[:, 1].max() < LEFT
    assert changed[:, 0].min() > TOP + 4 * (54 + GAP)
    assert np.ptp(changed[:, 0]) > 54


def test_a_lone_bright_pixel_is_not_averaged_away() -> None:
    for size in ((480, 270), (333, 187), (1920, 1080), (211, 400)):
        for at in ((0, 0), (537, 1001), (1079, 1919)):
            frame = np.full((1080, 1920, 3), 0.1, np.float32)
            frame[at] = 80.0
            small = peaks(frame, *size)
            assert small.shape == (size[1], size[0], 3)
            assert small.max() == 80.0
            assert (small > 1).any(axis=-1).mean() < 0.001


def test_large_frames_are_shrunk_small_ones_never_enlarged() -> None:
    def width(of: int) -> int:
        return drawn(with_highlights(thumbnail(1, of))).shape[1]

    assert width(1920) == width(480)
    assert width(480) - width(96) == 480 - 96


def test_each_class_has_its_colour() -> None:
    one = thumbnail(1)
    shown = overlay(one.plate, [(code, one.codes == code) for code in classes.COLOURS])
    for row, code in ((0, classes.REMOVE), (9, classes.OVERLAP), (18, classes.AFFECTED)):
        assert np.argmax(shown[row, 0]) == np.argmax(classes.COLOURS[code])
    assert np.ptp(shown[40, 0]) == 0


def test_a_roto_is_shown_over_the_plate_with_its_soft_edge() -> None:
    plain = thumbnail(1, result=False)
    roto = np.tile(np.linspace(0, 1, 96, dtype=np.float32), (54, 1))
    sheet = drawn(dataclasses.replace(plain, roto=roto))
    top = TOP + 54 + GAP
    line = sheet[top + 27, LEFT : LEFT + 96].astype(int)
    redness = line[:, 0] - line[:, 1]
    assert redness[0] == 0
    assert redness[-1] > 80
    assert (np.diff(redness) >= -1).all()
    assert np.abs(np.diff(redness)).max() < 8


def test_the_page_of_a_roto_calls_it_so() -> None:
    told = manifest(classes={"1001": {"remove": 0.1, "overlap": 0.0, "affected": 0.0, "keep": 0.9}})
    told["shot"]["settings"]["until"] = "roto"
    told["device"] = {"roto": "x86_64 CPU"}
    text = Page(page_of(told, segmenter="grabcut")).text
    assert "Share of the roto" in text
    for word in ("quadmask", "affected", "overlap", "reasoner"):
        assert word not in text.replace("/shots/roto", "")


def test_the_page_says_why_each_region_is_there() -> None:
    region = {
        "name": "shadow <of the man>",
        "kind": "artefact",
        "why": "he stands in the light",
        "rule": "the pixels alone",
        "confidence": 0.8,
        "frames": {"1003": {"share": 0.1, "middle": [0.5, 0.5]}, "1001": {"share": 0.1, "middle": [0.5, 0.5]}},
    }
    text = page_of(manifest(), [region])
    for part in ("shadow &lt;of the man&gt;", "he stands in the light", "the pixels alone", "1001-1003", "80%"):
        assert part in text
    assert "Why it is affected" not in page_of(manifest())


def test_names_stand_below_the_picture_not_on_what_is_to_be_judged() -> None:
    plain = Thumbnail(1001, np.full((270, 480, 3), 0.5, np.float32), None, np.full((270, 480), 255, np.uint8))
    labels = (("shadow", 0.99, 0.95), ("reflection in the window", 0.5, 0.3), ("a name " * 20, 0.98, 0.5))
    # a third column has the same room below, and nothing in it
    sheet = drawn(plain, dataclasses.replace(plain, labels=labels))
    top, bottom = TOP + 270 + GAP, TOP + 2 * 270 + GAP
    column = LEFT + 480 + GAP
    picture = sheet[top:bottom, column : column + 480]
    covered = (picture != sheet[top:bottom, LEFT : LEFT + 480]).any(axis=-1)
    # a hair line and a small ring for each
    assert 0 < covered.mean() < 0.01
    assert (covered.sum(axis=1) <= 3 * 9).all()
    names = (sheet[bottom : bottom + 60, column : column + 480] > 120).all(axis=-1)
    assert all(names[20 * number : 20 * number + 20].sum() > 100 for number in range(3))
    # the longest is cut, and stays in its column
    assert not (sheet[bottom : bottom + 60, column + 480 :] > 120).any()


def test_every_cell_can_be_named_from_the_sheet() -> None:
    plain = Thumbnail(1001, np.full((270, 480, 3), 0.5, np.float32), None, np.full((270, 480), 255, np.uint8))
    side = 270 / 8
    # the last column is cut by the frame's edge
    columns = tuple(min(number * side / 480, 1.0) for number in range(16))
    cells = Cells(columns, tuple(number / 8 for number in range(9)))
    sheet = drawn(plain, plain, cells=cells)
    top = TOP + 270 + GAP + 20
    for left in (LEFT, LEFT + 480 + GAP + 26):
        above, beside = sheet[top - 20 : top, left : left + 500], sheet[top : top + 270, left - 26 : left]
        starts = [x for x in range(1, 500) if ink(above[:, x]) and not ink(above[:, max(0, x - 3) : x])]
        assert len(starts) == 15
        assert all(abs(x - (number + 0.35) * side) < 20 for number, x in enumerate(starts))
        for number in range(8):
            assert ink(beside[round((number + 0.2) * side) : round((number + 0.8) * side)])
            assert not ink(beside[max(0, round(number * side) - 3) : round(number * side) + 3])
    # numbers stand around the picture; in it are the cells' faint edges
    picture = sheet[top : top + 270, LEFT : LEFT + 480].astype(int)
    middle = picture[round(side / 2), round(side / 2)]
    changed = (picture != middle).any(axis=-1)
    assert changed.mean() < 0.07
    assert np.abs(picture - middle).max() < 60


def ink(part: np.ndarray) -> bool:
    return bool((part > 120).any())


def test_points_are_told_in_words() -> None:
    told = manifest()
    assert "prompts" not in page_of(told)
    told["shot"]["prompts"] = [{"frame": 1001, "kind": "point", "at": [640.0, 360.5], "object": 1}]
    assert "point 640,360.5 in 1001" in page_of(told)


# -- the settings that count


def counting(shot: Shot) -> set[str]:
    return set(relevant(shot, engines.find(shot.settings.engine)))


def shot_with(**settings: Any) -> Shot:
    return Shot("/plate", "/roto", settings=settings_of(settings))


def test_only_settings_that_matter_are_shown() -> None:
    common = {"until", "engine", "reasoner", "feather", "grain", "seed", "affected_shape"}
    assert counting(shot_with()) == common
    assert counting(shot_with(reasoner="file")) == common | {"segmenter", "device"}
    assert counting(shot_with(reasoner="gemini")) == common | {"segmenter", "device", "reasoner_model"}
    assert counting(shot_with(engine="void")) > common | {"steps", "guidance", "strength"}
    assert counting(shot_with(until="quadmask")) == {"until", "engine", "reasoner", "feather", "affected_shape"}
    assert counting(shot_with(until="roto")) == {"until", "segmenter", "device"}
    given = dataclasses.replace(shot_with(reasoner="gemini"), quadmask="/quadmask")
    assert counting(given) == {"until", "engine", "feather", "grain", "seed"}
    clicked = dataclasses.replace(given, prompts=(Prompt(1, Prompt.POINT, (1.0, 2.0)),))
    assert counting(clicked) == counting(given) | {"segmenter", "device"}


def test_every_setting_matters_to_something() -> None:
    shots = [shot_with(engine="void", reasoner="gemini"), shot_with(until="quadmask"), shot_with(until="roto")]
    assert set().union(*map(counting, shots)) >= {one.name for one in declarations(Settings)}


def test_the_page_has_the_settings_that_matter_and_no_others() -> None:
    shot = shot_with(steps=33, guidance=7.5)
    text = Page(page_of(manifest(shot=shot.to_dict()), **relevant(shot_with(), engines.find("cleanplate")))).text
    assert "cleanplate: clean plate (from other frames)" in text
    assert "grainyes" in text
    for name in ("steps", "guidance", "7.5", "second pass", "working height", "reasoner model", "segmenter"):
        assert name not in text


def test_a_warning_says_how_much_was_hidden_in_every_frame() -> None:
    assert origins.warnings({}) == origins.warnings({1001: (99, 1, 0)}) == origins.warnings({1001: (0, 0, 0)}) == []
    (warning,) = origins.warnings({1001: (40, 10, 0), 1002: (0, 0, 0), 1003: (20, 30, 0)})
    assert warning.startswith("40% of the new pixels are hidden in every frame")
    assert "most of all in frame 1003" in warning
