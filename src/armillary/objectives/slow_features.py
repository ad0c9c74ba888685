"""Slow features: the directions of the latent that differ between scenes and change slowly in one.

Let C be the covariance of latents and D that of their change from step to step. The generalised
eigenvectors b_i of (C, D), scaled so that b_i^T D b_i = 1, have ratios lambda_i = b_i^T C b_i. An
object that rests in most steps is a slow feature; its motion is a small part of the squared change,
so a squared error hardly notices it. The metric G = D^-1 C D^-1 = sum_i lambda_i b_i b_i^T weighs
every direction by its ratio. No label is involved.

How sure: on the tabletop's latents G lifts the skill of a predictor on moved objects from 0.19 to
0.37, and the rank correlation of distance and true distance from 0.68 to 0.87
(``scripts/slow_features.py``).

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
    flat = latents.flatten(0, 1).double()
    change = (latents[:, 1:] - latents[:, :-1]).flatten(0, 1).double()
    centred = flat - flat.mean(0)
    whole = centred.T @ centred / len(flat)
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
