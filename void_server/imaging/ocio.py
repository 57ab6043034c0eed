"""The files that an OCIO configuration refers to."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from ..api.confinement import check_inside, confinement
from ..api.errors import AccessDenied, ColourError
from ..api.files import open_regular

# In bytes; the largest of ACES has less than a tenth.
_LARGEST = 1 << 24
# `src: name`, `!<FileTransform> {src: name, ...}`, and the folders that such names are looked up in
_SOURCE = re.compile(r"\bsrc\s*:\s*(\"[^\"]*\"|'[^']*'|[^,}\n]+)")
_SEARCH_PATH = re.compile(r"^search_path\s*:[ \t]*((?:.*\n)(?:[ \t]+.*\n|-.*\n)*)", re.MULTILINE)


def check_references(config: Path) -> None:
    """Raise :class:`AccessDenied` if this process is confined, and a configuration refers to files outside.

    OpenColorIO would read them whenever it comes to them. An archive (.ocioz) brings its files along.
    """
    if confinement() is None or zipfile.is_zipfile(config):
        return
    with open_regular(config) as file:
        text = file.read(_LARGEST + 1).decode("utf-8", errors="replace")
    if len(text) > _LARGEST:
        raise ColourError(f"{config} is larger than any OCIO configuration; name the config.ocio itself.")
    found = "".join(_SEARCH_PATH.findall(text))
    folders = [_unquoted(name) for name in re.split(r"[\n:,\[\]]|(?:^|\s)-\s", found)]
    places = [config.parent / folder for folder in folders if folder] or [config.parent]
    names = [_unquoted(name) for name in _SOURCE.findall(text)]
    for name in [*folders, *names]:
        if "$" in name or "%" in name:
            raise AccessDenied(
                f"{config} refers to {name!r}, which depends on variables; servers take configurations without."
            )
    for place in places:
        check_inside(place)
        for name in names:
            check_inside(place / name)


def _unquoted(name: str) -> str:
    return name.strip().strip("\"'").strip()
