"""The reasoners that go by an analysis: a file, or the answer of a language model."""

from __future__ import annotations

import json
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ...api.errors import JobFailed, SettingError
from ...api.files import open_regular, write_atomically
from ...api.settings import Declared, setting
from ...api.shot import Settings, Shot
from . import Reasoner

if TYPE_CHECKING:
    from ...imaging.footage import Footage
    from ..analysis import Analysis
    from ..reasoning import Reasoning

#: How often a model may answer before a malformed answer is the end of it.
_ANSWERS = 2
# In bytes; what is longer ends in the middle, and is refused for that.
_LARGEST_ANALYSIS = 1 << 24


class Told(Reasoner):
    """Finds in the pixels what an analysis names."""

    segments = True

    @abstractmethod
    def analysis(self, shot: Shot, footage: Footage, scratch: Path, told: Reasoning) -> Analysis:
        """The analysis; how it came about goes into ``told``."""

    def reason(self, shot: Shot, footage: Footage, scratch: Path, report: Callable[[float], None]) -> Reasoning:
        """See :class:`Reasoner`."""
        from .. import image_reasoner, regions, segmentation
        from ..reasoning import Reasoning

        told = Reasoning()
        # first, as it is what may fail
        analysis = self.analysis(shot, footage, scratch, told)
        report(0.2)
        seen = image_reasoner.reason(footage, scratch, lambda share: report(0.2 + 0.4 * share))
        segmenter = segmentation.choose(shot.settings.segmenter, shot.settings.device)
        found = regions.find(
            analysis, footage, seen.affected, segmenter, scratch, lambda share: report(0.6 + 0.4 * share)
        )
        told.regions, told.scene = found, analysis.scene
        if segmenter.warning and any(segmenter.name in region.rule for region in found):
            told.warnings.append(segmenter.warning)
        if not found:
            told.warnings.append("The analysis names nothing that the removal would change; look whether that is so.")
        return told


class File(Told):
    """Takes an analysis that was made elsewhere."""

    reads_analysis = True

    def check_shot(self, shot: Shot) -> None:
        """See :class:`Reasoner`."""
        self._read(shot)

    def analysis(self, shot: Shot, footage: Footage, scratch: Path, told: Reasoning) -> Analysis:
        """See :class:`Told`."""
        del footage, scratch, told
        return self._read(shot)

    def _read(self, shot: Shot) -> Analysis:
        from ..analysis import read_file

        assert shot.analysis, "checked at submission"
        path = Path(shot.analysis)
        try:
            with open_regular(path) as file:
                return read_file(file.read(_LARGEST_ANALYSIS).decode("utf-8"), path.name)
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"The analysis {path} cannot be read ({error}); name a JSON file.") from error


@dataclass(frozen=True)
class ModelSettings(Declared):
    """How a language model is asked."""

    reasoner_model: str = setting("", "The language model to ask; the server's own if not given.")


class LanguageModel(Told):
    """Asks a vision-language model, which is shown the shot."""

    settings = ModelSettings
    #: Of :mod:`void_server.quadmask.analysts`.
    analyst: ClassVar[str]

    def check(self, settings: Settings) -> str:
        """See :class:`Reasoner`."""
        from .. import analysts

        analyst = analysts.choose(self.analyst, settings.of_reasoner(ModelSettings).reasoner_model)
        return f"{analyst.model} at {analyst.host}; not asked now"

    def analysis(self, shot: Shot, footage: Footage, scratch: Path, told: Reasoning) -> Analysis:
        """See :class:`Told`; a job that is resumed goes on with the answer that it has."""
        from ..analysis import Analysis

        kept = scratch / "analysis.json"
        if kept.is_file():
            data = json.loads(kept.read_text(encoding="utf-8"))
            told.asked, told.answer, told.warnings = data["asked"], data["answer"], data["warnings"]
            return Analysis.model_validate(data["analysis"])
        analysis = self._ask(shot, footage, told)
        data = {
            "asked": told.asked,
            "answer": told.answer,
            "warnings": told.warnings,
            "analysis": analysis.model_dump(),
        }
        write_atomically(kept, json.dumps(data))
        return analysis

    def _ask(self, shot: Shot, footage: Footage, told: Reasoning) -> Analysis:
        from .. import analysts, question
        from ..analysis import read_answer

        analyst = analysts.choose(self.analyst, shot.settings.of_reasoner(ModelSettings).reasoner_model)
        asked = question.build(footage, shot.prompt, with_clip=analyst.takes_clips)
        complaint = ""
        for _ in range(_ANSWERS):
            begin = time.monotonic()
            reply = analyst.ask(asked, complaint)
            told.asked.append(
                {
                    "to": analyst.host,
                    "model": analyst.model,
                    "what": asked.contents,
                    "seconds": round(time.monotonic() - begin, 1),
                    "tokens_in": reply.tokens_in,
                    "tokens_out": reply.tokens_out,
                }
            )
            told.answer = reply.text
            try:
                analysis, notes = read_answer(
                    reply.text, analyst.boxes, asked.frames, asked.size if analyst.in_pixels else None
                )
            except SettingError as error:
                complaint = f"Your last answer could not be used: {error}. Answer again, with JSON of the schema alone."
                wrong = str(error)
                continue
            if notes:
                told.warnings.append(f"The model's answer had to be put right: {'; '.join(notes)}.")
            return analysis
        raise JobFailed(
            f"{analyst.model} gave no answer that can be used, {_ANSWERS} times: {wrong}. Resume to ask again, or take "
            "another model or reasoner.",
            told.answer,
        )


class Gemini(LanguageModel):
    """Asks Google's Gemini."""

    analyst = "gemini"


class Local(LanguageModel):
    """Asks a vision-language model of your own."""

    analyst = "local"
