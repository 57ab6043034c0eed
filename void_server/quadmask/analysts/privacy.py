"""What may leave the machine, and the keys that open the door."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
import sys
from pathlib import Path
from urllib.parse import urlsplit

from ...api.errors import SettingError

#: Set to anything, nothing is sent beyond the studio's own network.
FORBIDDEN = "VOID_NO_CLOUD"


def check_cloud(what: str) -> None:
    """Raise :class:`SettingError` where the server's owner forbids to send footage out of the house."""
    if os.environ.get(FORBIDDEN):
        raise SettingError(
            f"This server sends no footage out of the house (${FORBIDDEN} is set), and {what} would; "
            "take reasoner image, or local with a model on your own network."
        )


def host(url: str) -> str:
    """A URL's host and port, without a name and password that may be in it."""
    return urlsplit(url).netloc.rpartition("@")[2]


def in_house(url: str) -> bool:
    """Whether a URL's host is this machine or one on a private network."""
    host = urlsplit(url).hostname or ""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    addresses = [ipaddress.ip_address(str(address).partition("%")[0]) for address in found]
    return bool(addresses) and all(address.is_private or address.is_loopback for address in addresses)


def key(variables: tuple[str, ...], file: Path, what: str) -> str:
    """A key from the environment, or from a file that nobody else can read. Raises :class:`SettingError`."""
    for name in variables:
        if value := os.environ.get(name, "").strip():
            return value
    if not file.is_file():
        raise SettingError(
            f"There is no key for {what}: set {variables[0]} where the server runs, or put it into {file}."
        )
    if sys.platform != "win32" and stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise SettingError(f"{file} can be read by others; run: chmod 600 {file}")
    if not (value := file.read_text(encoding="utf-8").strip()):
        raise SettingError(f"{file} is empty; put the key for {what} into it.")
    return value


def without(secret: str, text: str) -> str:
    """``text`` without the secret."""
    return text.replace(secret, "***") if secret else text
