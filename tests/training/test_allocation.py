"""Memory that is freed is kept, so a second block of the same size costs no fresh pages."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys

import pytest

TAKES = """
import resource, sys
from armillary.training.allocation import keep_memory
if sys.argv[1] == "kept":
    assert keep_memory()
def take():
    block = bytearray(64 * 2**20)
    for at in range(0, len(block), 4096):
        block[at] = 1
take()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
take()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.runs  # a process of its own, which counts pages: 15 s
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_a_block_of_the_same_size_costs_no_fresh_pages():
    pages = 64 * 2**20 // resource.getpagesize()
    faults = {
        how: int(subprocess.check_output([sys.executable, "-c", TAKES, how]))
        for how in ("kept", "given back")
    }
    assert faults["given back"] > pages / 2
    assert faults["kept"] < pages / 100
