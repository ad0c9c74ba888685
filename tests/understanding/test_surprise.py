"""A model that knows the law of motion is surprised at the impossible step, and only there."""

import numpy as np
import pytest
import torch

from armillary.core.errors import ShapeError
from armillary.core.statistics import auroc
from armillary.core.values import Batch, Latent
from armillary.objectives.expected_error import fit_expected_error
from armillary.objectives.whitening import fit_whitening
from armillary.understanding import calibrate, surprise
from armillary.understanding.latents import predict_next

STEPS = 12


class Carrier:
    """Reads a state from the first pixel row; expects it to move by the action."""

    def __init__(self):
        self.contexts = []

    def encode(self, batch):
        state = batch.streams["rgb"][:, :, 0, :2, 0].float()
        return Latent(state[:, :, None, :], batch.actions)

    def rollout(self, latent, plans):
        self.contexts.append(tuple(latent.tokens.shape[:2]))
        if latent.actions is not None:
            assert latent.actions.shape[1] == latent.tokens.shape[1] - 1
        steps = plans.cumsum(dim=2) if plans.shape[-1] else plans.new_zeros(*plans.shape[:3], 2)
        return latent.tokens[:, None, -1:, :, :] + steps[:, :, :, None, :]


def _clips(count, seed, jump_at=None, actions=True):
    rng = np.random.default_rng(seed)
    moves = rng.integers(-9, 10, size=(count, STEPS - 1, 2))
    noise = rng.integers(-1, 2, size=(count, STEPS, 2))
    state = 128 + np.concatenate([np.zeros((count, 1, 2), int), moves.cumsum(axis=1)], axis=1)
    state = state + noise
    if jump_at is not None:
        state[:, jump_at:, 0] += np.where(state[:, jump_at, 0] > 128, -14, 14)[:, None]
    rgb = torch.zeros(count, STEPS, 4, 4, 3, dtype=torch.uint8)
    rgb[:, :, 0, :2, 0] = torch.from_numpy(state.clip(0, 255).astype(np.uint8))
    taken = torch.from_numpy(moves).float() if actions else None
    return Batch({"rgb": rgb}, taken, torch.ones(count, STEPS, dtype=torch.bool))


def test_normal_life_scores_about_one_and_a_jump_far_more_at_its_step():
    model = Carrier()
    calibration = calibrate(model, _clips(100, 0))
    normal = surprise(model, calibration, _clips(50, 1))
    jumped = surprise(model, calibration, _clips(50, 2, jump_at=7))
    assert normal.values.mean() == pytest.approx(1, abs=0.1)
    assert (jumped.peak == 7).all()
    labels = np.zeros((50, STEPS - 1), bool)
    labels[:, 6] = True
    assert auroc(jumped.values.ravel(), labels.ravel()) == 1.0
    assert auroc(jumped.copy_last.ravel(), labels.ravel()) < 1.0
    np.testing.assert_allclose(np.delete(jumped.values, 6, 1).mean(), 1, atol=0.1)


def test_the_context_grows_and_then_slides():
    model = Carrier()
    clips = _clips(3, 0)
    predict_next(model, model.encode(clips).tokens, clips.actions, history=4)
    assert model.contexts == [(3, 1), (3, 2), (3, 3), (3 * (STEPS - 4), 4)]


@pytest.mark.parametrize("history", [1, 4, 100])
def test_every_history_predicts_every_step_by_its_own_action(history):
    model, clips = Carrier(), _clips(5, 3)
    tokens = model.encode(clips).tokens
    predicted = predict_next(model, tokens, clips.actions, history)
    torch.testing.assert_close(predicted[:, :, 0], tokens[:, :-1, 0] + clips.actions)


def test_without_actions_a_plain_video_model_is_asked_with_empty_plans():
    model, clips = Carrier(), _clips(20, 4, actions=False)
    trace = surprise(model, calibrate(model, clips), clips)
    assert trace.values.shape == (20, STEPS - 1)
    # a model that expects nothing to move is exactly the copy-last baseline
    np.testing.assert_allclose(trace.whitened, trace.copy_last)
    np.testing.assert_allclose(trace.values, trace.copy_last / trace.copy_last.mean())


def test_pixel_difference_by_hand():
    clips = _clips(1, 5)
    rgb = clips.streams["rgb"].numpy().astype(float) / 255
    trace = surprise(Carrier(), calibrate(Carrier(), _clips(10, 6)), clips)
    np.testing.assert_allclose(
        trace.pixel_difference[0], np.abs(np.diff(rgb[0], axis=0)).mean(axis=(1, 2, 3)), atol=1e-8
    )


def test_one_clip_scores_the_same_alone_and_in_a_batch():
    model = Carrier()
    calibration = calibrate(model, _clips(50, 0))
    clips = _clips(8, 1)
    alone = Batch({"rgb": clips.streams["rgb"][2:3]}, clips.actions[2:3], clips.valid[2:3])
    np.testing.assert_array_equal(
        surprise(model, calibration, alone).values[0], surprise(model, calibration, clips).values[2]
    )


def test_an_error_that_grows_with_the_predicted_change_is_no_surprise():
    rng = np.random.default_rng(0)
    size = np.exp(rng.normal(size=4000))
    change = size[:, None] * rng.choice([-1.0, 1.0], (4000, 3))
    error = size**2 * rng.gamma(5, 0.2, 4000)
    fitted = fit_expected_error(error, change)
    assert fitted.slope == pytest.approx(1, abs=0.1)
    relative = error / fitted.at(change)
    assert relative.mean() == pytest.approx(1)
    lively = size > 2
    assert relative[lively].mean() == pytest.approx(relative[~lively].mean(), rel=0.15)


def test_an_error_that_shrinks_with_the_predicted_change_gets_no_credit():
    change = np.exp(np.random.default_rng(0).normal(size=(500, 1)))
    assert fit_expected_error(1 / change[:, 0], change).slope == 0


def test_changes_that_are_nearly_all_the_same_give_no_power_that_overflows():
    size = np.repeat(1 + 1e-4 * np.random.default_rng(0).normal(size=250), 2)
    fitted = fit_expected_error(size**3000, (size * np.tile([1.0, -1.0], 250))[:, None])
    assert fitted.slope == 8
    assert np.isfinite(fitted.at(np.array([[0.0], [100.0]]))).all()


def test_whitening_gives_unit_score_whatever_the_covariance():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(6, 6)) * np.array([1, 10, 100, 0.1, 1, 1])
    draw = lambda: rng.normal(size=(5000, 6)) @ mixing + 3  # noqa: E731
    fitted = fit_whitening(draw())
    assert fitted.score(draw()).mean() == pytest.approx(1, abs=0.05)
    quiet = np.linalg.eigh(mixing.T @ mixing)[1][:, 0]  # a direction in which nothing moves
    loud = np.linalg.eigh(mixing.T @ mixing)[1][:, -1]
    score = fitted.score(np.stack([quiet, loud]) * 3 + 3)
    assert score[0] > 10 * score[1]


def test_few_residuals_in_a_wide_latent_are_shrunk_not_inverted():
    rng = np.random.default_rng(1)
    fitted = fit_whitening(rng.normal(size=(30, 100)))
    assert fitted.shrinkage > 0.8
    assert fitted.score(rng.normal(size=(500, 100))).mean() == pytest.approx(1, abs=0.2)


def test_a_collapsed_model_is_never_surprised():
    fitted = fit_whitening(np.zeros((10, 4)))
    np.testing.assert_array_equal(fitted.score(np.ones((3, 4))), 0)


def test_a_single_step_is_refused():
    clips = _clips(2, 0)
    short = Batch({"rgb": clips.streams["rgb"][:, :1]}, None, clips.valid[:, :1])
    with pytest.raises(ShapeError, match="at least 2 steps"):
        calibrate(Carrier(), short)
