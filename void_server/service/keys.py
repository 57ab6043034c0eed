"""CURVE keys: the server's own, and those of the clients it admits from other machines."""

from __future__ import annotations

import logging
import math
import os
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import zmq.auth

from ..api.client import Keys
from ..api.errors import InputError
from ..api.files import is_plain_name, name_once, write_atomically
from ..api.home import made
from .roles import Role

_log = logging.getLogger(__name__)

PUBLIC, SECRET = ".key", ".key_secret"
# the client that the page in the browser is
_PAGE = "page"
#: All files are read again for an unknown key where their folder has changed, and after so many seconds, as strangers
#: may show any number of keys.
_ANEW = 1.0
_ROLE = re.compile(r'^\s*role\s*=\s*"(\w+)"', re.MULTILINE)


@dataclass(frozen=True)
class Client:
    """A client that is allowed: the name of its key, the key, and its role."""

    name: str
    public: str
    role: Role


class KeyRing:
    """The keys below the state folder ``home``.

    ``server.key`` is the server's public key, to be given to clients; ``clients/`` holds the public keys of those that
    are allowed.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "keys"
        self.clients = self.folder / "clients"
        # clients by their public keys, and what their files were like when they were read
        self._known: dict[str, tuple[Client, tuple[int, ...]]] = {}
        # what their folder was like then, and when that was
        self._folder_seen, self._read_at = 0, -math.inf

    @property
    def server_public(self) -> Path:
        """The file to give to clients; created with the secret key on first use."""
        public = self.folder / f"server{PUBLIC}"
        if not public.is_file():
            self._make(made(self.folder), "server")
        return public

    def server_pair(self) -> tuple[bytes, bytes]:
        """The server's public and secret key."""
        public, secret = zmq.auth.load_certificate(self.server_public.with_suffix(SECRET))
        assert secret is not None, "the secret file holds the secret key"
        return public, secret

    def of_page(self) -> Keys:
        """The key files of the page beside this server, which acts for users that sign in there; made on first use."""
        secret = self.folder / f"{_PAGE}{SECRET}"
        if not secret.is_file():
            self._make(made(self.folder), _PAGE)
        self.allow(secret.with_suffix(PUBLIC), Role.PAGE)
        return Keys(str(secret), str(self.server_public))

    def new(self, name: str, folder: Path) -> tuple[Path, Path]:
        """Make a client's pair of key files in ``folder``: public, secret. Raises :class:`InputError`."""
        if not name or name != Path(name).name or name.startswith("."):
            raise InputError(f"{name!r} is not a valid name for a key; use letters and digits.")
        public = folder / f"{name}{PUBLIC}"
        if public.exists() or public.with_suffix(SECRET).exists():
            raise InputError(f"{public} exists already; choose another name, or remove it first.")
        self._make(folder, name)
        return public, public.with_suffix(SECRET)

    def allow(self, file: Path, role: Role = Role.ARTIST) -> str:
        """Admit the client with this public key file, in this role; returns its name.

        Raises :class:`InputError`, also where that key is allowed by another name.
        """
        try:
            zmq.auth.load_certificate(file)
        except (OSError, ValueError) as error:
            raise InputError(f"{file} is not a public key file; make one with `void keys new NAME`.") from error
        if file.stem == _PAGE and role is not Role.PAGE:
            raise InputError(f"The server's own page in the browser is called {_PAGE}; give {file} another name.")
        key = _public_of(file)
        others = [one.name for one in self.allowed().values() if one.public == key and one.name != file.stem]
        if others:
            # whoever revoked one of the two would not have locked it out
            raise InputError(
                f"The key in {file} is allowed already, as {others[0]}; revoke that first, or make another with "
                "`void keys new`."
            )
        # copied without the secret, should somebody hand over the wrong file of the two
        _write_public(made(self.clients) / f"{file.stem}{PUBLIC}", file, role)
        return file.stem

    def find(self, public: str) -> Client | None:
        """The client with this public key, None if it is not allowed; changes count at once.

        Only where the client's own file has changed, or it is unknown, are all of them read: this is asked for every
        message. A file that was written over in place counts for an unknown key a second later.
        """
        client, seen = self._known.get(public, (None, ()))
        if client is None:
            return self._read().get(public) if self._may_have_changed() else None
        return client if seen == self._state(client) else self._read().get(public)

    def _may_have_changed(self) -> bool:
        return self._state_of_folder() != self._folder_seen or time.monotonic() - self._read_at > _ANEW

    def _read(self) -> dict[str, Client]:
        """Read the files of all clients, and keep what is in them by public key."""
        self._folder_seen, self._read_at = self._state_of_folder(), time.monotonic()
        clients = {one.public: one for one in self.allowed().values()}
        self._known = {key: (one, self._state(one)) for key, one in clients.items()}
        return clients

    def _state_of_folder(self) -> int:
        try:
            return os.stat(self.clients).st_mtime_ns
        except FileNotFoundError:
            return 0

    def remembered(self, public: str) -> Client | None:
        """The client with this key as it was when it was looked up last."""
        return self._known.get(public, (None, ()))[0]

    def named(self, name: str) -> Client | None:
        """The client of this name, None if none is allowed."""
        file = self.clients / f"{name}{PUBLIC}"
        return _client(file) if is_plain_name(name) and file.is_file() else None

    def _state(self, client: Client) -> tuple[int, ...]:
        try:
            found = os.stat(self.clients / f"{client.name}{PUBLIC}")
        except FileNotFoundError:
            return ()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def revoke(self, name: str) -> None:
        """Lock a client out. Raises :class:`InputError` if it was not allowed."""
        try:
            if not is_plain_name(name):
                raise FileNotFoundError(name)
            (self.clients / f"{name}{PUBLIC}").unlink()
        except FileNotFoundError:
            known = ", ".join(self.allowed()) or "none"
            raise InputError(f"No client named {name!r} is allowed; those allowed are: {known}.") from None

    def allowed(self) -> dict[str, Client]:
        """The allowed clients, by name."""
        # what begins with a dot is being written
        found = (_client(file) for file in sorted(self.clients.glob(f"[!.]*{PUBLIC}")))
        return {client.name: client for client in found if client}

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether the client with this key is allowed; called for each new connection.

        Raises nothing: whoever asks would never ask again, and nobody could come in any more.
        """
        del domain
        try:
            may = self.find(key.decode()) is not None
        except Exception:
            _log.exception("the keys of %s cannot be looked up, so a client was kept out", self.clients)
            return False
        if not may:
            _log.warning("refused a client with the unknown key %s", key.decode())
        return may

    @staticmethod
    def _make(folder: Path, name: str) -> None:
        """Make a pair of key files. Of several processes that make it at once, one decides; its pair is everybody's."""
        folder.mkdir(parents=True, exist_ok=True)
        public = folder / f"{name}{PUBLIC}"
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=folder) as making:
            secret = Path(zmq.auth.create_certificates(making, name)[1])
            secret.chmod(0o600)
            name_once(secret, public.with_suffix(SECRET))
        _write_public(public, public.with_suffix(SECRET))


def _client(file: Path) -> Client | None:
    try:
        return Client(file.stem, _public_of(file), _role(file))
    except (OSError, ValueError) as error:
        # a damaged or just removed file must not lock out the others
        _log.warning("%s is not a public key file: %s", file, error)
        return None


def _role(file: Path) -> Role:
    """The role that a client's file names; that of an artist where it names none."""
    try:
        return Role(_ROLE.findall(file.read_text(encoding="utf-8"))[0])
    except (ValueError, IndexError):
        return Role.ARTIST


def _write_public(target: Path, source: Path, role: Role | None = None) -> None:
    """Write the public key file ``target`` with the public key in ``source``, which may hold the secret one too."""
    metadata = f'    role = "{role.value}"\n' if role else ""
    write_atomically(target, f'metadata\n{metadata}curve\n    public-key = "{_public_of(source)}"\n')


def _public_of(file: Path) -> str:
    return zmq.auth.load_certificate(file)[0].decode()
