"""Scaler: each column brought to mean 0 and spread 1, by the samples it was fitted on.

Axes: F samples, X features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True)
class Scaler:
    """Mean and spread of each column; columns that never change are left out.

    Attributes:
        mean: [X].
        spread: [X], standard deviation.
        kept: [X], False for a column that is constant.
    """

    mean: Float[np.ndarray, " X"]
    spread: Float[np.ndarray, " X"]
    kept: Bool[np.ndarray, " X"]

    @classmethod
    def fit(cls, values: np.ndarray) -> Scaler:
        """Measure the columns of ``values`` [F X]."""
        mean = values.mean(axis=0, dtype=np.float64)
        spread = values.std(axis=0, dtype=np.float64)
        # relative: float32 rounding makes a constant column look as if it moved in its last bit
        return cls(mean, spread, spread > 1e-5 * np.abs(mean) + 1e-9)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return the kept columns with mean 0 and spread 1, float64 [F kept]."""
        return (values[:, self.kept] - self.mean[self.kept]) / self.spread[self.kept]
