"""SIGReg: pull the distribution of latents to an isotropic Gaussian, along random directions.

Each direction's one-dimensional sample is tested with the Epps-Pulley statistic: the weighted
squared distance between its empirical characteristic function and that of a standard normal.

Source: Balestriero & LeCun 2025, "LeJEPA" (2511.08544), the sketched Epps-Pulley statistic.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.objectives.moments import mean_over_processes

_LAST_KNOT = 3.0


def sigreg(
    latents: Float[Tensor, "B Z"], directions: int, rng: torch.Generator, knots: int = 17
) -> Float[Tensor, ""]:
    """Return the mean Epps-Pulley statistic over random directions, per sample.

    Under several processes the characteristic function is that of the whole batch, so the value
    and its gradient do not depend on how the batch is divided.

    Args:
        latents: one row a sample.
        directions: how many random unit directions are tested.
        rng: draws the directions; must be the same on every process.
        knots: nodes of the trapezoid rule on [0, 3].

    Convention: not multiplied by the number of samples, so that its weight does not depend on the
        batch size (the paper's statistic is this times B).
    """
    axes = torch.randn(latents.shape[1], directions, generator=rng).to(latents.device)
    samples = latents.float() @ torch.nn.functional.normalize(axes, dim=0)
    nodes = torch.linspace(0.0, _LAST_KNOT, knots, device=latents.device)
    normal = torch.exp(-nodes.square() / 2)
    phases = samples[..., None] * nodes  # [B M knots]
    moments = torch.stack([phases.cos().mean(0), phases.sin().mean(0)])
    real, imaginary = mean_over_processes(moments)
    gap = (real - normal).square() + imaginary.square()
    return (gap * (_trapezoid(nodes) * normal)).sum(-1).mean()


def _trapezoid(nodes: Tensor) -> Tensor:
    """Return the weights of the trapezoid rule, doubled because the integrand is even."""
    weights = torch.full_like(nodes, 2 * float(nodes[1] - nodes[0]))
    weights[0] = weights[-1] = weights[0] / 2
    return weights
