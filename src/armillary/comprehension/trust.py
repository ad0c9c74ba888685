"""Trust: how far a prediction is believed over one that knows less, told by the other half.

A model may know the training episodes by heart. Then they cannot tell how good its predictions are
elsewhere, and a read-out that believes them can be worse than no model at all. So one half of the
judged groups tells for the other half whether the prediction is taken: not at all, by half, or
fully. A gain below two standard errors is none. Nothing is chosen on what it is judged by. With
fewer than eight groups there is no telling, and the caller says what holds then.

Axes: W windows, G groups.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

TRUST = (0.0, 0.5, 1.0)
_LEAST_GROUPS = 8
_SURE = 2.0  # standard errors, over groups


def believed(
    base: np.ndarray,
    other: np.ndarray,
    error: Callable[[np.ndarray], Float[np.ndarray, " W"]],
    groups: Int[np.ndarray, " W"],
    untold: float = 0.0,
) -> tuple[np.ndarray, tuple[float, float]]:
    """Return the base, moved towards another prediction by as much as that is trusted.

    Args:
        base: a prediction [W ...].
        other: of the same, that may be better or worse.
        error: of a prediction, by window; NaN where a window is not judged.
        groups: of each window, which halves keep whole.
        untold: the trust where there are fewer than eight groups.

    Returns:
        The prediction, and the trust in the first and in the second half.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    second = group_of % 2 == 1
    away = [error(base + trust * (other - base)) for trust in TRUST]
    found, chosen = base.copy(), []
    for half in (~second, second):
        trust = untold
        if len(names) >= _LEAST_GROUPS:
            trust = _most([one[~half] for one in away], group_of[~half])
        found[half] += trust * (other[half] - base[half])
        chosen.append(trust)
    return found, (chosen[0], chosen[1])


def _most(away: list[Float[np.ndarray, " W"]], groups: Int[np.ndarray, " W"]) -> float:
    """Return the trust with the least error, if that is surely less than with none."""
    best = min(range(len(TRUST)), key=lambda at: float(np.nanmean(away[at])))
    gain = away[0] - away[best]
    told = [gain[groups == name] for name in np.unique(groups)]
    by_group = np.array([np.nanmean(one) for one in told if np.isfinite(one).any()])
    sure = by_group.mean() > _SURE * by_group.std() / np.sqrt(len(by_group))
    return TRUST[best] if sure else 0.0
