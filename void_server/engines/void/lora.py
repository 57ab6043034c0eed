"""LoRA (Hu et al., arXiv 2106.09685): what a fine-tuning learnt, as two narrow matrices beside each of the model's.

A file of ours holds them by the name of the weight that they add to; its notes say what they are scaled by, and which
pass they were trained for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...api.errors import SettingError
from .header import header, notes, standard_key

if TYPE_CHECKING:
    import torch

#: The two matrices of a weight: (rank, inputs) and (outputs, rank).
DOWN, UP = "lora_A.weight", "lora_B.weight"
_SCALE, _PASS = "scale", "pass"


@dataclass(frozen=True)
class Lora:
    """A file of low-rank matrices, for one pass."""

    path: Path
    number: int
    #: What the product of the two matrices is multiplied by.
    scale: float

    @classmethod
    def read(cls, path: Path) -> Lora:
        """What a file's notes say. Raises :class:`SettingError` where it is no LoRA of ours."""
        found = notes(path)
        try:
            return cls(path, int(found[_PASS]), float(found[_SCALE]))
        except (KeyError, ValueError):
            raise SettingError(
                f"{path} does not say which pass it is for, so it is no LoRA of `void train`; choose another for lora."
            ) from None

    @property
    def notes(self) -> dict[str, str]:
        """As they stand in the file."""
        return {_PASS: str(self.number), _SCALE: repr(self.scale)}

    @property
    def weights(self) -> set[str]:
        """The modules that it adds to."""
        return {name.removesuffix(f".{DOWN}") for name in header(self.path) if name.endswith(DOWN)}

    def check_fits(self, checkpoint: Path) -> None:
        """Raise :class:`SettingError` unless it was trained on a model of the size of ``checkpoint``."""
        shapes, known = header(self.path), {standard_key(name): shape for name, shape in header(checkpoint).items()}
        for name in sorted(self.weights):
            wanted = known.get(f"{name}.weight")
            down, up = (shapes.get(f"{name}.{end}") for end in (DOWN, UP))
            if not wanted or not down or not up or (up[0], down[1], up[1]) != (*wanted, down[0]):
                raise SettingError(
                    f"{self.path} does not fit {checkpoint.name}: its {name} is for a model of another size; choose "
                    "the checkpoint that it was trained on."
                )

    def add_to(self, tensors: dict[str, torch.Tensor], strength: float) -> None:
        """Add it to the transformer's weights; at a strength of 0 these stay what they are, to the bit."""
        from safetensors.torch import load_file

        if strength:
            add(load_file(self.path), tensors, strength * self.scale)


def add(matrices: Mapping[str, torch.Tensor], tensors: dict[str, torch.Tensor], scale: float) -> None:
    """Add the product of each two ``matrices``, times ``scale``, to its weight; computed in float32."""
    for name, down in matrices.items():
        if name.endswith(DOWN):
            weight = name.removesuffix(DOWN) + "weight"
            product = matrices[name.removesuffix(DOWN) + UP].float() @ down.float()
            tensors[weight] = (tensors[weight].float() + scale * product).to(tensors[weight].dtype)
