"""Running the page in this process."""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Callable

import uvicorn
from cryptography import x509

from ..api.client import Keys
from ..api.errors import ServerRefused, SettingError
from ..api.home import home, made
from ..api.loopback import LOOPBACK
from .app import Page
from .asking import Asking
from .at import At, Certificate
from .doors import KeyDoor, SignInDoor, key_of
from .guard import WILD
from .patience import Impatient

_BACKLOG = 64


def serve(at: At, server: str, keys: Keys | None, on_ready: Callable[[str], None]) -> None:
    """Serve the page for a ``server`` until a signal; ``on_ready`` receives the address to open, with its key if any.

    Raises :class:`ServerRefused` where it cannot listen there, and SettingError for a certificate that is none.
    """
    folder, asking = made(home() / "web"), Asking(server, keys)
    names = _names(at.certificate) if at.certificate else (at.host, *LOOPBACK)
    with _listening(at) as listening:
        port = listening.getsockname()[1]
        key = key_of(folder)
        door = SignInDoor(asking, key) if at.certificate else KeyDoor(key, port)
        # browsers leave the usual port out
        hosts = tuple(f"{host}:{port}" for host in names) + (names if (door.scheme, port) == ("https", 443) else ())
        config = uvicorn.Config(
            Page(asking, folder).app(hosts, door),
            http=Impatient,
            ssl_certfile=at.certificate.chain if at.certificate else None,
            ssl_keyfile=at.certificate.key if at.certificate else None,
            proxy_headers=False,
            log_level="warning",
            server_header=False,
            access_log=False,
            # pages that listen for news never hang up
            timeout_graceful_shutdown=2,
        )
        on_ready(f"https://{hosts[0]}/" if at.certificate else f"http://{hosts[0]}/?key={key}")
        uvicorn.Server(config).run(sockets=[listening])


def _names(certificate: Certificate) -> tuple[str, ...]:
    """The names by which browsers know the page, in lower case: those in its certificate, the first of them no pattern.

    Raises SettingError where there are none.
    """
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # nobody is asked for a password
        context.load_cert_chain(certificate.chain, certificate.key, password="")
        found = x509.load_pem_x509_certificate(certificate.chain.read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound) as error:
        raise SettingError(
            f"{certificate.chain} with the key {certificate.key} is no certificate that names its hosts ({error}); "
            "give both as PEM, the key without a password."
        ) from error
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    listed = *names.get_values_for_type(x509.DNSName), *(f"[{one}]" if ":" in one else one for one in addresses)
    if not listed:
        raise SettingError(f"The certificate {certificate.chain} names no host; have one made for this machine's name.")
    # the first is where people are told to go, so none that stands for many
    plain, wild = ([name.lower() for name in listed if (WILD in name) is many] for many in (False, True))
    if not plain:
        plain = [wild[0].replace(WILD, socket.gethostname().lower().partition(".")[0])]
    return *plain, *wild


def _listening(at: At) -> socket.socket:
    family = socket.AF_INET6 if at.host.startswith("[") else socket.AF_INET
    found = socket.socket(family)
    if sys.platform != "win32":
        # elsewhere this would let two programs share a port
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((at.host.strip("[]"), at.port))
        found.listen(_BACKLOG)
    except OSError as error:
        found.close()
        raise ServerRefused(
            f"The page cannot be at {at.host}:{at.port} ({error.strerror}); another program may be, so choose another "
            "port."
        ) from error
    return found
