"""Moments of a batch that may be spread over several processes, with gradients through all."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


def mean_over_processes(value: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the mean over processes of equal batches; the value itself in a single process.

    The sum's backward sums the gradients of all processes, and data-parallel training averages
    them afterwards, so each process receives the gradient of the loss of the whole batch.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return value
    total: Tensor = _SumOverProcesses.apply(value)
    return total / dist.get_world_size()


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
