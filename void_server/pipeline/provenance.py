"""Where a version comes from: the SHA-256 of every file it was made from and of every file in it.

Frames are hashed as they are written, while the system still holds them in memory; what was written in another way, or
has changed since, is read again at the end.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .. import __version__
from ..api.files import digest_of, write_atomically
from ..api.shot import Shot
from ..api.version import VersionFolder
from ..imaging.parallel import in_order
from ..imaging.sequence import Sequence
from .inputs import Source

SCHEMA = 1
#: What is before these in the header of an EXR is ours; all other attributes are the plate's.
PREFIX = "void/"
_DIGESTS, _INPUTS = "digests", "inputs.json"
_Known = tuple[int, int, str]


def request_of(shot: Shot) -> str:
    """The SHA-256 of what was asked: the shot with its settings, and the version of this software."""
    asked = {"shot": shot.to_dict(), "software": __version__}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def header(job_id: str, shot: Shot) -> dict[str, str]:
    """What the header of every new frame says: which job made it, from which request, as its job.json has them."""
    return {
        f"{PREFIX}job": job_id,
        f"{PREFIX}request": request_of(shot),
        f"{PREFIX}software": f"void-nuke {__version__}",
    }


class Digests:
    """The hashes of a version's frames, noted by every process that writes some, on whichever machine."""

    def __init__(self, version: VersionFolder) -> None:
        self._folder = version.folder
        self._notes = version.intermediate / _DIGESTS
        self._own = self._notes / f"{secrets.token_hex(8)}.jsonl"
        self._lock = threading.Lock()

    def note(self, path: Path) -> None:
        """Hash a frame that has just been written. Raises OSError."""
        line = json.dumps([self._name(path), *_state(path), digest_of(path)])
        with self._lock:
            self._notes.mkdir(parents=True, exist_ok=True)
            with open(self._own, "a", encoding="utf-8") as file:
                file.write(line + "\n")

    def of(self, paths: list[Path]) -> dict[str, str]:
        """The SHA-256 of files of the version, by their path in it."""
        known = dict(self._noted())

        def digest(path: Path) -> str:
            size, modified, found = known.get(self._name(path), (-1, -1, ""))
            return found if (size, modified) == _state(path) else digest_of(path)

        return {self._name(path): found for path, found in in_order(digest, paths)}

    def _noted(self) -> Iterator[tuple[str, _Known]]:
        for file in sorted(self._notes.glob("*.jsonl"), key=lambda one: one.stat().st_mtime_ns):
            for line in file.read_text(encoding="utf-8").splitlines():
                try:
                    name, size, modified, digest = json.loads(line)
                except ValueError:
                    continue  # cut off when its process was killed; the frame is read again
                yield name, (size, modified, digest)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def note_inputs(version: VersionFolder, shot: Shot, source: Source, report: Callable[[int], None]) -> None:
    """Hash the files that a job is made from, once, just after it has read them all.

    ``report`` is told frames on the way.
    """
    file = version.intermediate / _INPUTS
    if file.is_file():
        return
    found: dict[str, dict[str, str]] = {}
    for role in Shot.SEQUENCES:
        sequence = getattr(source, role) if getattr(shot, role) else None
        if sequence is not None:
            found[role] = _hashed(sequence, source.frames, report)
    for role in Shot.FILES:
        if role in shot.paths():
            found[role] = {shot.paths()[role]: digest_of(Path(shot.paths()[role]))}
    write_atomically(file, json.dumps(found), parents=True)


def _hashed(sequence: Sequence, frames: tuple[int, ...], report: Callable[[int], None]) -> dict[str, str]:
    if sequence.movie:
        return {str(sequence.movie): digest_of(Path(sequence.movie))}
    files = {}
    for frame, digest in in_order(lambda frame: digest_of(sequence.path(frame)), _shared(sequence, frames)):
        files[str(sequence.path(frame))] = digest
        report(frame)
    return files


def _shared(sequence: Sequence, frames: tuple[int, ...]) -> list[int]:
    return [frame for frame in frames if frame in sequence.files]


def write(version: VersionFolder, job_id: str, shot: Shot) -> str:
    """Write the provenance of a version whose files are all there but the manifest; returns the SHA-256 of it."""
    inputs = version.intermediate / _INPUTS
    said: dict[str, Any] = {
        "schema": SCHEMA,
        "job": job_id,
        "request": request_of(shot),
        "inputs": json.loads(inputs.read_text(encoding="utf-8")) if inputs.is_file() else {},
        "outputs": Digests(version).of(version.results()),
    }
    write_atomically(version.provenance, json.dumps(said, indent=2))
    return digest_of(version.provenance)
