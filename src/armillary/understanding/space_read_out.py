"""Space read-out: what a space holds after a predicted step, read from the predicted latent.

The read-out is a ridge, fitted on training windows with true later latents and applied to predicted
ones. It may see the present value of the space too, which is known to every contestant. Which form
serves best is found on held-out training windows. ``WITHOUT_LATENT`` is the same read-out from
latents that are zero: what the present alone gives.

Axes: W windows, Z numbers of a latent, X numbers in a space, K folds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from armillary.understanding.chosen_ridge import Form, choose_ridge
from armillary.understanding.prediction_error import WITHOUT_LATENT

# What a space may be read from, and how.
_READ: Mapping[str, tuple[Form, ...]] = {
    "latent": ("direct",),
    "latent and features": ("direct",),
    "both latents and features": ("change",),
}


@dataclass(frozen=True)
class SpaceWindows:
    """Windows with the latent and the value of a space at the present.

    Attributes:
        latents: at the present [W Z].
        values: of the space, at the present [W X].
    """

    latents: Float[np.ndarray, "W Z"]
    values: Float[np.ndarray, "W X"]


def read_predicted(
    fit: SpaceWindows,
    later_latents: Float[np.ndarray, "W Z"],
    later_values: Float[np.ndarray, "W X"],
    held_out: Bool[np.ndarray, "*K W"],
    judge: SpaceWindows,
    predicted: Mapping[str, Float[np.ndarray, "W2 Z"]],
) -> dict[str, Float[np.ndarray, "W2 X"]]:
    """Return the values read from predicted latents, by contestant, and ``WITHOUT_LATENT``.

    Args:
        fit: training windows.
        later_latents: true latents of the later step, in the training windows.
        later_values: true values of the later step, in the training windows.
        held_out: training windows on which the form is chosen, as in ``choose_ridge``.
        judge: windows that are judged.
        predicted: latents of the later step in these, by contestant.
    """
    nothing = {WITHOUT_LATENT: np.zeros_like(judge.latents)}
    found = {}
    for says, guesses in ((1, predicted), (0, nothing)):
        inputs = _inputs(says * later_latents, says * fit.latents, fit.values)
        reader = choose_ridge(_READ, inputs, fit.values, later_values, held_out)
        for name, guess in guesses.items():
            inputs = _inputs(guess, says * judge.latents, judge.values)
            found[name] = reader.predict(inputs, judge.values)
    return found


def _inputs(later: np.ndarray, latent: np.ndarray, seen: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "latent": later,
        "latent and features": np.concatenate([later, seen], axis=1),
        "both latents and features": np.concatenate([later, latent, seen], axis=1),
    }
