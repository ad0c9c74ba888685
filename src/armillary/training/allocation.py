"""Allocation: freed memory is kept, because a training step asks for the same amounts again.

By default glibc gives large blocks back to the system at once, and every step then pays for fresh
pages. With freed memory kept, the recipe ``world`` trained 1.26 times as fast (1,780 and 2,240
frames/s on two cores of an AMD EPYC, one run each).
"""

from __future__ import annotations

import ctypes
import platform

# parameters of mallopt(3) and their values
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_KEPT = 2**31 - 1  # bytes that may lie free, the most that mallopt takes
_AT_ONCE = 2**28  # bytes asked of the system at a time


def keep_memory() -> bool:
    """Let this process keep memory that it frees; return whether the system can do that."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    wanted = {_MMAP_MAX: 0, _TRIM_THRESHOLD: _KEPT, _TOP_PAD: _AT_ONCE}
    return all(mallopt(name, value) for name, value in wanted.items())
