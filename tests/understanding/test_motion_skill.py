"""Motion skill: a read-out whose penalty is chosen on predicted latents reads their motion."""

from __future__ import annotations

import numpy as np
import pytest

from armillary.understanding.motion_skill import (
    PredictedWindows,
    displacements,
    fit_motion_reader,
    skills,
)
from armillary.understanding.ridge import fit_ridge

FRAMES, AHEAD = 1200, 4


def world(seed: int):
    """Return latents, places that move, and predictions that are right but for a little noise.

    Latents hold places twice: with noise, and exactly, as a small difference of large numbers.
    """
    rng = np.random.default_rng(seed)
    places = np.zeros((FRAMES, 2))
    for frame in range(1, FRAMES):
        places[frame] = 0.9 * places[frame - 1] + 0.44 * rng.normal(size=2)
    large = rng.normal(size=places.shape)
    noisy = places + 0.1 * rng.normal(size=places.shape)
    latents = np.concatenate([noisy, large + 0.02 * places, large - 0.02 * places], axis=1)
    now = np.arange(0, FRAMES - AHEAD, 2)
    predicted = latents[now + AHEAD] + 0.1 * rng.normal(size=(len(now), 6))
    return latents, places, PredictedWindows(now, now + AHEAD, predicted)


def test_motion_is_read_where_the_usual_read_out_is_too_steep():
    latents, places, windows = world(0)
    held = np.arange(FRAMES) >= FRAMES * 4 // 5
    usual = fit_ridge(latents, places, held)
    chosen = fit_motion_reader(latents, places, held, [windows])
    assert chosen is not None
    assert chosen.penalty > usual.penalty
    # judged on another recording of the same world
    latents, places, windows = world(1)
    predicted = {"usual": windows.predicted, "chosen": windows.predicted}
    moves = displacements(
        {"usual": usual, "chosen": chosen},
        latents[windows.now],
        predicted,
        places[windows.now],
        places[windows.later],
        windows.now // 60,
    )
    found, _ = skills(moves, 10, 0)
    assert found["usual"] < 0 < 0.8 < found["chosen"]


def test_places_that_are_not_there_are_left_out():
    latents, places, windows = world(0)
    held = np.arange(FRAMES) >= FRAMES * 4 // 5
    gone = places.copy()
    gone[::7] = np.nan
    chosen = fit_motion_reader(latents, gone, held, [windows])
    assert chosen is not None
    assert chosen.predict(latents) == pytest.approx(places, abs=1)


def test_without_a_window_to_choose_on_there_is_no_reader():
    latents, places, windows = world(0)
    held = np.zeros(FRAMES, bool)
    assert fit_motion_reader(latents, places, held, [windows]) is None
    assert fit_motion_reader(latents, places, ~held, []) is None
