"""Where the page is, and what it needs; light, for commands that may never show it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .. import plugins
from ..api.errors import SettingError
from ..api.loopback import LOOPBACK

DEFAULT_AT = "127.0.0.1:8090"
_AT = re.compile(r"(?P<host>[^:\[\]]+|\[[^\]]*\]):(?P<port>\d{1,5})")
_NEEDED = ("starlette", "uvicorn", "prometheus_client")


@dataclass(frozen=True)
class At:
    """Where the page is: a host of this machine, and a port, 0 for any that is free."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> At:
        """An address such as 127.0.0.1:8090. Raises :class:`SettingError` for one that other machines can reach."""
        match = _AT.fullmatch(text)
        if not match or int(match["port"]) >= 2**16:
            raise SettingError(f"{text!r} is not an address for the page; write it like {DEFAULT_AT}.")
        if match["host"] not in LOOPBACK:
            raise SettingError(
                f"Other machines could reach the page at {text}, and it has neither a certificate nor users; give "
                f"{DEFAULT_AT}, and let others in through `ssh -L 8090:127.0.0.1:8090` or a proxy with a sign-in."
            )
        return cls(match["host"], int(match["port"]))


def check_installed() -> None:
    """Raise :class:`SettingError` with the command that installs what the page needs, where that is missing."""
    if missing := [name for name in _NEEDED if not plugins.installed(name)]:
        raise SettingError(f"The page needs {missing[0]}, which is not installed: {plugins.how_to_install('web')}")
