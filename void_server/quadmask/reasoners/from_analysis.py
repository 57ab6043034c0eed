"""The reasoners that follow an analysis: a file, or the answer of a language model."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...api.errors import JobFailed, SettingError
from ...api.files import open_regular, write_atomically
from ...api.settings import Declared, setting
from ...api.shot import Settings, Shot
from . import Reasoner, Report

if TYPE_CHECKING:
    from ...imaging.footage import Footage
    from ..analysis import Analysis
    from ..reasoning import Reasoning

#: The number of attempts before a malformed answer fails the job.
_ANSWERS = 2
# In bytes; a longer answer is truncated, and refused for that.
_LARGEST_ANALYSIS = 1 << 24


class FromAnalysis(Reasoner):
    """Finds in the pixels what an analysis names."""

    segments = True

    @abstractmethod
    def analysis(self, shot: Shot, footage: Footage, scratch: Path, reasoning: Reasoning, report: Report) -> Analysis:
        """The analysis; what was sent and answered for it is noted in ``reasoning``.

        ``report`` is called while it waits, and with what it sends before that leaves.
        """

    def reason(self, shot: Shot, footage: Footage, scratch: Path, report: Report) -> Reasoning:
        """See :class:`Reasoner`."""
        from .. import image_reasoner, regions, segmentation
        from ..reasoning import Reasoning
        from ..segmentation import names

        reasoning = Reasoning()
        # first, as it is what may fail
        analysis = self.analysis(shot, footage, scratch, reasoning, report)
        report(0.2)
        evidence = image_reasoner.reason(footage, scratch, lambda share: report(0.2 + 0.4 * share))
        segmenter = segmentation.choose(shot.settings.segmenter, shot.settings.device)
        unplaced = [thing for thing in analysis.everything() if thing.is_only_named]
        finder = names.Finder(shot.settings.device) if unplaced and not names.missing() else None
        found, lost = regions.find(
            analysis, footage, evidence.affected, segmenter, finder, scratch, lambda share: report(0.6 + 0.4 * share)
        )
        reasoning.regions, reasoning.scene, reasoning.device = found, analysis.scene, segmenter.device
        if segmenter.warning and any(segmenter.name in region.rule for region in found):
            reasoning.warnings.append(segmenter.warning)
        if lost:
            why = "SAM 3 found none of that name near the object" if finder else names.missing()
            reasoning.warnings.append(
                f"The analysis names {', '.join(lost)} without saying where, and {why}: mark it yourself, with cells "
                "or by painting the quadmask."
            )
        if not found:
            reasoning.warnings.append(
                "The analysis names nothing that the removal would change; check that this is right."
            )
        return reasoning


class File(FromAnalysis):
    """Reads an analysis that was made elsewhere."""

    reads_analysis = True
    cloud = False

    def check_shot(self, shot: Shot) -> None:
        """See :class:`Reasoner`."""
        from ..segmentation import names

        things = self._read(shot).everything()
        if things and all(thing.is_only_named for thing in things) and (wrong := names.missing()):
            raise SettingError(
                f"The analysis {shot.analysis} says of nothing where it is, only what it is called, and {wrong}; or "
                "give it cells or boxes."
            )

    def analysis(self, shot: Shot, footage: Footage, scratch: Path, reasoning: Reasoning, report: Report) -> Analysis:
        """See :class:`FromAnalysis`."""
        del footage, scratch, reasoning, report
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
    """Which language model to ask."""

    reasoner_model: str = setting("", "The language model to ask; by default the server's.", label="language model")


class LanguageModel(FromAnalysis):
    """Shows the shot to a vision-language model."""

    settings = ModelSettings
    #: Of :mod:`void_server.quadmask.analysts`.
    analyst: ClassVar[str]

    def check(self, settings: Settings) -> str:
        """See :class:`Reasoner`."""
        from .. import analysts

        analyst = analysts.choose(self.analyst, settings.of_reasoner(ModelSettings).reasoner_model)
        return f"{analyst.model} at {analyst.host}; not contacted"

    def analysis(self, shot: Shot, footage: Footage, scratch: Path, reasoning: Reasoning, report: Report) -> Analysis:
        """See :class:`FromAnalysis`; a resumed job reuses the answer it has."""
        from ..analysis import Analysis

        file = scratch / "analysis.json"
        data = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"asked": []}
        reasoning.asked = data["asked"]
        if "analysis" in data:
            reasoning.answer, reasoning.warnings = data["answer"], data["warnings"]
            return Analysis.model_validate(data["analysis"])

        def keep(analysis: Analysis | None = None) -> None:
            kept: dict[str, Any] = {"asked": reasoning.asked}
            if analysis:
                kept |= {"answer": reasoning.answer, "warnings": reasoning.warnings, "analysis": analysis.model_dump()}
            write_atomically(file, json.dumps(kept))

        analysis = self._ask(shot, footage, reasoning, keep, report)
        keep(analysis)
        return analysis

    def _ask(
        self,
        shot: Shot,
        footage: Footage,
        reasoning: Reasoning,
        keep: Callable[[], None],
        report: Report,
    ) -> Analysis:
        from .. import analysts, question
        from ..analysis import read_answer
        from ..analysts.asking import Conversation
        from ..proximity import reachable

        analyst = analysts.choose(self.analyst, shot.settings.of_reasoner(ModelSettings).reasoner_model)
        query = question.build(footage, shot.prompt, with_clip=analyst.takes_clips)
        conversation = Conversation(analyst, query, reasoning.asked, keep, report)
        complaint = ""
        for _ in range(_ANSWERS):
            reasoning.answer = conversation.ask(complaint).text
            try:
                analysis, notes = read_answer(
                    reasoning.answer, analyst.boxes, query.frames, query.size, in_pixels=analyst.in_pixels
                )
            except SettingError as error:
                complaint = f"Your last answer could not be used: {error}. Answer again, with JSON of the schema alone."
                wrong = str(error)
                continue
            analysis, left_out = reachable(analysis, footage)
            notes += left_out
            if notes:
                reasoning.warnings.append(f"The model's answer was corrected: {'; '.join(notes)}.")
            return analysis
        raise JobFailed(
            f"{analyst.model} gave no usable answer in {_ANSWERS} attempts: {wrong}. Resume to ask again, or "
            "choose another model or reasoner.",
            reasoning.answer,
        )


class Gemini(LanguageModel):
    """Asks Google's Gemini, which is shown the shot."""

    analyst = "gemini"


class Local(LanguageModel):
    """Asks a vision-language model of your own."""

    # its line keeps to the network that the studio names
    cloud = False
    analyst = "local"
