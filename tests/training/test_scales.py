"""The scales of a model are those of its training clips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from tiny_run import VIDEO, tiny_windows

from armillary.core.values import Batch
from armillary.data import Windows
from armillary.models import JEPA, untrained
from armillary.training import fit_scales

WHITENED = replace(VIDEO, encoder=replace(VIDEO.encoder, colours="whitened"))


class Dimmed(Windows):
    """The same clips at half the contrast, and darker."""

    def gather(self, indices) -> Batch:
        batch = super().gather(indices)
        return Batch(
            {**batch.streams, "rgb": batch.streams["rgb"] // 2 + 5}, batch.actions, batch.valid
        )


def dimmed(windows: Windows) -> Windows:
    other = Dimmed.__new__(Dimmed)
    other.__dict__.update(windows.__dict__)
    return other


def fitted(config, windows: Windows) -> JEPA:
    model = untrained(config, 0).eval()
    fit_scales(model, windows, 0)
    return model


def seen(model: JEPA, windows: Windows) -> torch.Tensor:
    with torch.no_grad():
        return model.encode(windows.gather(np.arange(4))).tokens


def test_a_recording_in_another_light_is_seen_alike_by_the_model_of_its_own():
    bright, dark = tiny_windows(), dimmed(tiny_windows())
    one, other = seen(fitted(WHITENED, bright), bright), seen(fitted(WHITENED, dark), dark)
    assert (one - other).abs().max() < 0.05 * one.std()
    fixed = fitted(VIDEO, bright)
    assert (seen(fixed, bright) - seen(fixed, dark)).abs().max() > 0.2 * one.std()


def test_fixed_colours_are_the_same_for_every_recording():
    model = fitted(VIDEO, tiny_windows())
    assert torch.equal(model.normalizer.colour_mean, torch.full((3,), 127.5))
    assert torch.equal(model.normalizer.colour_whitening, torch.eye(3) / 64)
