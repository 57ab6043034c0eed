"""Paths under their names on another system, by rules in the form that OpenJD gives them in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ..api.errors import SettingError
from ..api.files import read_json


@dataclass(frozen=True)
class Rule:
    """What lies below ``source`` there lies below ``destination`` here. ``windows`` says how the source is written."""

    source: str
    destination: str
    windows: bool = False

    def apply(self, path: str) -> str | None:
        """The path here; None where the rule says nothing of it."""
        kind: type[PurePosixPath | PureWindowsPath] = PureWindowsPath if self.windows else PurePosixPath
        source = kind(self.source)
        if source.drive and not source.root:
            # P: for the whole of a drive
            source = kind(f"{source}\\")
        try:
            rest = kind(path).relative_to(source)
        except ValueError:
            return None
        return str(Path(self.destination, *rest.parts))


def read(file: Path) -> list[Rule]:
    """The rules of a file. Raises :class:`SettingError` naming it."""
    try:
        return rules(read_json(file) if file.stat().st_size else {})
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise SettingError(f"The path map {file} cannot be used: {error}") from error


def rules(data: Any) -> list[Rule]:
    """Rules from ``{"path_mapping_rules": [{source_path_format, source_path, destination_path}]}``; else ValueError."""
    made = []
    for entry in data.get("path_mapping_rules", []):
        format_ = str(entry.get("source_path_format", "POSIX"))
        if format_ not in ("POSIX", "WINDOWS") or not {"source_path", "destination_path"} <= set(entry):
            example = '{"source_path_format": "WINDOWS", "source_path": "P:\\\\show", "destination_path": "/show"}'
            raise ValueError(f"the rule {json.dumps(entry)} is not like {example}")
        if format_ == "POSIX" and re.match(r"[A-Za-z]:|\\\\", str(entry["source_path"])):
            raise ValueError(f'the rule {json.dumps(entry)} is of Windows; add "source_path_format": "WINDOWS"')
        made.append(Rule(entry["source_path"], entry["destination_path"], format_ == "WINDOWS"))
    return made


def translator(given: list[Rule]) -> Callable[[str], str]:
    """A function from a path there to the path here; of several rules the one with the longest source counts."""
    ordered = sorted(given, key=lambda rule: len(rule.source), reverse=True)

    def here(path: str) -> str:
        return next((found for rule in ordered if (found := rule.apply(path)) is not None), path)

    return here
