"""Weighted sum of named loss terms: the names of terms and weights must be the same set."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ConfigError


def weighted_sum(
    terms: Mapping[str, Float[Tensor, ""]], weights: Mapping[str, float]
) -> Float[Tensor, ""]:
    """Return the sum of terms times weights.

    Args:
        terms: scalar loss terms by name.
        weights: a weight for each of them.

    Raises:
        ConfigError: a term without weight, or a weight without term.
    """
    if terms.keys() != weights.keys():
        raise ConfigError(
            f"Loss terms {sorted(terms)} need exactly these weights, got {sorted(weights)}."
        )
    total = [weights[name] * term for name, term in terms.items()]
    return sum(total[1:], start=total[0])
