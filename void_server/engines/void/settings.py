"""The settings of the engine ``void``; nothing else is needed to read them."""

from __future__ import annotations

from dataclasses import dataclass

from ...api.errors import SettingError
from ...api.settings import Declared, setting


@dataclass(frozen=True)
class VoidSettings(Declared):
    """How the VOID model works."""

    steps: int = setting(
        0,
        "0: as published, 30 and 50.",
        long_help="Steps of the diffusion. 0: as published, 30, or 50 in the second pass.",
        low=0,
        high=1000,
        give="1 to 1000, or 0 for the published number",
    )
    guidance: float = setting(
        0.0,
        "0: as published, 1 and 6.",
        long_help="How much the prompt counts. 0: as published, 1, or 6 in the second pass.",
        low=0,
        high=30,
        slider=12,
        give="1 to 30, or 0 for the published strength",
    )
    second_pass: bool = setting(
        False,
        "Again, over noise that moves along.",
        long_help="Sample again, over noise that moves with the first pass: for objects that change their shape there. "
        "Takes more than three times as long.",
    )
    negative_prompt: str = setting(
        "", "What it must not be.", long_help="What it must not be; counts with a guidance above 1."
    )
    working_height: int = setting(
        384,
        "Of the model's frames, which are about 7/4 as wide.",
        long_help="Height of the model's frames, which are about 7/4 as wide; 384 is what it was trained on.",
        low=64,
        high=2160,
        unit="pixels",
        give="64 to 2160 pixels, 384 is published",
    )
    quality: str = setting(
        "exact",
        "exact, or fast: steps that change little are made in part.",
        long_help="fast: steps in which little changes are made in part. For looking; deliver exact.",
        choices=("exact", "fast"),
    )
    memory: str = setting(
        "auto",
        "auto, full, balanced or low.",
        long_help="How much GPU memory may be used. auto: by what is free.",
        choices=("auto", "full", "balanced", "low"),
    )
    published: bool = setting(
        False,
        "As the published code does it, flaws too.",
        label="as published",
        long_help="Do as the published code does, also where we know better: to compare results.",
    )
    strength: float = setting(
        1.0,
        "Below 1 it begins with the plate, so much of it noise.",
        low=1e-6,
        high=1,
        give="more than 0, up to 1",
    )
    piece_length: int = setting(
        0,
        "Longer shots are made in pieces, as on a farm; 0: never.",
        long_help="A longer shot is made in pieces that are faded into each other, which machines can share. 0: never.",
        low=85,
        high=100_000,
        or_zero=True,
        unit="frames",
        give="85 frames or more, or 0 for all at once",
    )
    attention: str = setting("native", "One of diffusers' attention backends, such as flash or sage.")
    compiled: bool = setting(False, "Compile the transformer first; for many jobs.")
    checkpoint: str = setting(
        "",
        "Another checkpoint in the weights' folder for the first pass.",
        pattern=r"(?!\.{1,2}$)[^/\\]*",
        give="the name of a file in the weights' folder",
    )

    @property
    def guided(self) -> bool:
        """Whether the negative prompt has a say."""
        return self.guidance > 1 or (self.second_pass and not self.guidance)

    def check_together(self) -> None:
        """Raise :class:`SettingError` for settings that do not go together."""
        if self.negative_prompt and not self.guided:
            raise SettingError("The negative prompt needs a guidance above 1; set guidance, or leave it out.")
        if self.published and self.piece_length:
            raise SettingError("The published code knows no pieces; leave piece_length at 0, or published out.")
