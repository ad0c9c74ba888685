"""SIGReg is the Epps-Pulley distance from a standard normal along random directions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numeric import assert_loss_is, normal

from armillary.core.rng import torch_generator
from armillary.objectives import sigreg

DIRECTIONS = 8


def epps_pulley(latents: np.ndarray, width: int, knots: int = 17) -> float:
    """The integral over -3..3, with numpy's trapezoid rule and the complex exponential."""
    axes = torch.randn(width, DIRECTIONS, generator=torch_generator("test-sigreg")).double().numpy()
    samples = latents @ (axes / np.linalg.norm(axes, axis=0))
    nodes = np.linspace(-3, 3, 2 * knots - 1)
    found = np.exp(1j * samples[..., None] * nodes).mean(0)
    gap = np.abs(found - np.exp(-(nodes**2) / 2)) ** 2 * np.exp(-(nodes**2) / 2)
    return float(np.trapezoid(gap, nodes, axis=-1).mean())


def statistic(latents: np.ndarray) -> float:
    tensor = torch.tensor(latents, dtype=torch.float32)
    return float(sigreg(tensor, DIRECTIONS, torch_generator("test-sigreg")))


@pytest.mark.parametrize("knots", [5, 17, 33])
def test_it_is_the_formula(knots):
    assert_loss_is(
        lambda x: sigreg(x, DIRECTIONS, torch_generator("test-sigreg"), knots),
        lambda x: epps_pulley(x, 3, knots),
        1.5 * normal(9, 3) + 0.3,
    )


def test_it_tells_a_normal_from_everything_else():
    sample = normal(4096, 2)
    uniform = (np.argsort(np.argsort(sample, axis=0), axis=0) / 4096 - 0.5) * np.sqrt(12)
    best = statistic(sample)
    # its mean for n normal samples is (integral of (1 - exp(-t^2)) exp(-t^2 / 2)) / n, about 1 / n
    assert best < 4 / 4096
    others = {
        "collapsed": np.zeros_like(sample),
        "shifted": sample + 1,
        "narrow": sample / 2,
        "wide": sample * 2,
        "uniform": uniform,
        "on a line": sample[:, :1] @ np.ones((1, 2)),
    }
    found = {name: statistic(latents) for name, latents in others.items()}
    assert all(value > 5 * best for value in found.values()), found
    assert found["collapsed"] > found["narrow"] > best


def test_a_generator_in_the_same_state_gives_the_same_number():
    assert statistic(normal(20, 4)) == statistic(normal(20, 4))


def test_following_its_gradient_makes_a_sample_normal():
    latents = torch.tensor(0.2 * normal(256, 2) + 1, dtype=torch.float32).requires_grad_()
    optimizer = torch.optim.Adam([latents], lr=0.05)
    for step in range(150):
        optimizer.zero_grad()
        sigreg(latents, 16, torch_generator("test-sigreg", step)).backward()
        optimizer.step()
    assert latents.mean(0).abs().max() < 0.1
    assert (latents.std(0) - 1).abs().max() < 0.15
