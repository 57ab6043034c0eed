"""Restrict a client to the one host that is named, and note which machine it has reached.

The options do so for httpx, on which google-genai and openai build; both packages would follow redirects,
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


class Line:
    """The way of one request to ``url``, and to nothing else.

    The environment's proxies count only with ``tunnel`` and https, where a proxy passes on what it cannot read;
    unencrypted traffic could be read and kept there.
    """

    def __init__(self, url: str, *, tunnel: bool) -> None:
        self._url, self._host = url, urlsplit(url).hostname or ""
        self._tunnel = tunnel and urlsplit(url).scheme == "https"
        #: The address and port that it is connected to, a proxy's where there is one; empty where nothing was reached.
        self.reached = ""

    def options(self) -> dict[str, Any]:
        """The options for an httpx client. Redirects are not followed."""
        client_options: dict[str, Any] = {
            "follow_redirects": False,
            "trust_env": self._tunnel,
            "event_hooks": {"request": [self._guard]},
        }
        # without the environment httpx forgets a studio's own certificates, too
        files, folders = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        if files or folders:
            client_options["verify"] = ssl.create_default_context(cafile=files, capath=folders)
        return client_options

    def _guard(self, request: Any) -> None:
        """Look at a request, and at the machine that its connection has reached, before anything is sent."""
        if request.url.raw_host != self._host.encode("idna"):
            raise JobFailed(f"The request for {self._host} would have gone to {request.url.host}.")
        privacy.check_host(self._url)
        request.extensions = {**request.extensions, "trace": self._trace}

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event != _CONNECTED:
            return
        stream = info["return_value"]
        address, port = stream.get_extra_info("server_addr")[:2]
        # by then a name may mean another machine than when it was checked
        if not privacy.is_private(address) and (decision := privacy.forbidding()):
            stream.close()
            raise SettingError(f"{self._host} resolves to {address}. {decision}")
        self.reached = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def redirect(url: str, status: int, headers: Mapping[str, str]) -> str | None:
    """The error text for an answer that redirects, None for any other answer."""
    if not 300 <= status < 400:
        return None
    target = privacy.host(urljoin(url, headers.get("location", ""))) or "nowhere"
    return f"redirects to {target} ({status}); nothing was sent there. Name the address that answers directly"
