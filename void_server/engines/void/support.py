"""What products in 8-bit floating point need of a machine; asked without loading torch."""

from __future__ import annotations

import os
import re
import shutil

from ...plugins import installed

_ADA = (8, 9)
# the first with torch.nn.functional.scaled_mm
_TORCH = (2, 10)
_COMPILERS = ("cc", "gcc", "clang")


def lacks_for_float8(capability: tuple[int, int], torch: str) -> str:
    """What keeps an NVIDIA card of this compute capability from multiplying in float8; empty for nothing.

    ``torch`` is its release. Tokens are scaled by a kernel that Triton makes on the spot, with a C compiler.
    """
    if capability < _ADA:
        return "the card is older than Ada (2022)"
    if tuple(map(int, re.findall(r"\d+", torch)[:2])) < _TORCH:
        return "torch is older than {}.{}".format(*_TORCH)
    if not installed("triton"):
        return "Triton is not installed"
    if not os.environ.get("CC") and not any(map(shutil.which, _COMPILERS)):
        return "there is no C compiler for Triton"
    return ""
