"""Randomness: counter-based generators keyed by what they are for, never a global seed.

A stream is named by a purpose and integers, e.g. ``("recorder", seed, episode, step)``. Two
streams with different names are independent, and a stream does not depend on which process
draws from it, nor on what was drawn before it.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox).
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def key(purpose: str, *counters: int) -> int:
    """Return the 128-bit key of the stream that belongs to a purpose and its counters."""
    text = purpose + "".join(f"/{int(counter)}" for counter in counters)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


def generator(purpose: str, *counters: int) -> np.random.Generator:
    """Return numpy's counter-based generator (Philox) for a named stream."""
    return np.random.Generator(np.random.Philox(key=key(purpose, *counters)))


def torch_generator(purpose: str, *counters: int) -> torch.Generator:
    """Return a torch CPU generator for a named stream (63 bits of its key seed it)."""
    return torch.Generator().manual_seed(key(purpose, *counters) >> 65)
