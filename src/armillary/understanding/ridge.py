"""Ridge regression in closed form: the linear read-out of every probe.

Features are standardised on the training part, the penalty is chosen on held-out groups of the
training part, and the fit is then repeated on all of it. One eigendecomposition serves every
penalty; with more features than samples it is done in the dual.

Axes: F samples, X features, Y targets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    errors = held_out_errors(features, targets, held_out, penalties).mean(axis=1)
    best = int(np.argmin(errors))
    return fit_with(features, targets, penalties[best], float(errors[best]))


def fit_with(
    features: np.ndarray, targets: np.ndarray, penalty: float, held_out_error: float
) -> Ridge:
    """Fit targets [F Y] from features [F X] with a penalty that was chosen.

    Args:
        features: [F X].
        targets: [F Y].
        penalty: lambda per sample.
        held_out_error: mean squared error where it was chosen.
    """
    return replace(fit_each(features, targets, (penalty,))[0], held_out_error=held_out_error)


def fit_each(
    features: np.ndarray, targets: np.ndarray, penalties: tuple[float, ...] = PENALTIES
) -> tuple[Ridge, ...]:
    """Fit targets [F Y] from features [F X], once with each penalty."""
    scaler = Scaler.fit(features)
    path = _Path.of(scaler.apply(features), targets)
    return tuple(Ridge(scaler, path.weights(one), path.offset, one) for one in penalties)


def held_out_errors(
    features: np.ndarray,
    targets: np.ndarray,
    held_out: Bool[np.ndarray, "*K F"],
    penalties: tuple[float, ...] = PENALTIES,
) -> Float[np.ndarray, "P Y"]:
    """Return the mean squared error of each target on held-out samples, by penalty.

    Args:
        features: [F X].
        targets: [F Y].
        held_out: as in ``fit_ridge``; the mean is over its folds.
        penalties: the choices.

    Raises:
        ShapeError: nothing to fit on, or values that are not finite.
    """
    _check(features, targets, held_out)
    folds = np.atleast_2d(held_out)
    return np.mean([_errors(features, targets, fold, penalties) for fold in folds], axis=0)


def _errors(
    features: np.ndarray, targets: np.ndarray, held_out: np.ndarray, penalties: tuple[float, ...]
) -> Float[np.ndarray, "P Y"]:
    scaler = Scaler.fit(features[~held_out])
    path = _Path.of(scaler.apply(features[~held_out]), targets[~held_out])
    # turned once: a penalty then costs one product of the held-out samples
    turned = scaler.apply(features[held_out]) @ path.vectors
    wanted = targets[held_out] - path.offset
    return np.stack(
        [((turned @ path.shrunk(penalty) - wanted) ** 2).mean(axis=0) for penalty in penalties]
    )


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
        return self.vectors @ self.shrunk(penalty)

    def shrunk(self, penalty: float) -> np.ndarray:
        return self.projected / (self.values.clip(0)[:, None] + penalty)


def _check(features: np.ndarray, targets: np.ndarray, held_out: np.ndarray) -> None:
    if len(features) != len(targets):
        raise ShapeError(f"{len(features)} features for {len(targets)} targets; each needs one.")
    if not (np.isfinite(features).all() and np.isfinite(targets).all()):
        raise ShapeError("A read-out needs finite features and targets; some are NaN or infinite.")
    folds = np.atleast_2d(held_out)
    if folds.all(axis=1).any() or not folds.any(axis=1).all():
        raise ShapeError("A read-out needs samples to fit on and groups to choose its penalty on.")
