"""Collapse is named when it is there, and only then."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numeric import normal

from armillary.objectives import CollapseDiagnosis, diagnose_collapse

WIDTH = 32


def diagnose(latents: np.ndarray) -> CollapseDiagnosis:
    return diagnose_collapse(torch.tensor(latents, dtype=torch.float32))


def test_moving_gaussian_latents_are_healthy():
    found = diagnose(normal(64, 8, WIDTH))
    assert found.warnings == ()
    assert found.effective_rank > 0.9 * WIDTH
    assert found.mean_spread == pytest.approx(1, abs=0.05)
    assert found.motion_share == pytest.approx(7 / 8, abs=0.02)
    assert found.width == WIDTH


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_a_constant_encoder_is_reported(noise):
    found = diagnose(np.full((16, 8, WIDTH), 3.0) + noise * normal(16, 8, WIDTH))
    assert "The encoder has collapsed" in found.warnings[0]


def test_latents_on_a_line_are_reported():
    found = diagnose(normal(16, 8, 1) @ normal(1, WIDTH, seed=1))
    assert found.effective_rank == pytest.approx(1, abs=0.01)
    assert "The latents use 1.0 of 32 dimensions" in found.warnings[0]


def test_latents_of_what_never_changes_are_reported():
    found = diagnose(np.repeat(normal(64, 1, WIDTH), 8, 1))
    assert found.motion_share < 1e-6
    assert "never changes" in found.warnings[0]


def test_one_dead_dimension_shows_in_the_least_spread():
    latents = normal(16, 8, WIDTH)
    latents[..., 5] = 0
    found = diagnose(latents)
    assert found.least_spread == 0 and found.mean_spread > 0.9


def test_the_effective_rank_is_the_exponential_of_the_spectrums_entropy():
    latents = normal(32, 4, 3) * [3, 1, 0.2]
    spectrum = np.linalg.eigvalsh(np.cov(latents.reshape(-1, 3).T, bias=True))
    share = spectrum / spectrum.sum()
    expected = np.exp(-(share * np.log(share)).sum())
    assert diagnose(latents).effective_rank == pytest.approx(expected, rel=1e-4)
