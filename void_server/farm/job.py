"""A job on a farm, whatever the scheduler: its stages and their tasks.

It lies as ``farm.json`` in the version folder, which is made when the job is submitted. Every task is one command that
finds all else there: ``void farm run --job FOLDER/farm.json --stage STAGE --task N``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..api.errors import SettingError
from ..api.files import is_written, read_json, write_atomically
from ..api.shot import Shot
from ..imaging import sequence
from .fields import Fields

if TYPE_CHECKING:
    from ..pairs.ordering import Order

FILE = "farm.json"
#: What looks, before anything expensive begins, whether a machine has what the job needs: any, and one with a GPU.
CHECK, CHECK_GPU = "check", "check_gpu"
#: What a task on a farm-side inference server is called; it does all of the job.
SERVE = "serve"
#: What renders counterfactual pairs, one a task, and what looks through them.
PAIRS, INDEX = "pairs", "index"
#: What writes plate and roto from a script, which lies in the version folder.
EXPORT, SCRIPT = "export", "script.nk"
#: What a machine must have for a stage.
CPU, GPU, NUKE = "cpu", "gpu", "nuke"


@dataclass(frozen=True)
class Export:
    """What Nuke writes before anything else: a node's inputs in a view, each to the pattern of its role.

    ``script`` is a copy of the artist's script, and ``name`` what that is called, by which it finds relative paths.
    ``depth`` is the data type of the plate, as Nuke calls it. ``nuke`` is the command of Nuke on the farm.
    """

    script: str
    name: str
    node: str
    view: str
    patterns: dict[str, str]
    depth: str
    nuke: tuple[str, ...] = ()

    def written(self, frames: Iterable[int]) -> bool:
        """Whether all of these frames are there."""
        return all(is_written(Path(pattern % frame)) for frame in frames for pattern in self.patterns.values())


@dataclass(frozen=True)
class Stage:
    """Tasks of one kind, numbered from 0, that may run at the same time, once the stages ``after`` are done.

    ``frames`` are those of each task, where the stage shares them out.
    """

    name: str
    kind: str
    tasks: int
    after: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()

    def frames_of(self, task: int) -> tuple[int, ...]:
        """The frames of a task; none where the stage does not share them out."""
        return sequence.parse_frames(self.frames[task]) if self.frames else ()


def checked(stages: Iterable[Stage]) -> tuple[Stage, ...]:
    """The stages, after those that check the machines for them."""
    given = tuple(stages)
    kinds = {CHECK: CPU, **({CHECK_GPU: GPU} if any(stage.kind == GPU for stage in given) else {})}
    first = (Stage(name, kind, 1) for name, kind in kinds.items())
    rest = (
        replace(stage, after=(stage.after or (CHECK,)) + ((CHECK_GPU,) if stage.kind == GPU else ())) for stage in given
    )
    return (*first, *rest)


@dataclass(frozen=True)
class FarmJob:
    """All of it: a ``shot``, or a set of ``pairs``, which lie in the job's folder.

    ``server`` is the address of an inference server that does the work, empty for tasks that do it. ``version`` is that
    of the package on the submitting machine, ``batch`` the record of the batch that it belongs to, empty without one.
    """

    id: str
    shot: Shot | None
    fields: Fields
    stages: tuple[Stage, ...]
    folder: Path
    server: str = ""
    frames: tuple[int, ...] = ()
    export: Export | None = None
    pairs: Order | None = None
    version: str = __version__
    batch: str = ""

    @property
    def subject(self) -> str:
        """What the job is about: the plate of its shot, or its set of pairs."""
        return self.shot.plate if self.shot else str(self.folder)

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files and folders of the shot, if it has one."""
        return tuple(map(Path, self.shot.paths().values())) if self.shot else ()

    @property
    def file(self) -> Path:
        """Where the job lies."""
        return self.folder / FILE

    @property
    def title(self) -> str:
        """Its name, or one made of the plate's."""
        if self.fields.name:
            return self.fields.name
        if self.pairs:
            return " ".join(filter(None, ["VOID pairs", self.fields.show, self.folder.name]))
        plate = Path(self.subject).stem.partition(".")[0]
        return " ".join(filter(None, ["VOID", self.fields.show, self.fields.shot, plate, self.folder.name]))

    def log(self, stage: str, task: int) -> Path:
        """The log of a task, for schedulers that leave it to us where it lies."""
        return self.folder / "logs" / f"{stage}_{task}.log"

    def stage(self, name: str) -> Stage:
        """A stage by its name. Raises :class:`SettingError`."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise SettingError(f"{self.file} has no stage {name!r}, only {', '.join(stage.name for stage in self.stages)}.")

    def write(self) -> None:
        """Write ``farm.json``."""
        data = {
            "id": self.id,
            "shot": self.shot.to_dict() if self.shot else None,
            "fields": dataclasses.asdict(self.fields),
            "stages": [dataclasses.asdict(stage) for stage in self.stages],
            "server": self.server,
            # with these, Nuke can show the version while it is on its way
            "frames": list(self.frames),
            "export": dataclasses.asdict(self.export) if self.export else None,
            "pairs": self.pairs.to_dict() if self.pairs else None,
            "version": self.version,
            "batch": self.batch,
        }
        write_atomically(self.file, json.dumps(data, indent=2))

    @classmethod
    def read(cls, file: Path) -> FarmJob:
        """Read what :meth:`write` wrote; the folder is where the file lies now, whatever it was called elsewhere.

        Raises :class:`SettingError` naming the file.
        """
        try:
            data = read_json(file)
            stages = tuple(
                Stage(s["name"], s["kind"], s["tasks"], tuple(s["after"]), tuple(s["frames"])) for s in data["stages"]
            )
            shot = Shot.from_dict(data["shot"]) if data["shot"] else None
            fields = Fields.from_dict(data["fields"])
            pairs = _order(data["pairs"]) if data["pairs"] else None
            frames = tuple(data["frames"])
            export = Export(**{**data["export"], "nuke": tuple(data["export"]["nuke"])}) if data["export"] else None
            folder = file.absolute().parent
            own = data["server"], frames, export, pairs, str(data["version"]), str(data["batch"])
            return cls(data["id"], shot, fields, stages, folder, *own)
        except OSError as error:
            raise SettingError(
                f"{file} cannot be read ({error.strerror}); name a farm job's version folder."
            ) from error
        except KeyError as error:
            raise SettingError(f"{file} is no farm job: it lacks {error}.") from error
        except (ValueError, TypeError) as error:
            raise SettingError(f"{file} is no farm job that can be read: {error}") from error


def _order(data: Any) -> Order:
    # heavy, and needed by jobs that make pairs alone
    from ..pairs.ordering import Order

    return Order.from_dict(data)
