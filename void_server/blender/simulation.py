"""Both simulations of a recipe, with the removed and without it, in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import bpy

from . import cloth
from .meshes import mesh
from .physics import Poses, simulate
from .protocol import CLOTH

_PATHS = "paths.json"


def write(recipe: Mapping[str, Any], ticks_a_second: int, folder: Path) -> None:
    """Simulate a recipe, and write to ``folder`` the poses of its bodies and the points of its cloths."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bodies, ticks = recipe["bodies"], recipe["ticks"]
    objects = {body["name"]: placed(body) for body in bodies}
    kept = [body for body in bodies if body["role"] != "removed"]
    paths = {
        "plate": simulate(bodies, objects, ticks, ticks_a_second, free=False),
        "truth": simulate(kept, objects, ticks, ticks_a_second, free=True),
    }
    solid = {one["name"]: objects[one["name"]] for one in bodies if one["solid"] and one["shape"] != CLOTH}
    for number, body in enumerate(bodies):
        if body["shape"] == CLOTH:
            start = cloth.at_rest(body, solid, paths["plate"])
            for state, found in paths.items():
                there = {name: thing for name, thing in solid.items() if name in found}
                moments = cloth.simulate(body, there, found, ticks, start)
                cloth.write(moments, points(folder, number, state))
                found[body["name"]] = cloth.path(body["place"], moments)
    (folder / _PATHS).write_text(json.dumps(paths), encoding="utf-8")


def read(folder: Path) -> dict[str, dict[str, Poses]]:
    """The poses of every body at each tick, by state (plate, truth) and name."""
    found: dict[str, dict[str, Poses]] = json.loads((folder / _PATHS).read_text(encoding="utf-8"))
    return found


def points(folder: Path, number: int, state: str) -> Path:
    """The file with the points of the body of this number, a cloth, at each tick in a state."""
    return folder / f"{number}.{state}.pc2"


def placed(body: Mapping[str, Any]) -> Any:
    """A body as an object of the scene, where it is at first."""
    form = cloth.mesh if body["shape"] == CLOTH else partial(mesh, shape=body["shape"])
    thing = bpy.data.objects.new(body["name"], form(name=body["name"], size=body["size"]))
    thing.rotation_mode = "QUATERNION"
    thing.location, thing.rotation_quaternion = body["place"], body["turn"]
    bpy.context.scene.collection.objects.link(thing)
    return thing
