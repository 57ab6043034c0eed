"""Google's Gemini, through the package google-genai."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any

from ...api.errors import SettingError
from ...api.home import home
from ...plugins import how_to_install, installed
from ..analysis import schema
from ..question import CLIP_RATE, Question
from . import BUSY, Reply, Unanswered, advice, connection, privacy, seconds_in

DEFAULT_MODEL = "gemini-3.1-pro-preview"
ENVIRONMENT_MODEL, ENVIRONMENT_URL = "VOID_GEMINI_MODEL", "VOID_GEMINI_URL"
KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
_PUBLIC = "https://generativelanguage.googleapis.com"
# The version of the interface that has answers by a JSON schema.
_INTERFACE = "v1beta"
# Seconds that an answer may take; tokens that it may have, with those for thinking.
_PATIENCE, _MOST_TOKENS = 300.0, 32768
# Older ones answer most reliably at temperature 0; from 3 on Google advises 1, as lower ones make them loop.
_OLDER = re.compile(r"(models/)?gemini-[12]\b")


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

    def line(self) -> connection.Line:
        """See :class:`void_server.quadmask.analysts.Analyst`; many studios reach the internet by a proxy only."""
        return connection.Line(self.url, tunnel=True)

    def ask(self, question: Question, complaint: str, line: connection.Line, seconds: float) -> Reply:
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
            clip = types.Blob(data=question.clip.data, mime_type="video/mp4")
            # without a rate it looks at one frame a second
            parts.append(types.Part(inline_data=clip, video_metadata=types.VideoMetadata(fps=CLIP_RATE)))
        for frame, picture in question.pictures:
            parts += [
                types.Part.from_text(text=f"frame {frame}:"),
                types.Part.from_bytes(data=picture, mime_type="image/jpeg"),
            ]
        if complaint:
            parts.append(types.Part.from_text(text=complaint))
        patience = min(_PATIENCE, seconds)
        options = types.HttpOptions(
            base_url=self.url,
            api_version=_INTERFACE,
            timeout=round(1000 * patience),
            client_args=line.options(),
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        config = types.GenerateContentConfig(
            response_mime_type="application/json",
            response_json_schema=schema(self.boxes),
            temperature=0.0 if _OLDER.match(self.model) else 1.0,
            max_output_tokens=_MOST_TOKENS,
        )
        try:
            # GOOGLE_GENAI_USE_VERTEXAI would choose another service, with the account of whoever runs the server
            client = genai.Client(vertexai=False, api_key=self.secret, http_options=options)
            answer = client.models.generate_content(model=self.model, contents=parts, config=config)
        except errors.APIError as error:
            headers = getattr(error.response, "headers", {})
            elsewhere = connection.redirect(self.url, error.code, headers)
            what = elsewhere or f"answered {error.code}: {error.message}"
            hint = "" if elsewhere else advice(error.code, KEYS[0], ENVIRONMENT_MODEL)
            pause = seconds_in(headers.get("retry-after"))
            raise self._failure(what, hint, again=error.code in BUSY, pause=pause) from None
        except (httpx.TimeoutException, TimeoutError):
            raise self._failure(f"gave no answer within {patience:g} seconds") from None
        except httpx.TransportError as error:
            # what broke after it was connected may work the next time
            raise self._failure(f"cannot be reached: {error}", again=bool(line.reached)) from None
        except json.JSONDecodeError:
            raise self._failure("answered with something other than JSON, as a proxy or a login page does") from None
        except RecursionError:
            # the package reads the answer's JSON by itself
            raise self._failure("gave an answer that is nested too deeply") from None
        except (httpx.HTTPError, OSError, ValueError, ImportError) as error:
            # ImportError: a SOCKS proxy needs a package of its own
            raise self._failure(f"cannot be reached: {error}") from None
        if not answer.text:
            raise self._failure(f"refused to answer ({_reason(answer)})")
        usage = answer.usage_metadata
        counts = (usage.candidates_token_count, usage.thoughts_token_count) if usage else ()
        return Reply(answer.text, (usage and usage.prompt_token_count) or 0, sum(count or 0 for count in counts))

    def _failure(self, what: str, hint: str = "", *, again: bool = False, pause: float | None = None) -> Unanswered:
        # without the error it came from, which may hold the request with its key
        reason = privacy.without(self.secret, what).rstrip(".")
        hint = hint or "Resume to ask again, or choose reasoner image or local."
        return Unanswered(f"Gemini ({self.model}) {reason}. {hint}", again=again, pause=pause)


def _reason(answer: object) -> str:
    feedback = getattr(answer, "prompt_feedback", None)
    if feedback and feedback.block_reason:
        return str(feedback.block_reason.value)
    candidates = getattr(answer, "candidates", None) or []
    reasons = [str(c.finish_reason.value) for c in candidates if c.finish_reason]
    return ", ".join(reasons) or "no text"
