"""Surfaces of recipes as Blender's shader nodes; no image file is needed."""

from __future__ import annotations

from typing import Any

import bpy

from .animation import linear

#: The pass in which the removed object is 1.
REMOVED = "removed"


def _pattern(tree: Any, look: dict[str, Any], coordinates: Any) -> Any:
    """The output that runs from 0 to 1 between the two colours; None for a plain surface."""
    nodes, links = tree.nodes, tree.links
    kind, scale = look["pattern"], look["scale"]
    if kind == "plain":
        return None
    if kind in ("bricks", "planks"):
        node = nodes.new("ShaderNodeTexBrick")
        node.inputs["Color1"].default_value = (0.0, 0.0, 0.0, 1)
        node.inputs["Color2"].default_value = (0.45, 0.45, 0.45, 1)
        node.inputs["Mortar"].default_value = (1, 1, 1, 1)
        node.inputs["Scale"].default_value = scale
        node.inputs["Mortar Size"].default_value = 0.012 if kind == "bricks" else 0.004
        node.inputs["Brick Width"].default_value = 0.5 if kind == "bricks" else 1.6
        node.inputs["Row Height"].default_value = 0.22
        links.new(coordinates, node.inputs["Vector"])
        return node.outputs["Color"]
    if kind == "checker":
        node = nodes.new("ShaderNodeTexChecker")
        node.inputs["Scale"].default_value = scale
        links.new(coordinates, node.inputs["Vector"])
        return node.outputs["Fac"]
    if kind in ("stripes", "marble"):
        node = nodes.new("ShaderNodeTexWave")
        node.bands_direction = "Z" if kind == "stripes" else "DIAGONAL"
        node.inputs["Scale"].default_value = scale
        node.inputs["Distortion"].default_value = 0.0 if kind == "stripes" else 9.0
        node.inputs["Detail"].default_value = 3.0
        links.new(coordinates, node.inputs["Vector"])
        return node.outputs["Fac"]
    if kind == "cells":
        node = nodes.new("ShaderNodeTexVoronoi")
        node.inputs["Scale"].default_value = scale
        links.new(coordinates, node.inputs["Vector"])
        return node.outputs["Distance"]
    node = nodes.new("ShaderNodeTexNoise")
    node.noise_dimensions = "4D"
    node.inputs["Scale"].default_value = scale
    node.inputs["Detail"].default_value = 6.0
    links.new(coordinates, node.inputs["Vector"])
    return node.outputs[0]


def material(name: str, look: dict[str, Any], removed: bool, ticks: int, ticks_a_second: int, per_frame: int) -> Any:
    """A material for one body."""
    made = bpy.data.materials.new(name)
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
    coordinates = nodes.new("ShaderNodeTexCoord").outputs["Object"]
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
        if look["drift"] and look["pattern"] == "noise":
            noise = share.node
            path = f'nodes["{noise.name}"].inputs[{list(noise.inputs).index(noise.inputs["W"])}].default_value'
            end = ticks / ticks_a_second * look["drift"]
            linear(tree, path, 0, [1.0, 1.0 + ticks / per_frame], [0.0, end])
    if removed:
        seen = nodes.new("ShaderNodeOutputAOV")
        seen.aov_name = REMOVED
        seen.inputs["Value"].default_value = 1.0
    return made
