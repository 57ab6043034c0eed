"""SAM 2's checkpoints, and the package's configuration for each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ...api.errors import SettingError

ENVIRONMENT = "SAM2_WEIGHTS"
#: Where they come from, and under which licence.
SOURCE = "facebookresearch/sam2 on GitHub, or facebook/sam2.1-hiera-large and the like on Hugging Face; Apache-2.0"

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
    """A checkpoint's file, and the name of its configuration in the package sam2."""

    path: Path
    config: str

    @property
    def name(self) -> str:
        """Such as sam2.1_hiera_large."""
        return self.path.stem


def folders() -> list[Path]:
    """Where checkpoints are looked for: $SAM2_WEIGHTS, then $VOID_WEIGHTS and its folder sam2."""
    named = [os.environ.get(ENVIRONMENT), os.environ.get("VOID_WEIGHTS")]
    paths = [Path(folder).expanduser() for folder in named if folder]
    return [*paths, *(folder / "sam2" for folder in paths)]


def available() -> list[Checkpoint]:
    """The checkpoints that are here, the best first."""
    return [
        Checkpoint(folder / f"{name}.pt", config)
        for name, config in _FILES.items()
        for folder in folders()
        if (folder / f"{name}.pt").is_file()
    ]


def find(name: str = "") -> Checkpoint:
    """The named checkpoint, or the best available. Raises :class:`SettingError` if it is not here."""
    for checkpoint in available():
        if not name or checkpoint.name == name:
            return checkpoint
    looked = ", ".join(map(str, folders())) or f"nowhere, as ${ENVIRONMENT} is not set"
    raise SettingError(
        f"There is no checkpoint {name or 'of SAM 2'} where the server runs (looked in {looked}). Download "
        f"{name or 'sam2.1_hiera_large'}.pt from {SOURCE} and put it into ${ENVIRONMENT}, or choose "
        "segmenter grabcut."
    )
