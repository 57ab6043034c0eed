"""The page in a real browser: Debian's Chromium, without a window, and a server with its page to open in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from void_server.api.client import Keys
from void_server.api.home import home
from void_server.service.keys import KeyRing
from void_server.service.roles import Role

pytest.importorskip("uvicorn", reason="the extra web is not installed: the page was NOT tested")

VOID = [sys.executable, "-c", "from void_server.cli import main; main()"]
_BROWSERS = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
#: Milliseconds within which anything happens on a busy machine; the limit is generous, so that a test only ends.
PATIENCE = 120_000


class RunningPage:
    """``void serve --web`` in a process of its own."""

    def __init__(self, log: Path, *options: str) -> None:
        words = ["serve", "--address", "tcp://127.0.0.1:*", "--web", "127.0.0.1:0", "--log", str(log), *options]
        self.process = subprocess.Popen([*VOID, *words], stdout=subprocess.PIPE, text=True, env={**os.environ})
        assert self.process.stdout
        self.server = self.process.stdout.readline().removeprefix("listening at ").strip()
        self.url = self.process.stdout.readline().removeprefix("open ").strip()
        parts = urlsplit(self.url)
        self.port, self.host = parts.port or 0, parts.netloc
        self.key = parse_qs(parts.query).get("key", [""])[0]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)
        assert self.process.stdout
        self.process.stdout.close()


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright's; skips the test where there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no Playwright: the page was NOT tested in a browser"
    )
    program = next((name for name in _BROWSERS if Path(name).exists()), None)
    if program is None:
        pytest.skip("no Chromium (Debian: apt install chromium): the page was NOT tested in a browser")
    with playwright.sync_playwright() as started:
        # inside a container Chromium's own sandbox cannot start
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Any, running: RunningPage, **options: Any) -> Iterator[Any]:
    """A tab with the page. Raises AssertionError where a script failed in it, or broke the page's policy."""
    wrong: list[str] = []
    context = browser.new_context(accept_downloads=True, **{"viewport": {"width": 1440, "height": 900}, **options})
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    tab.goto(running.url)
    try:
        yield tab
    finally:
        context.close()
    assert not wrong, json.dumps(wrong)


def until(tab: Any, happens: Callable[[], bool]) -> None:
    """Wait until something holds in a tab; the page's policy forbids the waiting that Playwright would do inside it."""
    end = time.monotonic() + PATIENCE / 1000
    while not happens():
        assert time.monotonic() < end, "it never happened"
        tab.wait_for_timeout(50)


def box(tab: Any, left: float, top: float, right: float, bottom: float) -> None:
    """Draw a box on the frame, from the shares of its width and height."""
    tab.get_by_role("radio", name="Box").check()
    frame = tab.locator(".picture").bounding_box()
    places = [
        (frame["x"] + u * frame["width"], frame["y"] + v * frame["height"]) for u, v in ((left, top), (right, bottom))
    ]
    tab.mouse.move(*places[0])
    tab.mouse.down()
    tab.mouse.move(*places[1], steps=4)
    tab.mouse.up()


class SignedInPage(RunningPage):
    """``void serve --web`` with a certificate for this machine; ``users`` are the keys of those who may sign in."""

    def __init__(self, folder: Path, roles: Mapping[str, Role], *options: str) -> None:
        self.home = home()
        ring = KeyRing(self.home)
        self.users: dict[str, Keys] = {}
        for name, role in roles.items():
            public, secret = ring.new(name, folder)
            ring.allow(public, role)
            self.users[name] = Keys(str(secret), str(ring.server_public))
        self.chain, key = certificate(folder)
        words = ["--require-keys", "--web-certificate", str(self.chain), "--web-key", str(key)]
        super().__init__(folder / "log", *words, *options)


def certificate(folder: Path, names: Sequence[str] = ()) -> tuple[Path, Path]:
    """The files of a certificate for these ``names``, or localhost and 127.0.0.1, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "VOID's tests")])
    hosts: list[x509.GeneralName] = [x509.DNSName(one) for one in names]
    hosts = hosts or [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    now = datetime.now(timezone.utc)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "page.pem", folder / "page_key.pem"
    chain.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(*encoding))
    return chain, secret
