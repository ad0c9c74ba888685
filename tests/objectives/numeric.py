"""Formulas in numpy's float64, written from the papers, and their gradients by differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from armillary.core.rng import generator


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Samples of a standard normal, float64."""
    return generator("test-objectives", seed).standard_normal(shape)


def numeric_gradient(formula: Callable[[np.ndarray], float], at: np.ndarray) -> np.ndarray:
    """Central differences of a scalar formula."""
    gradient = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        step = np.zeros_like(at)
        step[place] = 1e-5
        gradient[place] = (formula(at + step) - formula(at - step)) / 2e-5
    return gradient


def value_and_gradient(
    loss: Callable[[Tensor], Tensor], at: np.ndarray
) -> tuple[float, np.ndarray]:
    """What torch says, in float32."""
    point = torch.tensor(at, dtype=torch.float32, requires_grad=True)
    value = loss(point)
    value.backward()
    assert point.grad is not None
    return value.item(), point.grad.double().numpy()


def assert_loss_is(
    loss: Callable[[Tensor], Tensor],
    formula: Callable[[np.ndarray], float],
    at: np.ndarray,
) -> None:
    """The loss and its gradient are those of the formula."""
    value, gradient = value_and_gradient(loss, at)
    np.testing.assert_allclose(value, formula(at), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gradient, numeric_gradient(formula, at), rtol=2e-3, atol=2e-5)
