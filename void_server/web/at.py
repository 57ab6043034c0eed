"""Where the page is, and what it needs; light, for commands that may never show it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .. import plugins
from ..api.errors import SettingError
from ..api.loopback import LOOPBACK

DEFAULT_AT = "127.0.0.1:8090"
_AT = re.compile(r"(?P<host>[^:\[\]]+|\[[^\]]*\]):(?P<port>\d{1,5})")
_NEEDED = ("starlette", "uvicorn", "prometheus_client")


@dataclass(frozen=True)
class Certificate:
    """The files of a certificate with its chain, and of its secret key, both PEM."""

    chain: Path
    key: Path


@dataclass(frozen=True)
class At:
    """Where the page is: a host of this machine, and a port, 0 for any that is free.

    With a certificate it speaks TLS, and users of the server sign in.
    """

    host: str
    port: int
    certificate: Certificate | None = None

    @classmethod
    def parse(cls, text: str, chain: Path | None = None, key: Path | None = None) -> At:
        """An address such as 127.0.0.1:8090, and the files of a certificate.

        Raises :class:`SettingError` for one that other machines can reach where there is no certificate.
        """
        if (chain is None) != (key is None):
            raise SettingError("A certificate needs two files, its own and that of its secret key; give both.")
        match = _AT.fullmatch(text)
        if not match or int(match["port"]) >= 2**16:
            raise SettingError(f"{text!r} is not an address for the page; write it like {DEFAULT_AT}.")
        host, port = match["host"], int(match["port"])
        if chain is not None and key is not None:
            return cls(host, port, Certificate(chain, key))
        if host not in LOOPBACK:
            raise SettingError(
                f"Other machines could reach the page at {text}, and it has neither a certificate nor users; give a "
                f"certificate and its key, or {DEFAULT_AT} and let others in through `ssh -L 8090:127.0.0.1:8090`."
            )
        return cls(host, port)


def check_installed() -> None:
    """Raise :class:`SettingError` with the command that installs what the page needs, where that is missing."""
    if missing := [name for name in _NEEDED if not plugins.installed(name)]:
        raise SettingError(f"The page needs {missing[0]}, which is not installed: {plugins.how_to_install('web')}")
