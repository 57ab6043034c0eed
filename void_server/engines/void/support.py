"""What products in 8-bit floating point need of a machine; asked without loading torch."""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path

from ...plugins import installed

# The first that multiplies in float8, and the last generation for which torch has products of scaled rows.
_ADA, _BLACKWELL = (8, 9), 12
# the first with torch.nn.functional.scaled_mm
_TORCH = (2, 10)


def lacks_for_float8(capability: tuple[int, int], torch: str) -> str:
    """What keeps an NVIDIA card of this compute capability from multiplying in float8; empty for nothing.

    ``torch`` is its release. Tokens are scaled by a kernel that Triton makes on the spot, with a C compiler.
    """
    if sys.platform == "win32":
        return "torch has no such products on Windows"
    if capability < _ADA:
        return "the card is older than Ada (2022)"
    if capability[0] > _BLACKWELL:
        return "torch has no such products for compute capability {}.{}".format(*capability)
    if tuple(map(int, re.findall(r"\d+", torch)[:2])) < _TORCH:
        return "torch is older than {}.{}".format(*_TORCH)
    if not installed("triton"):
        return "Triton is not installed"
    return _lacks_to_compile()


def _lacks_to_compile() -> str:
    """What Triton lacks to compile the module by which it loads kernels; it looks in these places and no others."""
    named = os.environ.get("CC")
    # not its first word: Triton takes all of it for the program's name
    if named is not None and not shutil.which(named):
        return f"there is no program {named!r}, which CC names as the C compiler (without options)"
    if named is None and not any(map(shutil.which, ("gcc", "clang"))):
        return "there is no C compiler for Triton (gcc or clang)"
    # on Debian the default scheme of the system's Python names a folder that is not there
    headers = sysconfig.get_path("include", "posix_prefix")
    if not Path(headers, "Python.h").is_file():
        return f"there is no Python.h in {headers} for Triton (install Python's development package)"
    return ""
