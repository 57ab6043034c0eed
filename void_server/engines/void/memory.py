"""What the model needs of a graphics card, computed before anything is loaded; imports nothing heavy.

The model's parts take turns on the card: text encoder, the autoencoder's encoder, transformer, the autoencoder's
decoder. A part stays there as long as the others leave it room. What a part needs besides its weights was measured as
live tensors on torch's meta device, layer by layer at full size; a test holds these figures. They do not contain what
CUDA itself takes, nor the workspaces of cuDNN: that is :data:`RESERVE`.
"""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from ...api.errors import SettingError
from .fit import ASPECT, STEP, WINDOW

GIB = 2**30

#: For CUDA itself, the workspaces of its libraries, and gaps between allocations.
RESERVE = int(0.75 * GIB)
#: Weights in bytes: T5-XXL and the transformer in bfloat16, the decoder in float32.
TEXT_ENCODER, TRANSFORMER, ENCODER, DECODER = 9_524_621_312, 11_142_925_568, 184_430_912, 493_473_804
#: A transformer whose blocks take turns has so much on the card: two blocks, and what lies around them.
STREAMED = 2 * 264_500_000 + 160_000_000

# Activations: bytes by pixel of a frame, for the parts of time in which the autoencoder works, and beside that.
_ENCODE, _ENCODE_BESIDE = 18_200, 210_000_000
_DECODE, _DECODE_BESIDE = 45_100, 410_000_000
# Bytes by token of the transformer; its text has 226, and a token is 16 x 16 pixels of two latent frames.
_TOKEN, _TEXT_TOKENS = 81_500, 226
_TEXT = 60_000_000


@dataclass(frozen=True)
class Profile:
    """How the model fits on a card. ``tile`` is the side of the autoencoder's tiles in pixels, 0 for whole frames."""

    name: str
    tile: int = 0
    eight_bit: bool = False

    @property
    def exact(self) -> bool:
        """Whether it changes no pixel."""
        return not self.tile and not self.eight_bit


EXACT, TILED, LOW = Profile("exact"), Profile("tiled", tile=256), Profile("low", tile=256, eight_bit=True)
PROFILES = {profile.name: profile for profile in (EXACT, TILED, LOW)}


def encoding(height: int, width: int) -> int:
    """What encoding frames of that size takes beside the encoder's weights, in bytes."""
    return _ENCODE * height * width + _ENCODE_BESIDE


def decoding(height: int, width: int) -> int:
    """What decoding frames of that size takes beside the decoder's weights, in bytes, in float32."""
    return _DECODE * height * width + _DECODE_BESIDE


def sampling(height: int, width: int, *, guided: bool) -> int:
    """What a step of a window takes beside the transformer's weights, in bytes; guidance runs two at once."""
    tokens = _TEXT_TOKENS + WINDOW // 2 * math.ceil(height / STEP) * math.ceil(width / STEP)
    return _TOKEN * tokens * (2 if guided else 1)


#: Where so much is free beside the text encoder, it stays.
BESIDE_TEXT_ENCODER = TRANSFORMER + ENCODER + DECODER + decoding(384, 672)


def reading() -> int:
    """What reading a prompt takes beside the text encoder's weights, in bytes."""
    return _TEXT


@dataclass(frozen=True)
class Needs:
    """The most that each stage takes of a card, in bytes, weights included; ``sample`` with blocks that take turns."""

    encode: int
    sample: int
    decode: int

    @property
    def least(self) -> int:
        """What the card must have."""
        return max(self.encode, self.sample, self.decode) + RESERVE


def needs(profile: Profile, height: int, width: int, *, guided: bool) -> Needs:
    """What a profile takes at a working size."""
    tall, wide = (min(side, profile.tile or side) for side in (height, width))
    return Needs(
        ENCODER + encoding(tall, wide),
        STREAMED + sampling(height, width, guided=guided),
        DECODER + decoding(tall, wide),
    )


def working_size(height: int) -> tuple[int, int]:
    """The published aspect at a working height; crops of another aspect have the same area."""
    return height, round(height * ASPECT / STEP) * STEP


def check(profile: Profile, height: int, *, guided: bool, available: int) -> None:
    """Raise :class:`SettingError` where a card of ``available`` bytes is too small, saying what would fit."""
    wanted = needs(profile, *working_size(height), guided=guided).least
    if wanted <= available:
        return
    ways = []
    if fitting := highest(profile, guided=guided, available=available):
        ways.append(f"set the working height to {fitting}")
    for other in PROFILES.values():
        if needs(other, *working_size(height), guided=guided).least <= available:
            ways.append(f"set memory to {other.name}")
            break
    raise SettingError(
        f"A working height of {height} needs {wanted / GIB:.1f} GiB of GPU memory with memory {profile.name}, and this "
        f"card has {available / GIB:.1f}; {' or '.join(ways) or 'use a larger card'}."
    )


def highest(profile: Profile, *, guided: bool, available: int) -> int:
    """The largest working height, in steps of 16, that fits ``available`` bytes; 0 for none."""
    heights = range(2160, 63, -STEP)
    return next(
        (h for h in heights if needs(profile, *working_size(h), guided=guided).least <= available),
        0,
    )


@dataclass(frozen=True)
class Card:
    """A graphics card, as its driver reports it; ``memory`` in bytes, ``capability`` such as (8, 9)."""

    index: int
    name: str
    memory: int
    capability: tuple[int, int]


def cards() -> list[Card]:
    """NVIDIA's cards in this machine, asked of its driver, without torch; none where there is no driver."""
    query = ["nvidia-smi", "--query-gpu=index,name,memory.total,compute_cap", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    found = []
    for line in answer.splitlines():
        index, name, memory, capability = (word.strip() for word in line.split(","))
        major, _, minor = capability.partition(".")
        found.append(Card(int(index), name, int(memory) * 2**20, (int(major), int(minor or 0))))
    return found


def of_a_job(cards: Sequence[Card], device: str) -> int:
    """The bytes of the smallest card that a job of this process takes; of the largest here where nobody can say which.

    It takes all that ``CUDA_VISIBLE_DEVICES`` names. CUDA numbers the fastest first, unless it was told to number cards
    as its driver does, and `void serve` tells its workers so.
    """
    by_number = {str(card.index): card.memory for card in cards}
    if os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" and ":" not in device:
        named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
        if set(named) <= set(by_number):
            return min(by_number[name] for name in named)
    return max(by_number.values())
