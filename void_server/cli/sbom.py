"""The bill of materials of an installation, as CycloneDX writes one down (ECMA-424, version 1.6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.utils import canonicalize_name

from ..plugins import Download
from .licences import UNKNOWN, Package


def cyclonedx(packages: Sequence[Package], weights: Sequence[Download]) -> dict[str, Any]:
    """The bill: the first of the ``packages`` is what it is of, the others are in it.

    It names no time and no serial number, so that the same installation has the same bill. ``weights``, which are
    the user's to get, are listed as models that it may use.
    """
    root, *others = packages
    models = [
        {
            "type": "machine-learning-model",
            "bom-ref": f"weights:{one.name}",
            "name": one.name,
            "scope": "optional",
            "description": one.source,
            "licenses": _licences(one.licence),
        }
        for one in weights
    ]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**_component(root), "type": "application"}},
        "components": [*(_component(one) for one in others), *models],
        "dependencies": [
            {"ref": _reference(one), "dependsOn": [_reference(other) for other in others if _needs(one, other)]}
            for one in packages
        ],
    }


def _needs(one: Package, other: Package) -> bool:
    return canonicalize_name(other.name) in one.requires


def _reference(one: Package) -> str:
    """Its package URL."""
    return f"pkg:pypi/{canonicalize_name(one.name)}@{one.version.replace('+', '%2B')}"


def _component(one: Package) -> dict[str, Any]:
    said: dict[str, Any] = {
        "type": "library",
        "bom-ref": _reference(one),
        "name": one.name,
        "version": one.version,
        "purl": _reference(one),
    }
    if one.licence != UNKNOWN:
        said["licenses"] = _licences(one.licence)
    if one.extras:
        said["scope"] = "optional"
    if one.bundled:
        said["components"] = [
            {
                "type": "library",
                "bom-ref": f"{_reference(one)}#{library.file}",
                "name": library.file,
                "licenses": _licences(library.licence),
            }
            for library in one.bundled
        ]
    return said


def _licences(text: str) -> list[dict[str, Any]]:
    """As an SPDX expression where it is one, else by its name."""
    try:
        return [{"expression": canonicalize_license_expression(text)}]
    except InvalidLicenseExpression:
        return [{"license": {"name": text}}]
