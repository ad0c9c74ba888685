"""Where surprise falls, beside where it would fall if events were exchanged between quadruplets."""

from __future__ import annotations

import numpy as np
import pytest

from armillary.understanding.suites.quadruplets.scoring import Scores


def scores(peaks: np.ndarray, events: np.ndarray) -> Scores:
    count, none = len(events) // 2, np.zeros(0)
    return Scores(np.ones(count), np.ones((count, 2)), none, none, peaks, events, none)


def test_by_chance_is_the_mean_over_all_exchanges():
    rng = np.random.default_rng(0)
    events = np.repeat(rng.integers(8, 20, 30), 2)
    peaks = np.where(rng.random(60) < 0.7, events + rng.integers(0, 3, 60), rng.integers(0, 31, 60))
    near = [
        0 <= peak - other <= 2
        for place, peak in enumerate(peaks)
        for quadruplet, other in enumerate(events[::2])
        if quadruplet != place // 2
    ]
    found = scores(peaks, events)
    assert found.localised_by_chance == pytest.approx(100 * np.mean(near))
    assert found.localised_by_chance < 40


def test_where_all_events_come_at_one_step_chance_is_as_good_as_knowing():
    events, peaks = np.full(20, 12), np.tile([12, 25], 10)
    assert scores(peaks, events).localised_by_chance == pytest.approx(50)
    assert scores(peaks[:2], events[:2]).localised_by_chance == 0
