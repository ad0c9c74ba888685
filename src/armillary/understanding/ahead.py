"""Ahead: predictions at fixed times ahead in one long recording, beside baselines.

One recording is cut in time. Read-outs and baselines are fitted on the first part, the second part
judges. Windows start at every frame and none crosses the cut. Everybody sees the same few model
steps before the prediction. How each contestant gets to what is judged:

Frozen features (``frozen_features``, at most 128 directions of the training part):

    copy_last, mean, constant_velocity, ridge
                    are predictions of features from features: the last ones, the training mean,
                    linear extrapolation of the last two steps, and linear regression from all steps
                    that are seen
    place_ridge     linear regression with the same weights at every place (``place_ridge.py``),
                    the strongest of these on a short recording
    read            the predicted latent, through a read-out fitted on true later latents
    latent_ridge    linear regression from the latents that are seen, through the same read-out
    no_latent       the same read-out from latents that are zero
    model           place_ridge, moved towards ``read`` by a cross-fitted weight: what the model
                    adds to the best prediction without it (``cross_fitting.py``)

The read-out is that of ``armillary diagnose``: from the later latent alone, or with features and
latent of the present beside it. Those are known to every contestant. Which form serves best is
found by cross-validation, with true latents; ``no_latent`` says what the present alone gives.

Latent: the same contestants in the model's own latent, where no read-out is needed.

Positions, where they were tracked, through one ridge from latent to position:

    model               the predicted latent, read
    model_change        the true position now, plus the change from the latent now to the predicted
    copy_last_read      the latent now, read
    true_latent         the latent of the target step, read: what no prediction can beat by much
    copy_last, constant_velocity, ridge
                        of the true positions; the velocity is over the number of model steps that
                        is best on the first part

The strength of every ridge is found by cross-validation over five consecutive pieces of the first
part. Errors in features and latents are squared and relative to the variance of the target, so the
mean of the very targets has 1. Errors of positions are mean distances.

Axes: F model steps, W windows, X numbers of a target, K folds, P places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from armillary.core.errors import DatasetError
from armillary.core.protocols import WorldModel
from armillary.data import Cache
from armillary.understanding.chosen_ridge import Form, choose_ridge
from armillary.understanding.cross_fitting import cross_fitted
from armillary.understanding.evidence import FEATURE_WIDTH
from armillary.understanding.place_ridge import PlaceRidge
from armillary.understanding.prediction_error import roll_out
from armillary.understanding.ridge import fit_ridge
from armillary.understanding.space_read_out import SpaceWindows, read_predicted
from armillary.understanding.stretches import WIDEST, Projection, Steps, Stretch, project, see

Series = dict[str, Float[np.ndarray, " W"]]
_FOLDS = 5
_ALL = 2**31  # windows
_LINEAR: Mapping[str, tuple[Form, ...]] = {"seen": ("direct", "change"), "present": ("change",)}


@dataclass(frozen=True)
class Sides:
    """Both parts of a recording, encoded.

    Attributes:
        fit: on which read-outs and baselines are fitted.
        judge: that judges.
        projection: of flattened tokens.
        features: projection of frozen features.
        whole_features: frozen features of both parts, not projected [F X].
        skip: frames in a model step.
        history: model steps that everybody sees.
    """

    fit: Steps
    judge: Steps
    projection: Projection
    features: Projection
    whole_features: tuple[Float[np.ndarray, "F X"], Float[np.ndarray, "F2 X"]]
    skip: int
    history: int

    def windows(self, steps: Steps, ahead: int) -> Int[np.ndarray, " W"]:
        """Return the present of every window that reaches ``ahead`` model steps, in time."""
        found = steps.windows(self.history - 1, ahead, _ALL, 0)
        return found[np.argsort(steps.frames[found])]


def two_sides(
    model: WorldModel, cache: Cache, cut: int, skip: int, streams: tuple[str, ...], history: int
) -> Sides:
    """Encode all frames of a recording before and from ``cut`` on.

    Args:
        model: any that keeps the protocol and takes no actions.
        cache: one recording with pictures, from frame 0 to its end.
        cut: first frame that judges.
        skip: frames in a model step.
        streams: names in the cache that the model sees.
        history: model steps that everybody sees, at least 2.
    """
    parts = [range(cut), range(cut, cache.num_frames)]
    fit, judge = (
        see(model, cache, _every_frame(part, skip), skip, streams, acts=False) for part in parts
    )
    if fit.features is None or judge.features is None:
        raise DatasetError("Frozen features need pictures; this recording has none.")
    latents = Projection.fit(fit.latents, WIDEST)
    features = Projection.fit(fit.features, FEATURE_WIDTH)
    whole = fit.features, judge.features
    fit, judge = (project(steps, latents, features) for steps in (fit, judge))
    return Sides(fit, judge, latents, features, whole, skip, history)


def errors_ahead(
    model: WorldModel,
    sides: Sides,
    ahead: int,
    positions: Float[np.ndarray, "F P 2"] | None = None,
    block: int = 1,
) -> dict[str, Series]:
    """Return the error of every contestant at every window of the second part.

    Args:
        model: that ``sides`` were encoded with.
        sides: both parts.
        ahead: model steps ahead.
        positions: of tracked places, by frame of the recording, in the unit of the errors.
        block: frames that are kept together where halves of the judged part are compared.

    Returns:
        By space (``features``, ``latent`` and, where tracked, ``positions``) and contestant: errors
        in the order of time.

    Raises:
        DatasetError: a part is too short.
    """
    fit, judge = sides.fit, sides.judge
    start, now = sides.windows(fit, ahead), sides.windows(judge, ahead)
    if min(len(start), len(now)) < 2 * _FOLDS:
        raise DatasetError(
            f"Predictions {ahead} model steps ahead have {len(start)} windows to fit on and "
            f"{len(now)} to judge on; {2 * _FOLDS} of each are needed. Use a longer recording."
        )
    predicted = roll_out(model, judge, now, (ahead,), sides.history, sides.projection)[:, 0]
    folds = consecutive_folds(len(start))
    latents = _baselines(fit.latents, judge.latents, start, now, ahead, sides.history, folds)
    own, values = _features(fit), _features(judge)
    features = _baselines(own, values, start, now, ahead, sides.history, folds)
    seen, judged = sides.whole_features
    by_place = PlaceRidge.fit(seen, start, ahead, folds).predict(judged, now)
    features["place_ridge"] = sides.features.apply(by_place)
    read = read_predicted(
        SpaceWindows(fit.latents[start], own[start]),
        fit.latents[start + ahead],
        own[start + ahead],
        folds,
        SpaceWindows(judge.latents[now], values[now]),
        {"read": predicted, "latent_ridge": latents["ridge"]},
    )
    target = values[now + ahead]
    features["model"], _ = cross_fitted(
        features["place_ridge"],
        read["read"],
        lambda guess: _relative({"model": guess}, target)["model"],
        judge.frames[now] // block,
    )
    found = {
        "features": _relative(features | read, target),
        "latent": _relative(latents | {"model": predicted}, judge.latents[now + ahead]),
    }
    if positions is not None:
        found["positions"] = _positions(sides, start, now, ahead, predicted, positions, folds)
    return found


def consecutive_folds(count: int) -> Bool[np.ndarray, "K F"]:
    """Return True for the samples that each fold holds out; all are in the order of time."""
    return np.arange(count) * _FOLDS // count == np.arange(_FOLDS)[:, None]


def _every_frame(part: range, skip: int) -> list[Stretch]:
    """Return stretches that begin at each of the first ``skip`` frames, so that all are seen."""
    firsts = [part.start + at for at in range(min(skip, len(part)))]
    return [Stretch(first, len(range(first, part.stop, skip)), first) for first in firsts]


def _baselines(
    own: np.ndarray,
    values: np.ndarray,
    start: np.ndarray,
    now: np.ndarray,
    ahead: int,
    history: int,
    folds: np.ndarray,
) -> dict[str, np.ndarray]:
    """Predict ``values`` at the windows ``now``; ``own`` at ``start`` is what is fitted on."""
    ridge = choose_ridge(_LINEAR, _seen(own, start, history), own[start], own[start + ahead], folds)
    present = values[now]
    return {
        "copy_last": present,
        "mean": np.broadcast_to(own.mean(axis=0), present.shape),
        "constant_velocity": present + ahead * (present - values[now - 1]),
        "ridge": ridge.predict(_seen(values, now, history), present),
    }


def _seen(values: np.ndarray, now: np.ndarray, history: int) -> dict[str, np.ndarray]:
    steps = now[:, None] - np.arange(history)
    return {"seen": values[steps].reshape(len(now), -1), "present": values[now]}


def _features(steps: Steps) -> np.ndarray:
    """Return frozen features, which every recording of pictures has."""
    assert steps.features is not None
    return steps.features


def _relative(guesses: Mapping[str, np.ndarray], target: Float[np.ndarray, "W X"]) -> Series:
    """Return squared errors over the variance of the target."""
    exact = target.astype(np.float64)
    variance = ((exact - exact.mean(axis=0)) ** 2).sum(axis=1).mean()
    return {name: ((guess - exact) ** 2).sum(axis=1) / variance for name, guess in guesses.items()}


def _positions(
    sides: Sides,
    start: np.ndarray,
    now: np.ndarray,
    ahead: int,
    predicted: np.ndarray,
    positions: Float[np.ndarray, "F P 2"],
    folds: np.ndarray,
) -> Series:
    fit, judge, history = sides.fit, sides.judge, sides.history
    own, values = (positions[steps.frames].reshape(len(steps.frames), -1) for steps in (fit, judge))
    reader = fit_ridge(fit.latents[start], own[start], folds)
    read_now, read_later = reader.predict(judge.latents[now]), reader.predict(predicted)
    lag = min(
        range(1, history),
        key=lambda lag: _distances(_moving_on(own, start, ahead, lag), own[start + ahead]).mean(),
    )
    guesses = _baselines(own, values, start, now, ahead, history, folds) | {
        "model": read_later,
        "model_change": values[now] + read_later - read_now,
        "copy_last_read": read_now,
        "true_latent": reader.predict(judge.latents[now + ahead]),
        "constant_velocity": _moving_on(values, now, ahead, lag),
    }
    target = values[now + ahead]
    return {name: _distances(guess, target) for name, guess in guesses.items()}


def _moving_on(values: np.ndarray, now: np.ndarray, ahead: int, lag: int) -> np.ndarray:
    """Return values that keep the velocity of the last ``lag`` steps."""
    return values[now] + ahead / lag * (values[now] - values[now - lag])


def _distances(guess: np.ndarray, target: np.ndarray) -> Float[np.ndarray, " W"]:
    """Return the mean distance of all places."""
    away = (guess - target).reshape(len(target), -1, 2)
    return np.sqrt((away**2).sum(axis=2)).mean(axis=1)


def in_time(horizons_s: Sequence[float], fps: float, skip: int) -> list[int]:
    """Return how many model steps are nearest to times ahead; of two, the more.

    Args:
        horizons_s: seconds.
        fps: frames per second.
        skip: frames in a model step.
    """
    return [int(np.floor(seconds * fps / skip + 0.5)) for seconds in horizons_s]
