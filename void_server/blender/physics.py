"""Simulations with Blender's rigid bodies: where everything is at each tick."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bpy

from .meshes import COLLISION

Poses = list[tuple[float, ...]]

#: Ticks before the first, in which what flies gets its speed, and what lies settles.
_LEAD = 6
_STEPS_A_SECOND = 240


def simulate(
    bodies: Sequence[dict[str, Any]], objects: dict[str, Any], ticks: int, a_second: int, *, free: bool
) -> dict[str, Poses]:
    """The poses of these bodies at each tick, by name. ``free``: what the removed held is left to itself at once."""
    scene = bpy.context.scene
    scene.render.fps = a_second
    scene.frame_start, scene.frame_end = 1, ticks + _LEAD
    scene.frame_set(1)
    bpy.ops.rigidbody.world_add()
    world = scene.rigidbody_world
    collection = bpy.data.collections.new("physics")
    world.collection = collection
    world.substeps_per_frame = _STEPS_A_SECOND // a_second
    world.solver_iterations = 30
    world.point_cache.frame_start, world.point_cache.frame_end = 1, ticks + _LEAD
    for body in bodies:
        if body["solid"]:
            _add(collection, objects[body["name"]], body, a_second, free=free)
    found: dict[str, Poses] = {body["name"]: [] for body in bodies}
    # nothing can push what others do not collide with
    led = {
        body["name"]: [tuple(pose) for pose in body["path"]] for body in bodies if body["path"] and not body["solid"]
    }
    for frame in range(1, ticks + _LEAD + 1):
        scene.frame_set(frame)
        if frame <= _LEAD:
            continue
        graph = bpy.context.evaluated_depsgraph_get()
        for name, poses in found.items():
            if name in led:
                continue
            place, turn, _ = objects[name].evaluated_get(graph).matrix_world.decompose()
            poses.append((*place, *turn))
    bpy.ops.rigidbody.world_remove()
    bpy.data.collections.remove(collection)
    scene.frame_set(1)
    for body in bodies:
        _strip(objects[body["name"]], body)
    return {**found, **led}


def _add(collection: Any, thing: Any, body: dict[str, Any], a_second: int, *, free: bool) -> None:
    """Make an object a rigid body; what has a path is led along it until it is released."""
    collection.objects.link(thing)
    with bpy.context.temp_override(object=thing, active_object=thing):
        if thing.rigid_body is None:
            bpy.ops.rigidbody.object_add()
    rigid = thing.rigid_body
    rigid.type = "ACTIVE" if body["mass"] or body["path"] else "PASSIVE"
    rigid.collision_shape = COLLISION.get(body["shape"], "CONVEX_HULL")
    rigid.mass = body["mass"] or 1.0
    rigid.friction, rigid.restitution = body["friction"], body["restitution"]
    rigid.linear_damping, rigid.angular_damping = 0.02, 0.08
    rigid.use_margin, rigid.collision_margin = True, 0.002 if body["shape"] != "ball" else 0.0
    rigid.use_deactivation = False
    if body["path"]:
        for tick, pose in enumerate(body["path"], 1 + _LEAD):
            thing.location, thing.rotation_quaternion = pose[:3], pose[3:]
            thing.keyframe_insert("location", frame=tick)
            thing.keyframe_insert("rotation_quaternion", frame=tick)
        end = body["released"] if body["released"] is not None else len(body["path"]) + 1
        _led(rigid, 1 + _LEAD if free and body["held"] else 1 + _LEAD + end, body["mass"] > 0)
    elif any(body["velocity"]):
        begin = [p - v * _LEAD / a_second for p, v in zip(body["place"], body["velocity"], strict=True)]
        for frame, place in ((1, begin), (1 + _LEAD, body["place"])):
            thing.location = place
            thing.keyframe_insert("location", frame=frame)
        for curve in _curves(thing):
            for point in curve.keyframe_points:
                point.interpolation = "LINEAR"
        _led(rigid, 1 + _LEAD, True)
    elif body["mass"]:
        _led(rigid, 1 + _LEAD, True)


def _led(rigid: Any, until: int, then_free: bool) -> None:
    rigid.kinematic = True
    rigid.keyframe_insert("kinematic", frame=1)
    if then_free:
        rigid.kinematic = False
        rigid.keyframe_insert("kinematic", frame=until)
        rigid.kinematic = True


def _curves(thing: Any) -> list[Any]:
    action = thing.animation_data.action
    return [
        curve for layer in action.layers for strip in layer.strips for bag in strip.channelbags for curve in bag.fcurves
    ]


def _strip(thing: Any, body: dict[str, Any]) -> None:
    """Leave nothing of the simulation on an object."""
    with bpy.context.temp_override(object=thing, active_object=thing):
        if thing.rigid_body is not None:
            bpy.ops.rigidbody.object_remove()
    thing.animation_data_clear()
    thing.location, thing.rotation_quaternion = body["place"], body["turn"]
