"""Moments of a batch that may be spread over several processes, with gradients through all.

Processes hold equally many rows of it, those of rank 0 first.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


def process_count() -> int:
    """Return over how many processes a batch is spread."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_processes(value: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the sum over processes; the value itself in a single process.

    The sum's backward sums the gradients of all processes, and data-parallel training averages
    them afterwards, so each process receives the gradient of the loss of the whole batch.
    """
    if process_count() == 1:
        return value
    total: Tensor = _SumOverProcesses.apply(value)
    return total


def mean_over_processes(value: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the mean over processes; the value itself in a single process.

    With the gradient of the whole batch, as ``sum_over_processes``.
    """
    count = process_count()
    return value if count == 1 else sum_over_processes(value) / count


@torch.no_grad()
def some_rows(rows: Float[Tensor, "F ..."], about: int) -> Float[Tensor, "N ..."]:
    """Return rows of the whole batch, evenly spread: the same in every process, no gradient.

    Args:
        rows: this process's.
        about: how many, at least, and fewer than twice as many; all where there are not so many.
    """
    own, count = len(rows), process_count()
    every = max(1, own * count // about)
    if count == 1:
        return rows[::every]
    chosen = torch.arange(0, own * count, every, device=rows.device) - own * dist.get_rank()
    ours = (chosen >= 0) & (chosen < own)
    some = rows.new_zeros(len(chosen), *rows.shape[1:])
    some[ours] = rows[chosen[ours]]
    dist.all_reduce(some)  # where a row is another process's, ours is 0
    return some


def mean_and_covariance(
    latents: Float[Tensor, "B Z"],
) -> tuple[Float[Tensor, " Z"], Float[Tensor, "Z Z"]]:
    """Return mean and covariance (divisor B) over the whole batch, all processes counted."""
    latents = latents.float()
    mean = mean_over_processes(latents.mean(0))
    centred = latents - mean
    # bfloat16 would round the small covariances that the terms are about
    with torch.autocast(latents.device.type, enabled=False):
        return mean, mean_over_processes(centred.T @ centred / len(latents))


class _SumOverProcesses(torch.autograd.Function):
    """Sum of a tensor over processes, whose backward is the sum of the gradients.

    torch.distributed.nn has the same, deprecated since torch 2.13 without a successor that
    records gradients.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        total = grad_outputs[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total
