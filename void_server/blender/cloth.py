"""Cloth, simulated with Blender's own: where each of its points is at each tick, and a modifier that plays that."""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import bpy

from .animation import poses
from .physics import Poses

#: x, y and z of each point of a cloth, one after the other.
Points = Sequence[float]

# Points for each metre along the sides.
_POINTS_A_METRE = 18
# Ticks before the first, in which the cloth comes to rest on what bears it; a strong drag of the air makes it do so.
_SETTLES, _THICK_AIR, _AIR = 100, 5.0, 1.0
# Blender's cloth counts frames, not seconds: with this time scale and 48 frames a second it falls with 9.81 m/s2.
_TIME_SCALE = 0.656
# How near points come to what they lie on, and what movement of all of them is none, in metres.
_DISTANCE, _STILL = 0.006, 0.001


def mesh(name: str, size: Sequence[float]) -> Any:
    """A flat sheet with enough points to fold."""
    columns, rows = (max(2, round(extent * _POINTS_A_METRE)) for extent in size[:2])
    points = [
        ((column / (columns - 1) - 0.5) * size[0], (row / (rows - 1) - 0.5) * size[1], 0.0)
        for row in range(rows)
        for column in range(columns)
    ]
    corners = [row * columns + column for row in range(rows - 1) for column in range(columns - 1)]
    made = bpy.data.meshes.new(name)
    made.from_pydata(points, [], [(n, n + 1, n + columns + 1, n + columns) for n in corners])
    made.shade_smooth()
    made.update()
    return made


def at_rest(body: Mapping[str, Any], others: Mapping[str, Any], paths: Mapping[str, Poses]) -> Points:
    """Where a cloth comes to rest on the others as they stand at first."""
    held = {name: [paths[name][0]] * (_SETTLES + 1) for name in others}
    return _run(body, others, held, _SETTLES + 1, None, _THICK_AIR)[-1]


def simulate(
    body: Mapping[str, Any], others: Mapping[str, Any], paths: Mapping[str, Poses], ticks: int, start: Points
) -> list[Points]:
    """Where the points of a cloth are at each tick, from ``start`` on, while the others follow their paths."""
    found = _run(body, others, paths, ticks, start, _AIR)
    kept = [start]
    for points in found[1:]:
        # a cloth that lies there trembles; in the picture it lies still
        kept.append(points if _farthest(points, kept[-1]) > _STILL else kept[-1])
    return kept


def path(place: Sequence[float], moments: Iterable[Points]) -> Poses:
    """A cloth's path: the middle of its points, upright, and as an eighth number how far they have gone in all."""
    found: Poses = []
    gone, before = 0.0, None
    for points in moments:
        gone += _farthest(points, before) if before is not None and before is not points else 0.0
        middle = (sum(points[axis::3]) / (len(points) / 3) + place[axis] for axis in range(3))
        found.append((*middle, 1.0, 0.0, 0.0, 0.0, gone))
        before = points
    return found


def write(moments: Sequence[Points], file: Path) -> None:
    """Write where the points of a cloth are at each tick, as PC2."""
    with open(file, "wb") as cache:
        # a mark, the version, points, the first frame, its step, moments
        cache.write(struct.pack("<12siiffi", b"POINTCACHE2\0", 1, len(moments[0]) // 3, 0.0, 1.0, len(moments)))
        for points in moments:
            array("f", points).tofile(cache)


def play(thing: Any, file: Path, per_frame: int) -> None:
    """Have an object's points go where a PC2 ``file`` has them at each tick; ``per_frame`` ticks are a frame."""
    modifier = thing.modifiers.new("points", "MESH_CACHE")
    modifier.cache_format, modifier.filepath, modifier.interpolation = "PC2", str(file), "LINEAR"
    modifier.frame_start, modifier.frame_scale = 1.0, float(per_frame)


def _farthest(points: Points, others: Points) -> float:
    return max(
        math.dist(one, other)
        for one, other in zip(zip(*[iter(points)] * 3, strict=True), zip(*[iter(others)] * 3, strict=True), strict=True)
    )


def _run(
    body: Mapping[str, Any],
    others: Mapping[str, Any],
    paths: Mapping[str, Poses],
    ticks: int,
    start: Points | None,
    air: float,
) -> list[Points]:
    scene = bpy.context.scene
    thing = bpy.data.objects.new("cloth", mesh("cloth", body["size"]))
    thing.location = body["place"]
    scene.collection.objects.link(thing)
    flat = thing.shape_key_add(name="flat")
    modifier = thing.modifiers.new("cloth", "CLOTH")
    settings, contact = modifier.settings, modifier.collision_settings
    if start is not None:
        # it begins there, but is no longer or shorter than when it lies flat
        begin = thing.shape_key_add(name="start")
        begin.data.foreach_set("co", array("f", start))
        begin.value = 1.0
        settings.rest_shape_key = flat
    settings.quality, settings.time_scale, settings.air_damping = 6, _TIME_SCALE, air
    settings.bending_stiffness = 0.3
    contact.distance_min, contact.collision_quality, contact.friction = _DISTANCE, 2, 12.0
    contact.use_self_collision, contact.self_distance_min = True, _DISTANCE
    modifier.point_cache.frame_start, modifier.point_cache.frame_end = 1, ticks
    for name, other in others.items():
        other.modifiers.new("collision", "COLLISION")
        other.collision.thickness_outer, other.collision.cloth_friction = _DISTANCE, 12.0
        poses(other, paths[name], 1)
    found: list[Points] = []
    for frame in range(1, ticks + 1):
        scene.frame_set(frame)
        points = array("f", bytes(12 * len(thing.data.vertices)))
        graph = bpy.context.evaluated_depsgraph_get()
        thing.evaluated_get(graph).data.vertices.foreach_get("co", points)
        found.append(points)
    for other in others.values():
        other.modifiers.remove(other.modifiers["collision"])
        other.animation_data_clear()
    bpy.data.objects.remove(thing)
    scene.frame_set(1)
    return found
