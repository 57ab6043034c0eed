"""A version folder: where everything lies that a job reads again, writes, or shows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable

from .files import is_written, write_atomically
from .job import MANIFEST

PLATE, PATCH, MATTES, QUADMASK, ROTO = "plate", "patch", "mattes", "quadmask", "roto"
#: What the removal writes of each frame.
REMOVAL = (MATTES, PATCH, PLATE)
REASONING = "reasoning.json"
#: Variables that say which movie each version has in its report, and at how many frames a second.
PREVIEW_MOVIE, PREVIEW_FPS = "VOID_PREVIEW_MOVIE", "VOID_PREVIEW_FPS"
#: The file that is there once every frame was looked at.
SURVEY = "survey.json"
_INTERMEDIATE, _REPORT, _APPROVALS, _PUBLISHED = ".work", "report", "approvals", "publish"
_LATER = (_APPROVALS, _PUBLISHED)
#: What a farm keeps in the folder beside the version.
_OF_OTHERS = (
    *("farm.json", "farm_submitted.json", "script.nk", "log.txt"),
    *("logs", "slurm", "openjd", "deadline", "opencue.xml"),
)


def pattern(sequence: str) -> str:
    """A sequence in a version folder, with ``%04d`` for the frame: PLATE, PATCH, MATTES, QUADMASK or ROTO."""
    return f"{sequence}/void_{sequence}.%04d.exr"


@dataclass(frozen=True)
class VersionFolder:
    """The files of one version of a shot's result, in ``folder``."""

    folder: Path

    def frame(self, sequence: str, frame: int) -> Path:
        """A frame of PLATE, PATCH, MATTES, QUADMASK or ROTO."""
        return self.folder / (pattern(sequence) % frame)

    def plate(self, frame: int) -> Path:
        """The counterfactual plate."""
        return self.frame(PLATE, frame)

    def patch(self, frame: int) -> Path:
        """The new pixels, multiplied by the blend, and the blend as alpha, cropped: over the plate it is the result."""
        return self.frame(PATCH, frame)

    def mattes(self, frame: int) -> Path:
        """The mattes of the four classes, and the blend."""
        return self.frame(MATTES, frame)

    def quadmask(self, frame: int) -> Path:
        """The quadmask, as code/255."""
        return self.frame(QUADMASK, frame)

    def roto(self, frame: int) -> Path:
        """The roto, where the job made it."""
        return self.frame(ROTO, frame)

    def missing(self, frames: Iterable[int], *sequences: str) -> list[int]:
        """The frames of which one of these sequences has no file, or an empty one."""
        return [n for n in frames if not all(is_written(self.frame(sequence, n)) for sequence in sequences)]

    @property
    def manifest(self) -> Path:
        """What was asked and done; written last."""
        return self.folder / MANIFEST

    @property
    def provenance(self) -> Path:
        """The SHA-256 of all that the version was made from, and of all that is in it."""
        return self.folder / "provenance.json"

    @property
    def signature(self) -> Path:
        """Who vouches for the manifest, and by it for the provenance."""
        return self.folder / "signature.json"

    @property
    def disclosure(self) -> Path:
        """With what each frame was made, for whoever must be told."""
        return self.folder / "disclosure.json"

    def approval(self, name: str) -> Path:
        """The signature of the one who approved the version under that name."""
        return self.folder / _APPROVALS / f"{name}.json"

    @property
    def publication(self) -> Path:
        """What is handed on of the version, once it is."""
        return self.folder / "publish.json"

    @property
    def published(self) -> Path:
        """The pictures and movies that are handed on."""
        return self.folder / _PUBLISHED

    @property
    def submission(self) -> Path:
        """Who had the job done."""
        return self.intermediate / "submission.json"

    def note_submitter(self, who: str) -> None:
        """Keep who had the job done. Raises OSError."""
        write_atomically(self.submission, json.dumps({"who": who}), parents=True)

    def submitter(self) -> str:
        """Who had the job done; empty where nobody has noted it."""
        return str(json.loads(self.submission.read_text(encoding="utf-8"))["who"]) if self.submission.is_file() else ""

    def results(self) -> list[Path]:
        """All that the job has made in the folder so far, but what says so; in order."""
        own = {
            MANIFEST,
            *(file.name for file in (self.provenance, self.signature, self.publication)),
            *_LATER,
            *_OF_OTHERS,
        }
        found = []
        for path in sorted(self.folder.rglob("*")):
            names = path.relative_to(self.folder).parts
            hidden = any(name.startswith(".") for name in names)
            if not hidden and names[0] not in own and path.is_file():
                found.append(path)
        return found

    @property
    def title(self) -> str:
        """The folder above and the version, as people name it: sh010 v003."""
        folder = self.folder.absolute()
        return f"{folder.parent.name} {folder.name}"

    def preview(self, suffix: str) -> Path:
        """The movie in the report, where the studio wants one."""
        return self.folder / _REPORT / f"before_after{suffix}"

    @property
    def contact_sheet(self) -> Path:
        """The pictures to judge the result by."""
        return self.folder / _REPORT / "contact_sheet.png"

    @property
    def report(self) -> Path:
        """The page with the contact sheet, shares, settings and warnings."""
        return self.folder / _REPORT / "report.html"

    @property
    def reasoning_file(self) -> Path:
        """Why each region is in the quadmask."""
        return self.folder / REASONING

    def reasoning(self) -> dict[str, Any]:
        """What the reasoner found, empty where none was asked."""
        return dict(json.loads(self.reasoning_file.read_text())) if self.reasoning_file.is_file() else {}

    @property
    def intermediate(self) -> Path:
        """What only the job itself needs; it goes when the job is done."""
        return self.folder / _INTERMEDIATE

    @property
    def survey(self) -> Path:
        """What is there once the shot was looked at."""
        return self.intermediate / SURVEY

    @property
    def headers(self) -> Path:
        """What the headers of the shot's files say, for whoever goes on with the job."""
        return self.intermediate / "headers.json"

    def class_shares(self, frame: int) -> Path:
        """The share of a frame that each class of its quadmask covers, by name."""
        return self.intermediate / f"classes_{frame}.json"

    @property
    def segmenter_device(self) -> Path:
        """The GPU on which the roto was made, as text; empty for the CPU."""
        return self.intermediate / "segmenter_device.txt"

    def warnings(self, part: str) -> Path:
        """What a part of the job, done by itself, warns of."""
        return self.intermediate / f"warnings_{part}.json"
