"""What a studio allows its jobs, whichever way they come: one file, the same for server, farm, command and Nuke.

A JSON file: ``$VOID_POLICY``, else ``policy.json`` in the state folder; without one everything is allowed.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Mapping, Optional

from .errors import NotPermitted, SettingError
from .files import read_json
from .home import home
from .shot import PLATE, ROTO, Settings

ENVIRONMENT = "VOID_POLICY"
_DIGEST = re.compile(r"[0-9a-f]{64}")
#: An Ed25519 key, or a signature's, as text.
_KEY = re.compile(r"[A-Za-z0-9+/]{43}=")


@dataclass(frozen=True)
class Policy:
    """The studio's decisions, an entry of the file each.

    Without ``cloud`` no frame leaves the studio's network. Without ``generative`` no model makes pixels. ``engines``
    are those that may be used, and ``weights`` the SHA-256 of the files that these may load; None: any. With
    ``approval`` a version is published only once one of the ``approvers``, public keys by name, has signed it.
    ``signers`` are the public keys, by name, with which versions may be signed; None: any. ``file`` is where this is
    written, empty where there is no policy.
    """

    cloud: bool = True
    generative: bool = True
    engines: Optional[tuple[str, ...]] = None
    weights: Optional[tuple[str, ...]] = None
    approval: bool = False
    approvers: Mapping[str, str] = field(default_factory=dict)
    signers: Optional[Mapping[str, str]] = None
    file: str = ""

    def check(self, settings: Settings, *, generative: bool, cloud: bool) -> None:
        """Raise :class:`NotPermitted` where the studio does not allow a job with these settings.

        ``generative`` is whether a model makes the engine's pixels, ``cloud`` whether the job has a reasoner find the
        quadmask that sends frames away.
        """
        if settings.until != ROTO and cloud and not self.cloud:
            raise self._forbids(
                f"sending footage off the studio network, as the reasoner {settings.reasoner} would",
                "choose reasoner image, or local with a model on your own network",
            )
        if settings.until != PLATE:
            return
        if self.engines is not None and settings.engine not in self.engines:
            raise self._forbids(
                f"the engine {settings.engine}", f"choose {' or '.join(self.engines)}" if self.engines else ""
            )
        if generative and not self.generative:
            raise self._forbids(
                f"generated pixels, which the engine {settings.engine} makes", "choose engine cleanplate"
            )

    def check_weights(self, engine: str, weights: Mapping[str, str]) -> None:
        """Raise :class:`NotPermitted` naming the first of the ``weights``, SHA-256 by file, that may not be used."""
        for name, digest in weights.items():
            if self.weights is not None and digest not in self.weights:
                raise self._forbids(
                    f"the weights {name} of the engine {engine} (SHA-256 {digest})", "install the approved file"
                )

    def _forbids(self, what: str, instead: str) -> NotPermitted:
        hint = f"{instead}, or ask whoever keeps" if instead else "ask whoever keeps"
        return NotPermitted(f"The studio's policy forbids {what}; {hint} {self.file}.")


def load() -> Policy:
    """The studio's policy as it is now. Raises :class:`SettingError` naming the file: a damaged one allows nothing."""
    named = os.environ.get(ENVIRONMENT)
    file = Path(named or home() / "policy.json")
    try:
        if not named and not _is_there(file):
            return Policy()
        return _read(read_json(file), file)
    except FileNotFoundError:
        raise SettingError(f"The policy {file} is not there; correct ${ENVIRONMENT}.") from None
    except (OSError, ValueError) as error:
        raise SettingError(f"The policy {file} cannot be used, so no job begins: {error}") from error


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except PermissionError:
        # the state folder of the server for which this works as another user; that holds jobs to its policy itself
        return False


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_digests(value: Any) -> bool:
    return _is_texts(value) and all(map(_DIGEST.fullmatch, value))


def _is_keys(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) and _KEY.fullmatch(key) for key in value.values())


_YES_OR_NO = (lambda value: isinstance(value, bool), "true or false")
_KEYS = (_is_keys, "public keys by name, as `void keys signing` prints them")
#: What the file may say: whether it is that, and what to give.
_ENTRIES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "cloud": _YES_OR_NO,
    "generative": _YES_OR_NO,
    "engines": (_is_texts, "a list of names"),
    "weights": (_is_digests, "a list of SHA-256 in hexadecimal digits"),
    "approval": _YES_OR_NO,
    "approvers": _KEYS,
    "signers": _KEYS,
}


def _read(data: Any, file: Path) -> Policy:
    if not isinstance(data, dict):
        raise ValueError("it must hold names and values in braces.")
    values: dict[str, Any] = {"file": str(file)}
    for name, value in data.items():
        if name not in _ENTRIES:
            raise ValueError(f"there is no entry {name!r}; known are {', '.join(_ENTRIES)}.")
        good, wanted = _ENTRIES[name]
        if not good(value):
            raise ValueError(f"{name} is {value!r:.80}; give {wanted}.")
        values[name] = tuple(value) if isinstance(value, list) else value
    if data.get("approval") and not data.get("approvers"):
        raise ValueError("approval is needed, but approvers names nobody who could give it.")
    return Policy(**values)
