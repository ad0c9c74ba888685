"""Devices: a batch where it is computed on."""

from __future__ import annotations

import torch

from armillary.core.values import Batch


def on_device(batch: Batch, device: torch.device) -> Batch:
    """Return a batch on a device; on the processor it is the same one."""
    if device.type == "cpu":
        return batch
    streams = {name: value.to(device) for name, value in batch.streams.items()}
    actions = None if batch.actions is None else batch.actions.to(device)
    return Batch(streams, actions, batch.valid.to(device))
