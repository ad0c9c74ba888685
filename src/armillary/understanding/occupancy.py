"""Occupancy: in which cells of a grid around a distance sensor a surface lies.

The grid has the directions of the sensor's map (``distance_sensors.py``) and ``SHELLS`` equal steps
of distance, up to what 99 % of the training distances reach. In each direction a map says: free up
to the surface, occupied there, unknown behind it.

A guess is compared with the observed map in the cells that this one observed, so behind no surface.
The error of a step is 1 - IoU: the cells that both call occupied, over those that either does.

How sure: a surface that is guessed one cell away has no overlap at all, so the error tells little
about by how much a guess is wrong; the errors in metres do (``metres.py``). Directions are as wide
as the cells of the map.

Axes: W windows, C cells of the map, which are directions here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

SHELLS = 32
_REACH = 0.99  # quantile; single distances may be far beyond


@dataclass(frozen=True)
class Shells:
    """Steps of distance around a sensor.

    Attributes:
        width_m: of one, metres.
    """

    width_m: float

    @classmethod
    def fit(cls, maps: Float[np.ndarray, "F C"]) -> Shells:
        """Return shells that reach as far as most distances.

        Args:
            maps: of training steps, metres; NaN where nothing was measured, but not everywhere.
        """
        return cls(float(np.nanquantile(maps, _REACH)) / SHELLS)

    def error(
        self, guess: Float[np.ndarray, "W C"], observed: Float[np.ndarray, "W C"]
    ) -> Float[np.ndarray, " W"]:
        """Return 1 - IoU of the occupied cells of each window; 0 where both call none occupied.

        Args:
            guess: metres, known everywhere.
            observed: metres; directions that are NaN are not judged.
        """
        there = np.isfinite(observed)
        true, guessed = self._shell(np.nan_to_num(observed)), self._shell(guess)
        both = there & (true == guessed) & (true < SHELLS)
        occupied = (there & (true < SHELLS)).sum(axis=1)
        wrongly = (there & (guessed < np.minimum(true, SHELLS))).sum(axis=1)
        either = occupied + wrongly
        return np.where(either > 0, 1 - both.sum(axis=1) / np.maximum(either, 1), 0.0)

    def _shell(self, distance_m: np.ndarray) -> Int[np.ndarray, "W C"]:
        """Return in which shell a distance lies; ``SHELLS`` beyond the last."""
        return np.clip(distance_m / self.width_m, 0, SHELLS).astype(np.int64)
