"""Latents and prompts, made once and kept on disk by what they were made from, so that no step waits for VAE or T5.

A clip's file holds the moments of its latents' distributions, from which each step draws: those of the truth, of the
mask, and of the plate with noise on it; for the second pass also the noise that moves along with the truth.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..api.errors import InputError, JobFailed, SettingError
from ..api.files import digest_of, is_written, read_json, replacing, stamp, write_atomically
from ..engines.void import noise
from ..engines.void.header import header, notes
from ..engines.void.model import Model
from ..engines.void.sampling import augmented, embed, mask_video
from ..engines.void.vae import SPATIAL, encoder_parts, latent_length, moments
from ..quadmask import classes
from .clips import Clip, clips_of
from .config import Training
from .material import Folder, Pair, folders_in, opened

# Counts what is kept: raised where the same inputs would make something else.
_VERSION = 1
#: The strength of the noise on a plate is drawn, its logarithm from a normal distribution with this mean and deviation.
NOISE_MEAN, NOISE_DEVIATION = -3.0, 0.5


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary name for a file that is whole or not there. Raises :class:`JobFailed` where it cannot be written."""
    try:
        with replacing(path, parents=True) as temporary:
            yield temporary
    except (OSError, SafetensorError) as error:
        raise not_written(path, error) from error


def not_written(path: Path, error: Exception) -> JobFailed:
    """Why the training cannot go on, as a sentence."""
    # safetensors tells it in words only
    reason = getattr(error, "strerror", None) or str(error).removeprefix("Error while serializing: I/O error: ")
    return JobFailed(
        f"{path} cannot be written ({reason}); free the disk, then start the training again: it goes on from its last "
        "state.",
        str(error),
    )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise JobFailed(
            f"{path}, which was encoded for this training, cannot be read ({error}); remove it, and start the training "
            "again: it is encoded anew, and the training goes on from its last state.",
            str(error),
        ) from error


@dataclass(frozen=True)
class Item:
    """A clip on disk, ready to be learnt from. ``shape`` is that of its latents, (t, h, w)."""

    name: str
    latents: Path
    prompt: Path
    shape: tuple[int, int, int]
    #: Whether the object is all that is seen.
    all_object: bool

    def read(self, *names: str) -> list[torch.Tensor]:
        """Tensors of the clip, in float32. Raises :class:`JobFailed` where the file was damaged or taken away."""
        with _opened(self.latents) as file:
            return [file.get_tensor(name).float() for name in names]


def embedding(path: Path) -> torch.Tensor:
    """A prompt's embedding (1, tokens, width). Raises :class:`JobFailed` where the file was damaged or taken away."""
    with _opened(path) as file:
        tensor: torch.Tensor = file.get_tensor("prompt")
    return tensor


def folder_of(config: Training) -> Path:
    """Where a training keeps what was encoded."""
    return config.data.encoded or config.out / "encoded"


class Store:
    """The folder of what was encoded; several trainings may share it."""

    def __init__(self, folder: Path, config: Training, model: Model) -> None:
        self._folder, self._config, self._model = folder, config, model
        self._encoders = model.weights.encoders

    def clip(self, clip: Clip) -> Item:
        """A clip, encoded now if it was not before."""
        data, pair = self._config.data, clip.pair
        key = {
            "version": _VERSION,
            "pair": self._fingerprint(pair),
            "colour": pair.colour,
            "frames": clip.frames,
            "crop": clip.fit.crop,
            "size": clip.fit.size,
            "pass": self._config.number,
            "draws": data.noise_draws,
            "seed": self._config.run.seed,
            "vae": self._encoders["vae"],
            "precision": str(self._model.dtype),
        }
        path = self._named("clips", key)
        if not _whole(path):
            with writing(path) as temporary:
                about = {"all_object": str(all_object(clip)), "clip": clip.name}
                save_file(self._encoded(clip), temporary, about)
        t, h, w = header(path)["truth"][1:]
        prompt = self.prompt(pair.prompt)
        return Item(clip.name, path, prompt, (t, h, w), notes(path)["all_object"] == "True")

    def prompt(self, text: str) -> Path:
        """A prompt, embedded now if it was not before."""
        precision = str(self._model.dtype)
        key = {
            "version": _VERSION,
            "text": text,
            "text encoder": self._encoders["text encoder"],
            "precision": precision,
        }
        path = self._named("prompts", key)
        if not _whole(path):
            with writing(path) as temporary:
                save_file({"prompt": embed(self._model, text)}, temporary)
        return path

    def _named(self, kind: str, key: dict[str, Any]) -> Path:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self._folder / kind / f"{digest[:32]}.safetensors"

    def _fingerprint(self, pair: Pair) -> str:
        """The SHA-256 of all that is learnt from a pair; read anew only where a file was written since."""
        files = pair.files
        stamps = [[str(file), *stamp(file)] for file in files]
        place = hashlib.sha256(str(pair.folder).encode()).hexdigest()[:32]
        known = self._folder / "pairs" / f"{place}.json"
        try:
            found = read_json(known)
            if found["files"] == stamps:
                return str(found["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # not read yet
        digest = hashlib.sha256("".join(map(digest_of, files)).encode()).hexdigest()
        try:
            write_atomically(known, json.dumps({"files": stamps, "sha256": digest}), parents=True)
        except OSError as error:
            raise not_written(known, error) from error
        return digest

    def _encoded(self, clip: Clip) -> dict[str, torch.Tensor]:
        parts = encoder_parts(len(clip.frames))
        seed = self._config.run.seed

        def pictures(read: Callable[[range], Any]) -> Iterator[torch.Tensor]:
            return (torch.from_numpy(read(part)).permute(3, 0, 1, 2)[None] for part in parts)

        def noisy(draw: int) -> Iterator[torch.Tensor]:
            generator = torch.Generator().manual_seed(seed + draw)
            strength = float(torch.exp(NOISE_MEAN + NOISE_DEVIATION * torch.randn(1, generator=generator)))
            return (augmented(part, generator, strength) for part in pictures(clip.plates))

        masks = (mask_video(clip.codes(part), self._config.number) for part in parts)
        truths = (part * 2 - 1 for part in pictures(clip.truths))
        with torch.inference_mode(), self._model.encoding(*clip.fit.size) as vae:
            found = {"truth": moments(vae, truths), "mask": moments(vae, masks)}
            for draw in range(self._config.data.noise_draws):
                found[f"plate{draw}"] = moments(vae, noisy(draw))
        # a copy: tensors made for inference cannot be written
        found = {name: tensor[0].cpu().clone() for name, tensor in found.items()}
        if self._config.model.second_pass:
            height, width = clip.fit.size
            shape = latent_length(len(clip.frames)), height // SPATIAL, width // SPATIAL
            frames = (clip.truths([index])[0] for index in range(len(clip.frames)))
            found["noise"] = noise.warped(frames, shape, seed)[0].transpose(0, 1)
        return {name: tensor.contiguous() for name, tensor in found.items()}


def _whole(path: Path) -> bool:
    """Whether what was encoded is there, and has not been cut short since."""
    try:
        return is_written(path) and bool(header(path))
    except SettingError:
        return False


def all_object(clip: Clip) -> bool:
    """Whether nothing but the object to remove is seen in a clip."""
    seen = (classes.is_removed(clip.codes([index])).all() for index in range(len(clip.frames)))
    return all(seen)


@dataclass(frozen=True)
class Prepared:
    """All that a training learns from, on disk."""

    items: tuple[Item, ...]
    #: The embedding of no prompt.
    nothing: Path
    #: What is shown in the page.
    examples: tuple[tuple[Clip, Item], ...]
    #: Pairs that were left out, and why.
    skipped: dict[str, str]


def prepare(config: Training, store: Store, report: Callable[[float, str], None]) -> Prepared:
    """Encode what is not on disk yet. Raises :class:`InputError` naming the first pair that cannot be read.

    Where the configuration says to skip those, raises only where none is left.
    """
    folders, shown = (_found(places) for places in (config.data.pairs, config.data.examples))
    items: list[Item] = []
    examples: list[tuple[Clip, Item]] = []
    skipped: dict[str, str] = {}
    total = len(folders) + len(shown)
    for index, folder in enumerate([*folders, *shown]):
        report(index / total, f"encoding {folder.name}")
        try:
            found = [(clip, store.clip(clip)) for clip in clips_of(opened(folder, config.data), config.data)]
        except InputError as error:
            if not config.data.skip_unreadable:
                raise type(error)(
                    f"The pair {folder.name} cannot be learnt from: {error} Mend it, take it away, or set "
                    "data.skip_unreadable.",
                    error.detail,
                ) from error
            skipped[folder.name] = str(error)
            continue
        if folder in shown:
            examples.append(found[0])
        else:
            items += [item for _, item in found]
            if not shown and not examples:
                examples.append(found[0])
    if not items:
        raise SettingError(f"None of the {len(folders)} pairs can be learnt from; see why: {skipped}")
    return Prepared(tuple(items), store.prompt(""), tuple(examples), skipped)


def _found(places: tuple[Path, ...]) -> list[Folder]:
    found = []
    for place in places:
        pairs = folders_in(place)
        if not pairs:
            raise SettingError(
                f"{place} holds no finished pairs; give a folder of `void pairs make`, or of the published form."
            )
        found += pairs
    return found
