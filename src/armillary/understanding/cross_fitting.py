"""Cross-fitting: how much weight a prediction gets over one that knows less.

A model may know the training episodes by heart. Then they cannot tell how good its predictions are
elsewhere, and a read-out that relies on them can be worse than no model at all. So the judged
groups are split into halves, and each half chooses the weight for the other one: 0, 0.5 or 1. A
gain below two standard errors counts as none. No weight is chosen on the groups that it is judged
on. With fewer than eight groups nothing can be chosen, and the caller's default holds.

Axes: W windows, G groups.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

WEIGHTS = (0.0, 0.5, 1.0)
_LEAST_GROUPS = 8
_STANDARD_ERRORS = 2.0  # over groups


def cross_fitted(
    base: np.ndarray,
    other: np.ndarray,
    error: Callable[[np.ndarray], Float[np.ndarray, " W"]],
    groups: Int[np.ndarray, " W"],
    default: float = 0.0,
) -> tuple[np.ndarray, tuple[float, float]]:
    """Return the base moved towards another prediction, with cross-fitted weights.

    Args:
        base: a prediction [W ...].
        other: of the same, that may be better or worse.
        error: of a prediction, by window; NaN where a window is not judged.
        groups: of each window, which halves keep whole.
        default: the weight where there are fewer than eight groups.

    Returns:
        The prediction, and the weight in the first and in the second half.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    second = group_of % 2 == 1
    errors = [error(base + weight * (other - base)) for weight in WEIGHTS]
    blend, weights = base.copy(), []
    for half in (~second, second):
        weight = default
        if len(names) >= _LEAST_GROUPS:
            weight = _best_weight([series[~half] for series in errors], group_of[~half])
        blend[half] += weight * (other[half] - base[half])
        weights.append(weight)
    return blend, (weights[0], weights[1])


def _best_weight(errors: list[Float[np.ndarray, " W"]], groups: Int[np.ndarray, " W"]) -> float:
    """Return the weight with the least error, or 0 where its gain over 0 is not significant."""
    best = min(range(len(WEIGHTS)), key=lambda index: float(np.nanmean(errors[index])))
    gain = errors[0] - errors[best]
    of_groups = [gain[groups == name] for name in np.unique(groups)]
    means = np.array([np.nanmean(one) for one in of_groups if np.isfinite(one).any()])
    significant = means.mean() > _STANDARD_ERRORS * means.std() / np.sqrt(len(means))
    return WEIGHTS[best] if significant else 0.0
