"""The settings of the engine ``void``, readable without anything heavy."""

from __future__ import annotations

from dataclasses import dataclass

from ...api.errors import SettingError
from ...api.settings import Declared, setting

#: The ways from one step's latents to the next; the first is the published one.
DDIM, DPM = "ddim", "dpm"


@dataclass(frozen=True)
class VoidSettings(Declared):
    """How the VOID model is run."""

    steps: int = setting(
        0,
        "Diffusion steps. 0: as published, 30 and 50.",
        long_help="Diffusion steps. 0: the published values, 30, and 50 in the second pass.",
        low=0,
        high=1000,
        give="1 to 1000, or 0 for the published number",
    )
    guidance: float = setting(
        0.0,
        "How strongly to follow the prompt. 0: as published, 1 and 6.",
        long_help="How strongly to follow the prompt. 0: the published values, 1, and 6 in the second pass.",
        low=0,
        high=30,
        slider=12,
        give="1 to 30, or 0 for the published strength",
    )
    second_pass: bool = setting(
        False,
        "Sample again, from noise warped along the motion.",
        long_help="Sample again from noise warped along the motion of the first pass. Helps when objects change shape. "
        "Takes more than three times as long.",
    )
    negative_prompt: str = setting(
        "", "What should not appear.", long_help="What should not appear. Only used if guidance is above 1."
    )
    working_height: int = setting(
        384,
        "Frame height the model works at; the width is about 7/4 of it.",
        long_help="Frame height the model works at; the width is about 7/4 of it. The model was trained at 384.",
        low=64,
        high=2160,
        unit="pixels",
        give="64 to 2160 pixels, 384 is published",
    )
    quality: str = setting(
        "exact",
        "exact, or fast, which abbreviates steps and multiplies in 8 bits.",
        long_help="fast: abbreviates steps that change little, and multiplies in 8 bits on GPUs that can (Ada, Hopper "
        "and later); use it for previews. Deliver with exact.",
        choices=("exact", "fast"),
    )
    solver: str = setting(
        DDIM,
        "ddim, as published, or dpm, which is meant for fewer steps.",
        long_help="ddim: as published. dpm: DPM-Solver++, meant to need fewer steps, say 20; makes other pictures.",
        choices=(DDIM, DPM),
    )
    memory: str = setting(
        "exact",
        "exact; tiled or low for small GPUs, which changes pixels a little.",
        long_help="exact: whole frames, what does not fit takes turns. tiled: frames in tiles, for GPUs below 16 GB. "
        "low: also 8-bit weights. Both change pixels a little.",
        choices=("exact", "tiled", "low"),
    )
    published_sampling: bool = setting(
        False,
        "The published code's windows and warped noise, flaws included.",
        label="sampling as published",
        long_help="Sample with the windows and the warped noise of the published code, flaws included. For "
        "comparisons; what goes in and comes out stays ours.",
    )
    strength: float = setting(
        1.0,
        "Below 1, start from the plate with this share of noise.",
        low=1e-6,
        high=1,
        give="more than 0, up to 1",
    )
    frame_step: int = setting(
        1,
        "Have the model make every n-th frame; 2 takes 24 a second to the 12 of its training.",
        long_help="Have the model make every n-th frame, and those between from what it made and the plate. It was "
        "trained at 12 frames a second: for things that fall or roll at 24, choose 2; for shadows, 1.",
        low=1,
        high=8,
        give="1 for every frame, to 8",
    )
    piece_length: int = setting(
        0,
        "Split longer shots into pieces, as on a farm; 0: never.",
        long_help="Split longer shots into pieces that several machines can share, and blend them. 0: never.",
        low=85,
        high=100_000,
        or_zero=True,
        unit="frames",
        give="85 frames or more, or 0 for all at once",
    )
    attention: str = setting("native", "One of diffusers' attention backends, such as flash or sage.")
    compiled: bool = setting(False, "Compile the transformer first; pays for many jobs.")
    checkpoint: str = setting(
        "",
        "Another checkpoint, from the weights' folder, for the first pass.",
        pattern=r"(?!\.{1,2}$)[^/\\]*",
        give="the name of a file in the weights' folder",
    )
    lora: str = setting(
        "",
        "A LoRA of `void train`, from the weights' folder.",
        long_help="A LoRA of `void train`, from the weights' folder; it acts on the pass that it was trained for.",
        pattern=r"(?!\.{1,2}$)[^/\\]*",
        give="the name of a file in the weights' folder",
    )
    lora_strength: float = setting(
        1.0,
        "How strongly the LoRA acts. 0: not at all, 1: as trained.",
        low=0,
        high=4,
        slider=1.5,
        label="LoRA strength",
    )

    @property
    def guided(self) -> bool:
        """Whether the negative prompt has any effect."""
        return self.guidance > 1 or (self.second_pass and not self.guidance)

    def check_together(self) -> None:
        """Raise :class:`SettingError` for settings that contradict each other."""
        if self.negative_prompt and not self.guided:
            raise SettingError("The negative prompt needs a guidance above 1; raise guidance, or leave the prompt out.")
        if self.lora_strength != 1 and not self.lora:
            raise SettingError("lora_strength needs a LoRA; set lora to the name of its file, or leave both out.")
        if self.published_sampling and self.solver != DDIM:
            raise SettingError("The published code samples with DDIM; set solver to ddim, or leave published_sampling.")
        if self.published_sampling and self.piece_length:
            raise SettingError(
                "The published code does not work in pieces; leave piece_length at 0, or leave out published_sampling."
            )
