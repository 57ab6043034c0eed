"""``void licences`` and its bill of materials: of what is installed here, in each package's own words."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from void_server.cli import licences
from void_server.cli.licences import PERMISSIVE, PROPRIETARY, STRONG, UNKNOWN, WEAK, WEIGHTS, terms_of
from void_server.cli.sbom import cyclonedx

VOID = [sys.executable, "-c", "from void_server.cli import main; main()"]


@pytest.fixture(scope="module")
def packages() -> dict[str, licences.Package]:
    return {one.name: one for one in licences.packages()}


def test_what_void_always_needs_is_told_from_what_an_extra_needs(packages: dict[str, licences.Package]) -> None:
    assert next(iter(packages)) == "void-nuke"
    for name in ("numpy", "pyzmq", "cffi", "pydantic_core"):
        assert packages[name].extras == [], name
    assert packages["pytest"].extras == ["dev"]
    assert "web" in packages["av"].extras
    # needed by way of others, and what nothing of ours asks for
    assert "uvicorn" not in packages["numpy"].requires
    assert "h11" in packages["uvicorn"].requires
    assert "pip" not in packages
    assert packages["numpy"].version == version("numpy")


@pytest.mark.parametrize(
    ("licence", "terms"),
    [
        ("MIT", PERMISSIVE),
        ("Apache Software License", PERMISSIVE),
        ("BSD-3-Clause AND 0BSD AND Zlib", PERMISSIVE),
        ("MPL-2.0 AND MIT", WEAK),
        ("Mozilla Public License 2.0 (MPL 2.0)", WEAK),
        ("GNU Library or Lesser General Public License (LGPL)", WEAK),
        ("GNU General Public License v2 or later (GPLv2+)", STRONG),
        ("AGPL-3.0-only", STRONG),
        ("LGPL-3.0-only OR GPL-2.0-only", WEAK),
        ("GPL-2.0-only OR MIT", PERMISSIVE),
        ("LicenseRef-NVIDIA-Proprietary", PROPRIETARY),
        ("not said", UNKNOWN),
    ],
)
def test_terms_of_a_licence(licence: str, terms: str) -> None:
    assert terms_of(licence) == terms


def test_libraries_with_stricter_terms_inside_of_a_wheel_are_named(packages: dict[str, licences.Package]) -> None:
    """PyAV says BSD, and its wheels bring x264."""
    assert packages["av"].terms == PERMISSIVE
    brought = {one.file: one.terms for one in packages["av"].bundled}
    assert brought["libx264"] == STRONG
    assert brought["libavcodec"] == WEAK
    assert [one.file for one in packages["pyzmq"].bundled] == ["libzmq"]


def test_weights_are_listed_with_the_licence_that_the_doctor_names() -> None:
    said = {one.name: one.licence for one in WEIGHTS}
    assert said["void_pass1.safetensors"] == "Apache-2.0"
    assert said["SAM 2.1"] == "Apache-2.0"
    assert "register for commercial use" in said["CogVideoX-Fun-V1.5-5b-InP"]
    assert "SAM License" in said["SAM 3"]


def test_the_bill_of_materials_is_what_cyclonedx_asks_for() -> None:
    ran = subprocess.run([*VOID, "licences", "--cyclonedx"], capture_output=True, text=True, check=True)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(ran.stdout) is None
    bill = json.loads(ran.stdout)
    assert bill == cyclonedx(licences.packages(), WEIGHTS)
    components = {one["name"]: one for one in bill["components"]}
    assert components["numpy"]["purl"] == f"pkg:pypi/numpy@{version('numpy')}"
    assert "scope" not in components["numpy"]
    assert components["av"]["scope"] == "optional"
    assert {one["name"] for one in components["av"]["components"]} >= {"libx264"}
    assert components["SAM 2.1"]["type"] == "machine-learning-model"
    depends = {one["ref"]: one["dependsOn"] for one in bill["dependencies"]}
    assert components["numpy"]["bom-ref"] in depends[bill["metadata"]["component"]["bom-ref"]]
    references = [one["bom-ref"] for one in bill["components"]]
    assert len(references) == len(set(references))


def test_a_bill_that_is_wrong_does_not_pass_for_one() -> None:
    broken = cyclonedx(licences.packages(), WEIGHTS)
    broken["components"][0]["type"] = "paperclip"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(broken)) is not None


def test_the_list_in_words_and_as_json(packages: dict[str, licences.Package]) -> None:
    words = subprocess.run([*VOID, "licences"], capture_output=True, text=True, check=True).stdout
    assert f"av {version('av')}: BSD-3-Clause  (for " in words
    assert "    brings libx264, libx265: GPL-2.0-or-later  [copyleft]" in words
    assert "SAM 3: SAM License" in words
    said = json.loads(subprocess.run([*VOID, "licences", "--json"], capture_output=True, text=True, check=True).stdout)
    assert {one["name"] for one in said["packages"]} == set(packages)
    assert len(said["weights"]) == len(WEIGHTS)
