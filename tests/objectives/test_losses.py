"""Every loss, and its gradient, is the formula that its source gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numeric import assert_loss_is, normal, value_and_gradient

from armillary.core.errors import ConfigError
from armillary.objectives import (
    decaying_weights,
    inverse_dynamics_loss,
    motion_variance_covariance,
    rollout_loss,
    smoothness,
    variance_covariance,
    weighted_sum,
)


def vicreg_variance(latents: np.ndarray, margin: float) -> float:
    spread = np.sqrt(latents.var(0) + 1e-4)
    return float(np.maximum(0, margin - spread).mean())


def vicreg_covariance(latents: np.ndarray) -> float:
    covariance = np.cov(latents.T, bias=True)
    width = latents.shape[1]
    return sum(covariance[i, j] ** 2 for i in range(width) for j in range(width) if i != j) / float(
        width
    )


def test_rollout_loss_is_a_weighted_mean_of_squares():
    came = normal(2, 3, 4, 5, seed=1)
    shares = np.array([1, 0.7, 0.49, 0.343]) / (1 + 0.7 + 0.49 + 0.343)

    def formula(predicted: np.ndarray) -> float:
        return sum(shares[k] * np.mean((predicted - came)[:, :, k] ** 2) for k in range(4))

    target = torch.tensor(came, dtype=torch.float32)
    weights = decaying_weights(4, 0.7)
    assert_loss_is(lambda x: rollout_loss(x, target, weights), formula, normal(2, 3, 4, 5))


@pytest.mark.parametrize("decay", [0.1, 0.7, 1.0])
def test_decaying_weights_sum_to_one_and_decay(decay):
    weights = decaying_weights(6, decay).double().numpy()
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-6)
    np.testing.assert_allclose(weights[1:] / weights[:-1], decay, rtol=1e-5)


@pytest.mark.parametrize("margin", [0.3, 1.0, 2.0])
def test_variance_is_vicregs_hinge(margin):
    latents = normal(7, 4) * [0.1, 0.5, 1, 3]
    assert_loss_is(
        lambda x: variance_covariance(x, margin)[0], lambda x: vicreg_variance(x, margin), latents
    )


def test_covariance_is_vicregs_sum_of_squares():
    latents = normal(7, 4) @ normal(4, 4, seed=1) + 5
    assert_loss_is(lambda x: variance_covariance(x)[1], vicreg_covariance, latents)


def test_decorrelated_latents_of_unit_spread_cost_nothing():
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    variance, covariance = variance_covariance(1.01 * signs)
    assert float(variance) == 0 and float(covariance) < 1e-10


def test_motion_terms_are_vicreg_of_what_strays_from_the_clips_mean():
    latents = normal(3, 5, 2)

    def moving(x: np.ndarray) -> np.ndarray:
        return (x - x.mean(1, keepdims=True)).reshape(15, 2)

    assert_loss_is(
        lambda x: motion_variance_covariance(x, 2.0)[0],
        lambda x: vicreg_variance(moving(x), 2.0),
        latents,
    )
    assert_loss_is(
        lambda x: motion_variance_covariance(x, 2.0)[1],
        lambda x: vicreg_covariance(moving(x)),
        latents,
    )


def test_motion_terms_do_not_see_what_rests():
    latents = torch.tensor(normal(3, 5, 2), dtype=torch.float32)

    def loss(offset: torch.Tensor) -> torch.Tensor:
        return sum(motion_variance_covariance(latents + offset[:, None], 2.0))

    still, gradient = value_and_gradient(loss, np.zeros((3, 2)))
    moved, _ = value_and_gradient(loss, 3 * normal(3, 2, seed=4))
    assert np.abs(gradient).max() < 1e-6
    assert moved == pytest.approx(still, rel=1e-4)


def test_smoothness_is_the_mean_squared_step():
    assert_loss_is(smoothness, lambda x: float(np.mean(np.diff(x, axis=1) ** 2)), normal(2, 4, 3))


def test_inverse_dynamics_is_the_mean_squared_error_of_actions():
    actions = normal(2, 3, 2, seed=1)
    target = torch.tensor(actions, dtype=torch.float32)
    assert_loss_is(
        lambda x: inverse_dynamics_loss(x, target),
        lambda x: float(np.mean((x - actions) ** 2)),
        normal(2, 3, 2),
    )


def test_errors_of_actions_beyond_a_limit_count_linearly():
    actions = normal(2, 3, 2, seed=1)
    target = torch.tensor(actions, dtype=torch.float32)

    def robust(x: np.ndarray) -> float:
        apart = np.abs(x - actions)
        return float(np.where(apart < 0.7, apart**2, 1.4 * apart - 0.49).mean())

    assert_loss_is(lambda x: inverse_dynamics_loss(x, target, 0.7), robust, normal(2, 3, 2))


def test_weighted_sum_weighs_by_name():
    terms = {"a": torch.tensor(2.0), "b": torch.tensor(3.0)}
    assert float(weighted_sum(terms, {"b": 10.0, "a": 1.0})) == 32


@pytest.mark.parametrize(
    "weights", [{"a": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 1.0, "x": 1.0}]
)
def test_a_term_without_weight_or_a_weight_without_term_is_one_sentence(weights):
    terms = {"a": torch.tensor(2.0), "b": torch.tensor(3.0)}
    with pytest.raises(ConfigError, match=r"Loss terms \['a', 'b'\] need exactly these weights"):
        weighted_sum(terms, weights)
