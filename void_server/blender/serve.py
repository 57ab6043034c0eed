"""Blender as a process that is told what to render, a line of JSON at a time.

Started with the Python that has bpy, or by Blender itself. It reads orders from its input and answers each with one
line that begins with the mark of the protocol; whatever else is printed is Blender's.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # behind everything, so that Blender's Python finds its own packages first
    sys.path.append(str(Path(__file__).resolve().parents[2]))

from void_server.blender.protocol import MARK, ONE_THREAD

if ONE_THREAD in sys.argv and hasattr(os, "sched_setaffinity"):
    # before bpy, which starts a thread for each core that it finds; not all processes on the same core
    _cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {_cores[os.getpid() % len(_cores)]})

import bpy

from void_server.blender import simulation
from void_server.blender.build import Stage


class Studio:
    """A scene, and the settings of its renders."""

    def __init__(self) -> None:
        self.stage: Stage | None = None

    def simulate(self, order: dict[str, Any]) -> dict[str, Any]:
        """Simulate a recipe in the folder that it lies in."""
        file = Path(order["recipe"])
        simulation.write(json.loads(file.read_text(encoding="utf-8")), order["ticks_a_second"], file.parent)
        return {}

    def build(self, order: dict[str, Any]) -> dict[str, Any]:
        """Build a recipe that is simulated; the paths of its bodies."""
        file = Path(order["recipe"])
        recipe = json.loads(file.read_text(encoding="utf-8"))
        stage = Stage(recipe, file.parent, order["ticks_a_second"], order["per_frame"])
        stage.passes()
        self.stage = stage
        scene = stage.scene
        scene.render.engine = "CYCLES"
        scene.render.resolution_x, scene.render.resolution_y = order["size"]
        scene.render.resolution_percentage = 100
        scene.render.use_persistent_data = True
        if order["threads"]:
            scene.render.threads_mode, scene.render.threads = "FIXED", order["threads"]
        cycles = scene.cycles
        cycles.use_adaptive_sampling = False
        # one pattern of noise for all frames and states: what does not change, does not flicker either
        cycles.seed = 1
        cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 8, 3, 4
        cycles.transmission_bounces, cycles.transparent_max_bounces = 6, 4
        cycles.caustics_reflective = cycles.caustics_refractive = False
        cycles.sample_clamp_indirect = 4.0
        cycles.denoiser = "OPENIMAGEDENOISE"
        cycles.denoising_quality, cycles.denoising_prefilter = "HIGH", "FAST"
        cycles.device = device()
        image = scene.render.image_settings
        image.media_type = "MULTI_LAYER_IMAGE"
        image.file_format = "OPEN_EXR_MULTILAYER"
        image.color_depth, image.exr_codec, image.use_exr_interleave = "32", "ZIP", True
        return {"paths": stage.paths, "device": cycles.device, "blender": bpy.app.version_string}

    def render(self, order: dict[str, Any]) -> dict[str, Any]:
        """Render a frame in a state, or the part of it within ``border`` (left, bottom, right, top as shares)."""
        stage = self.stage
        if stage is None:
            raise RuntimeError("nothing is built")
        scene = stage.scene
        stage.show(order["state"])
        scene.cycles.samples, scene.cycles.use_denoising = order["samples"], order["denoise"]
        scene.render.resolution_percentage = order["percentage"]
        left, bottom, right, top = order["border"]
        scene.render.use_border = (left, bottom, right, top) != (0, 0, 1, 1)
        scene.render.use_crop_to_border = False
        scene.render.border_min_x, scene.render.border_min_y = left, bottom
        scene.render.border_max_x, scene.render.border_max_y = right, top
        scene.frame_set(order["frame"])
        scene.render.filepath = order["file"]
        bpy.ops.render.render(write_still=True)
        return {}


def device() -> str:
    """GPU where Cycles finds one, which is then switched on; else CPU."""
    settings = bpy.context.preferences.addons["cycles"].preferences
    for kind in ("OPTIX", "CUDA", "HIP", "METAL", "ONEAPI"):
        try:
            settings.compute_device_type = kind
        except TypeError:
            continue
        settings.refresh_devices()
        chosen = [one for one in settings.devices if one.type == kind]
        for one in settings.devices:
            one.use = one.type == kind
        if chosen:
            return "GPU"
    settings.compute_device_type = "NONE"
    return "CPU"


def main() -> None:
    """Answer orders until the input ends."""
    studio = Studio()
    orders = {"simulate": studio.simulate, "build": studio.build, "render": studio.render}
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = orders[order["do"]](order)
        except Exception:  # whatever it is, whoever ordered is told, and may order again
            answer = {"error": traceback.format_exc()}
        print("\n" + MARK + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
