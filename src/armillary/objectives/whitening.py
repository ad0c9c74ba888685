"""Whitening: how large a residual is, against the residuals of normal life.

A latent moves much in some directions and little in others; a plain squared error hears only the
loud ones. Residuals of normal episodes give a mean and a covariance, and a new residual is
measured in their units: its mean squared whitened coordinate is about 1 in normal life.

Source: Mahalanobis 1936; the correlation is shrunk towards none after Schaefer & Strimmer 2005.

Axes: F residuals, X features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from armillary.core.errors import ShapeError
from armillary.objectives.scaler import Scaler

WIDEST_FULL = 1024  # wider latents are whitened per dimension: X^3 would take minutes


@dataclass(frozen=True)
class Whitening:
    """Mean and inverse root covariance of normal residuals.

    Attributes:
        scaler: mean and spread of each feature; features whose residual never varies are left out.
        rotation: [kept K], from standardised to whitened coordinates; None where diagonal.
        shrinkage: 0 = the sample correlation as it was, 1 = diagonal.
    """

    scaler: Scaler
    rotation: Float[np.ndarray, "kept K"] | None
    shrinkage: float

    def score(self, residuals: np.ndarray) -> Float[np.ndarray, " F"]:
        """Return the mean squared whitened coordinate of each residual [F X]; about 1 is normal."""
        scaled = self.scaler.apply(residuals)
        if scaled.shape[1] == 0:
            return np.zeros(len(residuals))
        turned = scaled if self.rotation is None else scaled @ self.rotation
        return (turned**2).mean(axis=1)

    def towards(self, signal: np.ndarray, directions: int) -> Whitening:
        """Return a whitening of those directions alone in which a signal is largest.

        Directions in which nothing ever moves further than residuals do tell nothing of an event,
        and a mean over all of them drowns it. What is kept are the leading eigenvectors of the
        signal's covariance, in units of the residuals.

        Args:
            signal: values [F X] whose variation is what is listened for, e.g. the states
                themselves; their mean does not matter.
            directions: how many are kept; no more than there are.
        """
        kept = self.scaler.kept
        rotation = np.eye(int(kept.sum())) if self.rotation is None else self.rotation
        scaled = signal[:, kept] - signal[:, kept].mean(axis=0, dtype=np.float64)
        turned = scaled / self.scaler.spread[kept] @ rotation
        _, vectors = np.linalg.eigh(turned.T @ turned / len(turned))
        most = vectors[:, ::-1][:, :directions]
        return Whitening(self.scaler, rotation @ most, self.shrinkage)


def fit_whitening(residuals: np.ndarray) -> Whitening:
    """Measure normal residuals [F X].

    Raises:
        ShapeError: fewer than two residuals, or values that are not finite.
    """
    if len(residuals) < 2 or not np.isfinite(residuals).all():
        raise ShapeError(
            f"Calibration needs at least 2 finite residuals of normal steps; got {len(residuals)}."
        )
    scaler = Scaler.fit(residuals)
    scaled = scaler.apply(residuals)
    if scaled.shape[1] > WIDEST_FULL or scaled.shape[1] == 0:
        return Whitening(scaler, None, 1.0)
    correlation, shrinkage = _shrunk_correlation(scaled)
    values, vectors = np.linalg.eigh(correlation)
    return Whitening(scaler, vectors / np.sqrt(values.clip(1e-9)), shrinkage)


def _shrunk_correlation(scaled: np.ndarray) -> tuple[np.ndarray, float]:
    count, width = scaled.shape
    correlation = scaled.T @ scaled / count
    square = scaled**2
    variance = (square.T @ square / count - correlation**2) / count  # of each product's mean
    off = ~np.eye(width, dtype=bool)
    signal = float((correlation[off] ** 2).sum())
    shrinkage = min(1.0, float(variance[off].sum()) / signal) if signal > 0 else 1.0
    # never quite 0: with fewer residuals than features the sample correlation has no inverse
    shrinkage = max(shrinkage, 1e-3)
    return (1 - shrinkage) * correlation + shrinkage * np.eye(width), shrinkage
