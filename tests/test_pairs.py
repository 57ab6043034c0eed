"""Counterfactual pairs: what is drawn from a seed, the masks of three renders, real renders, the check and the farm."""

from __future__ import annotations

import errno
import json
import math
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil
import pytest

from tools import pair_pictures
from void_server.api.errors import JobFailed, SettingError
from void_server.api.exclusive import alone_in
from void_server.blender.profiles import PROFILES
from void_server.blender.protocol import ONE_THREAD
from void_server.cli import main
from void_server.farm.fields import Fields
from void_server.farm.site import Site
from void_server.farm.submit import submit_pairs
from void_server.farm.tasks.run import state
from void_server.imaging import exr
from void_server.imaging.window import Window
from void_server.pairs import PairFolder, check, making, masks, pairs_in
from void_server.pairs import renderer as renderers
from void_server.pairs.drawing import draw
from void_server.pairs.figure import body_parts, walking
from void_server.pairs.geometry import add, turned
from void_server.pairs.kinds import KINDS
from void_server.pairs.layout import CHANGE, EFFECTS, GRID, PLATE, QUADMASK, ROTO, TRUTH
from void_server.pairs.making import Look, laid_over, make, part_of
from void_server.pairs.ordering import Order
from void_server.pairs.recipe import Material, Recipe, Role
from void_server.pairs.words import prompt
from void_server.quadmask import classes

TINY = Look(96, 54, 8, 12, 2)


def lacking() -> str:
    """Why nothing can be rendered here: there is no Blender, or it needs a library that is not there; empty if it can.

    On Debian bpy's libraries are libx11-6, libxrender1, libxfixes3, libxi6 and libxkbcommon0.
    """
    try:
        program, *words = renderers.command()
    except SettingError:
        return "there is no Blender: name one in VOID_BLENDER, or a Python 3.11 that has bpy"
    begins = ["-c", "import bpy"] if words[0] == "-u" else ["--version"]
    begun = subprocess.run([program, *begins], capture_output=True, text=True, check=False)
    return f"Blender does not start: {(begun.stderr.strip() or program).splitlines()[-1]}" if begun.returncode else ""


@pytest.fixture(scope="session")
def blender() -> None:
    if reason := lacking():
        pytest.skip(f"{reason}: nothing was rendered")


rendered = pytest.mark.usefixtures("blender")


def quiet(_: str, __: float) -> None:
    pass


def test_a_blender_whose_library_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python3.11"
    python.write_text("#!/bin/sh\necho 'ImportError: libXi.so.6: cannot open shared object file' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setenv(renderers.VARIABLE, str(python))
    assert "libXi.so.6: cannot open" in lacking()
    monkeypatch.setenv(renderers.VARIABLE, str(tmp_path / "none"))
    assert "there is no Blender" in lacking()


# what is drawn


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_always_draws_the_same_scene_and_another_draws_another(kind: str) -> None:
    assert draw(7, 1.5, kind) == draw(7, 1.5, kind)
    assert draw(7, 1.5, kind) != draw(8, 1.5, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_every_scene_has_what_is_removed_names_it_and_stands_on_its_floor(kind: str) -> None:
    for seed in range(12):
        recipe = draw(seed, 1.0, kind)
        removed = recipe.of_role(Role.REMOVED)
        assert removed
        assert recipe.removed
        assert recipe.description.endswith(".")
        names = [body.name for body in recipe.bodies]
        assert len(names) == len(set(names))
        assert len(recipe.camera.poses) == len(recipe.camera.lens) == recipe.ticks
        assert all(len(body.path) in (0, recipe.ticks) for body in recipe.bodies)
        assert all(math.isclose(math.hypot(*pose[3:]), 1, abs_tol=1e-6) for pose in recipe.camera.poses)
        assert min(pose[2] for pose in recipe.camera.poses) > 0
        assert json.loads(json.dumps(recipe.to_dict()))["kind"] == kind


@pytest.mark.parametrize("shape", PROFILES)
def test_a_shape_fills_the_extents_that_it_is_given_and_no_more(shape: str) -> None:
    """A limb that was longer than said stuck out beyond knee and elbow."""
    radii, heights = zip(*PROFILES[shape], strict=True)
    assert max(radii) == pytest.approx(0.5, abs=0.01)
    assert (min(heights), max(heights)) == pytest.approx((-0.5, 0.5), abs=0.01)


def test_what_swings_hangs_and_what_spins_stands_on_something() -> None:
    recipes = [draw(seed, 1.0, "passing") for seed in range(20)]
    for way in ("swings", "spins"):
        recipe = next(one for one in recipes if any(body.words.endswith(way) for body in one.bodies))
        thing, bearer = (body for body in recipe.bodies if body.words.endswith(way))
        half = bearer.size[2] / 2
        for at, pose in zip(thing.path, bearer.path or [(*bearer.place, *bearer.turn)] * recipe.ticks, strict=True):
            ends = [add(pose[:3], turned(pose[3:], (0, 0, side * half))) for side in (-1, 1)]
            assert min(math.dist(end, at[:3]) for end in ends) <= thing.size[2] / 2


def test_a_mirror_stands_on_the_floor_and_a_ramp_on_a_post() -> None:
    for seed in range(10):
        frame = next(body for body in draw(seed, 0.5, "mirror").bodies if body.words == "the mirror")
        assert 0 <= frame.place[2] - frame.size[2] / 2 < 0.02
        board, post = draw(seed, 0.5, "ramp").of_role(Role.THING)[:2]
        assert post.place[2] == pytest.approx(post.size[2] / 2)
        # the highest that it reaches, as seen from the board that lies on it
        top = add((post.place[0] + post.size[0] / 2, 0.0, post.size[2]), board.place, -1.0)
        w, *axis = board.turn
        x, _, z = turned((w, -axis[0], -axis[1], -axis[2]), top)
        assert -board.size[0] / 2 < x < -0.35 * board.size[0]
        assert -board.size[2] / 2 - 0.01 < z < board.size[2] / 2


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("sitting", "lifting")])
def test_nothing_that_is_led_along_a_path_passes_through_what_rests(kind: str) -> None:
    """But for the stool and the tables, which the figure is at."""
    for seed in range(20):
        bodies = draw(seed, 5.0, kind).of_role(Role.THING, Role.REMOVED, Role.MOVER)
        led = [body for body in bodies if body.path]
        for thing in (body for body in bodies if not body.path):
            for other in led:
                reach = (min(thing.size[:2]) + min(other.size[:2])) / 2
                nearest = min(math.dist(pose[:2], thing.place[:2]) for pose in other.path[::6])
                assert nearest > reach, (seed, thing.name, other.name)


def test_seeds_draw_all_cameras_floors_and_kinds_of_light() -> None:
    recipes = [draw(seed, 0.5, "support") for seed in range(80)]
    assert {recipe.camera.kind for recipe in recipes} == {"static", "pan", "zoom in", "zoom out", "handheld"}
    assert {light.kind for recipe in recipes for light in recipe.lights} == {"sun", "area"}
    assert len({recipe.setting for recipe in recipes}) > 30
    assert {recipe.camera.shutter > 0 for recipe in recipes} == {True, False}
    assert {recipe.camera.f_stop > 0 for recipe in recipes} == {True, False}


def test_a_set_has_all_kinds_equally_often_and_a_seed_for_each_pair() -> None:
    order = Order(3 * len(KINDS), seed=5)
    kinds = [order.kind(number) for number in range(order.count)]
    assert {kinds.count(kind) for kind in KINDS} == {3}
    assert kinds[: len(KINDS)] != kinds[len(KINDS) : 2 * len(KINDS)]
    assert kinds == [Order(99, seed=5).kind(number) for number in range(order.count)]
    assert Order.from_dict(json.loads(json.dumps(order.to_dict()))) == order


def test_unknown_kinds_and_frame_rates_are_refused() -> None:
    with pytest.raises(SettingError, match=r"no kind of scene 'teapots'; take one of .*dominoes"):
        Order(1, kinds=("teapots",))
    with pytest.raises(SettingError, match="12 or 24 frames a second, and not 25"):
        Look(fps=25)


def test_the_limbs_of_a_walking_figure_keep_their_length_and_a_foot_stands_still() -> None:
    height, ticks = 1.8, 96
    stances = walking(height, (0.0, 0.0, 0.0), 0.4, 1.2, ticks)
    feet = [stance.feet[0] for stance in stances]
    steps = [math.dist(a, b) for a, b in pairwise(feet)]
    assert sum(step < 1e-9 for step in steps) > 0.3 * ticks
    assert max(steps) < 0.2
    for stance in stances:
        parts = body_parts(height, stance)
        shin, foot = parts["left shin"][:3], parts["left foot"][:3]
        assert 0.1 < math.dist(shin, foot) < 0.3
        assert min(pose[2] for pose in parts.values()) > 0


def test_the_prompt_says_what_becomes_of_things_without_the_object() -> None:
    recipe = draw(3, 1.0, "support")
    still = {body.name: [(*body.place, *body.turn)] * 2 for body in recipe.bodies}
    assert "falls" not in prompt(recipe, still)
    thing = recipe.of_role(Role.THING)[0]
    x, y, z = thing.place
    fallen = {**still, thing.name: [still[thing.name][0], (x, y, z - 0.5, *thing.turn)]}
    said = prompt(recipe, fallen)
    assert f"{thing.words.removeprefix('the ')} falls." in said
    assert recipe.setting in said
    assert recipe.removed not in said


def test_a_mover_is_called_after_what_it_does() -> None:
    recipes = [draw(seed, 1.0, "passing") for seed in range(20)]
    recipe = next(one for one in recipes if "hops" in one.of_role(Role.MOVER)[0].words)
    said = prompt(recipe, {body.name: [(*body.place, *body.turn)] * 2 for body in recipe.bodies})
    assert re.search(r"\bAn? [\w ]+ ball hops\.", said)


def test_the_noise_of_a_lamp_is_no_leak_and_a_brighter_plate_is() -> None:
    truth = np.full((54, 96, 3), 0.3, np.float32)
    truth[10:14, 10:14] = 40.0
    nothing = np.zeros((54, 96), np.float32)
    plate = truth.copy()
    plate[10:14, 10:14] = 44.0
    assert check.leak(check.Frame(1001, plate, truth, nothing, nothing)) < 0.01
    assert check.leak(check.Frame(1001, 1.1 * truth, truth, nothing, nothing)) > 0.06


# masks


def linear(code: int) -> float:
    level = code / 255
    return level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4


def flat(codes: Any) -> Any:
    return np.repeat(np.vectorize(linear)(np.asarray(codes))[..., None], 3, axis=-1).astype(np.float32)


@pytest.mark.parametrize("what", ["camera", "body"])
def test_what_creeps_gets_a_truth_of_its_own_and_what_rests_one_for_all(what: str) -> None:
    """A pan begins and ends slowly: by less in a tick than counts as movement, by several pixels in all."""
    recipe = draw(11, 2.0, "support")
    pose = recipe.camera.poses[0]
    creeping = [(pose[0] + 1e-5 * tick, *pose[1:]) for tick in range(recipe.ticks)]
    resting = [pose] * recipe.ticks
    bodies = tuple(replace(body, material=replace(body.material, drift=False)) for body in recipe.bodies)
    camera = replace(
        recipe.camera,
        poses=tuple(creeping if what == "camera" else resting),
        lens=(35.0,) * recipe.ticks,
    )
    recipe = replace(recipe, bodies=bodies, camera=camera)
    faster = [[1e-4 * tick, *pose[1:]] for tick in range(recipe.ticks)]
    paths = {"a ball": faster if what == "body" else [list(pose)] * recipe.ticks}
    assert making.truths(recipe, paths, 20, 4) == list(range(20))
    still = replace(recipe, camera=replace(camera, poses=tuple(resting)))
    assert making.truths(still, {"a ball": [list(pose)] * recipe.ticks}, 20, 4) == [0] * 20


def test_affected_is_what_moves_by_fifteen_steps_and_overlap_where_it_is_on_the_object() -> None:
    """The published rule, from renders C (hidden) and B (simulated again)."""
    c = flat([[100, 100, 100, 100]])
    b = flat([[100, 114, 115, 115]])
    roto = np.array([[0.0, 0.0, 0.0, 1.0]], np.float32)
    assert masks.quadmask(roto, c, b).tolist() == [[255, 255, 127, 63]]
    one_channel = flat([[100]])
    one_channel[0, 0, 2] = linear(120)
    assert masks.quadmask(np.zeros((1, 1), np.float32), flat([[100]]), one_channel).tolist() == [[127]]


def test_a_speck_of_noise_is_not_affected_and_fills_no_cell() -> None:
    """Noise is denoised otherwise beside what moves; at the edges of a checker by more than fifteen steps."""
    b = flat(np.full((256, 448), 120))
    c = b.copy()
    c[175:180, 176:178] = linear(142)
    c[60:72, 300:312] = linear(142)
    affected = masks.quadmask(np.zeros((256, 448), np.float32), c, b) == classes.AFFECTED
    assert not affected[170:190].any()
    assert affected[60:72, 300:312].all()
    grid = masks.gridded(np.where(affected, classes.AFFECTED, classes.KEEP).astype(np.uint8))
    assert (grid == classes.AFFECTED).sum() < 3 * 32 * 32


def test_the_objects_own_shadow_is_in_effects_and_not_in_the_published_quadmask() -> None:
    b = flat(np.full((40, 60), 160))
    a = b.copy()
    roto = np.zeros((40, 60), np.float32)
    a[10:20, 10:20], roto[10:20, 10:20] = 0.9, 1.0
    a[10:20, 24:40] *= 0.4
    published, effects = masks.quadmask(roto, b, b), masks.effects(roto, a, b, b)
    assert set(np.unique(published)) == {0, 255}
    assert (effects[12:18, 26:38] == 127).all()
    assert (effects[12:18, 12:18] == 0).all()
    assert (effects[30:, :] == 255).all()


def test_one_affected_pixel_fills_its_cell_and_the_object_stays_exact() -> None:
    codes = np.full((80, 160), 255, np.uint8)
    codes[35, 75] = 127
    codes[2:5, 2:9] = 0
    codes[33, 71] = 0
    grid = masks.gridded(codes)
    cell = grid[30:40, 70:80]
    assert (cell == 127).sum() == 99
    assert cell[3, 1] == 63
    assert (grid[2:5, 2:9] == 0).all()
    assert (grid == 255).sum() == 80 * 160 - 100 - 21


def test_a_part_covers_all_that_differs_and_its_render_is_laid_over_softly() -> None:
    differs = np.zeros((90, 160), bool)
    differs[40:50, 60:80] = True
    left, bottom, right, top = part_of(differs)
    assert left < 60 / 160 < 80 / 160 < right
    assert bottom < 1 - 50 / 90 < 1 - 40 / 90 < top
    assert part_of(np.ones_like(differs)) == (0, 0, 1, 1)
    under, image = np.zeros((90, 160, 3), np.float32), np.ones((90, 160, 3), np.float32)
    over = laid_over(image, under, (left, bottom, right, top))
    assert (over[44:46, 66:74] == 1).all()
    assert (over[:30] == 0).all()
    assert (over[60:] == 0).all()
    assert (laid_over(image, under, (0.5, 0.0, 1.0, 1.0))[:, 90:] == 1).all()


def test_pictures_of_pairs_are_rendered_once_for_each_seed_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grey, moments = np.full((54, 96, 3), 0.2, np.float32), []

    class Still:
        """Stands for a shot: a grey room at every moment."""

        def __init__(self, *_: object) -> None:
            pass

        def renders(self, index: int) -> making.Renders:
            moments.append(index)
            return making.Renders(grey, grey, grey, np.zeros((54, 96), np.float32))

    monkeypatch.setattr(pair_pictures, "Renderer", lambda *_: nullcontext())
    monkeypatch.setattr(pair_pictures, "Shot", Still)
    kind = next(iter(KINDS))
    orders = [Order(1, seed, (kind,), Look(width, 54)) for seed, width in ((1, 96), (2, 96), (2, 98))]
    for _ in ("the first time", "once they are there"):
        files = [file for order in orders for file in pair_pictures.render(order, 0, tmp_path)]
        assert len(moments) == len(set(files)) == 6
        assert all(file.is_file() for file in files)


class Painter:
    """Stands for a renderer: a grey room, in which the removed shines at the left, and what it pushed at the right.

    Without the removed, that other thing falls beside its place.
    """

    def __init__(self, ticks: int) -> None:
        ways = {"plate": [1.0] * ticks, "truth": [-1.0 * tick for tick in range(ticks)]}
        self.paths = {state: {"pushed": [[place, 0, 0, 1, 0, 0, 0] for place in way]} for state, way in ways.items()}
        #: The border of each render that is no small one, by state.
        self.borders: dict[str, making.Border] = {}

    def render(
        self, state: str, index: int, file: Path, *, percentage: int, border: making.Border, **_more: object
    ) -> None:
        width, height = round(6.72 * percentage), round(3.84 * percentage)
        if percentage == 100:
            self.borders[state] = border
        image = np.full((height, width, 4), (0.2, 0.2, 0.2, 0.0), np.float32)
        rows = slice(height * 4 // 8, height * 5 // 8)
        if state == "truth":
            image[height * (4 + index) // 8 : height * (5 + index) // 8, width * 5 // 8 : width * 6 // 8, :3] = 0.6
        else:
            image[rows, width * 6 // 8 : width * 7 // 8, :3] = 0.6
        if state == "plate":
            image[rows, width * 1 // 8 : width * 2 // 8] = 1.0
        exr.write(file, image, ("Layer.Combined.R", "Layer.Combined.G", "Layer.Combined.B", "Layer.removed.X"))


def around(border: making.Border, left: float, bottom: float, right: float, top: float) -> bool:
    """Whether a border is that of a part, in eighths, with a margin."""
    grown = (left - border[0] * 8, bottom - border[1] * 8, border[2] * 8 - right, border[3] * 8 - top)
    return all(0 < margin < 1 for margin in grown)


@pytest.mark.parametrize("camera", ["static", "pan"])
def test_of_each_state_is_rendered_what_differs_and_no_more(camera: str, tmp_path: Path) -> None:
    look = Look(frames=2)
    drawn = (draw(seed, look.seconds, "support") for seed in range(50))
    recipe = next(one for one in drawn if one.camera.kind == camera)
    painter = Painter(recipe.ticks)
    shot = making.Shot(recipe, cast("renderers.Renderer", painter), look, tmp_path)
    first = shot.renders(0)
    assert painter.borders["truth"] == (0, 0, 1, 1)
    assert around(painter.borders["plate"], 1, 3, 7, 4)
    assert around(painter.borders["moved"], 5, 3, 7, 4)
    codes = masks.quadmask(first.roto, first.moved, first.truth)
    assert (codes[200:230, 90:160] == classes.REMOVE).all()
    assert (codes[200:230, 430:580] == classes.AFFECTED).all()
    assert (codes == classes.KEEP).mean() > 0.9
    second = shot.renders(1)
    if camera == "static":
        assert around(painter.borders["truth"], 5, 2, 6, 4)
    else:
        assert painter.borders["truth"] == (0, 0, 1, 1)
    assert np.allclose(second.truth[250:280, 430:490], 0.6)
    assert np.allclose(second.truth[200:230], 0.2)
    # a stopped pair goes on with the second frame
    again = making.Shot(recipe, cast("renderers.Renderer", painter), look, tmp_path).renders(1)
    assert np.array_equal(again.truth, second.truth)


# real renders


def pixels(pair: PairFolder, name: str, frame: int) -> Any:
    file = pair.frame(name, frame)
    return exr.read_channels(file, exr.channel_names(file), exr.windows(file)[1])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> PairFolder:
    return make(tmp_path_factory.mktemp("pairs") / "0001_support", 11, TINY, quiet, kind="support")


@pytest.fixture
def copy(made: PairFolder, tmp_path: Path) -> PairFolder:
    shutil.copytree(made.folder, tmp_path / made.name)
    return PairFolder(tmp_path / made.name)


@pytest.mark.slow
@rendered
def test_a_rendered_pair_is_whole_and_good(made: PairFolder) -> None:
    assert pairs_in(made.folder.parent) == [made]
    assert check.faults(made) == []
    for name in (PLATE, ROTO, CHANGE, QUADMASK, GRID, EFFECTS):
        assert made.sequence(name).frames == tuple(range(1001, 1009)), name
    facts = made.facts()
    assert "falls" in facts.prompt
    assert facts.fps == 12
    assert facts.removed not in facts.prompt
    assert not (made.folder / "making").exists()
    plate, truth = (exr.read_rgb(made.frame(name, 1008)) for name in (PLATE, TRUTH))
    window = Window(0, 0, 96, 54)
    change, roto = (exr.read_matte(made.frame(name, 1008), window) >= 0.5 for name in (CHANGE, ROTO))
    inside, outside = np.abs(plate - truth)[change | roto].mean(), np.abs(plate - truth)[~(change | roto)].mean()
    assert inside > 10 * outside


@pytest.mark.slow
@rendered
def test_a_pair_that_was_stopped_goes_on_to_the_same_bits(made: PairFolder, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(what: str, _: float) -> None:
        if what == "frame 1005":
            raise Stop

    folder = tmp_path / made.name
    with pytest.raises(Stop):
        make(folder, 11, TINY, stop, kind="support")
    assert pairs_in(tmp_path) == []
    before = PairFolder(folder).frame(PLATE, 1002).stat().st_mtime_ns
    again = make(folder, 11, TINY, quiet, kind="support")
    assert again.frame(PLATE, 1002).stat().st_mtime_ns == before
    for name in (PLATE, TRUTH, ROTO, CHANGE, QUADMASK, GRID, EFFECTS):
        for frame in made.sequence(name).frames:
            assert np.array_equal(pixels(made, name, frame), pixels(again, name, frame)), (name, frame)
    assert again.facts_file.read_text() == made.facts_file.read_text()


@pytest.mark.slow
@rendered
def test_a_simulation_always_ends_alike(tmp_path: Path) -> None:
    """On several threads two of ten of this scene ended otherwise."""
    recipe = draw(1, 1.0, "dominoes")
    ends = set()
    for number in range(6):
        renderers.simulate(recipe, tmp_path / str(number))
        ends.add((tmp_path / str(number) / "paths.json").read_bytes())
    assert len(ends) == 1


@pytest.mark.parametrize(
    ("program", "words"), [("blender", ("--threads", "1", "--background")), ("python3.11", (ONE_THREAD,))]
)
def test_blender_simulates_on_one_thread(program: str, words: tuple[str, ...], tmp_path: Path) -> None:
    blender = tmp_path / program
    blender.write_text(f'#!/bin/sh\necho "$@" > {tmp_path / "words"}\n')
    blender.chmod(0o755)
    with pytest.raises(JobFailed, match="Blender ended before it was done"):
        renderers.simulate(draw(1, 0.25, "support"), tmp_path / "simulated", blender=str(blender))
    assert " ".join(words) in (tmp_path / "words").read_text()


@pytest.mark.slow
@rendered
def test_a_cloth_lies_still_on_what_is_removed_and_falls_without_it(tmp_path: Path) -> None:
    pair = make(tmp_path / "cloth", 5, TINY, quiet, kind="cloth")
    facts = json.loads(pair.facts_file.read_text())
    ways = {
        state: next((p for n, p in found.items() if n.endswith("cloth")), None)
        for state, found in facts["paths"].items()
    }
    assert ways["truth"]
    fallen = ways["truth"][0][2] - ways["truth"][-1][2]
    assert fallen > 0.25
    assert not ways["plate"] or abs(ways["plate"][0][2] - ways["plate"][-1][2]) < 0.02
    assert re.search(r"cloth falls\.", facts["prompt"])
    assert not check.faults(pair)
    last = pair.frame(QUADMASK, 1008)
    assert (classes.read(last, exr.windows(last)[1]) == classes.AFFECTED).mean() > 0.01


@pytest.mark.slow
@rendered
def test_a_checker_has_the_two_colours_of_its_surface_and_no_mixture(tmp_path: Path) -> None:
    checker = Material("checker", ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), emission=20.0, roughness=1.0)
    recipe = draw(11, 0.25, "support")
    recipe = replace(recipe, bodies=tuple(replace(body, material=checker) for body in recipe.bodies))
    file = tmp_path / "render.exr"
    renderers.simulate(recipe, tmp_path / "simulated")
    with renderers.Renderer(tmp_path / "simulated", tmp_path / "work", (96, 54), 2) as renderer:
        renderer.render("plate", 0, file, samples=4, denoise=False)
    layer = exr.channel_names(file)[0].partition(".")[0]
    red, _, blue = np.moveaxis(
        exr.read_channels(file, [f"{layer}.Combined.{c}" for c in exr.RGB], exr.windows(file)[1]), -1, 0
    )
    lit = np.maximum(red, blue) > 5
    assert lit.mean() > 0.2
    # but for the edges, where a pixel sees both
    assert np.median((np.minimum(red, blue) / np.maximum(red, blue))[lit]) < 0.1


@pytest.mark.slow
@rendered
def test_every_second_frame_of_24_a_second_is_one_of_12(tmp_path: Path) -> None:
    """Where the shutter is so short that nothing is blurred: the same physics, the same picture."""
    seed = next(n for n in range(50) if not draw(n, 0.25, "stopped").camera.shutter)
    slow, fast = (
        make(tmp_path / str(fps), seed, replace(TINY, fps=fps, frames=fps // 4), quiet, kind="stopped")
        for fps in (12, 24)
    )
    ways = [json.loads(pair.facts_file.read_text())["paths"] for pair in (slow, fast)]
    assert ways[0]["plate"]
    for which, found in ways[0].items():
        assert {name: path[::2] for name, path in ways[1][which].items()} == found
    for index in range(3):
        for name in (PLATE, ROTO, QUADMASK):
            one, other = slow.frame(name, 1001 + index), fast.frame(name, 1001 + 2 * index)
            names = exr.channel_names(one)
            window = exr.windows(one)[1]
            assert np.array_equal(exr.read_channels(one, names, window), exr.read_channels(other, names, window))
    assert not check.faults(fast)


@pytest.mark.slow
@rendered
def test_a_scene_that_is_too_bright_is_exposed_until_little_of_it_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def glaring(seed: int, seconds: float, kind: str) -> Recipe:
        recipe = draw(seed, seconds, kind)
        return replace(
            recipe,
            sky=replace(recipe.sky, strength=5 * recipe.sky.strength),
            lights=tuple(replace(light, power=5 * light.power) for light in recipe.lights),
        )

    monkeypatch.setattr(making, "draw", glaring)
    pair = make(tmp_path / "bright", 3, replace(TINY, frames=3), quiet, kind="row_of_balls")
    exposure = json.loads(pair.facts_file.read_text())["exposure"]
    assert exposure < 0.8
    plates = [exr.read_rgb(path) for path in pair.sequence(PLATE).files.values()]
    assert 0.005 < np.mean([(plate.max(axis=-1) > 1).mean() for plate in plates]) < 0.04
    assert not [fault for fault in check.faults(pair) if "bright" in fault]
    for path, plate in zip(pair.sequence(PLATE).files.values(), plates, strict=True):
        exr.write(path, (plate / exposure).astype(np.float16), exr.RGB)
    assert [fault for fault in check.faults(pair) if re.match(r"It is too bright: \d+% of the plate", fault)]


@pytest.mark.slow
@rendered
def test_a_folder_with_another_pair_is_left_alone(copy: PairFolder) -> None:
    before = copy.facts_file.read_bytes()
    with pytest.raises(SettingError, match="a pair of another seed, kind or size"):
        make(copy.folder, 12, TINY, quiet, kind="support")
    assert copy.facts_file.read_bytes() == before


def test_a_pair_is_made_by_one_process_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "command", lambda blender: [blender])
    with alone_in(tmp_path / "pair"), pytest.raises(JobFailed, match="Another process is making the pair"):
        make(tmp_path / "pair", 11, TINY, quiet, kind="support")


def test_no_file_is_open_in_a_folder_that_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Disks in the network keep such a file, and with it the folder; Windows refuses."""
    remove = shutil.rmtree

    def removed(folder: Path) -> None:
        if still := [one.path for one in psutil.Process().open_files() if Path(one.path).is_relative_to(folder)]:
            raise OSError(errno.ENOTEMPTY, "Directory not empty", still[0])
        remove(folder)

    def rendered(pair: PairFolder, *_: Any) -> None:
        (pair.folder / "making").mkdir(exist_ok=True)

    monkeypatch.setattr(making, "command", lambda blender: [blender])
    monkeypatch.setattr(making, "_make", rendered)
    monkeypatch.setattr(shutil, "rmtree", removed)
    make(tmp_path / "pair", 11, TINY, quiet, kind="support")
    assert not (tmp_path / "pair" / "making").exists()


class Killed(BaseException):
    """As a process ends that is killed: nothing handles it."""


def test_the_blender_of_a_process_that_was_killed_writes_into_no_other_ones_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = []

    def start(_: Path, folder: Path, *__: Any, **___: Any) -> None:
        folders.append(folder)
        raise Killed

    monkeypatch.setattr(making, "command", lambda blender: [blender])
    monkeypatch.setattr(making, "simulate", lambda _, folder, **__: folder.mkdir())
    monkeypatch.setattr(making, "Renderer", start)
    for _ in range(2):
        with pytest.raises(Killed):
            make(tmp_path / "pair", 11, TINY, quiet, kind="support")
    assert len(set(folders)) == 2


def test_a_pair_that_was_stopped_goes_on_in_the_same_simulation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where Blender would simulate otherwise, no pair is of two worlds."""
    worlds = []

    def simulate(_: Recipe, folder: Path, **__: Any) -> None:
        folder.mkdir()
        (folder / "half").write_text("")
        if not worlds:
            worlds.append("killed before it was done")
            raise Killed
        (folder / "world").write_text(f"{len(worlds)}")

    def start(simulated: Path, *_: Any, **__: Any) -> None:
        worlds.append((simulated / "world").read_text())
        raise Killed

    monkeypatch.setattr(making, "command", lambda blender: [blender])
    monkeypatch.setattr(making, "simulate", simulate)
    monkeypatch.setattr(making, "Renderer", start)
    for _ in range(3):
        with pytest.raises(Killed):
            make(tmp_path / "pair", 11, TINY, quiet, kind="support")
    assert worlds[1:] == ["1", "1"]


def test_a_full_disk_stops_a_pair_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, _: str, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(making, "command", lambda blender: [blender])
    monkeypatch.setattr(making, "write_atomically", full)
    with pytest.raises(JobFailed, match=r"pair cannot be written \(No space left on device\); free the disk"):
        make(tmp_path / "pair", 11, TINY, quiet, kind="support")


# the check


def rewrite(pair: PairFolder, name: str, change: Any) -> None:
    for frame in pair.sequence(name).frames:
        file = pair.frame(name, frame)
        exr.write(file, change(pixels(pair, name, frame)), exr.channel_names(file))


def spoil(pair: PairFolder, how: str) -> None:
    facts = json.loads(pair.facts_file.read_text())
    if how == "unseen":
        rewrite(pair, ROTO, np.zeros_like)
    elif how == "same":
        shutil.rmtree(pair.folder / TRUTH)
        shutil.copytree(pair.folder / PLATE, pair.folder / TRUTH)
        for frame in range(1001, 1009):
            (pair.folder / TRUTH / f"plate.{frame}.exr").rename(pair.frame(TRUTH, frame))
        rewrite(pair, CHANGE, np.zeros_like)
    elif how == "exploded":
        path = next(iter(facts["paths"]["truth"].values()))
        path[3][2] = -7.0
        pair.facts_file.write_text(json.dumps(facts))
    elif how == "fireflies":
        rewrite(pair, PLATE, sparked)
    elif how == "leak":
        rewrite(pair, CHANGE, np.zeros_like)
        rewrite(pair, PLATE, lambda image: image * np.float32(1.2))
    elif how == "lost":
        pair.frame(PLATE, 1004).unlink()
    elif how == "codes":
        rewrite(pair, QUADMASK, lambda image: np.full_like(image, 0.4))


def sparked(image: Any) -> Any:
    image[[5, 25, 45], [10, 50, 90]] = 300.0
    return image


@pytest.mark.slow
@rendered
@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("unseen", "The object is not seen"),
        ("same", "Nothing changes"),
        ("exploded", "The physics of the truth has exploded: .* falls through the floor"),
        ("fireflies", "There are fireflies, in frame 1001-1008"),
        ("leak", "Plate and truth differ where no mask says so"),
        ("codes", "is no quadmask"),
        ("lost", "Frame 1004 of plate.* is missing"),
    ],
)
def test_the_check_says_what_is_wrong_with_a_pair(
    copy: PairFolder, how: str, why: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(copy, how)
    monkeypatch.setattr(sys, "argv", ["void", "pairs", "check", str(copy.folder)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert re.search(why, said), said


# the command and the farm


@pytest.mark.slow
@rendered
def test_pairs_are_made_on_a_farm_one_a_task_and_shown_on_a_page(tmp_path: Path) -> None:
    look = replace(TINY, width=64, height=36, frames=2, samples=1)
    order = Order(2, seed=3, kinds=("dominoes", "mirror"), look=look)
    site = Site(command=(sys.executable, "-c", "from void_server.cli import main; main()"))
    job, _ = submit_pairs(order, tmp_path / "set", Fields(), site, "local")
    assert state(job) == {"check": (1, 1), "pairs": (2, 2), "index": (1, 1)}
    assert {pair.facts().model_extra["kind"] for pair in pairs_in(job.folder)} == {"dominoes", "mirror"}  # type: ignore[index]
    page = (job.folder / "index.html").read_text()
    assert all(pair.name in page for pair in pairs_in(job.folder))
    assert (job.folder / "contact_sheet.jpg").is_file()
    with pytest.raises(SettingError, match="void farm again"):
        submit_pairs(order, tmp_path / "set", Fields(), site, "local")


def test_a_dry_run_says_each_pairs_task(tmp_path: Path) -> None:
    _, submission = submit_pairs(Order(3), tmp_path / "set", Fields(), Site(command=("void",)), "local", dry_run=True)
    stages = [(words[words.index("--stage") + 1], words[words.index("--task") + 1]) for words in submission.commands]
    assert stages == [("check", "0"), ("pairs", "0"), ("pairs", "1"), ("pairs", "2"), ("index", "0")]


def test_a_blender_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOID_BLENDER", "/nowhere/blender")
    monkeypatch.setattr(sys, "argv", ["void", "pairs", "make", str(tmp_path / "set"), "--no-progress"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "/nowhere/blender" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
