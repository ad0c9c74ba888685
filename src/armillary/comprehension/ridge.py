"""Ridge regression in closed form: the linear read-out of every probe.

Features are standardised on the training part, the penalty is chosen on held-out groups of the
training part, and the fit is then repeated on all of it. One eigendecomposition serves every
penalty; with more features than samples it is done in the dual.

Axes: F samples, X features, Y targets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from armillary.core.errors import ShapeError
from armillary.objectives.scaler import Scaler

PENALTIES = tuple(float(10.0**power) for power in np.arange(-6, 3.5, 0.5))


@dataclass(frozen=True)
class Ridge:
    """A fitted linear read-out.

    Attributes:
        scaler: of the features.
        weights: [kept Y].
        offset: [Y].
        penalty: lambda per sample, in units of the standardised features.
        held_out_error: mean squared error where the penalty was chosen, before the last fit.
    """

    scaler: Scaler
    weights: Float[np.ndarray, "kept Y"]
    offset: Float[np.ndarray, " Y"]
    penalty: float
    held_out_error: float = float("nan")

    def predict(self, features: np.ndarray) -> Float[np.ndarray, "F Y"]:
        """Return the targets read out from features [F X]."""
        return self.scaler.apply(features) @ self.weights + self.offset


def fit_ridge(
    features: np.ndarray,
    targets: np.ndarray,
    held_out: Bool[np.ndarray, "*K F"],
    penalties: tuple[float, ...] = PENALTIES,
) -> Ridge:
    """Fit targets [F Y] from features [F X].

    Args:
        features: [F X].
        targets: [F Y].
        held_out: samples of whole groups (never single steps) on which the penalty is chosen;
            with a row for each of K folds, by cross-validation.
        penalties: the choices.

    Raises:
        ShapeError: nothing to fit on, or values that are not finite.
    """
    _check(features, targets, held_out)
    folds = np.atleast_2d(held_out)
    errors = np.mean([_errors(features, targets, fold, penalties) for fold in folds], axis=0)
    penalty = penalties[int(np.argmin(errors))]
    scaler = Scaler.fit(features)
    path = _Path.of(scaler.apply(features), targets)
    return Ridge(scaler, path.weights(penalty), path.offset, penalty, float(errors.min()))


def _errors(
    features: np.ndarray, targets: np.ndarray, held_out: np.ndarray, penalties: tuple[float, ...]
) -> list[float]:
    """Return the error on held-out samples with each penalty."""
    scaler = Scaler.fit(features[~held_out])
    path = _Path.of(scaler.apply(features[~held_out]), targets[~held_out])
    tried = scaler.apply(features[held_out])
    return [
        float(((tried @ path.weights(penalty) + path.offset - targets[held_out]) ** 2).mean())
        for penalty in penalties
    ]


@dataclass(frozen=True)
class _Path:
    """All ridge solutions of one problem: ``vectors (values + penalty)^-1 projected``."""

    vectors: np.ndarray
    values: np.ndarray
    projected: np.ndarray
    offset: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, targets: np.ndarray) -> _Path:
        count, width = features.shape
        offset = targets.mean(axis=0, dtype=np.float64)
        centred = targets - offset
        if width <= count:
            values, vectors = np.linalg.eigh(features.T @ features / count)
            return cls(vectors, values, vectors.T @ (features.T @ centred) / count, offset)
        values, dual = np.linalg.eigh(features @ features.T / count)
        return cls(features.T @ dual, values, dual.T @ centred / count, offset)

    def weights(self, penalty: float) -> np.ndarray:
        return self.vectors @ (self.projected / (self.values.clip(0)[:, None] + penalty))


def _check(features: np.ndarray, targets: np.ndarray, held_out: np.ndarray) -> None:
    if len(features) != len(targets):
        raise ShapeError(f"{len(features)} features for {len(targets)} targets; each needs one.")
    if not (np.isfinite(features).all() and np.isfinite(targets).all()):
        raise ShapeError("A read-out needs finite features and targets; some are NaN or infinite.")
    folds = np.atleast_2d(held_out)
    if folds.all(axis=1).any() or not folds.any(axis=1).all():
        raise ShapeError("A read-out needs samples to fit on and groups to choose its penalty on.")
