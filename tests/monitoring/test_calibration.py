"""The bound on false alarms holds for any scores; rows count what they say."""

import numpy as np
import pytest
from guard_toys import normal_life
from hypothesis import example, given
from hypothesis import strategies as st

from armillary.core.errors import ConfigError
from armillary.core.rng import generator
from armillary.core.values import ActionBounds
from armillary.monitoring import conformal_limit, fit_normal, set_limits
from armillary.monitoring.calibration import shared_limits
from armillary.monitoring.guard_rows import Trial, caught_row, false_row, first_shown
from armillary.worlds.perturbed import Event

SCORES = st.lists(st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0]), min_size=2, max_size=40)


@given(SCORES, st.floats(0.01, 0.99))
def test_whichever_episode_is_the_new_one_at_most_the_share_of_them_alarms(scores, share):
    values = np.array(scores)
    others = [np.delete(values, place) for place in range(len(values))]
    try:
        limits = [conformal_limit(rest, share) for rest in others]
    except ConfigError:
        assert 1 / share - 1 > len(others[0]) - 1e-6  # too few, and only then
        return
    alarms = sum(value > limit for value, limit in zip(values, limits, strict=True))
    assert alarms <= share * len(values) + 1e-6


def test_the_promised_share_is_kept_and_not_undercut_by_much():
    rng = generator("test.conformal", 0)
    alarms = [
        rng.exponential() > conformal_limit(rng.exponential(size=99), 0.05) for _ in range(4000)
    ]
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.012)


def test_too_few_episodes_are_refused_with_the_number_that_is_needed():
    assert conformal_limit(np.arange(99.0), 0.01) == 98
    with pytest.raises(ConfigError, match=r"1 % .* needs at least 99 .*; got 98"):
        conformal_limit(np.arange(98.0), 0.01)
    with pytest.raises(ConfigError, match="finite"):
        conformal_limit(np.array([np.nan] * 99), 0.01)
    with pytest.raises(ConfigError, match=r"1 % .* needs at least 99 .*; got 20"):
        set_limits(fit_normal(normal_life(5, 0)), normal_life(20, 1), 0.01, 4, "random")


def test_the_share_of_all_questions_together_is_kept():
    rng = generator("test.shared", 0)
    alarms = [
        (rng.pareto((1.5, 3, 6)) > shared_limits(rng.pareto((1.5, 3, 6), (149, 3)), 0.05)).any()
        for _ in range(3000)
    ]
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.015)


def test_one_odd_episode_does_not_set_the_limit_of_its_question():
    highest = generator("test.odd", 1).exponential(size=(300, 3))
    calm = shared_limits(highest, 0.01)
    highest[0, 2] = 1000.0
    np.testing.assert_allclose(shared_limits(highest, 0.01), calm, rtol=0.5)


@example(25, 1 / 3)  # the episode that sets the limit passed it, by a rounding
@given(st.integers(0, 50), st.floats(0.02, 0.5))
def test_no_more_than_the_share_of_the_calibration_itself_alarms(seed, share):
    highest = generator("test.itself", seed).pareto(2.0, size=(80, 3))
    passed = (highest > shared_limits(highest, share)).any(axis=1).sum()
    assert passed < share * 81


def test_a_question_that_never_speaks_in_normal_life_alarms_when_it_does():
    highest = generator("test.silent", 0).exponential(size=(60, 2)) * np.array([1.0, 0.0])
    assert shared_limits(highest, 0.05)[1] == 0


def test_rows_count_what_they_say():
    trials = [
        Trial(event=5, shows=5, alarm=5),  # at once: 1 step
        Trial(event=5, shows=7, alarm=6),  # before it had to show: at once
        Trial(event=5, shows=5, alarm=9),  # the 5th step, just in time
        Trial(event=5, shows=5, alarm=10),  # too late
        Trial(event=5, shows=5, alarm=4),  # false, before the event: not caught
        Trial(event=5, shows=5, alarm=None),
        Trial(event=5, shows=None, alarm=8),  # could not be seen: not counted
    ]
    row = caught_row(trials, 5)
    assert (row["n"], row["caught"], row["caught_later"]) == (6, 3, 1)
    assert (row["false_alarm_before"], row["never_shown"]) == (1, 1)
    assert row["median_latency_steps"] == 3.0
    assert caught_row([], 5)["rate"] is None
    assert false_row([None, 3, None, None])["rate"] == 0.25


def test_a_stuck_actuator_shows_at_the_first_large_action():
    bounds = ActionBounds(np.array([-0.4, -0.4]), np.array([0.4, 0.4]))
    actions = np.array([[0.4, 0.4], [0.4, 0.4], [0.05, 0.0], [0.1, -0.1], [0.4, 0.0]])
    stuck = Event("stuck", 3)  # actions[2] is the first that is ignored
    assert first_shown(stuck, actions, bounds, 0.25) == 4
    assert first_shown(stuck, actions, bounds, 0.5) == 5
    assert first_shown(stuck, actions, bounds, 0.9) is None
    assert first_shown(Event("camera", 3), actions, bounds, 0.9) == 3
