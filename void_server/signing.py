"""Ed25519 signatures: of versions, by the server or the person that made them, and of approvals."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from .api.account import user
from .api.errors import InputError
from .api.files import digest_of, name_once, read_json, write_atomically
from .api.home import home, made
from .api.version import VersionFolder

#: What is signed: that a version is as it was made, or that it may be published. One is never taken for the other.
MADE, APPROVED = "made", "approved"
_FILE = "signing.pem"


@dataclass(frozen=True)
class Signature:
    """Who has signed for what: the ``purpose``, the SHA-256 of a version's manifest, when, and with which public key.

    ``note`` is what the signer had to say. ``key`` and ``signature`` are base64.
    """

    purpose: str
    manifest: str
    by: str
    when: float
    note: str
    key: str
    signature: str

    @property
    def valid(self) -> bool:
        """Whether the key has signed just this. Whose key it is, only the studio's policy can say."""
        try:
            public = Ed25519PublicKey.from_public_bytes(base64.b64decode(self.key, validate=True))
            public.verify(base64.b64decode(self.signature, validate=True), self._signed)
        except (InvalidSignature, ValueError):
            return False
        return True

    @property
    def _signed(self) -> bytes:
        # each line names what it is, and no value holds the end of a line
        said = (self.purpose, self.manifest, self.by, repr(self.when), self.note)
        return "\n".join(["void-nuke signature 1", *(text.encode("unicode_escape").decode() for text in said)]).encode()

    def to_dict(self) -> dict[str, Any]:
        """The signature as plain data, for its file."""
        return asdict(self)

    @classmethod
    def read(cls, file: Path) -> Signature:
        """What was written. Raises :class:`InputError` where the file is none."""
        try:
            data = read_json(file)
            kinds = {name: float if name == "when" else str for name in cls.__dataclass_fields__}
            if set(data) != set(kinds) or not all(isinstance(data[name], kind) for name, kind in kinds.items()):
                raise ValueError("it lacks something, or holds something else")
            return cls(**data)
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{file} is no signature that can be read ({error}).") from error


def account() -> str:
    """Who runs this, on which machine."""
    return f"{user()}@{platform.node()}"


def sign_made(version: VersionFolder) -> None:
    """Sign a finished version with the key of whoever runs this. Raises InputError or OSError."""
    signature = SigningKey(home()).sign(MADE, digest_of(version.manifest), account())
    write_atomically(version.signature, json.dumps(signature.to_dict(), indent=2))


class SigningKey:
    """The secret key in the state folder ``state``, made at its first use; nobody else may read it."""

    def __init__(self, state: Path) -> None:
        self.file = state / "keys" / _FILE
        self._key = self._read()

    @property
    def public(self) -> str:
        """The public key, base64, as the studio's policy names it."""
        raw = self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return base64.b64encode(raw).decode()

    @property
    def private(self) -> Ed25519PrivateKey:
        """The key itself, for what signs in a form of its own."""
        return self._key

    @property
    def fingerprint(self) -> str:
        """A short name of the public key, for files."""
        return hashlib.sha256(self.public.encode()).hexdigest()[:16]

    def sign(self, purpose: str, manifest: str, by: str, note: str = "") -> Signature:
        """Sign for the version whose manifest has this SHA-256."""
        unsigned = Signature(purpose, manifest, by, time.time(), note, self.public, "")
        signature = base64.b64encode(self._key.sign(unsigned._signed)).decode()
        return Signature(**{**asdict(unsigned), "signature": signature})

    def _read(self) -> Ed25519PrivateKey:
        if not self.file.is_file():
            self._make()
        try:
            key = serialization.load_pem_private_key(self.file.read_bytes(), None)
        except (OSError, ValueError) as error:
            raise InputError(
                f"The signing key {self.file} cannot be read ({error}); restore it from a copy."
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise InputError(f"The signing key {self.file} is no Ed25519 key; restore it from a copy.")
        return key

    def _make(self) -> None:
        """Of several processes that make it at once, one decides."""
        folder = made(self.file.parent)
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with tempfile.TemporaryDirectory(prefix=f".{_FILE}.", dir=folder) as making:
            new = Path(making) / _FILE
            os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            new.write_bytes(pem)
            name_once(new, self.file)
