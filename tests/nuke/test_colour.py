"""The colour space that a script works in: with Foundry's own configurations, and as each Nuke labels it."""

from __future__ import annotations

import nuke
import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest
from void_nuke.job import colour, submission

from void_server.api import Shot
from void_server.api.errors import ColourError

#: As Foundry lays it out: one file, whose folder holds others; shortened to what these tests need.
CG_CONFIG = "fn-nuke_cg-config-v1.0.0_aces-v1.3_ocio-v2.1"
STUDIO_CONFIG = "fn-nuke_studio-config-v2.2.0_aces-v1.3_ocio-v2.4"
CONFIG = """ocio_profile_version: 2.1

environment:
  {}
roles:
  aces_interchange: ACES2065-1
  # where comps are made
  compositing_linear: ACEScg
  default: "ACES2065-1"
  scene_linear: ACEScg  # AP1
  texture_paint: ACEScct

displays:
  sRGB - Display:
    - !<View> {name: Raw, colorspace: Raw}

colorspaces:
  - !<ColorSpace>
    name: ACES2065-1
    aliases: [aces2065_1, ACES - ACES2065-1, lin_ap0]
    family: ACES

  - !<ColorSpace>
    name: ACEScg
    aliases: [ACES - ACEScg, lin_ap1]
    family: ACES
    to_scene_reference: !<BuiltinTransform> {style: ACEScg_to_ACES2065-1}

  - !<ColorSpace>
    name: ACEScct
    family: ACES
    to_scene_reference: !<BuiltinTransform> {style: ACEScct_to_ACES2065-1}

  - !<ColorSpace>
    name: Linear Rec.709 (sRGB)
    aliases: [lin_rec709_srgb, lin_rec709, Utility - Linear - sRGB]
    family: Utility
    from_scene_reference: !<MatrixTransform> {matrix: [2.52140088785, -1.13389573813, -0.38756186446, 0,
      -0.27621859, 1.37270580, -0.09628246, 0, -0.01532020, -0.15299256, 1.16838658, 0, 0, 0, 0, 1]}

  - !<ColorSpace>
    name: Raw
    isdata: true
"""
#: What Nuke has been seen to give for the knob workingSpaceLUT, by its version, with the configuration in use.
LABELS = [
    ("14", CG_CONFIG, "ACES - ACEScg", "ACES - ACEScg"),
    ("14", CG_CONFIG, "scene_linear (ACES - ACEScg)", "ACEScg"),
    ("15", CG_CONFIG, "scene_linear", "ACEScg"),
    ("15", CG_CONFIG, "scene_linear (ACEScg)", "ACEScg"),
    ("15", CG_CONFIG, "default (ACES2065-1)", "ACES2065-1"),
    ("15", CG_CONFIG, "Linear Rec.709 (sRGB)", "Linear Rec.709 (sRGB)"),
    ("16", STUDIO_CONFIG, "scene_linear\tscene_linear (ACEScg)", "ACEScg"),
    ("16", STUDIO_CONFIG, "compositing_linear\tcompositing_linear (ACEScg)", "ACEScg"),
    ("17", STUDIO_CONFIG, "ACEScg\tColorspaces/ACES/ACEScg\t\tACES - ACEScg,lin_ap1", "ACEScg"),
    ("17", STUDIO_CONFIG, "scene_linear\tRoles/scene_linear (ACEScg)\t\t", "ACEScg"),
]
BUILT_IN = ["ocio://cg-config-v1.0.0_aces-v1.3_ocio-v2.1", "ocio://cg-config-v4.0.0_aces-v2.0_ocio-v2.5"]
#: AP1's red in linear Rec.709.
ACESCG_RED = (1.705, -0.130, -0.024)


def use(tmp_path, config, label, choice=""):
    """Set the project settings as Nuke does when a configuration is chosen."""
    file = tmp_path / "OCIOConfigs" / "configs" / f"{config}.ocio"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(CONFIG)
    root = nuke.root()
    root["colorManagement"].setValue("OCIO")
    root["OCIO_config"].setValue(choice or config)
    root["OCIOConfigPath"].setValue(file.as_posix())
    root["workingSpaceLUT"].setValue(label)
    return file.as_posix()


def red_in_rec709(space, config):
    """The space's red in linear Rec.709, as the server computes it."""
    image = oiio.ImageBuf(np.array([[[1.0, 0.0, 0.0]]], np.float32))
    made = oiio.ImageBufAlgo.colorconvert(image, space, "lin_rec709", unpremult=False, colorconfig=config)
    assert not made.geterror()
    return made.get_pixels(oiio.FLOAT)[0, 0]


@pytest.mark.parametrize(("version", "config", "label", "space"), LABELS)
def test_the_working_space_as_each_nuke_labels_it(plugin, tmp_path, version, config, label, space):
    file = use(tmp_path, config, label)
    assert colour.working_space("") == (space, file)
    if "ACEScg" in space:
        assert np.allclose(red_in_rec709(space, file), ACESCG_RED, atol=2e-3)


def test_the_configuration_is_the_file_that_nuke_names_whatever_the_choice_looks_like(plugin, tmp_path):
    """In Nuke 17 the choice carries its menu and its aliases behind tabs."""
    file = use(tmp_path, CG_CONFIG, "ACEScg", f"{CG_CONFIG}\tACES/{CG_CONFIG}\t\tcg-config-v1.0.0_aces-v1.3_ocio-v2.1")
    assert colour.working_space("") == ("ACEScg", file)


@pytest.mark.parametrize("config", BUILT_IN)
@pytest.mark.parametrize("label", ["ACEScg", "scene_linear (ACEScg)", "scene_linear\tRoles/scene_linear (ACEScg)"])
def test_a_configuration_that_is_built_into_ocio(plugin, monkeypatch, config, label):
    monkeypatch.setenv("OCIO", config)
    nuke.root()["colorManagement"].setValue("OCIO")
    nuke.root()["workingSpaceLUT"].setValue(label)
    space, found = colour.working_space("")
    assert found == config
    assert np.allclose(red_in_rec709(space, config), ACESCG_RED, atol=2e-3)
    # its name is nobody's file: not to be translated, looked for or sent
    shot = Shot(plate="/p.%04d.exr", roto="/r.%04d.exr", colorspace=space, ocio=config)
    assert "ocio" not in shot.paths()
    assert shot.with_paths(lambda path: f"/mnt{path}").ocio == config


def test_under_ocio_nothing_is_guessed(plugin, tmp_path, monkeypatch):
    file = use(tmp_path, CG_CONFIG, "")
    with pytest.raises(ColourError, match=f"no working space \\(found '' with the OCIO configuration {file}"):
        colour.working_space("")
    nuke.root()["OCIOConfigPath"].setValue("")
    with pytest.raises(ColourError, match=f"name no file for the configuration '{CG_CONFIG}'"):
        colour.working_space("")
    monkeypatch.setenv("OCIO", "/nowhere/config.ocio")
    with pytest.raises(ColourError, match="does not exist"):
        colour.working_space("")


def test_a_custom_configuration_and_what_the_artist_writes(plugin, tmp_path):
    file = use(tmp_path, CG_CONFIG, "scene_linear", "custom")
    nuke.root()["customOCIOConfigPath"].setValue(file)
    nuke.root()["OCIOConfigPath"].setValue("/of/before.ocio")
    assert colour.working_space("") == ("ACEScg", file)
    assert colour.working_space("ACEScct") == ("ACEScct", file)


def test_nukes_own_colour_management_is_linear_rec709(plugin):
    assert colour.working_space("") == ("lin_rec709", None)


def test_the_files_to_upload_hold_the_configuration_only_where_it_is_one(plugin, tmp_path):
    from void_nuke.job.export import Exported, Written
    from void_nuke.job.prepare import PreparedShot

    written = Written("/p.%04d.exr", ("/p.0001.exr",), "key", "half")
    for ocio, sent in ((BUILT_IN[0], None), ("/c.ocio", ["/c.ocio"])):
        shot = Shot(plate="/p.%04d.exr", roto="/r.%04d.exr", ocio=ocio)
        prepared = PreparedShot("", "main", (1,), shot, "/out", Exported(written, written, None))
        assert submission._files(prepared).get("ocio") == sent
