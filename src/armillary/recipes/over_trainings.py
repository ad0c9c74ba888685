"""Over trainings: a paired test where several trainings of each side tried the same episodes.

An episode that three trainings tried is one observation, not three: they find the same ones hard.
So each episode counts as how many more trainings of one side solved it, and if the sides were
alike, either sign of that would have been as likely.

Axes: K trainings, E episodes.
Source: Fisher 1935, the exact test of a mean paired difference under exchange of the sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class OverTrainings:
    """What a test over several trainings says.

    Attributes:
        only_first: pairs (training, episode) that only the first side solved.
        only_second: that only the second did.
        p: two-sided, with the episode as what is drawn.
    """

    only_first: int
    only_second: int
    p: float


def over_trainings(
    first: Sequence[Float[np.ndarray, " E"]], second: Sequence[Float[np.ndarray, " E"]]
) -> OverTrainings:
    """Test K trainings of one side against K of another on the same episodes.

    Args:
        first: for each training whether each episode was solved, 0 or 1.
        second: likewise.
    """
    apart = np.array(first, int) - np.array(second, int)
    return OverTrainings(
        only_first=int(np.count_nonzero(apart > 0)),
        only_second=int(np.count_nonzero(apart < 0)),
        p=sign_flip_p(apart.sum(axis=0)),
    )


def sign_flip_p(differences: Int[np.ndarray, " E"]) -> float:
    """Return how likely a sum as far from 0 is if every sign is as likely as its opposite.

    Exact: the distribution of the sum is built up difference by difference.

    Args:
        differences: whole numbers.
    """
    sizes = np.abs(differences[differences != 0])
    middle = int(sizes.sum())
    share = np.zeros(2 * middle + 1)
    share[middle] = 1.0
    for size in sizes:
        share = (np.roll(share, size) + np.roll(share, -size)) / 2
    least = abs(int(differences.sum()))
    return min(1.0, float(share[np.abs(np.arange(-middle, middle + 1)) >= least].sum()))
