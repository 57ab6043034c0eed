"""Who may use the page: those who have its key, from this machine, by the page itself and by no other site."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..api.files import write_atomically

#: The header in which the page's own scripts send the token with everything that changes something.
TOKEN_HEADER = "x-void-token"
_SAFE = ("GET", "HEAD")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self'; "
    "connect-src 'self'; frame-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
#: For the report, which brings its own style and pictures, and may do nothing.
REPORT_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"


def key_of(folder: Path) -> str:
    """The page's key, kept in a file that is nobody else's, so that bookmarks go on working."""
    file = folder / "key"
    if not file.is_file():
        write_atomically(file, secrets.token_urlsafe(24))
        file.chmod(0o600)
    return file.read_text().strip()


class Guard:
    """Lets through to ``app`` what may come in, and sets the headers of every answer.

    ``hosts`` are the names and ports by which the page is known (``127.0.0.1:8090``): under any other name a browser
    was led here by somebody else's DNS. Whoever opens the page with its ``key`` gets a cookie. What changes something
    must come from the page itself: from its origin, with its token.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...], key: str) -> None:
        self._app, self._hosts, self._key = app, hosts, key
        # cookies are shared by all ports of a machine
        self._cookie = f"void_page_{hosts[0].rpartition(':')[2]}"
        self.token = hmac.new(key.encode(), b"token", hashlib.sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the app do so."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            refusal = self._refusal(scope)
            await (refusal or self._app)(scope, receive, self._with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if headers.get("host") not in self._hosts:
            return PlainTextResponse(f"The page is known as {self._hosts[0]}; open it by that name.", 421)
        given = parse_qs(scope["query_string"].decode("latin-1")).get("key", [""])[0]
        if scope["path"] == "/" and given:
            return self._welcomed(given)
        if not self._is_known(headers):
            return PlainTextResponse(
                "Open the page by the address that `void serve --web` or `void web` printed: it has the key in it.", 403
            )
        if scope["method"] not in _SAFE and not self._is_own(headers):
            return PlainTextResponse("This came from another page than VOID's own; load the page again.", 403)
        return None

    def _welcomed(self, given: str) -> Response:
        if not _same(given, self._key):
            return PlainTextResponse("This key is not the page's; open the address that was printed last.", 403)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(self._cookie, self._key, max_age=86400 * 30, httponly=True, samesite="strict")
        return answer

    def _is_known(self, headers: Headers) -> bool:
        # what gathers metrics has no cookies
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return _same(bearer, self._key)
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        return self._cookie in cookies and _same(cookies[self._cookie].value, self._key)

    def _is_own(self, headers: Headers) -> bool:
        return headers.get("origin") == f"http://{headers['host']}" and _same(headers.get(TOKEN_HEADER, ""), self.token)

    @staticmethod
    def _with_headers(send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("content-security-policy", _POLICY)
                headers.setdefault("cache-control", "no-store")
                headers["x-content-type-options"] = "nosniff"
                headers["referrer-policy"] = "no-referrer"
                headers["cross-origin-opener-policy"] = "same-origin"
                headers["cross-origin-resource-policy"] = "same-origin"
            await send(message)

        return sending


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
