"""Surprise: how far each step is from the model's prediction.

At each step the model sees the steps so far (at most ``history``), predicts the next under the
action that was taken. The residual is whitened by the residuals of normal episodes, and divided by
the error that is usual there when the model predicts as much change as it did.
Two baselines go through the same harness: copy-last (the next latent is the present one), with a
whitening of its own, and the change of pixels.

Axes: B clips, T steps, N tokens, D latent width. Values at index t belong to step t+1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from armillary.core.errors import ShapeError
from armillary.core.protocols import WorldModel
from armillary.core.values import Batch
from armillary.objectives.expected_error import ExpectedError, fit_expected_error
from armillary.objectives.whitening import Whitening, fit_whitening
from armillary.understanding.latents import encode, predict_next

HISTORY = 4


@dataclass(frozen=True)
class Calibration:
    """What normal life looks like to one model.

    Attributes:
        model: whitening of its one-step residuals.
        expected: the whitened error that is usual for a predicted change.
        copy_last: whitening of the latent's change from step to step.
        history: most steps the model sees; fixed here, so that no score can choose it.
        steps: normal steps it was measured on.
    """

    model: Whitening
    expected: ExpectedError
    copy_last: Whitening
    history: int
    steps: int


@dataclass(frozen=True)
class SurpriseTrace:
    """Surprise at steps 1 to T-1 (axis ``steps``) of each clip; larger is more surprising.

    Attributes:
        values: [B T-1], whitened squared error over the expected one; about 1 in normal life.
        whitened: [B T-1], whitened squared error, whatever was to be expected.
        plain: [B T-1], mean squared error in the latent.
        copy_last: [B T-1], whitened squared change of the latent.
        pixel_difference: [B T-1], mean absolute change of RGB, 0 to 1; NaN without pictures.
    """

    values: Float[np.ndarray, "B steps"]
    whitened: Float[np.ndarray, "B steps"]
    plain: Float[np.ndarray, "B steps"]
    copy_last: Float[np.ndarray, "B steps"]
    pixel_difference: Float[np.ndarray, "B steps"]

    @property
    def peak(self) -> Int[np.ndarray, " B"]:
        """The most surprising step of each clip (a step index, 1 to T-1)."""
        return self.values.argmax(axis=1) + 1


def calibrate(model: WorldModel, normal: Batch, history: int = HISTORY) -> Calibration:
    """Measure the residuals of normal clips.

    Args:
        model: the model.
        normal: clips in which nothing impossible happens, from episodes that are not judged.
            Best not those it was trained on: their residuals are smaller than those of new ones.
        history: most steps that the model sees.

    Raises:
        ShapeError: clips of a single step, or ``history`` below 1.
    """
    _check(normal, history)
    steps = _steps(model, normal, history)
    kept = _pairs(normal)
    whitening = fit_whitening(steps.residual[kept])
    expected = fit_expected_error(whitening.score(steps.residual[kept]), steps.predicted[kept])
    copy_last = fit_whitening(steps.change[kept])
    return Calibration(whitening, expected, copy_last, history, int(kept.sum()))


def surprise(model: WorldModel, calibration: Calibration, clips: Batch) -> SurpriseTrace:
    """Return the surprise at every step of every clip.

    Args:
        model: the model that was calibrated.
        calibration: what is normal for it.
        clips: clips of at least two steps, with their actions (or none, for plain video).

    Raises:
        ShapeError: clips of a single step.
    """
    _check(clips, calibration.history)
    steps = _steps(model, clips, calibration.history)
    whitened = _by_step(calibration.model.score, steps.residual)
    return SurpriseTrace(
        whitened / _by_step(calibration.expected.at, steps.predicted),
        whitened,
        (steps.residual.astype(np.float64) ** 2).mean(axis=2),
        _by_step(calibration.copy_last.score, steps.change),
        _pixels(clips, steps.residual.shape[:2]),
    )


def _pixels(clips: Batch, shape: tuple[int, ...]) -> Float[np.ndarray, "B steps"]:
    rgb = clips.streams.get("rgb")
    return np.full(shape, np.nan) if rgb is None else pixel_difference(rgb)


def pixel_difference(rgb: Tensor) -> Float[np.ndarray, "B steps"]:
    """Return the mean absolute change of RGB from step to step, 0 to 1.

    Args:
        rgb: uint8 [B T H W 3].
    """
    clips = [
        (clip[1:].float() - clip[:-1].float()).abs().mean(dim=(1, 2, 3)).double().numpy()
        for clip in rgb
    ]
    return np.stack(clips) / 255


@dataclass(frozen=True)
class _Steps:
    """Differences of latents at steps 1 to T-1, each [B T-1 X].

    Attributes:
        residual: the latent minus its prediction.
        predicted: the prediction minus the latent of the step before.
        change: the latent minus that of the step before.
    """

    residual: np.ndarray
    predicted: np.ndarray
    change: np.ndarray


def _steps(model: WorldModel, clips: Batch, history: int) -> _Steps:
    tokens = encode(model, clips)
    predicted = predict_next(model, tokens, clips.actions, history)
    before, after = tokens[:, :-1], tokens[:, 1:]
    differences = (after - predicted, predicted - before, after - before)
    return _Steps(*(difference.flatten(2).numpy() for difference in differences))


def _by_step(score: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
    clips, steps = values.shape[:2]
    return score(values.reshape(clips * steps, -1)).reshape(clips, steps)


def _pairs(clips: Batch) -> np.ndarray:
    valid = clips.valid.numpy()
    return valid[:, 1:] & valid[:, :-1]


def _check(clips: Batch, history: int) -> None:
    if clips.valid.shape[1] < 2:
        raise ShapeError("Surprise needs clips of at least 2 steps: one to see, one to predict.")
    if history < 1:
        raise ShapeError(f"The history must be at least 1 step; got {history}.")
