"""Tokens with which users sign in to the page: proofs, for a few minutes, that somebody has a user's secret key.

A token is sealed with what the user's secret key and the server's public key make together (X25519, HKDF), which the
server finds from its secret key and the user's public one. No secret travels, and no other server takes it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import struct
import time
from collections.abc import Callable
from typing import Any

import zmq.auth
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from zmq.utils import z85

from ..api.client import Keys
from ..api.errors import AccessDenied, SettingError
from .keys import Client, KeyRing

#: Seconds for which a token is good, and by which two machines' clocks may differ.
GOOD_FOR, _CLOCKS = 300, 60
_LONGEST = 1000


def new_token(keys: Keys) -> str:
    """A token of the user with these keys, for their server. Raises SettingError where they cannot be read."""
    try:
        server, _ = zmq.auth.load_certificate(keys.server)
        public, secret = zmq.auth.load_certificate(keys.secret)
        if secret is None:
            raise ValueError(f"{keys.secret} contains no secret key")
    except (OSError, ValueError) as error:
        raise SettingError(
            f"The keys cannot be used: {error}; VOID_KEY names your secret key file, VOID_SERVER_KEY the server's "
            "public one."
        ) from error
    said = {"key": public.decode(), "until": time.time() + GOOD_FOR, "once": secrets.token_hex(16)}
    text = json.dumps(said).encode()
    return f"{_text(text)}.{_text(_seal(secret, server, text))}"


class Tokens:
    """Says whose a token is; takes each only once.

    ``take(once, until, now)`` keeps that a token was taken, so that a server which is started anew knows it too, as
    long as it would be good; False if it was taken before.
    """

    def __init__(self, keys: KeyRing, take: Callable[[str, float, float], bool]) -> None:
        self._keys, self._take = keys, take

    def owner(self, token: str) -> Client:
        """The client that made a token. Raises :class:`AccessDenied` for one that is not good, or was taken."""
        client = self._sealed(token, time.time())
        if client is None:
            raise AccessDenied("This token is not good, or no longer; make another with `void token`.")
        return client

    def _sealed(self, token: str, now: float) -> Client | None:
        text, _, seal = token.partition(".")
        try:
            if len(token) > _LONGEST:
                return None
            said: Any = json.loads(_bytes(text))
            key, until = str(said["key"]), float(said["until"])
            client = self._keys.find(key)
            own = _seal(self._keys.server_pair()[1], key.encode(), _bytes(text))
            good = hmac.compare_digest(own, _bytes(seal)) and -_CLOCKS < until - now < GOOD_FOR + _CLOCKS
        except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError, struct.error):
            return None
        if client is None or not good:
            return None
        once = hashlib.sha256(_bytes(text)).hexdigest()
        return client if self._take(once, until + _CLOCKS, now) else None


def _seal(secret: bytes, public: bytes, text: bytes) -> bytes:
    """What only those can make of a text that have one of the two secret keys."""
    own, other = X25519PrivateKey.from_private_bytes(z85.decode(secret)), z85.decode(public)
    shared = own.exchange(X25519PublicKey.from_public_bytes(other))
    key = HKDF(hashes.SHA256(), 32, None, b"VOID: a token to sign in").derive(shared)
    return hmac.digest(key, text, "sha256")


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
