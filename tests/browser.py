"""The page in a real browser: Debian's Chromium, without a window, and a server with its page to open in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

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
        self.port, self.host, self.key = parts.port or 0, parts.netloc, parse_qs(parts.query)["key"][0]

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
