"""Seeding: weights that depend on a seed alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let layers draw their weights from a seed; torch's own chance then goes on as before.

    Args:
        seed: names the weights.
    """
    with torch.random.fork_rng(devices=[]):
        # not torch.manual_seed, which also reseeds accelerators, and fork_rng restores only the CPU
        torch.default_generator.manual_seed(seed)
        yield
