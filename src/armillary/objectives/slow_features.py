"""Slow features: the directions of the latent along which a clip goes far in small steps.

Let C be the covariance of the latent's change over a whole clip and D that of its change from step
to step. The generalised eigenvectors b_i of (C, D), scaled so that b_i^T D b_i = 1, have ratios
lambda_i = b_i^T C b_i. What flickers has a small ratio, and so has what never changes in a clip. An
object that is pushed away and stays there has a large one; its motion is a small part of the
squared change, so a squared error hardly notices it. The metric G = D^-1 C D^-1 =
sum_i lambda_i b_i b_i^T weighs every direction by its ratio. No label is involved.

With C over all latents instead, what tells scenes apart (their colours) has the largest ratios.
On the latents of the recipe ``world`` the two gave the same skill on moved objects (0.35 and 0.36,
one seed) and the first a smaller error in frozen features (0.161 and 0.181).

Axes: B clips, T steps, Z flattened latent.
Source: slow feature analysis, Wiskott and Sejnowski 2002; the metric is ours.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

SHRINKAGE = 0.05  # of D towards a multiple of the identity
_LEAST = 1e-9


def slow_metric(
    latents: Float[Tensor, "B T Z"], plain: float, shrinkage: float = SHRINKAGE
) -> Float[Tensor, "Z Z"]:
    """Return a metric M under which slow and fast features both count; symmetric, positive.

    M is ``plain`` times the identity plus G, each scaled so that the mean squared change of the
    latents from step to step is 1 under it.

    Args:
        latents: of training clips.
        plain: weight of the identity; above 0 it keeps what is fast from being lost.
        shrinkage: of the covariance of change.
    """
    change = (latents[:, 1:] - latents[:, :-1]).flatten(0, 1).double()
    far = (latents[:, -1] - latents[:, 0]).double()
    whole = far.T @ far / len(far)
    step = change.T @ change / len(change)
    eye = torch.eye(len(step), dtype=step.dtype, device=step.device)
    mean_change = (step.trace() / len(step)).clamp_min(_LEAST)
    inverse = torch.linalg.inv(step + shrinkage * mean_change * eye)
    slow = inverse @ whole @ inverse
    slow_change = ((slow @ step).trace() / len(step)).clamp_min(_LEAST)
    metric = plain * eye / mean_change + slow / slow_change
    return (metric + metric.T) / 2


def root_of(metric: Float[Tensor, "Z Z"]) -> tuple[Tensor, Tensor]:
    """Return the symmetric square root of a metric and its inverse, [Z Z] each."""
    values, axes = torch.linalg.eigh(metric)
    root = values.clamp_min(_LEAST).sqrt()
    return (axes * root) @ axes.T, (axes / root) @ axes.T
