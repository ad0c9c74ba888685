"""Devices: a batch where it is computed on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from armillary.core.values import Batch


def on_device(batch: Batch, device: torch.device) -> Batch:
    """Return a batch on a device; on the processor it is the same one."""
    if device.type == "cpu":
        return batch
    return _each(batch, lambda value: value.to(device, non_blocking=True))


def pinned(batch: Batch) -> Batch:
    """Return a batch in memory from which a GPU copies while the processor goes on."""
    return _each(batch, Tensor.pin_memory)


def _each(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    streams = {name: change(value) for name, value in batch.streams.items()}
    actions = None if batch.actions is None else change(batch.actions)
    return Batch(streams, actions, change(batch.valid))
