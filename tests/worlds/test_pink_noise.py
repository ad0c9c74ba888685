"""Pink noise keeps to its bounds, fills them evenly, and its power falls about as 1 / frequency."""

from __future__ import annotations

import numpy as np

from armillary.core.values import ActionBounds
from armillary.worlds.policies import pink_action

BOUNDS = ActionBounds(np.array([-1.0, 0.0]), np.array([3.0, 0.1]))


def way(steps: int, seed: int) -> np.ndarray:
    rng, state, actions = np.random.default_rng(seed), None, []
    for _ in range(steps):
        action, state = pink_action(BOUNDS, rng, state)
        actions.append(action)
    return np.stack(actions)


def test_actions_are_uniform_within_their_bounds() -> None:
    starts = np.concatenate([way(3, seed) for seed in range(3000)])
    assert (starts >= BOUNDS.low).all() and (starts <= BOUNDS.high).all()
    for share in (0.05, 0.25, 0.5, 0.9):
        below = (starts < BOUNDS.low + share * (BOUNDS.high - BOUNDS.low)).mean(0)
        np.testing.assert_allclose(below, share, atol=0.02)


def test_power_falls_about_as_one_over_frequency() -> None:
    power = np.zeros(129)
    for seed in range(400):
        values = way(256, seed)[:, 0]
        power += np.abs(np.fft.rfft((values - values.mean()) * np.hanning(256))) ** 2
    waves = np.arange(2, 65)
    slope = np.polyfit(np.log(waves), np.log(power[waves]), 1)[0]
    assert -1.5 < slope < -0.7  # white noise has 0, a random walk -2


def test_one_seed_gives_one_way_and_its_numbers_are_independent() -> None:
    one = way(2000, 7)
    np.testing.assert_array_equal(one, way(2000, 7))
    others = np.stack([way(1, seed)[0] for seed in range(2000)])
    assert abs(np.corrcoef(others.T)[0, 1]) < 0.07
