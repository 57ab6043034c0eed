"""The configuration of a training, as its TOML file has it: declared once, checks and docs are derived."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..api.errors import SettingError
from ..api.files import unreadable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: Starts from the base model, whose input layer is widened, not from a checkpoint of VOID.
BASE = "base"
#: The shortest clip that the model takes.
LEAST_FRAMES = 5

_Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Part):
    """What is learnt from."""

    pairs: tuple[Path, ...] = Field(
        min_length=1, description="Folders of pairs, ours or as published; relative to this file."
    )
    examples: tuple[Path, ...] = Field(
        default=(),
        description="Pairs to show in the page now and then, which are not learnt from. None: the first of `pairs`.",
    )
    encoded: Path | None = Field(
        default=None, description="Folder for what was encoded, which trainings may share; none: in `out`."
    )
    quadmask: Literal["quadmask", "effects"] = Field(
        default="quadmask", description="`effects` also marks what the object's shadow or reflection changes."
    )
    crop: Literal["engine", "frame"] = Field(
        default="engine",
        description="What is seen of a frame: the engine's crop around what changes, or all, as published.",
    )
    heights: tuple[Annotated[int, Field(ge=32, le=2160)], ...] = Field(
        default=(384,), min_length=1, description="Working heights; every clip is learnt at each, in its own aspect."
    )
    frames: int = Field(
        default=85,
        ge=LEAST_FRAMES,
        description="The longest clip. Longer pairs become several, clips have 8k + 5 frames.",
    )
    full_length_height: int = Field(
        default=384,
        ge=32,
        description="Larger heights get shorter clips, so that none has more pixels than the longest at this height; "
        "clips of a quarter or a sixteenth of that come 2 or 4 times in a batch.",
    )
    fps: float = Field(
        default=0, ge=0, description="Frames a second to learn at, by leaving out some; 0: all. Published: 12."
    )
    shorter: _Share = Field(
        default=0.1, description="The share of clips that are cut to a shorter length, drawn evenly."
    )
    drop_text: _Share = Field(default=0.1, description="The share of clips that are learnt without their prompt.")
    drop_conditions: _Share = Field(
        default=0.9, description="Of clips that are all object, the share that are learnt without plate and quadmask."
    )
    noise_draws: int = Field(
        default=1,
        ge=1,
        description="How many times each plate is encoded, each with other noise on it; steps take turns.",
    )
    skip_unreadable: bool = Field(
        default=False, description="Leave out pairs that cannot be read, instead of stopping."
    )


class Model(_Part):
    """What learns."""

    start: str = Field(
        default="void_pass1.safetensors",
        description="The checkpoint to begin with, in the weights' folder; `base` for the base model, widened.",
    )
    second_pass: bool = Field(
        default=False, description="Train the second pass: masks of two levels, and noise that moves along."
    )
    published_noise: bool = Field(
        default=False, description="Noise of the second pass by the published formula, up to 1.31 times too loud."
    )
    noise_degradation: _Share = Field(
        default=0.3, description="The largest share of fresh noise in that of the second pass."
    )
    full: bool = Field(
        default=False, description="Train all weights; else a LoRA on attention and feed-forward layers."
    )
    rank: int = Field(default=32, ge=1, le=1024, description="The LoRA's rank.")
    precision: Literal["bfloat16", "float32"] = Field(
        default="bfloat16", description="What the model computes in; the loss is float32 in any case."
    )
    checkpointing: bool = Field(
        default=True,
        description="Keep little of each block, and compute it again: a third slower, a fraction of the memory.",
    )
    attention: str = Field(default="native", description="One of diffusers' attention backends, such as flash.")


class Optimiser(_Part):
    """How it learns."""

    kind: Literal["came", "adamw"] = Field(
        default="came", description="CAME, as published, needs less memory than AdamW."
    )
    rate: float = Field(
        default=0, ge=0, lt=1, description="The learning rate; 0: 1e-5 for all weights, as published, 1e-4 for a LoRA."
    )
    weight_decay: float | None = Field(
        default=None, ge=0, description="None: as the published script has it in effect, 0 with CAME, 0.01 with AdamW."
    )
    warm_up: int = Field(default=50, ge=0, description="Steps in which the rate rises from 0.")
    restarts: int = Field(
        default=1, ge=1, description="How many times the rate falls to 0 along a cosine; 1 as published."
    )
    gradient_norm: float = Field(default=1.0, gt=0, description="Longer gradients are cut to this length.")
    accumulate: int = Field(default=1, ge=1, description="Batches of each step.")


class Run(_Part):
    """How long, and what is kept."""

    steps: int = Field(default=1000, ge=1, description="Steps of the optimiser.")
    batch: int = Field(default=1, ge=1, description="Clips of a batch, on each GPU; all of one size and length.")
    seed: int = Field(default=42, ge=0, lt=2**32, description="Decides all randomness.")
    save_every: int = Field(
        default=100, ge=1, description="Steps between states from which a stopped training goes on."
    )
    example_every: int = Field(default=500, ge=0, description="Steps between examples in the page; 0: none.")
    example_steps: int = Field(default=30, ge=1, description="Diffusion steps of an example.")
    device: str = Field(default="auto", description="auto, cuda or cpu.")
    merged: bool = Field(
        default=False, description="Also write the LoRA added to the checkpoint, for tools that know no LoRA."
    )


class Training(_Part):
    """All that a training needs to know."""

    out: Path = Field(description="The folder of this training: states, page, result; relative to this file.")
    data: Data
    model: Model = Model()
    optimiser: Optimiser = Optimiser()
    run: Run = Run()

    @property
    def number(self) -> int:
        """The pass that is trained, 1 or 2."""
        return 2 if self.model.second_pass else 1

    @property
    def rate(self) -> float:
        """The learning rate, also where none was given."""
        return self.optimiser.rate or (1e-5 if self.model.full else 1e-4)

    @property
    def deciding(self) -> dict[str, Any]:
        """What decides the weights, but for what is in the pairs: a training that goes on must agree in all of this."""
        kept = {"save_every", "example_every", "example_steps", "merged"}
        return self.model_dump(
            mode="json", exclude={"out": True, "data": {"pairs", "examples", "encoded"}, "run": kept}
        )


def read(path: Path, *, full: bool = False) -> Training:
    """The configuration in a file; ``full`` as if it said so. Raises :class:`SettingError` naming what is wrong."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise SettingError(f"{path} is not a TOML file: {error}.") from error
    if full and isinstance(data.get("model", {}), dict):
        data["model"] = {**data.get("model", {}), "full": True}
    try:
        found = Training.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        known = "; `void train --explain` lists all settings" if first["type"] == "extra_forbidden" else ""
        raise SettingError(f"{path}: {name}: {first['msg']}{known}.") from error
    return found.model_copy(
        update={
            "out": _from(path, found.out),
            "data": found.data.model_copy(
                update={
                    "pairs": tuple(_from(path, folder) for folder in found.data.pairs),
                    "examples": tuple(_from(path, folder) for folder in found.data.examples),
                    "encoded": _from(path, found.data.encoded) if found.data.encoded else None,
                }
            ),
        }
    )


def _from(file: Path, named: Path) -> Path:
    return (file.parent / named.expanduser()).absolute()


def settings() -> Iterator[tuple[str, str, str]]:
    """Each setting's name, default and meaning, for the docs and for `--explain`."""
    yield "out", "", Training.model_fields["out"].description or ""
    for part in ("data", "model", "optimiser", "run"):
        cls = Training.model_fields[part].annotation
        assert isinstance(cls, type)
        assert issubclass(cls, BaseModel)
        for name, field in cls.model_fields.items():
            default = "" if field.is_required() else _written(field.default)
            yield f"{part}.{name}", default, field.description or ""


def _written(value: Any) -> str:
    """A default as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_written, value))}]"
    return "" if value is None else f'"{value}"' if isinstance(value, str) else f"{value:g}"
