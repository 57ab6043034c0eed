"""Restrict a client to the one host that is named.

These options do so for httpx, on which google-genai and openai build; both packages would follow redirects,
with the pictures and, to some hosts, with the key. httpx's documentation describes ``event_hooks`` and the extension
``trace``, which hears of a connection before anything is sent over it.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from ...api.errors import JobFailed, SettingError
from . import privacy

_CONNECTED = "connection.connect_tcp.complete"


def options(url: str, *, tunnel: bool) -> dict[str, Any]:
    """The options for an httpx client that reaches ``url`` and nothing else.

    Redirects are not followed. The environment's proxies count only with ``tunnel`` and https, where a proxy passes on
    what it cannot read; unencrypted traffic could be read and kept there.
    """
    client_options: dict[str, Any] = {
        "follow_redirects": False,
        "trust_env": tunnel and urlsplit(url).scheme == "https",
        "event_hooks": {"request": [_Guard(url)]},
    }
    # without the environment httpx forgets a studio's own certificates, too
    files, folders = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if files or folders:
        client_options["verify"] = ssl.create_default_context(cafile=files, capath=folders)
    return client_options


def redirect(url: str, status: int, headers: Mapping[str, str]) -> str | None:
    """The error text for an answer that redirects, None for any other answer."""
    if not 300 <= status < 400:
        return None
    target = privacy.host(urljoin(url, headers.get("location", ""))) or "nowhere"
    return f"redirects to {target} ({status}); nothing was sent there. Name the address that answers directly"


class _Guard:
    """Looks at every request, and at the machine that a connection has reached, before anything is sent."""

    def __init__(self, url: str) -> None:
        self._host = urlsplit(url).hostname or ""

    def __call__(self, request: Any) -> None:
        if request.url.raw_host != self._host.encode("idna"):
            raise JobFailed(f"The request for {self._host} would have gone to {request.url.host}.")
        request.extensions = {**request.extensions, "trace": self._trace}

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        # by then a name may mean another machine than when it was checked
        if event != _CONNECTED or not privacy.is_forbidden():
            return
        stream = info["return_value"]
        address = stream.get_extra_info("server_addr")[0]
        if privacy.is_private(address):
            return
        stream.close()
        raise SettingError(f"{self._host} resolves to {address}. {privacy.FORBIDDING}")
