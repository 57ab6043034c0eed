"""A pair's folder: where a shot with an object, the same shot without it, and what tells them apart lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..api.errors import SequenceError
from ..imaging import sequence

PLATE, TRUTH, ROTO, CHANGE = "plate", "truth", "roto", "change"
#: By VOID's own rule, and one that also counts shadows and reflections of the removed object.
QUADMASK, EFFECTS = "quadmask", "effects"
#: The quadmask with what is affected in whole cells, as the published training data has it.
GRID = "grid"
_FACTS = "meta.json"

Facts = TypeVar("Facts", bound=BaseModel)


class PairFacts(BaseModel):
    """What is known of a pair, from its meta.json; a generator may write more than is named here."""

    model_config = ConfigDict(extra="allow", frozen=True)

    fps: float = Field(default=24, gt=0, allow_inf_nan=False)
    #: The scene after the removal, as the model's prompt.
    prompt: str = ""
    description: str = ""
    removed: str = ""
    expected: str = ""
    camera: str = ""
    effects: tuple[str, ...] = ()
    colour: str = "scene-linear Rec.709"


@dataclass(frozen=True)
class PairFolder:
    """The files of one pair: EXR sequences ``NAME/NAME.%04d.exr`` and the facts.

    | sequence | what |
    |---|---|
    | plate | RGB, scene-linear half, as filmed |
    | truth | RGB, as it would be without the object; a single file where it is the same in every frame |
    | roto | channel A, the matte of what is removed |
    | change | one channel, 1 where plate and truth differ outside the object |
    | quadmask | one channel, code / 255: affected is what moves otherwise |
    | grid | one channel, code / 255: the quadmask with what is affected in whole cells |
    | effects | one channel, code / 255: affected is also what the object's shadow or reflection changes |
    """

    folder: Path

    @property
    def name(self) -> str:
        """What tables and pages call the pair."""
        return self.folder.name

    @property
    def facts_file(self) -> Path:
        """Written last: a folder without it is not finished."""
        return self.folder / _FACTS

    def frame(self, name: str, frame: int) -> Path:
        """A frame of one of the sequences."""
        return self.folder / name / f"{name}.{frame:04d}.exr"

    def has(self, name: str) -> bool:
        """Whether the pair has this sequence."""
        return (self.folder / name).is_dir()

    def sequence(self, name: str) -> sequence.Sequence:
        """One of the sequences. Raises :class:`SequenceError` where there is none."""
        return sequence.find(str(self.folder / name), name)

    def facts(self) -> PairFacts:
        """What is known of the pair. Raises :class:`SequenceError` for a file that cannot be read."""
        return read_facts(self.facts_file, PairFacts)


def read_facts(file: Path, kind: type[Facts]) -> Facts:
    """What a JSON file says of a pair. Raises :class:`SequenceError` for one that cannot be read or used."""
    try:
        return kind.model_validate_json(file.read_bytes())
    except OSError as error:
        raise SequenceError(f"{file} cannot be read: {error}.") from None
    except ValidationError as error:
        wrong = error.errors()[0]
        what = f"its {wrong['loc'][0]} cannot be used" if wrong["loc"] else "it cannot be read"
        raise SequenceError(f"{file} does not hold the facts of a pair, {what}: {wrong['msg']}.", str(error)) from None


def pairs_in(folder: Path) -> list[PairFolder]:
    """All finished pairs in ``folder``, by name: itself, or the folders in it."""
    found = [PairFolder(facts.parent) for facts in sorted(folder.glob(f"*/{_FACTS}"))]
    return [PairFolder(folder)] if (folder / _FACTS).is_file() else found
