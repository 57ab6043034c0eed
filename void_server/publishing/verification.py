"""Whether a version is as it was made: its signature, its manifest, its provenance, and every file in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..api import policy
from ..api.errors import InputError
from ..api.files import digest_of, read_json
from ..api.version import VersionFolder
from ..imaging.parallel import results
from ..signing import MADE, Signature

_FRAME = re.compile(r"\.(-?\d+)\.\w+$")


@dataclass(frozen=True)
class Difference:
    """A file that is not as it was when the version was made: ``changed``, ``missing`` or ``added``."""

    path: str
    how: str

    @property
    def frame(self) -> int | None:
        """The frame that the file is one of; None for any other file."""
        found = _FRAME.search(self.path)
        return int(found[1]) if found else None

    def __str__(self) -> str:
        words = {"changed": "differs from what was written", "missing": "is missing", "added": "was not written by it"}
        at = f"Frame {self.frame}: " if self.frame is not None else ""
        return f"{at}{self.path} {words[self.how]}."


def signature_of(version: VersionFolder) -> Signature:
    """Who vouches for a version, once what was signed is found to be what is there.

    Raises :class:`InputError` saying what is not as it was signed, or that no one vouches whom the policy names.
    """
    if not version.manifest.is_file():
        raise InputError(f"{version.folder} is no finished version: it has no {version.manifest.name}.")
    if not version.signature.is_file():
        raise InputError(f"{version.folder} is not signed, so nobody vouches for it; have the job done again.")
    signature = Signature.read(version.signature)
    if not signature.valid or signature.purpose != MADE:
        raise InputError(f"The signature in {version.signature} is not genuine.")
    if signature.manifest != digest_of(version.manifest):
        raise InputError(f"{version.manifest} differs from what {signature.by} has signed.")
    signers = policy.load().signers
    if signers is not None and signature.key not in signers.values():
        raise InputError(
            f"{version.folder} is signed by {signature.by} with the key {signature.key}, which is none of the signers "
            "in the studio's policy."
        )
    return signature


def provenance_of(version: VersionFolder) -> Mapping[str, Any]:
    """What a version was made from and what is in it. Raises :class:`InputError` where that is not what was signed."""
    manifest = _read(version.manifest)
    if not version.provenance.is_file() or digest_of(version.provenance) != manifest.get("provenance"):
        raise InputError(f"{version.provenance} differs from what {version.manifest.name} says of it, or is gone.")
    return _read(version.provenance)


def differences(version: VersionFolder, *, inputs: bool = False) -> Iterator[Difference]:
    """What is not as it was when the version was made, by frame; with ``inputs`` also of what it was made from.

    Raises :class:`InputError` as :func:`provenance_of`.
    """
    said = provenance_of(version)
    written = {str(version.folder / name): digest for name, digest in said["outputs"].items()}
    if inputs:
        written |= {path: digest for files in said["inputs"].values() for path, digest in files.items()}
    there = {str(path) for path in version.results()}
    folders = {name.partition("/")[0] for name in said["outputs"] if "/" in name}
    added = [path for path in there - set(written) if _inside(path, version, folders)]

    def look(path: str) -> Difference | None:
        name = str(Path(path).relative_to(version.folder)) if Path(path).is_relative_to(version.folder) else path
        if path not in written:
            return Difference(name, "added")
        if not Path(path).is_file():
            return Difference(name, "missing")
        return None if digest_of(Path(path)) == written[path] else Difference(name, "changed")

    for found in results(look, sorted([*written, *added], key=_order)):
        if found:
            yield found


def _inside(path: str, version: VersionFolder, folders: set[str]) -> bool:
    return Path(path).relative_to(version.folder).parts[0] in folders


def _order(path: str) -> tuple[bool, int, str]:
    found = _FRAME.search(path)
    return not found, int(found[1]) if found else 0, path


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(read_json(file))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file} cannot be read ({error}).") from error
