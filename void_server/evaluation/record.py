"""A record of an evaluation, by which another studio can repeat it, and find why its figures differ."""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from .. import __version__
from ..api.errors import InputError
from ..api.files import digest_of, read_json
from ..imaging.parallel import in_order
from ..imaging.sequence import Sequence as Frames
from ..imaging.sequence import format_frames
from .judging import Judged

SCHEMA = 1
_PACKAGES = (
    *("numpy", "opencv-python-headless", "OpenImageIO", "flip-evaluator", "lpips", "cvvdp"),
    *("torch", "torchvision", "diffusers", "transformers", "sam2"),
)
#: Figures this close are the same: sums in another order differ by less.
_CLOSE = 1e-6
#: What says nothing of the pictures.
_COST = ("s/frame", "MB")


def record(judged: Sequence[Judged], asked: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the figures, and the figures: versions, machine, what was ``asked``, hashes, by shot and method."""
    return {
        "schema": SCHEMA,
        "software": _software(),
        "machine": _machine(),
        "asked": dict(asked),
        "shots": {one.name: _shot(one) for one in judged},
    }


def _shot(one: Judged) -> dict[str, Any]:
    return {
        "frames": format_frames(one.material.frames),
        "colour": one.material.colour.name,
        "inputs": {what: _digest(found, one.material.frames) for what, found in one.material.sources.items()},
        "methods": {
            each.method: {"made by": each.made_by, **_result(one, each.method), "figures": each.groups}
            for each in one.scores
        },
    }


def _result(one: Judged, method: str) -> dict[str, str]:
    result = one.results.get(method)
    return {"result": _digest(result.source, one.material.frames)} if result and result.source else {}


def _digest(found: Frames, frames: Sequence[int]) -> str:
    """The SHA-256 of those of a sequence's frames, in order."""
    whole = hashlib.sha256()
    # files that stand for several frames are read once
    digests = dict(in_order(digest_of, dict.fromkeys(map(found.path, frames))))
    for frame in frames:
        whole.update(f"{frame} {digests[found.path(frame)]}\n".encode())
    return whole.hexdigest()


def _software() -> dict[str, str]:
    found = {"void-nuke": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _machine() -> dict[str, Any]:
    return {
        "system": platform.system(),
        "release": platform.release(),
        "processor": platform.processor() or platform.machine(),
        "cores": psutil.cpu_count(),
        "memory": round(psutil.virtual_memory().total / 2**30),
    }


def load(path: Path) -> dict[str, Any]:
    """A record that was written. Raises :class:`InputError` for what is none."""
    try:
        found: dict[str, Any] = read_json(path)
        known = found["schema"] == SCHEMA and isinstance(found["shots"], dict)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read as a record: {error!r}; make one with --record.") from None
    if not known:
        raise InputError(f"{path} is a record of another version of VOID; make a new one with --record.")
    return found


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In what two records differ, in words, inputs and software before the figures; empty where in nothing."""
    found = list(_differing((), before, now))
    return sorted(found, key=lambda line: "figures" in line)


def _differing(place: tuple[str, ...], before: Any, now: Any) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys([*before, *now]):
            if name not in _COST:
                yield from _differing((*place, str(name)), before.get(name), now.get(name))
    elif not _same(before, now):
        where = ", ".join(place)
        if before is None or now is None:
            yield f"{where}: only {'in the record' if now is None else 'now'}"
        else:
            yield f"{where}: {_words(before)} in the record, {_words(now)} now"


def _same(before: Any, now: Any) -> bool:
    if isinstance(before, float) and isinstance(now, float):
        return math.isclose(before, now, rel_tol=_CLOSE, abs_tol=_CLOSE)
    return bool(before == now)


def _words(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
