"""What every request to the page must be, whoever sends it: by the page's own name, and by no other site."""

from __future__ import annotations

import hmac
from typing import Protocol

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .visitor import Visitor, visitor

#: The header in which the page's own scripts send the token with everything that changes something.
TOKEN_HEADER = "x-void-token"
#: In a certificate, whatever a name's first part is.
WILD = "*"
_SAFE = ("GET", "HEAD")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self'; "
    "connect-src 'self'; frame-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
#: For the report, which brings its own style and pictures, and may do nothing.
REPORT_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"


class Door(Protocol):
    """Who may come in, and how."""

    scheme: str
    how: str
    """What whoever may not come in is told."""

    async def entrance(self, request: Request) -> Response | None:
        """The answer to whoever wants to come in or leaves, None for any other request."""

    def visitor(self, request: Request) -> Visitor | None:
        """Whom a request comes from, None where they may not come in."""

    def still_in(self, visitor: Visitor) -> bool:
        """Whether somebody who came in has not left since; asking lets nobody stay longer."""


class Guard:
    """Lets through to ``app`` what may come in by its ``door``, and sets the headers of every answer.

    ``hosts`` are the names and ports by which the page is known (``127.0.0.1:8090``), in lower case, with ``*`` for any
    first part of a name: under any other name a browser was led here by somebody else's DNS. What changes something
    must come from the page itself: from its origin, with its visitor's token.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...], door: Door) -> None:
        self._app, self._hosts, self._door = app, hosts, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the app do so."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            answer = await self._answer(Request(scope, receive))
            await (answer or self._app)(scope, receive, self._with_headers(send))

    async def _answer(self, request: Request) -> Response | None:
        """What is answered before the page is asked, None where it is."""
        host = request.headers.get("host", "").lower()
        if not self._is_known(host) or len(request.headers.getlist("host")) > 1:
            return PlainTextResponse(f"The page is known as {self._hosts[0]}; open it by that name.", 421)
        changes = request.method not in _SAFE
        own = request.headers.get("origin", "").lower() == f"{self._door.scheme}://{host}"
        if (not changes or own) and (answer := await self._door.entrance(request)):
            return answer
        found = self._door.visitor(request)
        if found is None:
            return PlainTextResponse(self._door.how, 403)
        if changes and not (own and same(request.headers.get(TOKEN_HEADER, ""), found.token)):
            return PlainTextResponse("This came from another page than VOID's own; load the page again.", 403)
        visitor.set(found)
        return None

    def _is_known(self, host: str) -> bool:
        first, _, rest = host.partition(".")
        return first not in ("", WILD) and (host in self._hosts or f"{WILD}.{rest}" in self._hosts)

    def _with_headers(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("content-security-policy", _POLICY)
                headers.setdefault("cache-control", "no-store")
                headers["x-content-type-options"] = "nosniff"
                headers["referrer-policy"] = "no-referrer"
                headers["cross-origin-opener-policy"] = "same-origin"
                headers["cross-origin-resource-policy"] = "same-origin"
                if self._door.scheme == "https":
                    headers["strict-transport-security"] = "max-age=31536000"
            await send(message)

        return sending


def cookie_of(request: Request, name: str) -> str:
    """A cookie of that name, empty where there is none, or more than one, as another site may have set one."""
    said = [part.partition("=") for part in "; ".join(request.headers.getlist("cookie")).split("; ")]
    values = [value for key, _, value in said if key == name]
    return values[0] if len(values) == 1 else ""


def bearer_of(request: Request) -> str:
    """What gathers metrics, which has no cookies, says in their place."""
    kind, _, said = request.headers.get("authorization", "").partition(" ")
    return said if kind.lower() == "bearer" else ""


def same(one: str, other: str) -> bool:
    """Whether two secrets are the same; that takes as long wherever they differ."""
    return hmac.compare_digest(one.encode(), other.encode())
