"""The disclosures of many versions as one table, a line for each frame range, tool and shot that a client asks for."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..api.errors import InputError
from ..api.files import read_json
from ..api.job import MANIFEST
from ..api.version import VersionFolder

#: A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

COLUMNS = (
    "version", "plate", "frames", "made until", "generative", "frames with generated pixels", "recovered", "filled",
    "generated", "engine", "model", "licence", "weights (SHA-256)", "analysis", "sent", "sent to", "who", "when",
    "machine", "source type",
)  # fmt: skip


def versions_in(folders: Sequence[Path]) -> Iterator[VersionFolder]:
    """The finished versions in these folders, or those that they are. Raises :class:`InputError` for one without."""
    for folder in folders:
        found = sorted(file.parent for file in folder.rglob(MANIFEST) if not _hidden(file, folder))
        if not found:
            raise InputError(f"There is no finished version in {folder}; name the folder of a show, shot or version.")
        yield from map(VersionFolder, found)


def _hidden(file: Path, folder: Path) -> bool:
    return any(name.startswith(".") for name in file.relative_to(folder).parts)


def table(versions: Iterable[VersionFolder]) -> str:
    """The table as CSV. Raises :class:`InputError` naming a version that discloses nothing."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for version in versions:
        writer.writerow({name: _cell(value) for name, value in zip(COLUMNS, _row(version), strict=True)})
    return text.getvalue()


def _row(version: VersionFolder) -> list[Any]:
    try:
        said = read_json(version.disclosure)
        tools = {tool["part"]: tool for tool in said["tools"]}
        plate, quadmask = tools.get("plate", {}), tools.get("quadmask", {})
        frames = said["frames"]
        return [
            version.folder,
            said["plate"],
            f"{said['range'][0]}-{said['range'][1]}",
            said["until"],
            "yes" if said["generative"] else "no",
            sum(one["generative"] for one in frames.values()),
            *(f"{said['share'].get(name, 0):.2%}" for name in ("recovered", "filled", "generated")),
            plate.get("name", ""),
            plate.get("model", ""),
            plate.get("licence", ""),
            "; ".join(f"{name} {digest}" for name, digest in plate.get("weights", {}).items()),
            quadmask.get("name", ""),
            "; ".join(sorted({str(one["what"]) for one in said["sent"]})),
            "; ".join(sorted({str(one["to"]) for one in said["sent"]})),
            said["who"],
            said["when"],
            said["machine"],
            said["source_type"],
        ]
    except OSError as error:
        raise InputError(f"{version.folder} discloses nothing ({error.strerror}); have its job done again.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{version.disclosure} cannot be read ({error!r}).") from error


def _cell(value: Any) -> str:
    text = str(value)
    # whoever names a plate does not write formulas into the producer's spreadsheet
    return f"'{text}" if text.startswith(_FORMULA) else text
