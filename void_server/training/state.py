"""What a training needs to go on: the weights that learn, the optimiser's memory, and how many steps are done."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedType
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ..api.errors import SettingError
from .learner import learning
from .store import not_written, writing

_FILE, _FOLDERS = "state.safetensors", "states"
_STEP = "step"
_LEARNT, _OPTIMISER = "learnt/", "optimiser/"


def is_kept(folder: Path) -> bool:
    """Whether a training's folder holds a state from which it goes on."""
    return (folder / _FILE).is_file() or bool(_whole(folder / _FOLDERS))


def _whole(folders: Path) -> list[Path]:
    """The states that several processes have written to their end, the last of them last."""
    return sorted(folder for folder in folders.glob("*") if not folder.name.startswith("."))


class State:
    """The last state of a training on disk; whole, whenever the process is killed.

    One file; where accelerate spreads the weights over several processes (DeepSpeed, FSDP), a folder of its own making.
    """

    def __init__(
        self, folder: Path, accelerator: Accelerator, transformer: nn.Module, optimiser: torch.optim.Optimizer
    ) -> None:
        self._file, self._folders = folder / _FILE, folder / _FOLDERS
        self._accelerator, self._transformer, self._optimiser = accelerator, transformer, optimiser
        self._spread = accelerator.distributed_type in (DistributedType.DEEPSPEED, DistributedType.FSDP)

    @property
    def learnt(self) -> dict[str, torch.Tensor]:
        """The weights that learn, whole, by name; every process must ask."""
        own = self._accelerator.unwrap_model(self._transformer)
        names = learning(own)
        if self._spread:
            whole = self._accelerator.get_state_dict(self._transformer)
            return {name: whole[name] for name in names if name in whole}
        return {name: parameter.detach() for name, parameter in names.items()}

    def save(self, step: int) -> None:
        """Keep the state after so many steps, instead of the one before. Raises :class:`JobFailed`."""
        if self._spread:
            self._save_spread(step)
        elif self._accelerator.is_main_process:
            kept = self._optimiser.state_dict()["state"]
            tensors = {f"{_LEARNT}{name}": tensor for name, tensor in self.learnt.items()}
            for index, values in kept.items():
                for name, value in values.items():
                    tensors[f"{_OPTIMISER}{index}/{name}"] = torch.as_tensor(value)
            with writing(self._file) as temporary:
                save_file({name: t.contiguous() for name, t in tensors.items()}, temporary, {_STEP: str(step)})
        self._accelerator.wait_for_everyone()

    def load(self) -> int:
        """Take up the last state; how many steps it has, 0 where there is none. Raises :class:`SettingError`."""
        if self._spread:
            return self._load_spread()
        if not self._file.is_file():
            return 0
        try:
            with safe_open(self._file, framework="pt") as file:
                step = int((file.metadata() or {})[_STEP])
                found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, ValueError) as error:
            raise SettingError(
                f"{self._file} cannot be read as the state of a training ({error}); remove it to begin anew."
            ) from error
        with torch.no_grad():
            for name, parameter in learning(self._accelerator.unwrap_model(self._transformer)).items():
                parameter.copy_(found[_LEARNT + name])
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in found.items():
            if name.startswith(_OPTIMISER):
                index, _, key = name.removeprefix(_OPTIMISER).partition("/")
                state.setdefault(int(index), {})[key] = tensor
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": state})
        return step

    def _save_spread(self, step: int) -> None:
        part, whole = self._folders / f".{step:08d}.part", self._folders / f"{step:08d}"
        try:
            self._accelerator.save_state(str(part))
            self._accelerator.wait_for_everyone()
            if self._accelerator.is_main_process:
                os.replace(part, whole)
                for other in self._folders.iterdir():
                    if other != whole:
                        shutil.rmtree(other)
        except OSError as error:
            raise not_written(whole, error) from error

    def _load_spread(self) -> int:
        found = _whole(self._folders)
        if not found:
            return 0
        self._accelerator.load_state(str(found[-1]))
        return int(found[-1].name)
