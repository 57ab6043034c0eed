"""A model on the studio's network: any endpoint that speaks OpenAI's protocol, such as vLLM, llama.cpp or Ollama."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, field
from typing import Any

from ...api.errors import SettingError, VoidError
from ...api.home import home
from ...plugins import how_to_install, installed
from ..analysis import schema
from ..question import Question
from . import BUSY, Reply, Unanswered, advice, connection, privacy, seconds_in

ENVIRONMENT_URL, ENVIRONMENT_MODEL, ENVIRONMENT_BOXES = "VOID_LOCAL_URL", "VOID_LOCAL_MODEL", "VOID_LOCAL_BOXES"
KEY = "VOID_LOCAL_KEY"
#: The units of a model's boxes: thousandths of the frame, as Qwen3-VL and GLM-V give them, or pixels, as
#: Qwen2.5-VL does.
RELATIVE, ABSOLUTE = "relative", "absolute"
# Seconds that an answer may take.
_PATIENCE = 600.0


@dataclass(frozen=True)
class Local:
    """Sees frames, and answers by a schema where the server can hold a model to one."""

    model: str
    url: str
    in_pixels: bool = False
    secret: str = field(default="none", repr=False)

    boxes = "bbox_2d"
    takes_clips = False

    @classmethod
    def from_environment(cls, model: str) -> Local:
        """As the server is set up. Raises :class:`SettingError` where something is missing, or forbidden."""
        url = os.environ.get(ENVIRONMENT_URL, "")
        if not url:
            raise SettingError(
                f"No local model is configured: set {ENVIRONMENT_URL} where the server runs, such as "
                f"http://localhost:8000/v1, and {ENVIRONMENT_MODEL}."
            )
        privacy.checked_url(ENVIRONMENT_URL, url)
        if not privacy.in_house(url):
            privacy.check_cloud(privacy.host(url))
        if not installed("openai"):
            raise SettingError(f"The package openai is not installed where the server runs: {how_to_install('local')}")
        chosen = model or os.environ.get(ENVIRONMENT_MODEL, "")
        if not chosen:
            raise SettingError(
                f"No model is named for {privacy.host(url)}: set {ENVIRONMENT_MODEL}, or give --reasoner-model."
            )
        boxes = os.environ.get(ENVIRONMENT_BOXES, RELATIVE)
        if boxes not in (RELATIVE, ABSOLUTE):
            raise SettingError(f"{ENVIRONMENT_BOXES} is {boxes!r}; use {RELATIVE} or {ABSOLUTE}.")
        file = home() / "local.key"
        secret = privacy.key((KEY,), file, privacy.host(url)) if KEY in os.environ or file.is_file() else "none"
        return cls(chosen, url, boxes == ABSOLUTE, secret)

    @property
    def host(self) -> str:
        """Where the question goes."""
        return privacy.host(self.url)

    def line(self) -> connection.Line:
        """See :class:`void_server.quadmask.analysts.Analyst`; a proxy may be outside the house, and none is needed."""
        return connection.Line(self.url, tunnel=False)

    def ask(self, question: Question, complaint: str, line: connection.Line, seconds: float) -> Reply:
        """See :class:`void_server.quadmask.analysts.Analyst`."""
        import openai

        width, height = question.size
        scale = f"pixels of the pictures, which are {width} x {height}" if self.in_pixels else "thousandths, 0 to 1000"
        content: list[dict[str, Any]] = [{"type": "text", "text": f"{question.words}\nBoxes are in {scale}."}]
        for frame, picture in question.pictures:
            encoded = base64.b64encode(picture).decode()
            content += [
                {"type": "text", "text": f"frame {frame}:"},
                {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{encoded}"}},
            ]
        if complaint:
            content.append({"type": "text", "text": complaint})
        messages: Any = [{"role": "user", "content": content}]
        form: Any = {
            "type": "json_schema",
            "json_schema": {"name": "analysis", "schema": schema(self.boxes), "strict": True},
        }
        patience = min(_PATIENCE, seconds)
        client = openai.OpenAI(
            base_url=self.url,
            api_key=self.secret,
            timeout=patience,
            max_retries=0,
            http_client=openai.DefaultHttpxClient(**line.options()),
        )
        try:
            answer = client.chat.completions.create(
                model=self.model, messages=messages, response_format=form, temperature=0.0
            )
        except openai.APITimeoutError:
            raise self._failure(f"gave no answer within {patience:g} seconds") from None
        except openai.APIStatusError as error:
            elsewhere = connection.redirect(self.url, error.status_code, error.response.headers)
            what = elsewhere or f"answered {error.status_code}: {error.message}"
            hint = "" if elsewhere else advice(error.status_code, KEY, ENVIRONMENT_MODEL)
            pause = seconds_in(error.response.headers.get("retry-after"))
            raise self._failure(what, hint, again=error.status_code in BUSY, pause=pause) from None
        except openai.APIError as error:
            if isinstance(error.__cause__, VoidError):
                raise error.__cause__ from None
            # what broke after it was connected may work the next time
            raise self._failure(f"cannot be reached: {error}", again=bool(line.reached)) from None
        except json.JSONDecodeError:
            raise self._failure("answered with something other than JSON, as a proxy or a login page does") from None
        finally:
            client.close()
        if not isinstance(answer, openai.types.chat.ChatCompletion):
            # the package hands on what does not say that it is JSON
            raise self._failure("answered with something other than JSON, as a proxy or a login page does")
        reply = answer.choices[0].message if answer.choices else None
        if reply is None or not reply.content:
            raise self._failure(f"refused to answer ({(reply and reply.refusal) or 'no text'})")
        usage = answer.usage
        return Reply(reply.content, usage.prompt_tokens if usage else 0, usage.completion_tokens if usage else 0)

    def _failure(self, what: str, hint: str = "", *, again: bool = False, pause: float | None = None) -> Unanswered:
        reason = privacy.without(self.secret if self.secret != "none" else "", what).rstrip(".")
        hint = hint or "Resume to ask again, or choose reasoner image."
        return Unanswered(f"{self.model} at {self.host} {reason}. {hint}", again=again, pause=pause)
