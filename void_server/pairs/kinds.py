"""The kinds of scenes: what stands where, what flies, who walks by, and what is removed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from random import Random

from . import figure, surroundings
from .geometry import Pose, Vector, about, add, eased, heading, pose, turned
from .recipe import TICKS, Body, Material, Role
from .scene import NOUNS, Scene, upright

KINDS: dict[str, Callable[[Random, int], Scene]] = {}

_BALLS = ("ball",)
_STABLE = ("box", "cylinder", "cup", "spool")


def _kind(function: Callable[[Scene], None]) -> Callable[[Scene], None]:
    """Have a function that fills a scene be one of the kinds, under its name."""

    def made(random: Random, ticks: int) -> Scene:
        scene = Scene(random, ticks)
        function(scene)
        return scene

    KINDS[function.__name__] = made
    return function


@_kind
def collision(scene: Scene) -> None:
    """Things are thrown at one that rests; others fly past it."""
    random = scene.random
    target = scene.any_thing((0, 0, 0), random.uniform(0.7, 1.1), mass=random.uniform(0.4, 1), restitution=0.3)
    count = random.choice((1, 2, 2, 3))
    thrown = 2 if count == 3 else 1
    angles = [2 * math.pi * n / count + random.uniform(-0.5, 0.5) for n in range(count)]
    for number, angle in enumerate(angles):
        removed = number < thrown
        place = (2.4 * math.cos(angle), 1.6 * math.sin(angle), random.uniform(0.5, 1.2))
        aside = 0.0 if removed else random.choice((-1, 1)) * random.uniform(0.9, 1.5)
        aim = add(target.place, (-math.sin(angle) * aside, math.cos(angle) * aside, 0.0))
        speed = random.uniform(3, 6)
        way = add(aim, place, -1.0)
        seconds = math.hypot(way[0], way[1]) / speed
        velocity = (way[0] / seconds, way[1] / seconds, way[2] / seconds + 9.81 * seconds / 2)
        height = random.uniform(0.35, 0.6)
        body = scene.any_thing(
            (place[0], place[1], place[2] - height / 2),
            height,
            shapes=("ball", "box", "spool", "cup"),
            role=Role.REMOVED if removed else Role.THING,
            mass=random.uniform(0.6, 2),
            velocity=velocity,
            restitution=random.uniform(0.2, 0.5),
        )
        if removed:
            scene.description = f"{body.words[:1].upper()}{body.words[1:]} flies into {target.words}."
    scene.by_the_way(random.randint(0, 2), 2.0, 2.8)
    scene.effects.append("physics")
    scene.look((0, 0, 0.5), 2.3)


@_kind
def dominoes(scene: Scene) -> None:
    """A ball rolls into a row of dominoes."""
    random = scene.random
    count, height = random.randint(4, 8), random.uniform(0.6, 0.9)
    gap = height * random.uniform(0.5, 0.7)
    said, look = surroundings.thing(random)
    bend = random.uniform(-0.12, 0.12)
    x = -gap * (count - 1) / 2
    start, y, angle = x, 0.0, 0.0
    for _ in range(count):
        scene.thing(
            *("box", (0.16 * height, 0.45 * height, height), (x, y, height / 2 + 0.001)),
            material=look, words=f"the {said} dominoes", turn=heading(angle), mass=0.6, friction=0.35, restitution=0.1,
        )  # fmt: skip
        angle += bend
        x, y = x + gap * math.cos(angle), y + gap * math.sin(angle)
    radius, speed = random.uniform(0.22, 0.32), random.uniform(2.2, 3.4)
    ball = scene.thing(
        *("ball", (2 * radius,) * 3, (start - radius - random.uniform(0.5, 0.9), 0, radius + 0.002)),
        role=Role.REMOVED, mass=2.0, velocity=(speed, 0, 0),
    )  # fmt: skip
    scene.description = f"{_capital(ball)} rolls into a row of {count} dominoes, which fall one after the other."
    scene.by_the_way(random.randint(0, 2), 1.8, 2.6)
    scene.effects.append("chain of physics")
    scene.look((0, 0, 0.35), max(1.5, 0.75 * gap * count))


@_kind
def row_of_balls(scene: Scene) -> None:
    """A ball rolls into others that lie in a row, or in a triangle as in billiards."""
    random = scene.random
    radius = random.uniform(0.2, 0.3)
    triangle = random.random() < 0.5
    places = (
        [(1.75 * radius * row, (2 * n - row) * 1.01 * radius) for row in range(3) for n in range(row + 1)]
        if triangle
        else [(n * 2.02 * radius, 0.0) for n in range(random.randint(3, 5))]
    )
    for x, y in places:
        scene.thing("ball", (2 * radius,) * 3, (x, y, radius + 0.001), mass=1.0, restitution=0.7, friction=0.3)
    cue = scene.thing(
        *("ball", (2 * radius,) * 3, (-random.uniform(1.2, 1.7), random.uniform(-0.05, 0.05), radius + 0.001)),
        role=Role.REMOVED, mass=1.4, restitution=0.7, friction=0.3, velocity=(random.uniform(3, 5), 0, 0),
    )  # fmt: skip
    scene.description = f"{_capital(cue)} rolls into {len(places)} balls and scatters them."
    scene.effects.append("chain of physics")
    scene.look((0.4, 0, 0.2), 1.9)


@_kind
def support(scene: Scene) -> None:
    """What bears others is taken away: a crate, a pillar, or one of two trestles."""
    random = scene.random
    height = random.uniform(0.6, 1.1)
    way = random.choice(("pillar", "trestle", "stack"))
    if way == "trestle":
        half = random.uniform(0.8, 1.1)
        board = scene.thing("box", (2 * half + 0.5, 0.6, 0.08), (0, 0, height + 0.045), mass=3.0)
        post = scene.thing("box", (0.25, 0.5, height), (-half, 0, height / 2 + 0.001), role=Role.REMOVED, mass=6.0)
        scene.thing("box", (0.25, 0.5, height), (half, 0, height / 2 + 0.001), mass=6.0)
        for x in (-0.6 * half, 0.0, 0.6 * half)[: random.randint(1, 3)]:
            scene.any_thing((x, 0, height + 0.087), random.uniform(0.25, 0.45), shapes=_STABLE, mass=0.6)
        scene.description = f"{_capital(board)} lies on two posts and bears things; one of the posts is {post.words}."
    else:
        post = scene.thing("box", (0.6, 0.6, height), (0, 0, height / 2 + 0.001), role=Role.REMOVED, mass=8.0)
        names: list[str] = []
        level = height + 0.002
        for _ in range(random.randint(1, 3) if way == "stack" else 1):
            size = random.uniform(0.3, 0.45)
            top = scene.any_thing((random.uniform(-0.05, 0.05), 0, level), size, shapes=_STABLE, mass=0.8)
            level, names = level + size + 0.002, [*names, top.words]
        scene.description = f"{_capital(post)} bears {' and '.join(names)}."
    scene.by_the_way(random.randint(1, 3), 1.6, 2.4)
    scene.effects.append("loss of support")
    scene.look((0, 0, 0.6), 1.9)


@_kind
def cloth(scene: Scene) -> None:
    """A cloth lies over something, or hangs over a rod between two posts, and sinks to the floor without it."""
    random = scene.random
    height = random.uniform(0.7, 1.1)
    if random.random() < 0.5:
        wide = random.uniform(0.5, 0.8)
        shape = random.choice(("box", "ball", "cylinder"))
        high = wide if shape == "ball" else height
        scene.thing(shape, (wide, wide, high), (0, 0, high / 2 + 0.002), role=Role.REMOVED)
        width = length = wide + random.uniform(0.6, 1.0) * high
    else:
        high, length = height + 0.3, random.uniform(0.8, 1.1)
        said, look = surroundings.thing(random)
        rod, words = 0.08, f"the {said} stand"
        for side in (-1, 1):
            scene.thing(
                *("cylinder", (0.1, 0.1, high), (side * (length / 2 + 0.15), 0, high / 2)),
                material=look, words=words, role=Role.REMOVED, mass=0.0,
            )  # fmt: skip
        scene.thing(
            *("cylinder", (rod, rod, length + 0.3), (0, 0, high - rod)),
            material=look, words=words, role=Role.REMOVED, turn=about((0, 1, 0), math.pi / 2), mass=0.0,
        )  # fmt: skip
        width, length = length, random.uniform(1.2, 1.6) * high
    bearer = scene.bodies[-1]
    spread = scene.cloth((random.uniform(-0.05, 0.05), random.uniform(-0.05, 0.05), high + 0.02), width, length)
    scene.description = f"{_capital(spread)} lies over {bearer.words}."
    scene.by_the_way(random.randint(1, 3), 1.7, 2.4)
    scene.effects += ["loss of support", "cloth"]
    scene.look((0, 0, 0.5), 1.8)


@_kind
def seesaw(scene: Scene) -> None:
    """A plank on a round log is held in balance by two weights, of which one is taken away."""
    random = scene.random
    radius, half = random.uniform(0.18, 0.25), random.uniform(1.0, 1.3)
    scene.thing(
        *("cylinder", (2 * radius, 2 * radius, 0.8), (0, 0, radius)), mass=0.0, turn=about((1, 0, 0), math.pi / 2)
    )
    scene.thing("box", (2 * half, 0.5, 0.06), (0, 0, 2 * radius + 0.032), mass=2.0, friction=0.9, restitution=0.0)
    size = random.uniform(0.32, 0.42)
    for side, role in ((-1, Role.REMOVED), (1, Role.THING)):
        body = scene.thing(
            *("box", (size,) * 3, (side * 0.8 * half, 0, 2 * radius + 0.066 + size / 2)),
            role=role, mass=2.0, friction=0.9, restitution=0.0,
        )  # fmt: skip
        if role is Role.REMOVED:
            scene.description = f"A plank on a log is in balance; {body.words} lies on one end of it."
    scene.by_the_way(random.randint(0, 2), 1.8, 2.5)
    scene.effects.append("loss of balance")
    scene.look((0, 0, 0.4), 1.8)


@_kind
def stopped(scene: Scene) -> None:
    """A ball rolls against a block, which stops it; without the block it rolls on."""
    random = scene.random
    radius = random.uniform(0.22, 0.34)
    block = scene.any_thing(
        (0.2, 0, 0), random.uniform(0.6, 0.9), shapes=("box", "cylinder"), role=Role.REMOVED, mass=25.0
    )
    ball = scene.thing(
        *("ball", (2 * radius,) * 3, (-random.uniform(1.5, 1.9), 0, radius + 0.001)),
        mass=0.8, restitution=0.4, velocity=(random.uniform(2.4, 3.6), 0, 0),
    )  # fmt: skip
    scene.description = f"{_capital(ball)} rolls against {block.words} and bounces back."
    scene.by_the_way(random.randint(1, 3), 1.6, 2.6)
    scene.effects += ["physics", "path that goes on"]
    scene.look((0, 0, 0.4), 2.1)


@_kind
def ramp(scene: Scene) -> None:
    """Something is kept on a ramp by a wedge at its foot; without that it comes down."""
    random = scene.random
    angle, long = random.uniform(0.35, 0.5), 2.6
    tilt = about((0, 1, 0), angle)
    middle: Vector = (-0.5, 0, long / 2 * math.sin(angle) + 0.03)
    down, out = turned(tilt, (1, 0, 0)), turned(tilt, (0, 0, 1))
    board = scene.thing("box", (long, 1.0, 0.1), middle, mass=0.0, turn=tilt, friction=0.25)
    # what bears its upper end, to below its underside
    under = add(add(middle, down, -0.42 * long), out, -0.05)
    high = under[2] - 0.05 * math.tan(angle)
    scene.thing(
        *("box", (0.1, 0.9, high), (under[0], 0.0, high / 2)),
        material=board.material, words=board.words, mass=0.0,
    )  # fmt: skip
    radius = random.uniform(0.2, 0.3)
    stop = add(add(middle, down, 0.1 * long), out, 0.05 + 0.14)
    block = scene.thing("box", (0.12, 0.8, 0.28), stop, role=Role.REMOVED, turn=tilt)
    # a fixture on the ramp, which no weight pushes away
    scene.bodies[-1] = replace(block, mass=0.0)
    for number in range(random.randint(1, 3)):
        along = 0.1 * long - 0.06 - radius - 0.003 - number * (2 * radius + 0.004)
        place = add(add(middle, down, along), out, 0.05 + radius + 0.001)
        scene.thing("ball", (2 * radius,) * 3, place, mass=1.0, friction=0.4)
    if random.random() < 0.6:
        scene.any_thing((1.6, 0.05, 0), random.uniform(0.5, 0.8), shapes=("pawn", "bottle", "vase", "box"), mass=0.5)
    scene.description = f"{_capital(block)} holds what would roll down a ramp."
    scene.effects += ["loss of support", "chain of physics"]
    scene.look((0.3, 0, 0.5), 2.1)


@_kind
def carrying(scene: Scene) -> None:
    """A figure walks by and carries a thing, which falls without it."""
    random = scene.random
    height, facing = random.uniform(1.6, 1.85), random.choice((-1, 1)) * math.pi / 2
    speed = random.uniform(0.7, 1.2)
    start = _start(scene, facing, speed)
    size, offset = random.uniform(0.32, 0.45), (0.0, 0.36, 0.22)
    stances = figure.walking(height, start, facing, speed, scene.ticks)
    stances = [replace(one, hands=figure.grip(one, offset, size)) for one in stances]
    words, parts = figure.bodies(random, height, stances, Role.REMOVED)
    path = figure.carried(stances, offset)
    thing = scene.any_thing((0, 0, 0), size, shapes=("box", "ball", "cylinder"), mass=1.0)
    scene.bodies[-1] = _led(replace(thing, size=(size,) * 3), path, held=True)
    scene.bodies += parts
    scene.description = f"{words[:1].upper()}{words[1:]} walks by and carries {thing.words}."
    scene.by_the_way(random.randint(1, 3), 1.6, 2.4)
    scene.effects.append("loss of support")
    scene.look((0, 0, 0.85), 1.9, wall=2.6, azimuth=0.4)


@_kind
def pushing(scene: Scene) -> None:
    """A figure pushes a box over the floor, which stays where it is without the figure."""
    random = scene.random
    height, facing = random.uniform(1.6, 1.85), random.choice((-1, 1)) * math.pi / 2
    speed = random.uniform(0.5, 0.8)
    start = _start(scene, facing, speed, before=0.5)
    size = random.uniform(0.7, 0.95)
    stances = []
    for one in figure.walking(height, start, facing, speed, scene.ticks):
        front = add(one.pelvis, turned(heading(facing), (0, 0.52, 0)))
        right = turned(heading(facing), (1, 0, 0))
        hands = tuple(add((front[0], front[1], 0.85 * size), right, side * 0.2) for side in (-1, 1))
        stances.append(replace(one, lean=0.45, hands=(hands[0], hands[1])))
    words, parts = figure.bodies(random, height, stances, Role.REMOVED)
    box = scene.any_thing((0, 0, 0), size, shapes=("box", "cylinder"), mass=8.0)
    path = tuple(
        pose((p[0], p[1], size / 2 + 0.002), heading(facing))
        for p in figure.carried(stances, (0.0, 0.55 + size / 2, 0.0))
    )
    scene.bodies[-1] = _led(replace(box, size=(size,) * 3), path, held=True)
    scene.bodies += parts
    scene.description = f"{words[:1].upper()}{words[1:]} pushes {box.words} over the floor."
    scene.by_the_way(random.randint(0, 2), 1.8, 2.4)
    scene.effects.append("physics")
    scene.look(add(start, turned(heading(facing), (0, 0.7, 0.75))), 1.9, wall=2.6, azimuth=0.4)


@_kind
def lifting(scene: Scene) -> None:
    """A figure lifts a thing from one table, turns, and sets it down on another."""
    random = scene.random
    height, level, size = random.uniform(1.6, 1.85), random.uniform(0.65, 0.8), random.uniform(0.28, 0.38)
    side = random.choice((-1, 1))
    said, look = surroundings.thing(random)
    for x in (-0.95, 0.95):
        scene.thing("box", (0.8, 0.8, level), (x, 0, level / 2), mass=0.0, material=look, words=f"the {said} tables")
    pelvis = figure.standing(height)
    stances = []
    for tick in range(scene.ticks):
        share = tick / max(scene.ticks - 1, 1)
        turning = eased((share - 0.25) / 0.5)
        facing = side * (math.pi / 2 - math.pi * turning)
        up = eased(share / 0.25) * (1 - eased((share - 0.75) / 0.25))
        body: Vector = (0.0, 0.0, pelvis - 0.03)
        reach = 0.95 - 0.45 * up
        offset = (0.0, reach - 0.1, level + size / 2 + 0.003 + 0.25 * up - body[2])
        left, right = (turned(heading(facing), (s * 0.12, 0.02, 0.045 * height)) for s in (-1, 1))
        stance = figure.Stance(body, facing, (left, right), lean=0.35 * (1 - 0.7 * up))
        stances.append((replace(stance, hands=figure.grip(stance, offset, size)), offset))
    words, parts = figure.bodies(random, height, [one for one, _ in stances], Role.REMOVED)
    thing = scene.any_thing((0, 0, 0), size, shapes=("box", "cylinder", "cup"), mass=1.0)
    path = tuple(figure.carried([one], offset)[0] for one, offset in stances)
    scene.bodies[-1] = _led(replace(thing, size=(size,) * 3), path, held=True)
    scene.bodies += parts
    scene.description = (
        f"{words[:1].upper()}{words[1:]} lifts {thing.words} from one table and sets it down on another."
    )
    scene.effects.append("physics")
    scene.look((0, 0, 0.85), 1.6, wall=2.2, azimuth=0.35)


@_kind
def sitting(scene: Scene) -> None:
    """A figure sits down on a stool, or rises from it, between things that stay."""
    random = scene.random
    height, seat = random.uniform(1.6, 1.85), random.uniform(0.42, 0.5)
    facing = math.pi + random.uniform(-0.7, 0.7)
    forward = turned(heading(facing), (0, 1, 0))
    stool = scene.thing("cylinder", (0.42, 0.42, seat), (0, 0, seat / 2), mass=0.0)
    stands, rises = figure.standing(height), random.random() < 0.4
    feet = tuple(
        add(add((0, 0, 0.045 * height), forward, 0.42), turned(heading(facing), (s * 0.11, 0, 0))) for s in (-1, 1)
    )
    stances = []
    for tick in range(scene.ticks):
        share = eased((tick / scene.ticks - 0.15) / 0.6)
        down = 1 - share if rises else share
        level = stands - 0.02 + (seat + 0.07 * height - stands) * down
        pelvis = add((0.0, 0.0, level), forward, 0.4 * (1 - down))
        lean = 0.12 + 0.6 * math.sin(math.pi * down)
        knees = [add(add(foot, (0, 0, 0.26 * height)), forward, -0.02) for foot in feet]
        hands = (knees[0], knees[1]) if down > 0.9 else (None, None)
        stances.append(figure.Stance(pelvis, facing, (feet[0], feet[1]), hands, lean=lean))
    words, parts = figure.bodies(random, height, stances, Role.REMOVED)
    scene.bodies += parts
    scene.description = f"{words[:1].upper()}{words[1:]} {'rises from' if rises else 'sits down on'} {stool.words}."
    _mover(scene)
    scene.by_the_way(random.randint(1, 3), 1.2, 2.0)
    scene.look((0, 0, 0.8), 1.6, wall=2.4, azimuth=0.4)


@_kind
def passing(scene: Scene) -> None:
    """A figure walks past things, before others that move on their own and must stay."""
    random = scene.random
    height, facing = random.uniform(1.6, 1.85), random.choice((-1, 1)) * math.pi / 2
    speed = random.uniform(0.9, 1.4)
    stances = figure.walking(height, _start(scene, facing, speed), facing, speed, scene.ticks)
    words, parts = figure.bodies(random, height, stances, Role.REMOVED)
    scene.bodies += parts
    scene.description = f"{words[:1].upper()}{words[1:]} walks past."
    _mover(scene)
    scene.by_the_way(random.randint(2, 4), 1.3, 2.2)
    scene.effects.append("independent motion")
    scene.look((0, 0, 0.85), 1.9, wall=2.8, azimuth=0.4)


@_kind
def crowd(scene: Scene) -> None:
    """Two figures cross; only one of them is removed."""
    random = scene.random
    for number, (role, y) in enumerate(((Role.REMOVED, -0.3), (Role.MOVER, 0.6))):
        facing, speed = (1 - 2 * number) * math.pi / 2, random.uniform(0.8, 1.3)
        height = random.uniform(1.6, 1.85)
        start = add(_start(scene, facing, speed), (0, y, 0))
        stances = figure.walking(height, start, facing, speed, scene.ticks)
        words, parts = figure.bodies(random, height, stances, role, f"figure {number}")
        scene.bodies += parts
        if role is Role.REMOVED:
            scene.description = f"Two figures cross; {words} is to go."
    scene.by_the_way(random.randint(1, 3), 1.3, 2.2)
    scene.effects.append("independent motion")
    scene.look((0, 0, 0.85), 1.9, wall=2.6, azimuth=0.4)


@_kind
def mirror(scene: Scene) -> None:
    """Something glides past a mirror that stands on the floor."""
    random = scene.random
    middle: Vector = (0, 1.3, 0.86)
    body = _glider(scene, y=0.0)
    silver = Material(colours=((0.92, 0.92, 0.92), (0.9, 0.9, 0.9)), roughness=0.015, metallic=1.0)
    frame = Material("planks", ((0.2, 0.1, 0.03), (0.1, 0.05, 0.02)), 3.0, 0.3)
    lean = heading(random.uniform(-0.25, 0.25))
    scene.thing(
        *("box", (2.6, 0.06, 1.7), middle),
        material=frame,
        words="the mirror",
        turn=lean,
        mass=0.0,
        role=Role.STAGE,
    )
    front = turned(lean, (0, -0.035, 0))
    scene.thing(
        *("box", (2.4, 0.02, 1.5), add(middle, front)),
        material=silver, words="the mirror", turn=lean, mass=0.0, role=Role.STAGE,
    )  # fmt: skip
    scene.description = f"{_capital(body)} glides past a mirror."
    scene.by_the_way(random.randint(0, 2), 1.0, 1.2)
    scene.effects.append("mirror image")
    scene.look((0, 0.5, 0.8), 1.7, wall=2.0, azimuth=0.4, elevation=(0.05, 0.25))


@_kind
def lamps(scene: Scene) -> None:
    """Something passes bright lamps at night, and its shadows sweep over the floor."""
    random = scene.random
    body = _glider(scene, y=-0.2)
    for number in range(random.randint(2, 4)):
        x, z = -1.5 + number * 1.1 + random.uniform(-0.2, 0.2), random.uniform(0.9, 1.5)
        colour = (1.0, random.uniform(0.6, 0.95), random.uniform(0.3, 0.9))
        glow = Material(colours=(colour, colour), emission=random.uniform(12, 40))
        metal = Material(colours=((0.4, 0.3, 0.15), (0.3, 0.2, 0.1)), roughness=0.25, metallic=1.0)
        scene.thing(
            "cylinder", (0.05, 0.05, z), (x, 0.8, z / 2), material=metal, words="the lamps", role=Role.STAGE, mass=0.0
        )
        scene.thing("ball", (0.24,) * 3, (x, 0.8, z + 0.1), material=glow, words="the lamps", role=Role.STAGE, mass=0.0)
    scene.description = f"{_capital(body)} glides before bright lamps; its shadows sweep over the floor."
    scene.by_the_way(random.randint(1, 2), 1.4, 2.0)
    scene.effects += ["HDR emitters behind", "several shadows"]
    scene.look((0, 0.3, 0.8), 1.8, dark=True, wall=1.6, azimuth=0.4)


@_kind
def lantern(scene: Scene) -> None:
    """What is removed is itself a lamp: its light goes with it."""
    random = scene.random
    name = random.choice(("white", "orange", "turquoise", "pink"))
    glow = Material(colours=(surroundings.COLOURS[name], surroundings.COLOURS[name]), emission=random.uniform(15, 30))
    path = _glide(scene, -0.1, random.uniform(0.5, 0.9))
    scene.thing(
        *("ball", (0.34,) * 3, path[0][:3]),
        material=glow, words=f"the {name} lantern", role=Role.REMOVED, mass=0.0, path=path, solid=False,
    )  # fmt: skip
    scene.description = f"A {name} lantern floats through a dim room and lights it."
    scene.by_the_way(random.randint(3, 5), 0.9, 2.0)
    scene.effects += ["light of the object", "moving shadows of others"]
    scene.look((0, 0.2, 0.6), 1.7, wall=1.8)
    assert scene.around
    scene.around = replace(
        scene.around,
        sky=replace(scene.around.sky, strength=scene.around.sky.strength * 0.3),
        lights=tuple(replace(light, power=light.power * 0.12) for light in scene.around.lights),
    )


@_kind
def coloured_light(scene: Scene) -> None:
    """A strongly coloured sheet passes pale things and throws its colour on them."""
    random = scene.random
    name = random.choice(("red", "orange", "green", "blue", "yellow"))
    look = Material(colours=(surroundings.COLOURS[name], surroundings.COLOURS[name]), roughness=0.6)
    pale = Material("noise", ((0.72, 0.71, 0.68), (0.62, 0.6, 0.57)), 4.0, 0.7)
    path = _glide(scene, 0.1, 0.65)
    scene.thing(
        *("box", (0.08, 1.0, 1.2), path[0][:3]),
        material=look, words=f"the {name} board", role=Role.REMOVED, mass=0.0, path=path, solid=False,
    )  # fmt: skip
    for x in (-1.3, -0.3, 0.8, 1.6):
        shape = random.choice(("pawn", "vase", "cup", "cone"))
        high = random.uniform(0.5, 0.9)
        scene.thing(
            *(shape, (0.55 * high, 0.55 * high, high), (x, 1.0 + random.uniform(-0.1, 0.2), high / 2)),
            material=pale, words="the pale figures", mass=0.0,
        )  # fmt: skip
    scene.description = f"A {name} board passes pale things and throws its colour on them."
    scene.effects.append("coloured bounce light")
    scene.look((0, 0.4, 0.6), 1.7, wall=1.6, azimuth=0.4)


@_kind
def glass(scene: Scene) -> None:
    """A thing of glass passes others, which are seen through it."""
    random = scene.random
    tint = random.choice(((0.95, 0.97, 0.98), (0.6, 0.9, 0.75), (0.95, 0.7, 0.4), (0.5, 0.7, 0.95)))
    clear = Material(colours=(tint, tint), roughness=0.0, transmission=1.0)
    shape = random.choice(("ball", "vase", "bottle", "box"))
    high = random.uniform(0.7, 1.0)
    path = _glide(scene, -0.4, high / 2 + 0.002)
    noun = NOUNS[shape]
    scene.thing(
        *(shape, upright(shape, high), path[0][:3]),
        material=clear, words=f"the glass {noun}", role=Role.REMOVED, mass=0.0, path=path, solid=False,
    )  # fmt: skip
    for n in range(random.randint(3, 5)):
        scene.aside((-1.5 + 0.8 * n, 0.7 + random.uniform(-0.2, 0.3), 0), random.uniform(0.4, 0.9), mass=0.0)
    scene.description = f"A glass {noun} glides past coloured things, which are seen through it."
    scene.effects += ["refraction", "see-through object"]
    scene.look((0, 0.2, 0.45), 1.6, wall=2.0)


def _capital(body: Body) -> str:
    return body.words[:1].upper() + body.words[1:]


def _start(scene: Scene, facing: float, speed: float, before: float = 0.0) -> Vector:
    """Where a walk begins that passes the middle at half time, ``before`` metres ahead of it where told."""
    way = speed * scene.ticks / TICKS / 2 + before
    return turned(heading(facing), (0.0, -way, 0.0))


def _led(body: Body, path: tuple[Pose, ...], *, held: bool) -> Body:
    """A thing that is led along a path for all the time, by something that may hold it."""
    return replace(body, place=path[0][:3], turn=path[0][3:], path=path, held=held, released=len(path) + 1)


def _glide(scene: Scene, y: float, z: float) -> tuple[Pose, ...]:
    """A path from one side to the other at even speed."""
    side, reach = scene.random.choice((-1, 1)), scene.random.uniform(0.9, 1.5)
    spin = scene.random.uniform(-1.0, 1.0)
    shares = [tick / max(scene.ticks - 1, 1) for tick in range(scene.ticks)]
    return tuple(pose((side * reach * (2 * share - 1), y, z), heading(spin * share)) for share in shares)


def _glider(scene: Scene, y: float) -> Body:
    """Something to remove that glides over the floor."""
    height = scene.random.uniform(0.8, 1.3)
    body = scene.any_thing((0, 0, 0), height, shapes=("pawn", "vase", "spool", "cone"), role=Role.REMOVED, mass=0.0)
    path = _glide(scene, y, height / 2 + 0.002)
    scene.bodies[-1] = replace(body, place=path[0][:3], path=path, solid=False)
    return body


def _mover(scene: Scene) -> None:
    """Something that moves on its own, and must stay: it hops, swings from a cord, or spins on a pole."""
    random = scene.random
    way, rate, x = random.choice(("hops", "swings", "spins")), random.uniform(0.5, 1.0), random.uniform(-1.2, 1.2)
    size = random.uniform(0.35, 0.5)
    y, high, reach = 1.1, 0.8, 3.1
    poses, cords = [], []
    for tick in range(scene.ticks):
        seconds = tick / TICKS
        if way == "hops":
            # as high as is hopped in that time
            share = seconds * math.sqrt(9.81 / (8 * high * rate)) % 1
            poses.append(pose((x, y, size / 2 + high * rate * 4 * share * (1 - share))))
        elif way == "swings":
            turn = about((0, 1, 0), -0.22 * math.sin(seconds * math.sqrt(9.81 / reach)))
            hung: Vector = (x, y, high + reach)
            poses.append(pose(add(hung, turned(turn, (0, 0, -reach))), turn))
            cords.append(pose(add(hung, turned(turn, (0, 0, -reach / 2))), turn))
        else:
            poses.append(pose((x, y, high), heading(math.tau * rate * seconds)))
    said, look = surroundings.thing(random)
    shape = "box" if way == "spins" else "ball"
    words = f"the {said} {shape} that {way}"
    scene.thing(
        *(shape, (size,) * 3, poses[0][:3]),
        material=look, words=words, role=Role.MOVER, mass=0.0, path=tuple(poses), solid=False,
    )  # fmt: skip
    if way == "spins":
        scene.thing(
            *("cylinder", (0.06, 0.06, high), (x, y, high / 2)), material=look, words=words, role=Role.STAGE, mass=0.0
        )
    elif way == "swings":
        scene.thing(
            *("cylinder", (0.02, 0.02, reach), cords[0][:3]),
            material=look, words=words, role=Role.MOVER, mass=0.0, path=tuple(cords), solid=False,
        )  # fmt: skip
