"""Surfaces of recipes as Blender's shader nodes; no image file is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bpy

from .animation import linear
from .patterns import NOISE, PATTERNS, PLAIN
from .protocol import CLOTH

#: The pass in which the removed object is 1.
REMOVED = "removed"


def _pattern(tree: Any, look: dict[str, Any], coordinates: Any) -> Any:
    """The output that runs from 0 to 1 between the two colours; None for a plain surface."""
    if look["pattern"] == PLAIN:
        return None
    drawn = PATTERNS[look["pattern"]]
    node = tree.nodes.new(drawn.node)
    for name, value in drawn.attributes.items():
        setattr(node, name, value)
    for name, value in {"Scale": look["scale"], **drawn.inputs}.items():
        node.inputs[name].default_value = value
    tree.links.new(coordinates, node.inputs["Vector"])
    return node.outputs[0]


def _of_cloth(tree: Any, size: Sequence[float]) -> Any:
    """Coordinates that go with the cloth, in metres; along its length is what is upwards on other things."""
    nodes, links = tree.nodes, tree.links
    split, joined = nodes.new("ShaderNodeSeparateXYZ"), nodes.new("ShaderNodeCombineXYZ")
    links.new(nodes.new("ShaderNodeTexCoord").outputs["Generated"], split.inputs[0])
    for source, target, extent in (("X", "Z", size[0]), ("Y", "X", size[1])):
        scaled = nodes.new("ShaderNodeMath")
        scaled.operation = "MULTIPLY"
        scaled.inputs[1].default_value = extent
        links.new(split.outputs[source], scaled.inputs[0])
        links.new(scaled.outputs[0], joined.inputs[target])
    return joined.outputs[0]


def material(body: dict[str, Any], ticks: int, ticks_a_second: int, per_frame: int) -> Any:
    """A material for one body."""
    look = body["material"]
    made = bpy.data.materials.new(body["name"])
    made.use_nodes = True
    tree = made.node_tree
    nodes, links = tree.nodes, tree.links
    surface = nodes["Principled BSDF"]
    first, second = ((*colour, 1.0) for colour in look["colours"])
    surface.inputs["Base Color"].default_value = first
    surface.inputs["Roughness"].default_value = look["roughness"]
    surface.inputs["Metallic"].default_value = look["metallic"]
    surface.inputs["Transmission Weight"].default_value = look["transmission"]
    if look["emission"]:
        surface.inputs["Emission Color"].default_value = first
        surface.inputs["Emission Strength"].default_value = look["emission"]
    cloth = body["shape"] == CLOTH
    coordinates = _of_cloth(tree, body["size"]) if cloth else nodes.new("ShaderNodeTexCoord").outputs["Object"]
    share = _pattern(tree, look, coordinates)
    if share is not None:
        mix = nodes.new("ShaderNodeMix")
        mix.data_type = "RGBA"
        mix.inputs[6].default_value, mix.inputs[7].default_value = first, second
        links.new(share, mix.inputs[0])
        links.new(mix.outputs[2], surface.inputs["Base Color"])
        if look["emission"]:
            links.new(mix.outputs[2], surface.inputs["Emission Color"])
        if look["bump"]:
            bump = nodes.new("ShaderNodeBump")
            bump.inputs["Strength"].default_value = look["bump"]
            bump.inputs["Distance"].default_value = 0.02
            bump.invert = True
            links.new(share, bump.inputs["Height"])
            links.new(bump.outputs["Normal"], surface.inputs["Normal"])
        if look["drift"] and look["pattern"] == NOISE:
            noise = share.node
            path = f'nodes["{noise.name}"].inputs[{list(noise.inputs).index(noise.inputs["W"])}].default_value'
            end = ticks / ticks_a_second * look["drift"]
            linear(tree, path, 0, [1.0, 1.0 + ticks / per_frame], [0.0, end])
    if body["role"] == "removed":
        seen = nodes.new("ShaderNodeOutputAOV")
        seen.aov_name = REMOVED
        seen.inputs["Value"].default_value = 1.0
    return made
