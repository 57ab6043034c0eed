"""A recipe as a scene of Blender's: objects, lights, sky, camera."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy

from . import cloth, simulation
from .animation import linear, poses
from .materials import REMOVED, material
from .protocol import CLOTH, SAME


class Stage:
    """The scene of a recipe whose simulations are done, which can be shown in three states.

    ``plate``: everything. ``moved``: the same physics, without the removed. ``truth``: the physics without the removed.
    """

    def __init__(self, recipe: dict[str, Any], simulated: Path, ticks_a_second: int, per_frame: int) -> None:
        """``simulated`` is the folder with the simulations of the recipe."""
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self.recipe, self.per_frame, self._simulated = recipe, per_frame, simulated
        self.scene = bpy.context.scene
        bodies, ticks = recipe["bodies"], recipe["ticks"]
        #: The poses of every body at each tick, by state and name.
        self.paths = simulation.read(simulated)
        self.scene.render.fps = ticks_a_second // per_frame
        self.scene.frame_start, self.scene.frame_end = 1, max(2, ticks // per_frame)
        self._shown: dict[str, list[Any]] = {"plate": [], "moved": [], "truth": []}
        for number, body in enumerate(bodies):
            thing = simulation.placed(body)
            thing.data.materials.append(material(body, ticks, ticks_a_second, per_frame))
            self._animate(number, body, thing)
        self._light()
        self._camera()

    def show(self, state: str) -> None:
        """Show one of the states."""
        there = {thing.name for thing in self._shown[state]}
        for thing in {thing.name: thing for things in self._shown.values() for thing in things}.values():
            hidden = thing.name not in there
            if thing.hide_render != hidden:
                thing.hide_render = hidden

    def _animate(self, number: int, body: dict[str, Any], thing: Any) -> None:
        name = body["name"]
        plate = self.paths["plate"][name]
        self._send(number, body, thing, "plate")
        self._shown["plate"].append(thing)
        if body["role"] == "removed":
            return
        self._shown["moved"].append(thing)
        truth = self.paths["truth"][name]
        if same(plate, truth):
            self._shown["truth"].append(thing)
            return
        other = bpy.data.objects.new(f"{name} (truth)", thing.data)
        other.rotation_mode = "QUATERNION"
        self.scene.collection.objects.link(other)
        self._send(number, body, other, "truth")
        self._shown["truth"].append(other)

    def _send(self, number: int, body: dict[str, Any], thing: Any, state: str) -> None:
        """Have an object, and its points where it is a cloth, go its way in a state."""
        if body["shape"] == CLOTH:
            thing.location = body["place"]
            cloth.play(thing, simulation.points(self._simulated, number, state), self.per_frame)
        else:
            _take(thing, self.paths[state][body["name"]], self.per_frame)

    def _light(self) -> None:
        for number, light in enumerate(self.recipe["lights"]):
            data = bpy.data.lights.new(f"light{number}", light["kind"].upper())
            data.energy, data.color = light["power"], light["colour"]
            if light["kind"] == "sun":
                data.angle = light["size"]
            else:
                data.size = light["size"]
            thing = bpy.data.objects.new(f"light{number}", data)
            thing.location = light["place"]
            direction = [t - p for t, p in zip(light["target"], light["place"], strict=True)]
            flat = math.hypot(direction[0], direction[1])
            thing.rotation_euler = (
                math.atan2(flat, -direction[2]),
                0,
                math.atan2(direction[1], direction[0]) - math.pi / 2,
            )
            self.scene.collection.objects.link(thing)
        sky = self.recipe["sky"]
        world = bpy.data.worlds.new("sky")
        self.scene.world = world
        world.use_nodes = True
        nodes, links = world.node_tree.nodes, world.node_tree.links
        split = nodes.new("ShaderNodeSeparateXYZ")
        links.new(nodes.new("ShaderNodeTexCoord").outputs["Generated"], split.inputs[0])
        ramp = nodes.new("ShaderNodeValToRGB")
        ramp.color_ramp.elements[0].color = (*sky["horizon"], 1)
        ramp.color_ramp.elements[1].color = (*sky["zenith"], 1)
        links.new(split.outputs["Z"], ramp.inputs[0])
        background = nodes["Background"]
        links.new(ramp.outputs[0], background.inputs[0])
        background.inputs[1].default_value = sky["strength"]
        # a sky so smooth is found by chance as well; as one of the lamps it would take samples from the others
        world.cycles.sampling_method = "NONE"

    def _camera(self) -> None:
        camera = self.recipe["camera"]
        data = bpy.data.cameras.new("camera")
        data.sensor_width = 36.0
        data.dof.use_dof = camera["f_stop"] > 0
        if camera["f_stop"]:
            data.dof.aperture_fstop, data.dof.focus_distance = camera["f_stop"], camera["focus"]
        thing = bpy.data.objects.new("camera", data)
        self.scene.collection.objects.link(thing)
        self.scene.camera = thing
        _take(thing, camera["poses"], self.per_frame)
        if len(set(camera["lens"])) == 1:
            data.lens = camera["lens"][0]
        else:
            frames = [1 + tick / self.per_frame for tick in range(len(camera["lens"]))]
            linear(data, "lens", 0, frames, camera["lens"])
        self.scene.render.use_motion_blur = camera["shutter"] > 0
        self.scene.render.motion_blur_shutter = camera["shutter"] or 0.5
        # open from the frame on, as poses before the first frame are not known
        self.scene.render.motion_blur_position = "START"

    def passes(self) -> None:
        """Have the matte of the removed rendered beside the picture."""
        layer = self.scene.view_layers[0]
        aov = layer.aovs.add()
        aov.name, aov.type = REMOVED, "VALUE"


def same(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> bool:
    """Whether two paths are the same."""
    return all(abs(x - y) <= SAME for p, q in zip(a, b, strict=True) for x, y in zip(p, q, strict=True))


def _take(thing: Any, path: Sequence[Sequence[float]], per_frame: int) -> None:
    """Have an object stand where it stands, or follow its path."""
    if same(path, [path[0]] * len(path)):
        thing.rotation_mode = "QUATERNION"
        thing.location, thing.rotation_quaternion = path[0][:3], path[0][3:]
    else:
        poses(thing, path, per_frame)
