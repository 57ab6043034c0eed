"""Tensors that a job keeps on disk, so that what was done is not done again: prompts, and latents on their way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from ...api.files import write_atomically
from .tensors import packed

#: Sampling is kept after so many steps each.
EVERY = 5


@dataclass(frozen=True)
class KeptTensors:
    """Tensors in one file, and what they were ``made_from``: where that is something else, they are not used."""

    path: Path
    made_from: Mapping[str, str]

    def read(self) -> dict[str, torch.Tensor] | None:
        """The tensors by name; None where there are none, or others."""
        try:
            found = load(self.path.read_bytes())
        except (FileNotFoundError, SafetensorError):
            return None
        made_from = bytes(found.pop(_MADE_FROM).tolist()).decode()
        return found if made_from == self._described else None

    def write(self, **tensors: torch.Tensor) -> None:
        """Keep these instead of what was there."""
        described = torch.tensor(list(self._described.encode()), dtype=torch.uint8)
        write_atomically(self.path, packed({**tensors, _MADE_FROM: described}), parents=True)

    def remove(self) -> None:
        """Remove the file, if it is there."""
        self.path.unlink(missing_ok=True)

    @property
    def _described(self) -> str:
        return repr(sorted(self.made_from.items()))


# safetensors.torch.load() gives no metadata, so it travels as a tensor
_MADE_FROM = "made_from"


@dataclass(frozen=True)
class Underway:
    """The latents after so many steps, and what else the solver needs for the next ones, by name."""

    done: int
    latents: torch.Tensor
    memory: Mapping[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """A sampling between two steps, kept now and then; one that was stopped goes on from there to the same bits."""

    kept: KeptTensors

    def read(self) -> Underway | None:
        """Where the sampling was."""
        found = self.kept.read()
        return None if found is None else Underway(int(found.pop("done")), found.pop("latents"), found)

    def note(self, underway: Underway) -> None:
        """Keep this instead of what was there."""
        self.kept.write(done=torch.tensor(underway.done), latents=underway.latents, **underway.memory)
