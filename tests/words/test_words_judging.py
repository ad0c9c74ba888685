"""Judging: floors are what they say, pairs cannot be answered by copying, and intervals cover."""

from __future__ import annotations

import json

import numpy as np
import pytest

from armillary.core.errors import ConfigError, DatasetError, FormatError
from armillary.data import Cache
from armillary.words.experience import Experience, recorded, stacked
from armillary.words.floors import (
    Linear,
    NearestNeighbour,
    ThreeGram,
    constant_velocity,
    copy_last,
    windows_of,
)
from armillary.words.language import FORMS, VOCABULARY, WORST_M
from armillary.words.pairs import Pairs, draw_pairs, right_by_distance
from armillary.words.predicting import errors_cm, moments_of, texts_of
from armillary.words.registration import registration
from armillary.words.scenes import SCENES
from armillary.words.settings import WordsConfig
from armillary.words.statistics import difference_row, drawn_means, mean_row, verdict
from armillary.words.summary import _primary
from armillary.words.variants import Moments

FORM = FORMS["digits"]


def _pushing(episodes: int = 40, steps: int = 12) -> Experience:
    """Return a pusher that goes where it is sent, and an object that goes along when near."""
    rng = np.random.default_rng(0)
    actions = rng.uniform(-0.4, 0.4, (episodes, steps, 2))
    states = np.zeros((episodes, steps, 4))
    states[:, 0] = rng.uniform(-0.1, 0.1, (episodes, 4))
    states[::2, 0, 2:] = states[::2, 0, :2] + 0.01
    for t in range(steps - 1):
        near = np.linalg.norm(states[:, t, :2] - states[:, t, 2:], axis=-1) < 0.05
        moved = np.clip(states[:, t, :2] + 0.1 * actions[:, t], -0.2, 0.2) - states[:, t, :2]
        states[:, t + 1, :2] = states[:, t, :2] + moved
        states[:, t + 1, 2:] = states[:, t, 2:] + near[:, None] * moved
    return Experience(states, actions)


def test_windows_hold_what_was_recorded() -> None:
    experience = _pushing(3, 8)
    states, taken, plans, later = windows_of(experience, 2)
    assert states.shape == (9, 4, 4)
    np.testing.assert_array_equal(states[4], experience.states[1, 1:5])
    np.testing.assert_array_equal(taken[4], experience.actions[1, 1:4])
    np.testing.assert_array_equal(plans[4], experience.actions[1, 4:6])
    np.testing.assert_array_equal(later[4], experience.states[1, 5:7])


def test_floors_are_what_they_say() -> None:
    experience = _pushing()
    states, taken, plans, later = windows_of(experience, 3)
    np.testing.assert_array_equal(copy_last(states, taken, plans)[:, 2], states[:, -1])
    wanted = states[:, -1] + 3 * (states[:, -1] - states[:, -2])
    np.testing.assert_allclose(constant_velocity(states, taken, plans)[:, 2], wanted)
    neighbour = NearestNeighbour.fit(experience, 0)  # of itself: it finds the very step
    one = windows_of(experience, 1)
    np.testing.assert_allclose(neighbour(*one[:3])[:, 0], one[3][:, 0], atol=1e-9)
    linear = Linear.fit(experience, (1, 3))(states, taken, plans)
    assert np.isnan(linear[:, 1]).all()
    free = np.abs(later[..., :2]).max(axis=(1, 2)) < 0.19
    assert np.abs(linear[free, 0, :2] - later[free, 0, :2]).max() < 0.02


def test_three_grams_are_counted_and_followed() -> None:
    text = FORM.write(*(lambda e: (e.states, e.actions))(_pushing(5, 6)))
    counts = ThreeGram.fit(text).counts
    naive = np.zeros((len(VOCABULARY),) * 3, np.int64)
    for row in text:
        for a, b, c in zip(row, row[1:], row[2:], strict=False):
            naive[a, b, c] += 1
    np.testing.assert_array_equal(counts, naive)
    before = text[:, : FORM.step_tokens + FORM.state_tokens]
    plans = np.zeros((5, 1, 2))
    written = ThreeGram(counts).write_ahead(FORM, before, plans)
    row = FORM.write_actions(plans[0, 0]).tolist()
    for _ in range(FORM.state_tokens):
        row.append(int(naive[row[-2], row[-1]].argmax()))
    assert written.tokens[0, 0].tolist() == row[-FORM.state_tokens :]


def test_an_unparsable_state_is_as_wrong_as_the_language_allows() -> None:
    target = np.zeros((1, 2, 4))
    predicted = np.array([[[0.03, 0.04, 0, 0], [np.nan] * 4]])
    np.testing.assert_allclose(
        errors_cm(predicted, target), [[[5, 0], [100 * WORST_M] * 2]], atol=1e-9
    )


def test_moments_leave_room_for_history_and_horizon() -> None:
    moments = moments_of((500, 24), (1, 4, 16), 3)
    assert moments.now.min() == 3
    assert moments.now.max() == 24 - 16 - 1
    experience = _pushing(2, 24)
    two = Moments(np.array([0, 1]), np.array([3, 7]), 16, 4)
    np.testing.assert_array_equal(two.states(experience)[1], experience.states[1, 4:8])
    np.testing.assert_array_equal(two.later(experience)[1], experience.states[1, 8:24])
    np.testing.assert_array_equal(two.plans(experience)[1, 0], experience.actions[1, 7])
    text = texts_of(FORM, experience, two)
    assert text.shape == (2, 3 * FORM.step_tokens + FORM.state_tokens)
    read, parsed = FORM.read_states(text[:, -FORM.state_tokens :])
    assert parsed.all()
    assert np.abs(read - two.states(experience)[:, -1]).max() < 0.001


def test_pairs_cannot_be_told_by_copying_and_are_told_by_the_truth() -> None:
    truth = _pushing(80)
    pairs = draw_pairs(truth, 30, 0)
    counts = {kind: int((pairs.kind == kind).sum()) for kind in np.unique(pairs.kind)}
    assert counts["held"] == counts["moved"] > 10
    now, later = pairs.moments.states(truth)[:, -1], pairs.moments.later(truth)[:, 0]
    balanced = pairs.kind != "teleported"
    copied = right_by_distance(now, pairs, truth)
    # the pusher's way is the same in both members of a pair, so that only the object counts
    object_only = np.concatenate([later[:, :2], now[:, 2:]], axis=1)
    assert right_by_distance(object_only, pairs, truth)[balanced].mean() == 0.5
    assert copied[balanced].mean() == 0.5
    assert right_by_distance(later, pairs, truth).mean() == 1.0
    jumps = np.linalg.norm(pairs.displaced[pairs.kind == "teleported"], axis=1)
    assert jumps.min() >= 0.06


def test_a_tie_is_half_right() -> None:
    truth = _pushing(4)
    nowhere = Pairs(np.array(["held"]), Moments(np.array([0]), np.array([4]), 1, 4),
                    np.zeros((1, 2)))  # fmt: skip
    assert right_by_distance(np.zeros((1, 4)), nowhere, truth) == 0.5


def test_differences_are_paired_and_seeds_are_drawn() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0, 5, (3, 100))
    row = difference_row(base + 1, base)
    assert row["difference"] == pytest.approx(1)
    np.testing.assert_allclose(row["interval"], [1, 1], atol=1e-9)
    assert row["p"] < 0.001
    same = difference_row(base, base[:, ::-1])
    assert same["p"] > 0.2
    apart = np.array([[0.0] * 50, [10.0] * 50])  # all that varies is the seed
    assert {*np.round(drawn_means(apart), 6)} == {0.0, 5.0, 10.0}
    assert mean_row(apart)["interval"] == [0.0, 10.0]


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ([-1, -0.3], "W is better by more than the margin"),
        ([0.3, 1], "T is better by more than the margin"),
        ([-0.1, 0.1], "equal within the margin"),
        ([-0.3, 0.1], "undecided"),
    ],
)
def test_verdicts(interval, said) -> None:
    assert verdict({"interval": interval}, 0.2, "W", "T") == said


@pytest.mark.parametrize(
    ("seeds", "said"),
    [(1, "open: 1 of at least 3 seeds"), (2, "open: 2 of at"), (3, "W is better by more than")],
)
def test_fewer_seeds_than_were_registered_decide_nothing(seeds: int, said: str) -> None:
    config, registered = WordsConfig(), registration(SCENES["tabletop"].registration)
    worse = np.full((seeds, 20, len(config.horizons), 2), 5.0)
    found = _primary({"W": worse - 4, "T-probe": worse}, config, registered, "W", "T-probe")
    assert found["verdict"].startswith(said)
    assert found["difference"] == pytest.approx(-4)


def test_another_world_is_brought_to_the_square_of_the_language() -> None:
    scene = SCENES["push_t"]
    agent = [np.array([[0.0, 512.0], [256.0, 0.0]])]
    told = stacked(
        scene, {"agent_xy": agent, "block_xy": agent, "actions": [np.array([[1.0, -0.5]])]}, 1
    )
    np.testing.assert_allclose(told.states[0, :, :2], [[-0.25, 0.25], [0.0, -0.25]])
    np.testing.assert_allclose(told.actions[0, 0], [0.4, -0.2])
    np.testing.assert_allclose(told.actions * scene.action_scale, [[[1.0, -0.5], [0, 0]]])
    with pytest.raises(DatasetError, match="with agent_xy, block_xy, actions; actions is missing"):
        stacked(scene, {"agent_xy": agent, "block_xy": agent}, 1)
    rooms = SCENES["two_rooms"]
    wall = {"agent_xy": [np.full((3, 2), 0.32)], "wall_x": [np.full((3, 1), 0.64)],
            "door_y": [np.zeros((3, 1))], "actions": [np.full((2, 2), 0.025)]}  # fmt: skip
    told = stacked(rooms, wall, 1)
    np.testing.assert_allclose(told.states[0, 0], [0, 0, 0.25, -0.25], atol=1e-9)
    np.testing.assert_allclose(told.actions[0], [[0.4, 0.4], [0.4, 0.4], [0, 0]])
    assert registration(rooms.registration)["sha256"] == ""
    assert registration(scene.registration)["primary"]["variants"] == ["W", "T-probe"]
    with pytest.raises(ConfigError, match="There is no scene called 'kitchen'"):
        WordsConfig(scene="kitchen")


def test_the_registration_has_its_digest(tmp_path) -> None:
    found = registration(SCENES["tabletop"].registration)
    assert found["primary"]["variants"] == ["W", "T-probe"]
    assert len(found["sha256"]) == 64
    file = tmp_path / "registration.json"
    file.write_text(json.dumps({"primary": {"measure": "x"}}))
    with pytest.raises(FormatError, match="a registration needs primary with horizon, margin_cm"):
        registration(file)


def test_sentences_about_recordings() -> None:
    arrays = {name: np.zeros((5, 2), np.float32) for name in ("pusher_xy", "object_xy", "actions")}
    about = {"kinds": {}, "episodes": np.arange(2), "size": (8, 8), "fps": 10.0}
    uneven = Cache(arrays=arrays, starts=np.array([0, 2, 5]), **about)
    with pytest.raises(DatasetError, match="episodes of equal length, got 2 to 3 steps"):
        recorded(uneven, SCENES["tabletop"])
    del arrays["object_xy"]
    with pytest.raises(DatasetError, match="object_xy is missing"):
        recorded(Cache(arrays=arrays, starts=np.array([0, 2, 4]), **about), SCENES["tabletop"])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"form": "prose"}, "no form of text called 'prose'"),
        ({"variants": ("T-tru",)}, "Did you mean 'T-true'"),
        ({"seeds": ()}, "needs a seed, and episodes"),
        ({"steps": 5}, "episodes of at least 6 steps, got 5"),
        ({"candidates": 4}, "at least 8 candidates"),
    ],
)
def test_sentences_about_settings(settings, said) -> None:
    with pytest.raises(ConfigError, match=said):
        WordsConfig(**settings)


def test_horizons_fit_the_episodes() -> None:
    assert WordsConfig().horizons == (1, 4, 8, 16)
    assert WordsConfig(steps=12).horizons == (1, 4, 8)
