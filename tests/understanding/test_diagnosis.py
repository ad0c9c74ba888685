"""Truths of a diagnosis: an oracle has no error, a copier is copy-last, collapse is no help."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from drifting_points import SIDE, STEPS, Constant, Copier, Oracle, episode, toy

from armillary.core.errors import DatasetError
from armillary.core.rng import generator
from armillary.core.values import Stream
from armillary.data import Cache
from armillary.understanding.action_rank import action_rank
from armillary.understanding.diagnosis import diagnose
from armillary.understanding.evidence import Limits
from armillary.understanding.goal_progress import place_progress, spearman
from armillary.understanding.prediction_error import Baselines, relative_errors
from armillary.understanding.stretches import LONGEST, Projection, chosen, cut, cut_in_time, see

pytestmark = pytest.mark.runs  # whole diagnoses: 5 to 28 s each

LIMITS = Limits(draws=200, ranked=60)
TRAINING, HELD_OUT = np.arange(28), np.arange(28, 40)


@pytest.fixture(scope="module")
def cache():
    return toy()


def diagnosed(model, cache, skip=1, acts=True, limits=LIMITS):
    parts = (cut(cache, episodes, skip) for episodes in (TRAINING, HELD_OUT))
    return diagnose(model, cache, *parts, skip, None, acts, limits)


@pytest.fixture(scope="module")
def oracle(cache):
    return diagnosed(Oracle(), cache)


def rows(found, space="latent"):
    return [row for row in found.prediction if row["space"] == space]


def test_an_oracle_has_no_error_at_any_horizon(oracle):
    assert [row["steps"] for row in rows(oracle)] == [1, 2, 4, 8, 16]
    assert [row["model"] for row in rows(oracle)] == pytest.approx([0.0] * 5, abs=1e-6)
    assert all(row["intervals"]["margin"][0] > 0 for row in rows(oracle) if row["steps"] == 4)


def test_ridge_finds_the_linear_law_too(oracle):
    assert [row["ridge"] for row in rows(oracle)] == pytest.approx([0.0] * 5, abs=1e-3)


def test_an_oracle_ranks_the_true_actions_first(oracle):
    assert oracle.ranks.top1 == 1
    assert oracle.ranks.mean_rank == 1
    assert oracle.ranks.n == 60


def test_an_oracle_predicts_all_motion_and_no_other(oracle):
    moved = oracle.moved["thing_xy"]
    assert moved["skill"] == pytest.approx({"4": 1.0, "8": 1.0}, abs=1e-3)
    assert moved["bound"] == pytest.approx({"4": 1.0, "8": 1.0}, abs=1e-3)
    assert moved["false_motion"] == pytest.approx(0, abs=1e-3)
    assert 0 < moved["moved_share"] < oracle.moved["point_xy"]["moved_share"]
    assert min(moved["n"].values()) >= 20
    assert oracle.read_out["thing_xy"]["r2"] > 0.999


def in_space(number):
    """An episode of the toy in which the thing's place has a height, which never changes."""
    made = episode(number)
    flat = made.streams["thing_xy"].values
    place = np.column_stack([flat, np.full(len(flat), 7, np.float32)])
    names = {"thing_xyz": place, "things_xyz": np.hstack([place, place]), "speed": flat}
    truth = {name: Stream("truth", values) for name, values in names.items()}
    return replace(made, streams={**made.streams, **truth})


def test_a_place_in_space_is_judged_as_one_point(oracle):
    cache = Cache.from_episodes([in_space(number) for number in range(40)], SIDE)
    found = diagnosed(Oracle(), cache)
    assert set(found.moved) == set(found.read_out) == {"point_xy", "thing_xy", "thing_xyz"}
    flat, space = oracle.moved["thing_xy"], found.moved["thing_xyz"]
    assert space["skill"] == pytest.approx({"4": 1.0, "8": 1.0}, abs=1e-3)
    for same in ("range", "moved_share", "n"):  # the height adds nothing, and no point of its own
        assert space[same] == flat[same]


def test_model_steps_of_two_frames_hold_both_actions(cache):
    found = diagnosed(Oracle(), cache, skip=2)
    assert [row["steps"] for row in rows(found)] == [1, 2, 4, 8]
    assert [row["model"] for row in rows(found)] == pytest.approx([0.0] * 4, abs=1e-6)
    assert found.ranks.top1 == 1


def test_a_copier_is_copy_last_exactly(cache):
    found = diagnosed(Copier(), cache)
    for row in rows(found):
        assert row["model"] == row["copy_last"]
        assert row["intervals"]["model"] == row["intervals"]["copy_last"]
        assert row["intervals"]["margin"][1] <= 0
    assert found.ranks.top1 == pytest.approx(1 / 32)
    assert found.ranks.mean_rank == pytest.approx(16.5)
    assert found.moved["thing_xy"]["skill"]["4"] == pytest.approx(0, abs=1e-9)
    assert found.moved["thing_xy"]["false_motion"] == pytest.approx(0, abs=1e-9)


def test_a_constant_encoder_has_collapsed_and_beats_nobody(cache):
    found = diagnosed(Constant(), cache)
    assert "The encoder has collapsed" in found.scale.warnings[0]
    assert all(np.isnan(row["model"]) for row in rows(found))
    assert all(row["intervals"]["margin"] is None for row in rows(found))
    assert found.progress.spearman == 0
    assert all(followed.latent.spearman == 0 for followed in found.followed.values())
    # frozen features know: a latent that says nothing is not better than ridge
    for row in rows(found, "features"):
        assert row["model"] == row["no_latent"]
        assert row["intervals"]["margin"][1] <= 0


@pytest.mark.slow  # 30 s, the largest toy
def test_features_favour_the_oracle_over_a_copier():
    cache = toy(140)
    sides = [cut(cache, episodes, 1) for episodes in (np.arange(110), np.arange(110, 140))]
    oracle, copier = (
        rows(diagnose(model, cache, *sides, limits=LIMITS), "features")[4]
        for model in (Oracle(), Copier())
    )
    assert oracle["model"] < 0.9 * min(copier["model"], oracle["no_latent"])
    assert oracle["intervals"]["margin"][0] > 0 > copier["intervals"]["margin"][1]
    # of the picture's own features nothing depends on the model
    assert all(oracle[name] == copier[name] for name in ("copy_last", "ridge", "no_latent"))


def test_what_is_known_by_heart_is_seen(cache, oracle):
    known = {row.tobytes() for row in cache.arrays["proprio"][: 28 * STEPS]}

    class ByHeart(Oracle):
        """Knows the law in the episodes where it learned, and copies elsewhere."""

        def rollout(self, latent, plans):
            ends, copied = super().rollout(latent, plans), Copier.rollout(self, latent, plans)
            there = [now.tobytes() in known for now in latent.tokens[:, -1, 0].numpy()]
            return ends.where(torch.tensor(there)[:, None, None, None, None], copied)

    found = diagnosed(ByHeart(), cache)
    for row in found.by_heart:
        assert row["held_out"] > 10 * row["training"]
    assert all(row["held_out"] < 1e-6 for row in oracle.by_heart)


def test_plain_video_has_no_rank_and_no_actions():
    video = toy(actions=False)
    found = diagnosed(Copier(), video, acts=False)
    assert found.ranks is None
    assert found.evidence.held_out.steps.actions.shape[1] == 0
    assert rows(found)[0]["model"] == rows(found)[0]["copy_last"]


def test_it_repeats_and_caps_what_it_looks_at(cache):
    few = Limits(training_steps=200, held_out_steps=100, windows=50, ranked=10, draws=20)
    once, again = (diagnosed(Oracle(), cache, limits=few) for _ in range(2))
    assert once.prediction == again.prediction
    assert once.counts["training_steps"] <= 200
    assert once.counts["held_out_steps"] <= 100
    assert once.counts["windows"] == 50


def test_too_few_episodes_are_refused_in_a_sentence(cache):
    parts = cut(cache, TRAINING, 1)
    with pytest.raises(DatasetError, match="at least two held-out episodes of three model steps"):
        diagnose(Oracle(), cache, parts, cut(cache, np.array([30]), 1), limits=LIMITS)
    with pytest.raises(DatasetError, match="there are none"):
        diagnose(Oracle(), cache, parts, [], limits=LIMITS)
    short = toy(20, steps=2)
    with pytest.raises(DatasetError, match="the longest of 2 model steps"):
        diagnose(Oracle(), short, cut(short, np.arange(10), 1), cut(short, np.arange(10, 20), 1))


def test_ridge_is_a_numpy_ridge(cache):
    steps = see(Oracle(), cache, cut(cache, TRAINING, 1), 1)
    values = steps.latents + generator("noise", 0).normal(0, 0.1, steps.latents.shape)
    values = values.astype(np.float32)
    fitted = Baselines.fit(values, steps, 4, 10_000, 0)
    now = np.flatnonzero((steps.before >= 1) & (steps.after >= 4))
    actions = np.stack([steps.actions[now + k] for k in range(4)], 1).reshape(len(now), -1)
    inputs = np.concatenate([values[now], values[now - 1], actions], 1).astype(np.float64)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    target = values[now + 4].astype(np.float64)
    if fitted.ridge.form == "change":
        target = target - values[now]
    penalty = fitted.ridge.ridge.penalty
    gram = inputs.T @ inputs + len(now) * penalty * np.eye(inputs.shape[1])
    weights = np.linalg.solve(gram, inputs.T @ (target - target.mean(0)))
    expected = inputs @ weights + target.mean(0)
    expected += values[now] if fitted.ridge.form == "change" else 0
    assert fitted.ridge.inputs == "all"
    np.testing.assert_allclose(fitted.predict(values, steps, now)["ridge"], expected, atol=1e-5)


def test_linear_goes_on_as_before():
    cache = toy(4, steps=8)
    steps = see(Oracle(), cache, cut(cache, np.arange(4), 1), 1)
    values = (np.arange(len(steps.frames))[:, None] * [1.0, -2.0]).astype(np.float32)
    now = steps.windows(1, 3, 100, 0)
    guess = Baselines.fit(values, steps, 3, 100, 0).predict(values, steps, now)
    np.testing.assert_allclose(guess["linear"], values[now + 3], rtol=1e-6)
    np.testing.assert_array_equal(guess["copy_last"], values[now])


def test_intervals_cover_the_true_error():
    """Errors and targets differ from group to group; the truth is known by construction."""
    covered, trials, truth = 0, 200, 0.25
    for trial in range(trials):
        rng = generator("coverage", trial)
        groups = np.repeat(np.arange(60), 5)
        target = (rng.normal(0, 0.5, (60, 1, 2)) + rng.normal(0, 1, (60, 5, 2))).reshape(-1, 2)
        scale = np.repeat(rng.uniform(0.5, 1.5, 60), 5)[:, None]
        spread = np.sqrt(truth * 1.25 / (1 + 1 / 12))  # E scale^2 = 1 + 1/12
        guess = target + spread * scale * rng.normal(0, 1, target.shape)
        low, high = relative_errors({"model": guess}, target, groups, 300, trial).intervals["model"]
        covered += low <= truth <= high
    assert 0.88 * trials <= covered <= 0.99 * trials


def test_error_is_the_formula():
    rng = generator("formula", 0)
    target, guess = rng.normal(0, 1, (2, 50, 3))
    found = relative_errors({"model": guess}, target, np.arange(50), 50, 0)
    expected = ((guess - target) ** 2).sum() / ((target - target.mean(0)) ** 2).sum()
    assert found.values["model"] == pytest.approx(expected)


def test_a_latent_that_is_the_place_follows_it_however_the_recording_wanders(oracle):
    steps = oracle.evidence.held_out.steps
    places = generator("wandering", 0).normal(0, 1, (len(steps.frames), 2))
    wanders = place_progress(replace(steps, latents=places), places, 50, 0)
    assert wanders.latent.spearman == pytest.approx(1)
    assert abs(wanders.perfect.spearman) < 0.3  # no model could say how many steps are left
    straight = np.column_stack([steps.before, steps.before]).astype(float)
    goes = place_progress(steps, straight, 50, 0)
    assert goes.perfect.spearman == pytest.approx(1)
    assert place_progress(steps, np.zeros_like(places), 50, 0) is None  # it never moves
    assert place_progress(steps, np.full_like(places, np.nan), 50, 0) is None  # it is not there


def test_progress_of_every_place_stands_beside_that_of_the_latent(oracle):
    assert set(oracle.followed) == set(oracle.read_out)
    assert oracle.followed["point_xy"].latent.n == oracle.progress.n


def test_spearman_orders():
    assert spearman(np.array([1.0, 4.0, 9.0]), np.array([1, 2, 3])) == pytest.approx(1)
    assert spearman(np.array([9.0, 4.0, 1.0]), np.array([1, 2, 3])) == pytest.approx(-1)
    assert spearman(np.zeros(3), np.array([1, 2, 3])) == 0


def test_candidates_share_no_step_with_the_truth(cache):
    steps = see(Oracle(), cache, cut(cache, HELD_OUT, 1), 1)
    assert action_rank(Oracle(), steps, 4, 1000, 20, 0).top1 == 1
    tiny = see(Oracle(), cache, cut(cache, HELD_OUT[:2], 1), 1)
    assert action_rank(Oracle(), tiny, 4, 1000, 20, 0) is None


def test_stretches_stay_inside_episodes_and_below_their_most():
    cache = toy(10, steps=300)
    parts = cut(cache, np.arange(10), 1)
    assert max(part.steps for part in parts) == LONGEST
    assert len({part.group for part in parts}) == 10  # intervals draw episodes
    few = cut(cache, np.arange(3), 2)
    assert sum(part.steps for part in few) == 3 * 150
    steps = see(Oracle(), cache, few, 2)
    _, sizes = np.unique(steps.groups, return_counts=True)
    assert max(sizes) == 20  # blocks of few episodes
    assert len(sizes) == 3 * (7 + 2)  # of 128 and of 22 steps
    before, after = cut_in_time(toy(1, steps=300), 1, 0.3)
    assert [sum(part.steps for part in side) for side in (before, after)] == [210, 90]
    assert after[0].first == 210
    episode = np.searchsorted(cache.starts, steps.frames, side="right") - 1
    for now in steps.windows(1, 4, 10_000, 0):
        assert episode[now - 1] == episode[now + 4]
        assert steps.frames[now + 4] - steps.frames[now] == 8
    assert sum(part.steps for part in chosen(few, 200, 0)) <= 200


def test_a_wide_latent_is_judged_along_its_directions():
    rng = generator("wide", 0)
    rows = (rng.normal(0, 1, (300, 6)) @ rng.normal(0, 1, (6, 900))).astype(np.float32)
    narrow = Projection.fit(rows, 20).apply(rows)
    assert narrow.shape == (300, 6)  # all that varies
    spread = [((values - values.mean(0)) ** 2).sum() for values in (rows, narrow)]
    assert spread[1] == pytest.approx(spread[0], rel=1e-4)
    np.testing.assert_array_equal(Projection.fit(rows[:, :5], 20).apply(rows[:, :5]), rows[:, :5])
