"""Expected error: how wrong the model usually is when it foresees this much change.

A fast sweep through an object is harder to foresee than a resting table. Without this, every
lively moment would count as surprising. The model's own foresight says how lively it will be, and
normal episodes say how wrong it is then: log error is a line in log foreseen change.

Axes: F steps, X features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from armillary.objectives.whitening import Whitening, fit_whitening

# Foreseen change of 1 is ordinary; below a hundredth of that, less says nothing more.
_LEAST_CHANGE = 0.01
_LEAST_ERROR = 1e-6
_STEEPEST = 8.0


@dataclass(frozen=True)
class ExpectedError:
    """Expected whitened error as ``scale * (foreseen change)^slope``.

    Attributes:
        change: whitening of the foreseen change (next latent as foreseen minus present latent).
        scale: expected error at a change of 1.
        slope: 0 = the same error whatever is foreseen.
    """

    change: Whitening
    scale: float
    slope: float

    def at(self, foreseen_change: np.ndarray) -> Float[np.ndarray, " F"]:
        """Return the error to expect for each foreseen change [F X]."""
        return self.scale * _floored(self.change.score(foreseen_change)) ** self.slope


def fit_expected_error(
    error: Float[np.ndarray, " F"],
    foreseen_change: np.ndarray,
    whitening: Whitening | None = None,
) -> ExpectedError:
    """Fit normal steps: whitened errors [F] and foreseen changes [F X].

    The scale is set so that error over expected error is 1 on average over these steps.

    Args:
        error: of each step.
        foreseen_change: of each step.
        whitening: measures a foreseen change; None fits one to these changes.
    """
    whitening = whitening or fit_whitening(foreseen_change)
    change = _floored(whitening.score(foreseen_change))
    slope = _slope(np.log(change), np.log(np.maximum(error, _LEAST_ERROR)))
    scale = float((error / change**slope).mean())
    return ExpectedError(whitening, scale if scale > 0 else 1.0, slope)


def _floored(change: np.ndarray) -> np.ndarray:
    return np.maximum(change, _LEAST_CHANGE)


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    centred = x - x.mean()
    spread = float(centred @ centred)
    # more change never makes less error likely; a model that foresees no change has slope 0, and
    # one that foresees nearly always the same any slope by chance, up to powers that overflow
    return float(np.clip(centred @ y / spread, 0.0, _STEEPEST)) if spread > 1e-9 else 0.0
