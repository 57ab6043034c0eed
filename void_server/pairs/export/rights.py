"""What each pair of a data set came from, under which licence, and who has approved it: a file each, and a table."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...api.errors import InputError
from ...api.files import digest_of, read_json, write_atomically
from ...imaging.parallel import in_order
from ...imaging.sequence import Sequence, format_frames
from ..source import PairSource

_FOLDER, _TABLE = "rights", "rights.csv"
_COLUMNS = ("name", "source", "licence", "approved_by", "frames", "plate", "truth")
_UNKNOWN = "not stated"


@dataclass(frozen=True)
class Rights:
    """Where a pair's pictures come from, who may use them how, and who said so."""

    source: str = _UNKNOWN
    licence: str = _UNKNOWN
    approved_by: str = _UNKNOWN

    @property
    def lacking(self) -> list[str]:
        """What nobody has stated."""
        words = {"source": self.source, "licence": self.licence, "approval": self.approved_by}
        return [name for name, said in words.items() if said == _UNKNOWN]


def of_facts(pair: PairSource, licence: str, approved_by: str) -> Rights:
    """What a pair's meta.json says of its rights; else what the exporter says."""
    said = pair.facts.model_extra or {}
    return Rights(
        str(said.get("source") or said.get("generator") or _folder(pair.plate).parent.absolute()),
        str(said.get("licence") or licence or _UNKNOWN),
        str(said.get("approved_by") or approved_by or _UNKNOWN),
    )


def note(out: Path, form: str, pair: PairSource, rights: Rights) -> None:
    """Write a pair's rights, with hashes of its pictures: from then on it is a part of the data set."""
    about = {
        "name": pair.name,
        "form": form,
        **asdict(rights),
        "frames": format_frames(pair.frames),
        "files": {name: str(_folder(one).absolute()) for name, one in (("plate", pair.plate), ("truth", pair.truth))},
        "plate": _digest(pair.plate, pair.frames),
        "truth": _digest(pair.truth, pair.frames),
    }
    write_atomically(_file(out, pair.name), json.dumps(about, indent=1), parents=True)


def is_finished(out: Path, form: str, pair: PairSource) -> bool:
    """Whether the data set has this pair. Raises :class:`InputError` where another of its name, or form, is there."""
    file = _file(out, pair.name)
    if not file.is_file():
        return False
    about = _read(file)
    if about["form"] != form:
        raise InputError(f"{out} is a data set of the form {about['form']}; export the form {form} to another folder.")
    if about["plate"] != _digest(pair.plate, pair.frames) or about["truth"] != _digest(pair.truth, pair.frames):
        raise InputError(
            f"{out} has another pair named {pair.name}, from {about['files']['plate']}, or its pictures have changed "
            "since; export to another folder."
        )
    return True


def exported(out: Path) -> list[str]:
    """The names of all pairs of a data set."""
    return sorted(file.stem for file in (out / _FOLDER).glob("[!.]*.json"))


def write_table(out: Path) -> None:
    """Write the rights of all pairs of a data set as one table."""
    table = io.StringIO()
    rows = csv.DictWriter(table, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    rows.writeheader()
    for name in exported(out):
        rows.writerow(_read(_file(out, name)))
    write_atomically(out / _TABLE, table.getvalue(), parents=True)


def _file(out: Path, name: str) -> Path:
    return out / _FOLDER / f"{name}.json"


def _read(file: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = read_json(file)
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({error}); remove it to export that pair again.") from None
    return about


def _folder(found: Sequence) -> Path:
    return next(iter(found.files.values())).parent


def _digest(found: Sequence, frames: Iterable[int]) -> str:
    """The SHA-256 of a sequence: of its frames' numbers and digests."""
    paths = {frame: found.path(frame) for frame in frames}
    digests = dict(in_order(digest_of, dict.fromkeys(paths.values())))
    lines = (f"{frame} {digests[path]}\n" for frame, path in paths.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()
