"""Decoding: train the decoder for the eyes on a model's frozen latents, in seconds."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from armillary.core.progress import Progress, silent
from armillary.core.rng import generator, key
from armillary.data import Windows
from armillary.models import JEPA
from armillary.models.decoder import Decoder
from armillary.models.seeding import seeded

_LR = 1e-3
_BATCH = 128


def fit_decoder(
    model: JEPA,
    windows: Windows,
    steps: int,
    frames: int = 6000,
    seed: int = 0,
    progress: Progress = silent,
) -> Decoder:
    """Return a decoder fitted to frames of the training clips.

    Args:
        model: stays as it is; its latents are computed once.
        windows: training clips of length 1 with ``rgb``.
        steps: optimizer steps.
        frames: how many frames are learned from.
        seed: names weights, frames and their order.
        progress: called after each step.
    """
    rng = generator("decoder", seed)
    index = rng.permutation(len(windows))[:frames]
    latents, pictures = _pairs(model, windows, index)
    with seeded(key("decoder", seed) >> 65):
        decoder = Decoder(latents.shape[1], model.config.encoder.image_size)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=_LR, fused=True)
    for step in range(steps):
        rows = torch.from_numpy(rng.integers(0, len(latents), _BATCH))
        wanted = (pictures[rows].float() - 127.5) / 64
        loss = nn.functional.l1_loss(decoder(latents[rows]), wanted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.param_groups[0]["lr"] = _LR * (1 - step / steps)
        optimizer.step()
        progress(step + 1, steps)
    return decoder.eval()


@torch.no_grad()
def _pairs(model: JEPA, windows: Windows, index: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    latents, pictures = [], []
    for start in range(0, len(index), 256):
        batch = windows.gather(index[start : start + 256])
        latents.append(model.encode(batch).tokens.flatten(1))
        pictures.append(batch.streams["rgb"].flatten(0, 1))
    return torch.cat(latents), torch.cat(pictures)
