"""Google's Gemini, through the package google-genai."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from ...api.errors import JobFailed, SettingError
from ...api.home import home
from ...plugins import how_to_install, installed
from ..analysis import schema
from ..question import Question
from . import Reply, connection, privacy

DEFAULT_MODEL = "gemini-3-pro-preview"
ENVIRONMENT_MODEL, ENVIRONMENT_URL = "VOID_GEMINI_MODEL", "VOID_GEMINI_URL"
KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
_PUBLIC = "https://generativelanguage.googleapis.com"
# Seconds that an answer may take, how often a busy service is asked, and the first pause between, which then doubles.
_PATIENCE, _ATTEMPTS, _FIRST_PAUSE = 300.0, 5, 2.0


@dataclass(frozen=True)
class Gemini:
    """Sees frames and the clip, and answers by a schema."""

    model: str
    secret: str = field(repr=False)
    url: str = _PUBLIC

    boxes = "box_2d"
    in_pixels = False
    takes_clips = True

    @classmethod
    def from_environment(cls, model: str) -> Gemini:
        """As the server is set up. Raises :class:`SettingError` where something is missing, or forbidden."""
        privacy.check_cloud("Gemini")
        if not installed("google.genai"):
            raise SettingError(f"google-genai is not installed where the server runs: {how_to_install('gemini')}")
        secret = privacy.key(KEYS, home() / "gemini.key", "Gemini")
        chosen = model or os.environ.get(ENVIRONMENT_MODEL) or DEFAULT_MODEL
        return cls(chosen, secret, privacy.checked_url(ENVIRONMENT_URL, os.environ.get(ENVIRONMENT_URL) or _PUBLIC))

    @property
    def host(self) -> str:
        """Where the question goes."""
        return privacy.host(self.url)

    def ask(self, question: Question, complaint: str) -> Reply:
        """See :class:`void_server.quadmask.analysts.Analyst`."""
        from google import genai
        from google.genai import errors, types

        # which of the two the package uses depends on its version
        try:
            import httpx2 as httpx
        except ImportError:
            import httpx

        parts: list[Any] = [types.Part.from_text(text=question.words)]
        if question.clip:
            parts.append(types.Part.from_bytes(data=question.clip, mime_type="video/mp4"))
        for frame, picture in question.pictures:
            parts += [
                types.Part.from_text(text=f"frame {frame}:"),
                types.Part.from_bytes(data=picture, mime_type="image/jpeg"),
            ]
        if complaint:
            parts.append(types.Part.from_text(text=complaint))
        options = types.HttpOptions(
            base_url=self.url,
            timeout=round(1000 * _PATIENCE),
            # many studios reach the internet by a proxy only
            client_args=connection.options(self.url, tunnel=True),
            retry_options=types.HttpRetryOptions(
                attempts=_ATTEMPTS, initial_delay=_FIRST_PAUSE, http_status_codes=[408, 429, 500, 502, 503, 504]
            ),
        )
        config = types.GenerateContentConfig(
            response_mime_type="application/json", response_json_schema=schema(self.boxes), temperature=0.0
        )
        try:
            # GOOGLE_GENAI_USE_VERTEXAI would choose another service, with the account of whoever runs the server
            client = genai.Client(vertexai=False, api_key=self.secret, http_options=options)
            answer = client.models.generate_content(model=self.model, contents=parts, config=config)
        except errors.APIError as error:
            elsewhere = connection.redirect(self.url, error.code, getattr(error.response, "headers", {}))
            raise self._failure(elsewhere or f"answered {error.code}: {error.message}") from None
        except (httpx.TimeoutException, TimeoutError):
            raise self._failure(f"gave no answer within {_PATIENCE:g} seconds") from None
        except (httpx.HTTPError, OSError, ValueError, ImportError) as error:
            # ImportError: a SOCKS proxy needs a package of its own
            raise self._failure(f"cannot be reached: {error}") from None
        if not answer.text:
            raise self._failure(f"refused to answer ({_reason(answer)})")
        usage = answer.usage_metadata
        return Reply(
            answer.text,
            (usage and usage.prompt_token_count) or 0,
            (usage and usage.candidates_token_count) or 0,
        )

    def _failure(self, what: str) -> JobFailed:
        # without the error it came from, which may hold the request with its key
        reason = privacy.without(self.secret, what)
        return JobFailed(f"Gemini ({self.model}) {reason}. Resume to ask again, or choose reasoner image or local.")


def _reason(answer: object) -> str:
    feedback = getattr(answer, "prompt_feedback", None)
    if feedback and feedback.block_reason:
        return str(feedback.block_reason.value)
    candidates = getattr(answer, "candidates", None) or []
    reasons = [str(c.finish_reason.value) for c in candidates if c.finish_reason]
    return ", ".join(reasons) or "no text"
