"""Expected error: how wrong the model usually is when it predicts this much change.

A fast sweep through an object is harder to predict than a resting table. Without this, every
lively moment would count as surprising. The model's own prediction says how lively it will be, and
normal episodes say how wrong it is then: log error is a line in log predicted change.

Axes: F steps, X features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from armillary.objectives.whitening import Whitening, fit_whitening

# A predicted change of 1 is ordinary; below a hundredth of that, less says nothing more.
_LEAST_CHANGE = 0.01
_LEAST_ERROR = 1e-6
_STEEPEST = 8.0


@dataclass(frozen=True)
class ExpectedError:
    """Expected whitened error as ``scale * (predicted change)^slope``.

    Attributes:
        change: whitening of the predicted change (predicted next latent minus present latent).
        scale: expected error at a change of 1.
        slope: 0 = the same error whatever is predicted.
    """

    change: Whitening
    scale: float
    slope: float

    def at(self, predicted_change: np.ndarray) -> Float[np.ndarray, " F"]:
        """Return the error to expect for each predicted change [F X]."""
        return self.scale * _floored(self.change.score(predicted_change)) ** self.slope


def fit_expected_error(
    error: Float[np.ndarray, " F"],
    predicted_change: np.ndarray,
    whitening: Whitening | None = None,
) -> ExpectedError:
    """Fit normal steps: whitened errors [F] and predicted changes [F X].

    The scale is set so that error over expected error is 1 on average over these steps.

    Args:
        error: of each step.
        predicted_change: of each step.
        whitening: measures a predicted change; None fits one to these changes.
    """
    whitening = whitening or fit_whitening(predicted_change)
    change = _floored(whitening.score(predicted_change))
    slope = _slope(np.log(change), np.log(np.maximum(error, _LEAST_ERROR)))
    scale = float((error / change**slope).mean())
    return ExpectedError(whitening, scale if scale > 0 else 1.0, slope)


def _floored(change: np.ndarray) -> np.ndarray:
    return np.maximum(change, _LEAST_CHANGE)


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    centred = x - x.mean()
    spread = float(centred @ centred)
    # more change never makes less error likely; a model that predicts no change has slope 0, and
    # one that predicts nearly always the same any slope by chance, up to powers that overflow
    return float(np.clip(centred @ y / spread, 0.0, _STEEPEST)) if spread > 1e-9 else 0.0
