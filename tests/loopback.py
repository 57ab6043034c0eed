"""Servers on this machine that speak Gemini's and OpenAI's protocols, strictly, and answer as a test tells them to."""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np

KEY = "AIza-a-very-secret-key"


@dataclass(frozen=True)
class Answer:
    """What to answer with: a model's text, or a status, a body and where to go, or nothing for so many seconds.

    ``raw`` is sent as it is, as a web page; ``reset`` breaks the connection in place of an answer.
    """

    text: str | None = None
    status: int = 200
    body: dict[str, Any] | None = None
    delay: float = 0.0
    location: str = ""
    retry_after: str = ""
    raw: bytes | None = None
    reset: bool = False


@dataclass
class Loopback:
    """A server; ``asked`` holds what it was asked, ``heard`` all requests of any kind, with headers and body."""

    answers: list[Answer]
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def pictures_of(body: dict[str, Any]) -> list[np.ndarray]:
    """The pictures in a request of either protocol, as they arrive."""
    if "contents" in body:
        parts = [part for content in body["contents"] for part in content["parts"]]
        # protobuf's JSON knows both spellings, and the package's versions differ
        blobs = [part["inlineData"] for part in parts if "inlineData" in part]
        data = [blob["data"] for blob in blobs if "image/jpeg" in (blob.get("mimeType"), blob.get("mime_type"))]
    else:
        parts = [part for message in body["messages"] for part in message["content"]]
        data = [p["image_url"]["url"].partition("base64,")[2] for p in parts if p["type"] == "image_url"]
    return [cv2.imdecode(np.frombuffer(_decoded(entry), np.uint8), cv2.IMREAD_COLOR) for entry in data]


def _decoded(text: str) -> bytes:
    # google-genai writes the alphabet that is safe in URLs
    return base64.b64decode(text.replace("-", "+").replace("_", "/"))


def words_of(body: dict[str, Any]) -> str:
    """All the words in a request."""
    if "contents" in body:
        return "\n".join(part["text"] for content in body["contents"] for part in content["parts"] if "text" in part)
    return "\n".join(part["text"] for m in body["messages"] for part in m["content"] if part["type"] == "text")


def _check_gemini(path: str, headers: Any, body: dict[str, Any]) -> str:
    if not path.endswith(":generateContent") or "/models/" not in path:
        return f"path {path}"
    if headers.get("x-goog-api-key") != KEY or KEY in path:
        return "the key belongs into its header"
    config = body.get("generationConfig", {})
    if config.get("responseMimeType") != "application/json" or "responseJsonSchema" not in config:
        return "no schema"
    return "" if pictures_of(body) else "no pictures"


def _check_openai(path: str, headers: Any, body: dict[str, Any]) -> str:
    if path != "/v1/chat/completions":
        return f"path {path}"
    if not headers.get("Authorization", "").startswith("Bearer "):
        return "no authorization"
    if body.get("response_format", {}).get("type") != "json_schema" or not body.get("model"):
        return "no schema or model"
    return "" if pictures_of(body) else "no pictures"


def _gemini(text: str) -> dict[str, Any]:
    return {
        "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": 2100,
            "candidatesTokenCount": 321,
            "thoughtsTokenCount": 1000,
            "totalTokenCount": 3421,
        },
    }


def _openai(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 2100, "completion_tokens": 321, "total_tokens": 2421},
    }


PROTOCOLS = {"gemini": (_check_gemini, _gemini), "local": (_check_openai, _openai)}


@contextmanager
def loopback(protocol: str, *answers: Answer, host: str = "127.0.0.1") -> Iterator[Loopback]:
    """A server that gives the answers in order, the last one again and again."""
    served = Loopback(list(answers))
    check, form = PROTOCOLS[protocol]
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.heard.append(f"{self.requestline}\n{self.headers}")
            self._say(502, {})

        # what a proxy is asked to tunnel to
        do_CONNECT = do_GET  # noqa: N815 -- http.server's name

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            served.heard.append(f"{self.requestline}\n{self.headers}\n{content.decode()}")
            body = json.loads(content)
            if wrong := check(self.path, self.headers, body):
                served.wrong.append(wrong)
                self._say(400, {"error": {"code": 400, "message": wrong, "status": "INVALID_ARGUMENT"}})
                return
            answer = served.answers[min(len(served.asked), len(served.answers) - 1)]
            served.asked.append(body)
            ended.wait(answer.delay)
            if answer.reset:
                # closing with this makes it a reset, not an end
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                return
            headers = {"Location": answer.location, "Retry-After": answer.retry_after}
            self._say(answer.status, answer.body or form(answer.text or ""), headers, answer.raw)

        def _say(
            self,
            status: int,
            body: dict[str, Any],
            headers: Mapping[str, str] = MappingProxyType({}),
            raw: bytes | None = None,
        ) -> None:
            content = json.dumps(body).encode() if raw is None else raw
            try:
                self.send_response(status)
                for name, value in headers.items():
                    if value:
                        self.send_header(name, value)
                self.send_header("Content-Type", "application/json" if raw is None else "text/html")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                pass  # whoever asked has gone

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    served.url = f"http://{host}:{server.server_port}" + ("/v1" if protocol == "local" else "")
    try:
        yield served
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
