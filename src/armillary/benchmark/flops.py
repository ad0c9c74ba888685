"""Floating-point work: counted for a step, and the most that this machine does in the same type.

Counted are matrix products, convolutions and attention, forward and backward, one multiply-add as
two operations; what is elementwise is left out, so a utilisation is a lower bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

_SIDE = 2048  # 17 GFLOP a product: the cost of the call is not seen


def count_flops(work: Callable[[], object]) -> int:
    """Return the floating-point operations of one call."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def matmul_flops_per_s(dtype: torch.dtype, seconds: float = 0.5) -> float:
    """Return FLOP/s of a square matrix product with the threads that torch has now.

    Args:
        dtype: type of the two matrices.
        seconds: how long to measure; the fastest product counts.
    """
    a, b = (torch.randn(_SIDE, _SIDE).to(dtype) for _ in range(2))
    fastest, begun = float("inf"), time.perf_counter()
    a @ b
    while fastest == float("inf") or time.perf_counter() - begun < seconds:
        begin = time.perf_counter()
        a @ b
        fastest = min(fastest, time.perf_counter() - begin)
    return 2.0 * _SIDE**3 / fastest
