"""How people come in: with the page's key on this machine, or with a token of their own as users of the server."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response

from ..api.errors import AccessDenied, ServerBusy, ServerUnreachable, VoidError
from ..api.files import is_plain_name, write_atomically
from . import patience
from .asking import Asking
from .guard import bearer_of, cookie_of, same
from .sessions import LASTING, Attempts, Sessions
from .visitor import Visitor

_STATIC = Path(__file__).with_name("static")
_SIGN_IN, _SIGN_OUT, _METRICS = "/sign-in", "/sign-out", "/metrics"
#: What is shown to those who have not signed in yet.
_OPEN = {
    _SIGN_IN: "sign_in.html", "/static/sign_in.js": "sign_in.js", "/static/style.css": "style.css",
    "/static/icon.svg": "icon.svg",
}  # fmt: skip
#: No token is longer.
_MOST = 4096


def key_of(folder: Path) -> str:
    """The page's key, kept in a file that is nobody else's, so that bookmarks go on working."""
    file = folder / "key"
    if not file.is_file():
        write_atomically(file, secrets.token_urlsafe(24))
        file.chmod(0o600)
    return file.read_text().strip()


class KeyDoor:
    """Whoever opens the page with its ``key`` gets a cookie, and is the one who runs the page."""

    scheme = "http"
    how = "Open the page by the address that `void serve --web` or `void web` printed: it has the key in it."

    def __init__(self, key: str, port: int) -> None:
        self._key = key
        # cookies are shared by all ports of a machine
        self._cookie = f"void_page_{port}"
        self._visitor = Visitor(token=hmac.new(key.encode(), b"token", hashlib.sha256).hexdigest())

    async def entrance(self, request: Request) -> Response | None:
        """The cookie for whoever has the key."""
        given = request.query_params.get("key", "")
        if request.url.path != "/" or not given:
            return None
        if not same(given, self._key):
            return PlainTextResponse("This key is not the page's; open the address that was printed last.", 403)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(self._cookie, self._key, max_age=86400 * 30, httponly=True, samesite="strict")
        return answer

    def visitor(self, request: Request) -> Visitor | None:
        """The one who runs the page, by the cookie or, for what gathers metrics, by the key itself."""
        given = bearer_of(request) or cookie_of(request, self._cookie)
        return self._visitor if same(given, self._key) else None

    def still_in(self, visitor: Visitor) -> bool:
        """Whether it is the one who runs the page, who never leaves."""
        return visitor == self._visitor


class SignInDoor:
    """Users of the server come in with a token that they made with their key. ``key`` is for what gathers metrics."""

    scheme = "https"
    how = "Sign in first."
    # a browser takes a cookie of such a name from this host alone, by TLS, for all of its paths
    _cookie = "__Host-void"

    def __init__(self, asking: Asking, key: str) -> None:
        self._asking, self._key = asking, key
        self._sessions, self._attempts = Sessions(), Attempts()

    async def entrance(self, request: Request) -> Response | None:
        """The page to sign in, its answer, and the way out."""
        path = request.url.path
        if request.method == "POST" and path == _SIGN_IN:
            return await self._sign_in(request)
        if request.method == "POST" and path == _SIGN_OUT:
            return self._sign_out(request)
        if request.method in ("GET", "HEAD") and path in _OPEN:
            return FileResponse(_STATIC / _OPEN[path])
        if path == "/" and self.visitor(request) is None:
            return RedirectResponse(_SIGN_IN, 303)
        return None

    def visitor(self, request: Request) -> Visitor | None:
        """The user whose session the cookie is of."""
        if request.url.path == _METRICS and same(bearer_of(request), self._key):
            return Visitor()
        return self._sessions.visitor(cookie_of(request, self._cookie), _host(request))

    def still_in(self, visitor: Visitor) -> bool:
        """Whether the visitor's session has not ended."""
        return self._sessions.stands(visitor)

    async def _sign_in(self, request: Request) -> Response:
        host = _host(request)
        if self._attempts.too_many(host):
            return _refused("Too many tokens were no good; wait a minute.", 429)
        try:
            user = await self._user(await _token(request), host)
        except (ServerUnreachable, ServerBusy) as error:
            return _refused(str(error), 502)
        except VoidError as error:
            self._attempts.note(host)
            return _refused(str(error), 403 if isinstance(error, AccessDenied) else 502)
        # whatever session the browser had before is not this one
        self._sessions.end(cookie_of(request, self._cookie))
        answer = JSONResponse({"user": user})
        self._set(answer, self._sessions.begin(user), int(LASTING))
        return answer

    async def _user(self, token: str, host: str) -> str:
        user = await self._asking.ask(lambda client: client.sign_in(token, host))
        if not is_plain_name(user):
            # folders are called by it
            raise AccessDenied("The server has no such user; ask whoever runs it.")
        return user

    def _sign_out(self, request: Request) -> Response:
        self._sessions.end(cookie_of(request, self._cookie))
        answer = Response(status_code=204)
        self._set(answer, "", 0)
        return answer

    def _set(self, answer: Response, cookie: str, seconds: int) -> None:
        answer.set_cookie(self._cookie, cookie, max_age=seconds, httponly=True, secure=True, samesite="strict")


def _refused(why: str, status: int) -> Response:
    return JSONResponse({"error": why}, status)


def _host(request: Request) -> str:
    return request.client.host if request.client else "unknown"


async def _token(request: Request) -> str:
    """The token that somebody shows. Raises :class:`AccessDenied` for what holds none, or comes too slowly."""
    try:
        body = await asyncio.wait_for(_begun(request), patience.SECONDS)
        return str(json.loads(body)["token"])
    except asyncio.TimeoutError:
        raise AccessDenied(f"No token has come for {patience.SECONDS:g} s; try again.") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise AccessDenied("There is no token in this; make one with `void token`.") from None


async def _begun(request: Request) -> bytes:
    """The body of a request, or what is longer than any token of it."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST:
            break
    return bytes(body)
