"""The page beyond this machine: TLS, users who sign in with tokens of their keys, and what each of them may."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import http.client
import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from .browser import VOID, SignedInPage, certificate  # isort: skip -- skips all where the page is not installed

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from void_server.api import Client, Settings, Shot, notices
from void_server.api.client import Keys
from void_server.api.errors import AccessDenied, ProtocolError, ServerBusy, ServerUnreachable, VoidError
from void_server.service import tokens
from void_server.service.audit import AuditLog
from void_server.service.keys import KeyRing
from void_server.service.roles import Role
from void_server.service.store import Store
from void_server.service.tokens import Tokens, new_token
from void_server.web import patience
from void_server.web.asking import Asking
from void_server.web.at import Certificate
from void_server.web.doors import KeyDoor, SignInDoor
from void_server.web.events import news
from void_server.web.guard import Guard
from void_server.web.serving import _names
from void_server.web.sessions import FAILURES, Attempts, Sessions

pytestmark = pytest.mark.slow
ROLES = {"ann": Role.ARTIST, "bob": Role.ARTIST, "sue": Role.SUPERVISOR, "eve": Role.VIEWER}


@pytest.fixture(scope="module")
def running(shot: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignedInPage]:
    folder = tmp_path_factory.mktemp("users")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOID_HOME", str(folder / "home"))
        (folder / "out").mkdir()
        page = SignedInPage(folder, ROLES, "--root", str(shot), "--root", str(folder / "out"))
        page.out = folder / "out"  # type: ignore[attr-defined]
        try:
            yield page
        finally:
            page.stop()


class Browser:
    """What a browser of somebody's sends, from a host of its own, as far as the page sees."""

    def __init__(self, page: SignedInPage, host: str = "127.0.0.1") -> None:
        self._page, self._host = page, host
        self.cookie = self.token = self.set_cookie = ""

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """The status, the headers and the body of an answer."""
        trusted = ssl.create_default_context(cafile=str(self._page.chain))
        connection = http.client.HTTPSConnection(
            "localhost", self._page.port, timeout=120, context=trusted, source_address=(self._host, 0)
        )
        said = {"cookie": self.cookie, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request(method, path, body, said)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, data

    @property
    def origin(self) -> str:
        return f"https://localhost:{self._page.port}"

    def show(self, token: str) -> tuple[int, str]:
        """Show a token; the status, and what is said of it."""
        status, headers, data = self.ask("POST", "/sign-in", json.dumps({"token": token}).encode(), origin=self.origin)
        if status == 200:
            self.set_cookie = headers["set-cookie"]
            self.cookie = self.set_cookie.partition(";")[0]
            self.token = json.loads(self.ask("GET", "/api/hello")[2])["token"]
        return status, json.loads(data).get("error", "")

    def change(self, path: str, said: object = None) -> tuple[int, Any]:
        data = json.dumps(said or {}).encode()
        status, _, answer = self.ask("POST", path, data, origin=self.origin, x_void_token=self.token)
        return status, json.loads(answer) if answer.startswith(b"{") else answer


def signed_in(page: SignedInPage, user: str) -> Browser:
    browser = Browser(page)
    assert browser.show(new_token(page.users[user])) == (200, "")
    return browser


def submitted(page: SignedInPage, user: str, shot: Path) -> str:
    with Client(page.server, keys=page.users[user], timeout=60) as client:
        out = page.out / user  # type: ignore[attr-defined]
        wanted = Shot(str(shot / "plate"), str(shot / "roto"), settings=Settings(grain=False))
        return client.submit(wanted, str(out)).id


def test_nothing_is_answered_to_who_has_not_signed_in(running: SignedInPage) -> None:
    stranger = Browser(running)
    for path in (
        "/api/hello",
        "/api/shots",
        "/api/events",
        "/static/main.js",
        "/metrics",
        "/?key=x",
        "/../app.py",
    ):
        status, headers, data = stranger.ask("GET", path)
        assert (status, data) in ((403, b"Sign in first."), (303, b"")), path
        assert status == 403 or headers["location"] == "/sign-in"
    assert stranger.ask("GET", "/")[1]["location"] == "/sign-in"
    status, headers, data = stranger.ask("GET", "/sign-in")
    assert (status, b"void token" in data) == (200, True)
    assert "max-age" in headers["strict-transport-security"]
    assert "script-src 'self';" in headers["content-security-policy"]
    # who speaks no TLS hears nothing
    with socket.create_connection(("localhost", running.port), timeout=60) as plain, suppress(ConnectionResetError):
        plain.sendall(f"GET /sign-in HTTP/1.1\r\nHost: localhost:{running.port}\r\n\r\n".encode())
        assert b"HTTP" not in plain.recv(2**16)


def test_a_cookie_is_of_this_host_and_tls_alone_and_out_of_reach_of_scripts(running: SignedInPage) -> None:
    ann = signed_in(running, "ann")
    name, *flags = (part.strip().lower() for part in ann.set_cookie.split(";"))
    assert name.startswith("__host-void=")
    assert {"httponly", "secure", "samesite=strict", "path=/"} <= set(flags)
    assert not any(flag.startswith("domain") for flag in flags)
    hello = json.loads(ann.ask("GET", "/api/hello")[2])
    assert (hello["user"], hello["rights"], hello["signed_in"]) == ("ann", ["submit"], True)
    # another session is another cookie, and another token for what changes something
    again = signed_in(running, "ann")
    assert again.cookie != ann.cookie
    assert again.token != ann.token
    for cookie in (ann.cookie[:-2] + "xx", ann.cookie + "; " + ann.cookie, "__Host-void=", ann.cookie.lower()):
        assert Browser.ask(replaced(ann, cookie), "GET", "/api/hello")[0] == 403
    ann.ask("POST", "/sign-out", origin=ann.origin)
    assert ann.ask("GET", "/api/hello")[0] == 403
    assert again.ask("GET", "/api/hello")[0] == 200


def replaced(browser: Browser, cookie: str) -> Browser:
    other = Browser(browser._page)
    other.cookie, other.token = cookie, browser.token
    return other


def test_a_token_is_good_once_and_no_other_is(running: SignedInPage, monkeypatch: pytest.MonkeyPatch) -> None:
    good = new_token(running.users["ann"])
    assert Browser(running).show(good) == (200, "")
    hosts = (f"127.0.1.{number}" for number in range(1, 100))

    def refused(token: str) -> None:
        # from a host that has not failed yet
        status, why = Browser(running, next(hosts)).show(token)
        assert (status, why) == (403, "This token is not good, or no longer; make another with `void token`.")

    refused(good)
    text, _, seal = new_token(running.users["ann"]).partition(".")
    bobs = new_token(running.users["bob"]).partition(".")
    for token in (
        "",
        ".",
        text,
        f"{text}.",
        f"{text}.{bobs[2]}",
        f"{bobs[0]}.{seal}",
        f"{text}.{seal[:-2]}AA",
        "x" * 900,
    ):
        refused(token)
    stranger = KeyRing(running.out.parent / "strangers")  # type: ignore[attr-defined]
    _, secret = stranger.new("ann", running.out)  # type: ignore[attr-defined]
    refused(new_token(Keys(str(secret), running.users["ann"].server)))
    # made for another server, and made long ago, or in the future
    refused(new_token(Keys(running.users["ann"].secret, str(stranger.server_public))))
    now = time.time()
    for then in (now - 600, now + 3600):
        monkeypatch.setattr(tokens.time, "time", lambda then=then: then)
        late = new_token(running.users["ann"])
        monkeypatch.undo()
        refused(late)
    for body in (b"", b"[]", b"{", b'{"token": 1}', b"[" * 3000, b"9" * 100_000):
        host = next(hosts)
        assert Browser(running, host).ask("POST", "/sign-in", body, origin=Browser(running).origin)[0] == 403


def test_who_fails_too_often_waits_and_keeps_nobody_else_out(running: SignedInPage) -> None:
    guessing = Browser(running, "127.0.2.1")
    for _ in range(FAILURES):
        assert guessing.show("guess")[0] == 403
    good = new_token(running.users["ann"])
    assert guessing.show(good) == (429, "Too many tokens were no good; wait a minute.")
    # the token was not even looked at
    assert Browser(running).show(good) == (200, "")


def test_many_hosts_that_guess_together_wait_too(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts, now = Attempts(), [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for number in range(200):
        assert not attempts.too_many("elsewhere")
        attempts.note(f"host {number}")
    assert attempts.too_many("elsewhere")
    now[0] += 61
    assert not attempts.too_many("elsewhere")
    assert len(attempts._failed) == 0


def test_sessions_end(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions, now = Sessions(), [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    first = sessions.begin("ann")
    for _ in range(20):
        last = sessions.begin("ann")
    assert sessions.visitor(first, "h") is None
    for _ in range(11):
        assert sessions.visitor(last, "h")
        now[0] += 3600
    now[0] += 3600
    # after half a day, whether used or not
    assert sessions.visitor(last, "h") is None
    unused = sessions.begin("ann")
    now[0] += 2 * 3600 + 1
    assert sessions.visitor(unused, "h") is None


def test_another_users_jobs_and_shots_do_not_exist(running: SignedInPage, shot: Path) -> None:
    job = submitted(running, "ann", shot)
    ann, bob, eve = (signed_in(running, name) for name in ("ann", "bob", "eve"))
    while json.loads(ann.ask("GET", f"/api/jobs/{job}")[2])["state"] != "done":
        time.sleep(0.1)
    view = json.loads(ann.ask("GET", f"/api/jobs/{job}/view")[2])
    assert (view["disclosure"]["generative"], view["disclosure"]["who"], view["approvals"]) == (False, "ann", [])
    status, brought = ann.change("/api/shots")
    assert status == 201
    for path in ("", "/view", "/report", "/contact_sheet", "/after/1001", "/quadmask/1001", "/download/plate"):
        # she looked at it, so that the page has copies
        assert ann.ask("GET", f"/api/jobs/{job}{path}")[0] == 200, path
        status, _, data = bob.ask("GET", f"/api/jobs/{job}{path}")
        assert (status, json.loads(data)["kind"]) == (404, "UnknownJob"), path
    for path in ("cancel", "resume", "again", "priority"):
        assert bob.change(f"/api/jobs/{job}/{path}", {"priority": 10})[0] == 404
    assert bob.change(f"/api/shots/{brought['id']}/ready")[0] == 404
    said = {"quadmask_of": job, "settings": {}}
    assert bob.change(f"/api/shots/{brought['id']}/jobs", said)[0] == 404
    for path in ("../../ann", "..%2f..%2fann", "users/ann", f"..%2f..%2fhere%2f{brought['id']}"):
        assert bob.ask("GET", f"/api/shots/{path}")[0] == 404
    # a viewer sees it, and changes nothing
    assert eve.ask("GET", f"/api/jobs/{job}/view")[0] == 200
    status, said = eve.change(f"/api/jobs/{job}/again")
    assert (status, said["error"]) == (403, "The key eve may not submit jobs; ask whoever runs the server.")
    done = [entry for entry in AuditLog(running.home).entries() if entry["what"] in ("sign in", "fetch")]
    assert {"ann", "bob", "eve"} <= {entry["who"] for entry in done if entry["what"] == "sign in"}
    assert all(entry["where"] for entry in done)


def test_what_the_farm_has_told_is_for_those_who_may_see_all_jobs(
    running: SignedInPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOID_HOME", str(running.home))
    notices.add({"event": "job_done", "text": "a job of somebody's is done", "when": 1.0})
    seen = {name: json.loads(signed_in(running, name).ask("GET", "/api/notices")[2]) for name in ("ann", "sue")}
    assert seen["ann"] == []
    assert [one["text"] for one in seen["sue"]] == ["a job of somebody's is done"]


def test_the_priority_of_a_job_is_changed_by_those_who_may(running: SignedInPage, shot: Path) -> None:
    ann, bob, sue = (signed_in(running, name) for name in ("ann", "bob", "sue"))
    submitted(running, "ann", shot)
    job = submitted(running, "ann", shot)
    status, said = ann.change(f"/api/jobs/{job}/priority", {"priority": 75})
    assert status == 403
    assert "may not give jobs more than the normal priority" in said["error"]
    assert ann.change(f"/api/jobs/{job}/priority", {"priority": 25})[1]["priority"] == 25
    assert bob.change(f"/api/jobs/{job}/priority", {"priority": 10})[0] == 404
    assert sue.change(f"/api/jobs/{job}/priority", {"priority": 75})[1]["priority"] == 75
    for wrong in (None, "75", 1000, -1):
        assert sue.change(f"/api/jobs/{job}/priority", {"priority": wrong})[0] in (400, 502)


def test_other_sites_and_sessions_change_nothing(running: SignedInPage) -> None:
    ann, bob = signed_in(running, "ann"), signed_in(running, "bob")
    for headers in (
        {},
        {"origin": ann.origin},
        {"x_void_token": ann.token},
        {"origin": ann.origin, "x_void_token": bob.token},
        {"origin": ann.origin.replace("https", "http"), "x_void_token": ann.token},
        {"origin": "https://evil.example", "x_void_token": ann.token},
    ):
        assert ann.ask("POST", "/api/shots", b"{}", **headers)[0] == 403
    # nor do they have somebody sign in as somebody else, or out
    token = json.dumps({"token": new_token(running.users["bob"])}).encode()
    for origin in ("https://evil.example", "null", ""):
        assert ann.ask("POST", "/sign-in", token, origin=origin)[0] == 403
        assert ann.ask("POST", "/sign-out", origin=origin)[0] == 403
    assert json.loads(ann.ask("GET", "/api/hello")[2])["user"] == "ann"


def test_a_revoked_user_is_out_at_once(running: SignedInPage) -> None:
    ring = KeyRing(running.home)
    public, secret = ring.new("leo", running.out.parent)  # type: ignore[attr-defined]
    ring.allow(public)
    running.users["leo"] = Keys(str(secret), str(ring.server_public))
    leo = signed_in(running, "leo")
    assert leo.ask("GET", "/api/jobs/0123456789ab")[0] == 404
    ring.revoke("leo")
    status, _, data = leo.ask("GET", "/api/jobs/0123456789ab")
    assert (status, json.loads(data)["error"]) == (403, "leo is no longer allowed; ask whoever runs the server.")
    assert Browser(running, "127.0.3.1").show(new_token(running.users["leo"]))[0] == 403


def test_only_the_page_acts_for_others(running: SignedInPage) -> None:
    ann = {"user": "ann", "host": "here"}
    with (
        Client(running.server, keys=running.users["sue"], acting_for=ann) as client,
        pytest.raises(AccessDenied, match="The key sue may not act for users"),
    ):
        client.jobs()
    with Client(running.server, keys=running.users["ann"]) as client, pytest.raises(AccessDenied, match="act for"):
        client.sign_in(new_token(running.users["ann"]), "here")
    page = KeyRing(running.home).of_page()
    for name in ("page", "nobody", "../ann", ""):
        with (
            Client(running.server, keys=page, acting_for={"user": name, "host": "here"}) as client,
            pytest.raises(AccessDenied, match="no longer allowed"),
        ):
            client.hello()


def test_metrics_are_for_who_has_the_pages_key(running: SignedInPage) -> None:
    key = (running.home / "web" / "key").read_text()
    stranger = Browser(running)
    status, _, data = stranger.ask("GET", "/metrics", authorization=f"Bearer {key}")
    assert (status, b"void_up 1.0" in data) == (200, True)
    for path in ("/api/hello", "/api/shots", "/"):
        assert stranger.ask("GET", path, authorization=f"Bearer {key}")[0] in (303, 403)


def raw(page: SignedInPage, sent: bytes) -> bytes:
    """What the page answers to these bytes, until it closes."""
    trusted = ssl.create_default_context(cafile=str(page.chain))
    with (
        socket.create_connection(("localhost", page.port), timeout=60) as plain,
        trusted.wrap_socket(plain, server_hostname="localhost") as line,
    ):
        found = b""
        # one that refuses a request does not read on, and may close before all of it was sent
        with contextlib.suppress(ssl.SSLEOFError, ConnectionError):
            line.sendall(sent)
        with contextlib.suppress(ssl.SSLEOFError, ConnectionError):
            while piece := line.recv(2**16):
                found += piece
    return found


def test_requests_are_not_smuggled_and_headers_do_not_grow_for_ever(running: SignedInPage) -> None:
    ann = signed_in(running, "ann")
    host, hidden = f"localhost:{running.port}", b"GET /api/hello HTTP/1.1\r\n\r\n"
    begin = f"POST /sign-out HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nCookie: {ann.cookie}\r\n"
    for more in (
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Content-Length: 0\r\nContent-Length: 28\r\n\r\n",
        "Content-Length: -1\r\n\r\n",
        "Content-Length : 4\r\n\r\n",
    ):
        answer = raw(running, (begin + more).encode() + hidden)
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 403")), more
        assert answer.count(b"HTTP/1.1") == 1, more
        assert b'"user"' not in answer
    two = f"GET /api/hello HTTP/1.1\r\nHost: {host}\r\nHost: evil\r\nConnection: close\r\nCookie: {ann.cookie}\r\n\r\n"
    assert raw(running, two.encode()).startswith((b"HTTP/1.1 400", b"HTTP/1.1 421"))
    huge = f"GET /api/hello HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nCookie: a={'x' * 200_000}\r\n\r\n"
    # what it says may be lost with the connection, as it reads no further
    assert raw(running, huge.encode()).startswith((b"HTTP/1.1 400", b"HTTP/1.1 431")) or not raw(running, huge.encode())
    assert ann.ask("GET", "/api/hello")[0] == 200


def test_slow_clients_keep_nobody_waiting(running: SignedInPage) -> None:
    slow = [socket.create_connection(("localhost", running.port)) for _ in range(150)]
    try:
        for line in slow:
            line.sendall(b"\x16\x03")
        assert signed_in(running, "ann").ask("GET", "/api/shots")[0] == 200
    finally:
        for line in slow:
            line.close()


def test_a_connection_on_which_no_request_comes_is_ended(running: SignedInPage) -> None:
    """A byte now and then does not keep it open; one with a request that is answered slowly stays."""
    assert raw(running, b"GET / HTTP/1.1\r\nHost:") == b""


def test_a_token_that_comes_too_slowly_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has signed in yet, and so anybody could hold the page's connections open."""
    request = posted("/sign-in", b"")

    async def nothing() -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(patience, "SECONDS", 0.1)
    entrance = SignInDoor(Asking("tcp://127.0.0.1:1"), "key").entrance(Request(request.scope, nothing))
    answer = asyncio.run(asyncio.wait_for(entrance, 30))
    assert answer is not None
    assert (answer.status_code, bytes(answer.body)) == (403, b'{"error":"No token has come for 0.1 s; try again."}')


def test_what_comes_of_a_request_that_was_refused_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def trickle(to: asyncio.StreamWriter) -> None:
        while True:
            to.write(b"x")
            await asyncio.sleep(0.05)

    async def ended() -> None:
        config = uvicorn.Config(refuse, http=patience.Impatient, lifespan="off", log_level="warning")
        server, listening = uvicorn.Server(config), socket.create_server(("127.0.0.1", 0))
        running = asyncio.create_task(server.serve([listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert b" 403 " in await reader.readuntil(b"\r\n\r\n")
        trickling = asyncio.create_task(trickle(writer))
        try:
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 30) == b""
        finally:
            trickling.cancel()
            writer.close()
            server.should_exit = True
            await running

    monkeypatch.setattr(patience, "SECONDS", 0.2)
    asyncio.run(ended())


def test_a_page_without_users_or_a_certificate_is_refused_with_a_sentence(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    (tmp_path / "wrong.pem").write_text("nothing")
    here = ["serve", "--address", "tcp://127.0.0.1:*", "--web", "127.0.0.1:0"]
    for words, said in (
        ([*here, "--web-certificate", str(chain)], "needs two files"),
        ([*here, "--web-certificate", str(chain), "--web-key", str(key)], "this server knows no users; give --require"),
        (["serve", "--web-certificate", str(chain), "--web-key", str(key)], "give --web HOST:PORT too"),
    ):
        done = subprocess.run([*VOID, *words], capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_a_certificate_that_is_none_is_refused_with_a_sentence(running: SignedInPage, tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    (tmp_path / "wrong.pem").write_text("nothing")
    page = KeyRing(running.home).of_page()
    for files, keys, said in (
        ((tmp_path / "wrong.pem", key), page, "is no certificate that names its hosts"),
        ((chain, tmp_path / "none.pem"), page, "is no certificate that names its hosts"),
        ((chain, key), running.users["sue"], "Nobody could sign in at the page"),
    ):
        words = ["web", "--server", running.server, "--at", "127.0.0.1:0"]
        words += ["--web-certificate", str(files[0]), "--web-key", str(files[1])]
        environment = {**page_environment(keys)}
        done = subprocess.run([*VOID, *words], capture_output=True, text=True, check=False, timeout=60, env=environment)
        assert (done.returncode in (1, 2), said in done.stderr) == (True, True), done.stderr


def page_environment(keys: Keys) -> dict[str, str]:
    return {**os.environ, "VOID_KEY": keys.secret, "VOID_SERVER_KEY": keys.server}


def test_a_token_is_forgotten_once_it_would_be_too_late_anyway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = KeyRing(tmp_path)
    public, secret = ring.new("ann", tmp_path)
    ring.allow(public)
    store, now = Store(tmp_path), [1e9]
    keys, taken = Keys(str(secret), str(ring.server_public)), Tokens(ring, store.take_token)
    monkeypatch.setattr(time, "time", lambda: now[0])
    for _ in range(3):
        assert taken.owner(new_token(keys)).name == "ann"
        now[0] += 400
    assert store._database.execute("select count(*) from tokens").fetchone()[0] == 1
    store.close()


def test_a_token_that_was_taken_is_not_good_for_a_server_that_is_started_anew(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    public, secret = ring.new("ann", tmp_path)
    ring.allow(public)
    token = new_token(Keys(str(secret), str(ring.server_public)))
    for is_first in (True, False):
        with closing(Store(tmp_path)) as store:
            tokens = Tokens(ring, store.take_token)
            if is_first:
                assert tokens.owner(token).name == "ann"
            with pytest.raises(AccessDenied, match="not good, or no longer"):
                tokens.owner(token)


def test_a_user_keeps_twenty_sessions() -> None:
    sessions = Sessions()
    cookies = [sessions.begin("ann") for _ in range(21)]
    assert [sessions.visitor(cookie, "h") is not None for cookie in cookies] == [False] + [True] * 20


def test_a_token_that_is_no_token_is_not_good_whatever_is_in_it(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    public, _ = ring.new("ann", tmp_path)
    ring.allow(public)
    for said in (
        {"key": "k", "until": 10**400, "once": "x"},
        {"key": "#" * 40, "until": 1, "once": "x"},
        {"key": "x", "until": float("nan"), "once": 1},
        {"key": "\ud800", "until": 1, "once": "x"},
        7,
    ):
        text = base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")
        with pytest.raises(AccessDenied, match="not good"):
            Tokens(ring, lambda *_: True).owner(f"{text}.AAAA")


@pytest.mark.parametrize(
    ("error", "status", "counts"),
    [
        (AccessDenied("no"), 403, True),
        (ProtocolError("odd"), 502, True),
        (ServerUnreachable("gone"), 502, False),
        (ServerBusy("wait"), 502, False),
    ],
)
def test_every_failure_to_sign_in_counts_unless_the_server_did_not_look_at_it(
    error: VoidError, status: int, counts: bool
) -> None:
    class Failing(Asking):
        async def ask(self, _: Callable[[Client], Any]) -> Any:
            raise error

    door = SignInDoor(Failing("tcp://127.0.0.1:1"), "key")
    found = [asyncio.run(door.entrance(posted("/sign-in", b'{"token": "x"}'))) for _ in range(FAILURES + 1)]
    assert [one.status_code for one in found if one] == [status] * FAILURES + [429 if counts else status]


def posted(path: str, body: bytes) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b"", "client": ("h", 1)}
    return Request(scope, receive)


def test_the_news_end_with_the_session_and_do_not_renew_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Quiet(Asking):
        async def ask(self, _: Callable[[Client], Any]) -> Any:
            return [], []

    now = [1000.0]
    monkeypatch.setattr("void_server.web.sessions.time.monotonic", lambda: now[0])
    monkeypatch.setattr("void_server.web.events._EVERY", 0.0)
    monkeypatch.setattr("void_server.web.events._ALIVE", 1)
    sessions = Sessions()

    async def listened(ends: Callable[[str], None]) -> int:
        cookie = sessions.begin("ann")
        who = sessions.visitor(cookie, "h")
        assert who
        heard = 0
        async for _ in news(Quiet("tcp://127.0.0.1:1"), lambda _: [], lambda: sessions.stands(who)):
            heard += 1
            assert heard < 5, "it goes on"
            if heard == 2:
                ends(cookie)
        return heard

    assert asyncio.run(listened(sessions.end)) == 2
    # nobody has asked for anything for more than two hours but by this
    assert asyncio.run(listened(lambda _: now.__setitem__(0, now[0] + 2 * 3600 + 1))) == 2


def test_an_open_page_hears_nothing_more_once_somebody_signs_out(running: SignedInPage) -> None:
    ann = signed_in(running, "ann")
    trusted = ssl.create_default_context(cafile=str(running.chain))
    listening = http.client.HTTPSConnection("localhost", running.port, timeout=120, context=trusted)
    listening.request("GET", "/api/events", headers={"cookie": ann.cookie})
    answer = listening.getresponse()
    assert answer.readline().startswith(b"data: ")
    ann.ask("POST", "/sign-out", origin=ann.origin)
    # what was on its way, and no word that it is still here
    rest = [answer.readline() for _ in range(10)]
    listening.close()
    assert rest[-1] == b""
    assert not [line for line in rest if line.startswith(b":")]


def test_names_in_a_certificate_are_those_that_browsers_say(tmp_path: Path) -> None:
    """Whatever case they are written in, and for any machine where the certificate is for many."""

    def hosts(*named: str) -> tuple[str, ...]:
        return _names(Certificate(*certificate(tmp_path, named)))

    def status(known: tuple[str, ...], host: str, origin: str = "") -> int:
        guard = Guard(PlainTextResponse("in"), known, KeyDoor("key", 1))
        sent: list[Any] = []
        scope = {
            "type": "http", "method": "POST" if origin else "GET", "path": "/", "query_string": b"",
            "headers": [(b"host", host.encode()), (b"authorization", b"Bearer key"), (b"origin", origin.encode()),
                        (b"x-void-token", hmac.new(b"key", b"token", "sha256").hexdigest().encode())],
        }  # fmt: skip

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(guard(scope, posted("/", b"").receive, send))
        return int(sent[0]["status"])

    known = hosts("*.Studio.COM", "Page.Studio.com")
    assert known == ("page.studio.com", "*.studio.com")
    for host in ("page.studio.com", "PAGE.studio.com", "gpu01.studio.com"):
        assert status(known, host) == 200, host
    for host in ("a.b.studio.com", "studio.com", ".studio.com", "*.studio.com", "gpu01.studio.com.evil.org", ""):
        assert status(known, host) == 421, host
    assert status(known, "GPU01.studio.com", "http://gpu01.studio.com") == 200
    assert status(known, "gpu01.studio.com", "http://gpu02.studio.com") == 403
    # the address that is printed is one that can be opened
    first, *others = hosts("*.studio.com")
    assert first.endswith(".studio.com")
    assert "*" not in first
    assert others == ["*.studio.com"]
