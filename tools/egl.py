"""Exit 0 if this machine can draw without a screen (EGL with a driver), 1 if not."""

from __future__ import annotations

import ctypes
import sys


def loads(name: str) -> bool:
    """Return whether the dynamic loader finds a library."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


DRIVERS = ("libEGL_mesa.so.0", "libEGL_nvidia.so.0")
sys.exit(0 if loads("libEGL.so.1") and any(loads(driver) for driver in DRIVERS) else 1)
