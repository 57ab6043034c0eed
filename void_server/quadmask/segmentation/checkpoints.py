"""SAM 2's checkpoints: files for the package sam2, and folders for transformers, which runs them too."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ...api.errors import SettingError
from ...plugins import Download, how_to_install, installed

ENVIRONMENT = "SAM2_WEIGHTS"
#: Where they come from, and under which licence.
SOURCE = Download(
    "SAM 2.1",
    "facebookresearch/sam2 on GitHub, or facebook/sam2.1-hiera-large and the like on Hugging Face",
    "Apache-2.0",
)

# the best first; file names as Meta publishes them
_SIZES = {"large": "l", "base_plus": "b+", "small": "s", "tiny": "t"}
_FILES = {
    f"{version}_hiera_{size}": f"configs/{version}/{version}_hiera_{letter}.yaml"
    for version in ("sam2.1", "sam2")
    for size, letter in _SIZES.items()
}
NAMES = tuple(_FILES)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint: Meta's file for the package sam2, with its configuration there, or a folder for transformers."""

    path: Path
    name: str
    config: str = ""

    @property
    def extra(self) -> str:
        """The extra of this package that runs it."""
        return "sam2" if self.config else "sam2-transformers"

    @property
    def runs(self) -> bool:
        """Whether what runs it is installed; nothing is loaded."""
        module = "sam2" if self.config else "transformers"
        return installed("torch") and installed(module) and (bool(self.config) or _transformers_has_it())


def _transformers_has_it() -> bool:
    # a module of a package cannot be looked for without loading that
    spec = find_spec("transformers")
    places = spec.submodule_search_locations if spec else None
    return any((Path(place) / "models" / "sam2_video").is_dir() for place in places or ())


def folders() -> list[Path]:
    """Where checkpoints are looked for: $SAM2_WEIGHTS, then $VOID_WEIGHTS and its folder sam2."""
    named = [os.environ.get(ENVIRONMENT), os.environ.get("VOID_WEIGHTS")]
    paths = [Path(folder).expanduser() for folder in named if folder]
    return [*paths, *(folder / "sam2" for folder in paths)]


def available() -> list[Checkpoint]:
    """The checkpoints that are here, the best first."""
    found = []
    for name, config in _FILES.items():
        for folder in folders():
            if (file := folder / f"{name}.pt").is_file():
                found.append(Checkpoint(file, name, config))
            # as the repositories on Hugging Face are called
            if (whole := folder / name.replace("_", "-") / "config.json").is_file():
                found.append(Checkpoint(whole.parent, name))
    return found


def find(name: str = "", *, small: bool = False) -> Checkpoint:
    """The named checkpoint, or the best that runs here; with ``small`` the quickest.

    Raises :class:`SettingError` if it is not here, or what runs it is not.
    """
    there = [checkpoint for checkpoint in available() if name in ("", checkpoint.name)]
    if not there:
        looked = ", ".join(map(str, folders())) or f"nowhere, as ${ENVIRONMENT} is not set"
        raise SettingError(
            f"There is no checkpoint {name or 'of SAM 2'} where the server runs (looked in {looked}). Download "
            f"{name or 'sam2.1_hiera_large'}.pt from {SOURCE} and put it into ${ENVIRONMENT}, or choose "
            "segmenter grabcut."
        )
    able = [checkpoint for checkpoint in there if checkpoint.runs]
    if not able:
        raise SettingError(f"SAM 2 is not installed where the server runs: {how_to_install(there[0].extra)}")
    return max(able, key=lambda one: _smallness(one.name)) if small else able[0]


def _smallness(name: str) -> int:
    return next(number for number, size in enumerate(_SIZES) if name.endswith(f"_{size}"))
