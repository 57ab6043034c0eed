"""The process's memory while it runs a job: kept for what is asked for next, and given back in the end."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# In a process of its own, as all of a process's memory is meant.
_PROGRAM = """
import resource
import numpy as np
from void_server.pipeline import heap

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def megabytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20

with heap.kept():
    faults()
    again, kept = faults(), megabytes()
print(again, kept - megabytes(), faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_freed_memory_serves_again_and_goes_back_in_the_end() -> None:
    said = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True).stdout
    again, given_back, afterwards = map(float, said.split())
    # 128 MB are 64 pages of 2 MB, or far more small ones
    assert again < 16
    assert given_back > 100
    assert afterwards > 32
