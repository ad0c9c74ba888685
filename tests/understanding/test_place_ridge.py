"""What is learned at one place holds at every other; the fit is the ridge that a solver finds."""

import numpy as np

from armillary.understanding.place_ridge import PlaceRidge

SIDE, STEPS = 8, 160
FOLDS = np.arange(STEPS - 4) * 5 // (STEPS - 4) == np.arange(5)[:, None]


def walkers(rows, seed):
    """Feature maps with a blob that walks along one of the rows, and turns at the walls."""
    rng = np.random.default_rng(seed)
    maps = np.zeros((STEPS, 2, SIDE, SIDE), np.float32)
    row, column, way = rows[0], 3, 1
    for step in range(STEPS):
        if not 0 <= column + way < SIDE:
            row, way = rng.choice(rows), -way
        column += way
        maps[step, :, row, column] = 1, 2
    return maps.reshape(STEPS, -1)


def test_what_moves_in_the_upper_half_is_predicted_in_the_lower_half():
    upper, lower = walkers([1, 2], 0), walkers([5, 6], 1)
    now = np.arange(2, STEPS - 2)
    ridge = PlaceRidge.fit(upper, now, 1, FOLDS)
    inside = now[np.abs(np.argmax(lower[now, :64], 1) % SIDE - 3.5) < 3]  # not at a wall
    wrong = ridge.predict(lower, inside) - lower[inside + 1]
    copied = lower[inside] - lower[inside + 1]
    assert np.square(wrong).sum() < 0.3 * np.square(copied).sum()


def test_the_fit_is_the_ridge_that_a_solver_finds():
    values = walkers([1, 2, 5], 2) + np.random.default_rng(3).normal(0, 0.1, (STEPS, 128))
    values = values.astype(np.float32)
    now, ahead = np.arange(2, STEPS - 2), 2
    ridge = PlaceRidge.fit(values, now, ahead, FOLDS)
    maps = values.reshape(STEPS, 2, SIDE, SIDE)
    here = np.concatenate([maps[now] - maps[now].mean(0), maps[now] - maps[now - 1]], 1)
    padded = np.pad(here, ((0, 0), (0, 0), (1, 1), (1, 1)))
    near = [padded[:, :, a : a + SIDE, b : b + SIDE] for a in range(3) for b in range(3)]
    inputs = np.stack(near, 2).reshape(len(now), -1, SIDE**2).transpose(0, 2, 1)
    inputs = inputs.reshape(-1, inputs.shape[2]).astype(np.float64)
    change = (maps[now + ahead] - maps[now]).reshape(len(now), 2, -1).transpose(0, 2, 1)
    square = inputs.T @ inputs
    square += ridge.penalty * np.diag(square).mean() * np.eye(len(square))
    weights = np.linalg.solve(square, inputs.T @ change.reshape(-1, 2))
    assert np.allclose(ridge.weights.numpy(), weights, atol=1e-4)
    predicted = ridge.predict(values, now).reshape(len(now), 2, -1)
    wanted = (inputs @ weights).reshape(len(now), -1, 2).transpose(0, 2, 1)
    assert np.allclose(predicted - maps[now].reshape(len(now), 2, -1), wanted, atol=1e-3)
