"""Corrections of a quadmask: cells, mattes, the history."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from subprocess import CompletedProcess

import cv2
import numpy as np
import pytest

from void_server import pipeline
from void_server.api.cells import CellEdit
from void_server.api.errors import InputError
from void_server.api.shot import Settings, Shot
from void_server.imaging import exr
from void_server.imaging.window import Window
from void_server.pipeline.composite import MATTE_CHANNELS
from void_server.quadmask import classes
from void_server.quadmask.classes import AFFECTED, KEEP, OVERLAP, REMOVE
from void_server.quadmask.edits import Edits, edit, undo
from void_server.quadmask.grid import Grid

from .commands import void

pytestmark = pytest.mark.slow

DISPLAY = Window(0, 0, 160, 80)
DATA = Window(-4, 0, 168, 80)


@pytest.fixture
def quadmask(tmp_path: Path) -> Path:
    """A job's quadmask, with overscan: an object, half of it overlapping, and something affected."""
    codes = np.full((80, 168), KEEP, np.uint8)
    codes[20:40, 44:64] = REMOVE
    codes[30:40, 44:64] = OVERLAP
    codes[40:60, 44:64] = AFFECTED
    for frame in range(1001, 1005):
        exr.write(
            tmp_path / "out" / "v001" / "quadmask" / f"void_quadmask.{frame}.exr",
            (codes / np.float32(255)).astype(np.float16)[..., None],
            ("Y",),
            data_window=DATA,
            display_window=DISPLAY,
            pixel_aspect=2.0,
        )
    return tmp_path / "out" / "v001" / "quadmask"


def codes_of(folder: Path, frame: int) -> np.ndarray:
    return classes.read(folder / f"void_quadmask.{frame}.exr", DATA)


def cell(codes: np.ndarray, row: int, column: int) -> np.ndarray:
    return codes[10 * row : 10 * row + 10, 4 + 10 * column : 14 + 10 * column]


def matte(folder: Path, frames: range, area: tuple[slice, slice]) -> Path:
    values = np.zeros((80, 160, 1), np.float16)
    values[area] = 1
    for frame in frames:
        exr.write(folder / f"m.{frame}.exr", values, ("A",))
    return folder


def test_cells_change_in_their_frames_alone(quadmask: Path) -> None:
    before = {frame: codes_of(quadmask, frame) for frame in range(1001, 1005)}
    grid = ["1002-1003:r0c15=affected", "r4c4=keep", "1002:r3c4=keep"]
    folder, changed = edit(str(quadmask), quadmask.parents[1], grid, None, None, "the bounce light")
    assert folder.name == "v002"
    assert changed == 4
    made = {frame: codes_of(folder / "quadmask", frame) for frame in before}
    for frame in before:
        assert (cell(made[frame], 0, 15) == (AFFECTED if frame in (1002, 1003) else KEEP)).all()
        assert (cell(made[frame], 4, 4) == KEEP).all()
        # what is kept is kept, also where the object is
        assert (cell(made[frame], 3, 4) == (KEEP if frame == 1002 else OVERLAP)).all()
        assert (cell(made[frame], 5, 5) == cell(before[frame], 5, 5)).all()
        assert np.array_equal(codes_of(quadmask, frame), before[frame])
    assert exr.windows(folder / "quadmask" / "void_quadmask.1001.exr") == (DATA, DISPLAY)
    assert exr.pixel_aspect(folder / "quadmask" / "void_quadmask.1001.exr") == 2.0


def test_what_is_protected_wins_over_what_is_added(quadmask: Path, tmp_path: Path) -> None:
    add = matte(tmp_path / "add", range(1001, 1003), np.s_[0:20, 0:40])
    protect = matte(tmp_path / "protect", range(1001, 1005), np.s_[0:20, 20:40])
    folder, changed = edit(str(quadmask), tmp_path / "out", [], str(add), str(protect))
    assert changed == 2
    codes = codes_of(folder / "quadmask", 1001)
    assert (codes[0:20, 4:24] == AFFECTED).all()
    assert (codes[0:20, 24:44] == KEEP).all()
    assert np.array_equal(codes_of(folder / "quadmask", 1003), codes_of(quadmask, 1003))


def test_a_block_of_cells_changes_at_once(quadmask: Path) -> None:
    folder, _ = edit(str(quadmask), quadmask.parents[1], ["r0c0-r2c3=affected", "1002:r1c1-r7c15=keep"], None, None)
    whole, cut = (codes_of(folder / "quadmask", frame) for frame in (1001, 1002))
    assert (whole[0:30, 4:44] == AFFECTED).all()
    assert (cut[0:10, 4:44] == AFFECTED).all()
    assert (cut[10:80, 14:164] == KEEP).all()
    with pytest.raises(InputError, match="ends before it begins"):
        edit(str(quadmask), quadmask.parents[1], ["r2c0-r0c3=affected"], None, None)


def test_cells_that_keep_win_over_a_matte_that_adds(quadmask: Path, tmp_path: Path) -> None:
    add = matte(tmp_path / "add", range(1001, 1005), np.s_[0:20, 0:40])
    folder, _ = edit(str(quadmask), tmp_path / "out", ["r0c0-r0c1=keep"], str(add), None)
    codes = codes_of(folder / "quadmask", 1001)
    assert (codes[0:10, 4:24] == KEEP).all()
    assert (codes[10:20, 4:44] == AFFECTED).all()


def test_every_edit_is_a_line_of_the_history(quadmask: Path) -> None:
    first, _ = edit(str(quadmask), quadmask.parents[1], ["r0c0=affected"], None, None, "one")
    second, _ = edit(str(first / "quadmask"), quadmask.parents[1], ["r0c1=affected"], None, None, "two")
    lines = [json.loads(line) for line in (second / "history.jsonl").read_text().splitlines()]
    assert [line["why"] for line in lines] == ["one", "two"]
    assert lines[1]["grid"] == ["r0c1=affected"]
    assert lines[1]["of"] == str(first / "quadmask")
    assert all(line["who"] and line["when"].endswith("+00:00") for line in lines)
    assert len((first / "history.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (["5,7=affected"], "is not a cell edit; write it like"),
        (["r9c0=affected"], "no cell r9c0; the grid has rows 0 to 7 and columns 0 to 15"),
        (["2001-2010:r0c0=keep"], "is for frames 2001-2010; the quadmask has 1001-1004"),
        ([], "There is nothing to change"),
    ],
)
def test_wrong_edits_write_nothing(quadmask: Path, grid: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        edit(str(quadmask), quadmask.parents[1], grid, None, None)
    assert [folder.name for folder in quadmask.parents[1].iterdir()] == ["v001"]


def test_a_matte_of_other_frames_is_refused(quadmask: Path, tmp_path: Path) -> None:
    add = matte(tmp_path / "add", range(5, 7), np.s_[0:20, 0:40])
    with pytest.raises(
        InputError, match=r"matte to add, .*, has frames 5-6, none of them among the quadmask's 1001-1004"
    ):
        edit(str(quadmask), tmp_path / "out", [], str(add), None)


def test_a_matte_of_another_size_is_refused_as_a_roto_is(quadmask: Path, tmp_path: Path) -> None:
    for frame in range(1001, 1005):
        exr.write(tmp_path / f"add/m.{frame}.exr", np.ones((40, 80, 1), np.float16), ("A",))
    for add, protect, what in ((str(tmp_path / "add"), None, "add"), (None, str(tmp_path / "add"), "protect")):
        with pytest.raises(
            InputError, match=f"Frame 1001 of the matte to {what} m.#.exr is 80x40, the quadmask 160x80; write both in"
        ):
            edit(str(quadmask), tmp_path / "out", [], add, protect)
    assert [folder.name for folder in (tmp_path / "out").iterdir()] == ["v001"]


def test_a_painted_matte_and_a_painted_quadmask_are_read_from_where_they_are_painted(tmp_path: Path) -> None:
    """RGB under a solid alpha, as paint programs write."""
    codes = np.full((80, 160), KEEP, np.float32)
    codes[20:40, 40:60] = REMOVE
    picture = np.zeros((80, 160), np.float32)
    picture[0:20, 0:40] = 1
    for frame in range(1001, 1005):
        for name, values in (("codes", codes / 255), ("add", picture)):
            solid = np.dstack([values, values, values, np.ones_like(values)])
            exr.write(tmp_path / f"{name}/m.{frame}.exr", solid, (*exr.RGB, "A"))
    folder, changed = edit(str(tmp_path / "codes"), tmp_path / "out", [], str(tmp_path / "add"), None)
    assert changed == 4
    made = classes.read(folder / "quadmask" / "void_quadmask.1002.exr", DISPLAY)
    assert (made[0:20, 0:40] == AFFECTED).all()
    assert (made[20:40, 40:60] == REMOVE).all()
    assert np.mean(made == KEEP) == pytest.approx(1 - 1200 / 12800)


def test_the_command_puts_the_new_version_beside_the_old(quadmask: Path) -> None:
    done = void_edit(quadmask, "--grid", "r0c0=keep")
    assert done.returncode == 0, done.stderr
    assert f"{quadmask.parents[1] / 'v002' / 'quadmask'}  (0 frames changed)" in done.stdout


def test_edits_are_undone_one_after_the_other_and_nothing_is_removed(quadmask: Path) -> None:
    out = quadmask.parents[1]
    first, _ = edit(str(quadmask), out, ["1002:r0c0=affected"], None, None)
    second, _ = edit(str(first / "quadmask"), out, ["r0c1=affected"], None, None)
    undone, changed = undo(str(second / "quadmask"), out, "not that one")
    assert changed == 4
    assert np.array_equal(codes_of(undone / "quadmask", 1002), codes_of(first / "quadmask", 1002))
    history = [json.loads(line) for line in (undone / "history.jsonl").read_text().splitlines()]
    assert [entry.get("grid") for entry in history] == [["1002:r0c0=affected"], ["r0c1=affected"], None]
    assert history[-1]["undo"] == str(first / "quadmask")
    assert history[-1]["why"] == "not that one"
    both, changed = undo(str(undone / "quadmask"), out)
    assert changed == 1
    assert np.array_equal(codes_of(both / "quadmask", 1002), codes_of(quadmask, 1002))
    with pytest.raises(InputError, match="There is no edit to undo"):
        undo(str(both / "quadmask"), out)
    # an edit of what was undone can be undone, too
    again, _ = edit(str(undone / "quadmask"), out, ["r1c1=affected"], None, None)
    back, _ = undo(str(again / "quadmask"), out)
    assert np.array_equal(codes_of(back / "quadmask", 1002), codes_of(first / "quadmask", 1002))
    assert [path.name for path in sorted(out.iterdir())] == [f"v{number:03d}" for number in range(1, 8)]


def test_the_command_undoes_an_edit_and_shows_what_is_left(job: Path, tmp_path: Path) -> None:
    assert void_edit(job / "v001/quadmask", "--grid", "r0c0=affected", "-o", tmp_path).returncode == 0
    done = void_edit(tmp_path / "v001/quadmask", "--undo")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "v002"
    assert f"{folder / 'quadmask'}  (12 frames changed)" in done.stdout
    assert (folder / "mattes/void_mattes.1012.exr").is_file()
    assert (folder / "report/contact_sheet.png").is_file()
    both = void_edit(tmp_path / "v001/quadmask", "--undo", "--grid", "r0c0=keep")
    assert both.returncode == 2
    assert "in a command of their own" in both.stderr


# -- what is to be looked at


def void_edit(*words: str | Path) -> CompletedProcess[str]:
    return void("edit", *words)


@pytest.fixture(scope="module")
def job(shot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a finished job that made a quadmask."""
    out = tmp_path_factory.mktemp("job")
    settings = Settings(until="quadmask", reasoner="none", feather=3.0)
    pipeline.run("0123456789ab", Shot(str(shot / "plate"), str(shot / "roto"), settings=settings), out / "v001", str)
    return out


def test_a_corrected_quadmask_has_mattes_and_a_contact_sheet(shot: Path, job: Path) -> None:
    done = void_edit(job / "v001/quadmask", "--grid", "1003:r1c3=affected", "--why", "the <lamp>")
    assert done.returncode == 0, done.stderr
    folder = job / "v002"
    assert str(folder / "report" / "contact_sheet.png") in done.stdout
    assert sorted(path.name for path in folder.iterdir()) == [
        "disclosure.json",
        "history.jsonl",
        "job.json",
        "mattes",
        "provenance.json",
        "quadmask",
        "report",
        "signature.json",
    ]
    window = Window(0, 0, 192, 108)
    cell = Grid(window).cell(1, 3)
    for frame in range(1001, 1013):
        codes = classes.read(folder / f"quadmask/void_quadmask.{frame}.exr", window)
        mattes = exr.read_channels(folder / f"mattes/void_mattes.{frame}.exr", MATTE_CHANNELS, window)
        assert np.array_equal(classes.mattes(codes), mattes[..., :4])
        # the blend is that of the job's own roto and feather
        before = exr.read_channels(job / f"v001/mattes/void_mattes.{frame}.exr", ["void_blend.A"], window)[..., 0]
        blend, inside = mattes[..., 4], np.zeros((108, 192), bool)
        inside[window.slices(cell.grown(6))] = frame == 1003
        assert np.array_equal(blend[~inside], before[~inside])
        assert (blend[window.slices(cell)] == 1).all() == (frame == 1003)
    sheet = cv2.imread(str(folder / "report/contact_sheet.png"))
    assert sheet.shape[0] > 2 * 108
    page = (folder / "report/report.html").read_text()
    assert "1003:r1c3=affected" in page
    assert "the &lt;lamp&gt;" in page
    manifest = json.loads((folder / "job.json").read_text())
    assert manifest["shot"]["plate"] == str(shot / "plate")
    assert [edit["grid"] for edit in manifest["edits"]] == [["1003:r1c3=affected"]]


def test_a_correction_of_a_correction_has_them_too(job: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    assert void_edit(job / "v001/quadmask", "--grid", "r0c0=affected", "-o", first).returncode == 0
    done = void_edit(first / "v001/quadmask", "--grid", "r0c1=affected", "-o", second)
    assert done.returncode == 0, done.stderr
    assert (second / "v001/mattes/void_mattes.1012.exr").is_file()
    page = (second / "v001/report/report.html").read_text()
    assert "r0c0=affected" in page
    assert "r0c1=affected" in page


def test_a_quadmask_of_no_job_is_corrected_and_what_is_missing_is_said(quadmask: Path) -> None:
    done = void_edit(quadmask, "--grid", "r0c0=affected")
    assert done.returncode == 0, done.stderr
    assert "Mattes and contact sheet are not written, as there is no job.json in" in done.stderr
    assert "give --plate and --roto" in done.stderr
    assert sorted(path.name for path in (quadmask.parents[1] / "v002").iterdir()) == ["history.jsonl", "quadmask"]


def test_a_quadmask_of_no_job_takes_a_plate_and_a_roto(shot: Path, job: Path, tmp_path: Path) -> None:
    painted = Path(shutil.copytree(job / "v001/quadmask", tmp_path / "painted/quadmask"))
    files = ("--plate", shot / "plate", "--roto", shot / "roto")
    done = void_edit(painted, "--grid", "r0c0=affected", "-o", tmp_path / "out", *files)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/v001/report/contact_sheet.png").is_file()
    assert (tmp_path / "out/v001/mattes/void_mattes.1001.exr").is_file()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("--plate", "/nowhere/p.%04d.exr", "--roto", "/nowhere/r.%04d.exr"), "folder /nowhere of the plate does not"),
        (("--plate", "/nowhere/p.%04d.exr"), "The roto is missing; give both"),
    ],
)
def test_a_plate_that_is_not_there_burns_no_version(
    job: Path, tmp_path: Path, files: tuple[str, ...], message: str
) -> None:
    done = void_edit(job / "v001/quadmask", "--grid", "r0c0=affected", "-o", tmp_path / "out", *files)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


# -- the grid


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [((1920, 1080), 8, 14), ((1080, 1920), 14, 8), ((672, 384), 8, 14), ((100, 100), 8, 8), ((545, 360), 8, 12)],
)
def test_cells_are_those_of_the_published_masks_and_cover_the_frame(
    size: tuple[int, int], rows: int, columns: int
) -> None:
    grid = Grid(Window(3, 5, *size))
    assert (grid.rows, grid.columns) == (rows, columns)
    covered = np.zeros((size[1], size[0]), int)
    for row in range(rows):
        for column in range(columns):
            covered[Window(3, 5, *size).slices(grid.cell(row, column))] += 1
    assert (covered == 1).all()
    cells = [grid.cell(row, column) for row in range(rows) for column in range(columns)]
    assert max(cell.width for cell in cells) - min(cell.width for cell in cells) <= 1


def test_nothing_becomes_affected_on_the_first_frame_for_an_engine_that_was_trained_so() -> None:
    window = Window(0, 0, 160, 80)
    before = np.full((80, 160), classes.KEEP, np.uint8)
    before[5, 5] = classes.AFFECTED
    edits = Edits((CellEdit.parse("r3c3=affected"), CellEdit.parse("r7c7=keep")), unaffected=1001)
    # what was there, as in a published sample, stays
    assert np.array_equal(edits.apply(before, 1001, window, window), before)
    assert (edits.apply(before, 1002, window, window)[30:40, 30:40] == classes.AFFECTED).all()


def test_a_part_of_a_cell_makes_it_whole() -> None:
    window = Window(0, 0, 160, 80)
    mask = np.zeros((80, 160), bool)
    mask[12, 12] = mask[72:79, 155] = True
    whole = Grid(window).whole(mask, window)
    # a single pixel of a hundred is noise
    assert not whole[10:20, 10:20].any()
    assert whole[70:, 150:].all()
    assert whole.sum() == 100
    overscan = Window(-10, 0, 170, 80)
    beyond = np.zeros((80, 170), bool)
    beyond[5, 3] = True
    assert np.array_equal(Grid(window).whole(beyond, overscan), beyond)
