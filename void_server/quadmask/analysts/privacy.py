"""What may leave the machine, and the keys of the services."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import stat
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit

from ...api import policy
from ...api.errors import SettingError

#: Set to anything, nothing is sent beyond the studio's own network.
FORBIDDEN = "VOID_NO_CLOUD"
#: The hosts that may be sent anything, such as ``gpu01:8000 *.studio.lan``; all where it is not set.
ALLOWED = "VOID_ALLOWED_HOSTS"
_NAME = re.compile(r"[\w-]+(\.[\w-]+)*\.?")


def forbidding() -> str:
    """The studio's decision to send no footage off the network, as a sentence; empty where it may be sent.

    Raises :class:`SettingError` where the studio's policy cannot be read.
    """
    found = policy.load()
    why = f"${FORBIDDEN} is set" if os.environ.get(FORBIDDEN) else "" if found.cloud else f"the policy {found.file}"
    return f"This server sends no footage off the studio network ({why})." if why else ""


def check_cloud(what: str) -> None:
    """Raise :class:`SettingError` if the server's owner forbids sending footage off the network."""
    if decision := forbidding():
        raise SettingError(
            f"{decision} {what} would; choose reasoner image, or local with a model on your own network."
        )


def check_host(url: str) -> None:
    """Raise :class:`SettingError` if the server's owner has a list of allowed hosts, and a URL's is not on it."""
    if (listed := os.environ.get(ALLOWED)) is None:
        return
    parts = urlsplit(url)
    name = (parts.hostname or "").rstrip(".")
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    for entry in listed.replace(",", " ").lower().split():
        pattern, colon, wanted = entry.rpartition(":") if re.search(r":\d+$", entry) else (entry, "", "")
        if fnmatchcase(name, pattern.strip("[]")) and (not colon or int(wanted) == port):
            return
    raise SettingError(
        f"{host(url)} is not among the hosts that this server may send footage to (${ALLOWED}: {listed.strip()}); "
        "choose another reasoner, or ask whoever runs the server."
    )


def checked_url(variable: str, url: str) -> str:
    """A URL as ``variable`` names it.

    Raises :class:`SettingError` where no service can be reached by it, or its host is not an allowed one.
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 -- raises where it is no number, or too large
        name = parts.hostname or ""
        name.encode("idna")
        good = parts.scheme in ("http", "https") and (":" in name or bool(_NAME.fullmatch(name)))
    except ValueError:
        good = False
    # urlsplit drops some of them silently
    if not good or not url.isprintable() or " " in url:
        redacted = re.sub(r"[^/]*@", "***@", url)
        raise SettingError(
            f"{variable} is {redacted!r}, not the address of a service; write it like http://localhost:8000/v1."
        )
    check_host(url)
    return url


def host(url: str) -> str:
    """A URL's host and port, without a name and password that may be in it."""
    return urlsplit(url).netloc.rpartition("@")[2]


def is_private(address: str) -> bool:
    """Whether an IP address is this machine's, or one on a private network."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        # Python's versions differ in what they say of such a one
        parsed = parsed.ipv4_mapped
    return parsed.is_private or parsed.is_loopback


def in_house(url: str) -> bool:
    """Whether every address a URL's host resolves to is this machine's or on a private network."""
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(urlsplit(url).hostname or "", None)}
    except OSError:
        return False
    return bool(addresses) and all(map(is_private, addresses))


def key(variables: tuple[str, ...], file: Path, what: str) -> str:
    """A key from the environment, or from a file that nobody else can read. Raises :class:`SettingError`."""
    for name in variables:
        if value := os.environ.get(name, "").strip():
            return value
    if not file.is_file():
        raise SettingError(f"No key for {what}: set {variables[0]} where the server runs, or put it into {file}.")
    if sys.platform != "win32" and stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise SettingError(f"Other users can read {file}; run: chmod 600 {file}")
    if not (value := file.read_text(encoding="utf-8").strip()):
        raise SettingError(f"{file} is empty; put the key for {what} into it.")
    return value


def without(secret: str, text: str) -> str:
    """``text`` without the secret."""
    return text.replace(secret, "***") if secret else text
