"""Tokens: what an encoder is given of a frame, from any sensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """Features with places.

    Attributes:
        features: [F P C].
        places: where each lies in the scene, of order one [F P 3].
        present: which of them are there [F P]; None for all.
    """

    features: Float[Tensor, "F P C"]
    places: Float[Tensor, "F P 3"]
    present: Bool[Tensor, "F P"] | None = None

    @property
    def anything(self) -> Bool[Tensor, "F 1"] | None:
        """Whether a frame has any; None where all do."""
        return None if self.present is None else self.present.any(1, keepdim=True)

    def of_rows(self, rows: Int64[Tensor, " G"], count: int) -> Tokens:
        """Return tokens of F frames, of which these are G; the others have none.

        Args:
            rows: which of the F frames these are.
            count: F.
        """
        present = _mask(self)
        return Tokens(
            *(_among(part, rows, count) for part in (self.features, self.places, present))
        )


def joined(parts: Sequence[Tokens]) -> Tokens:
    """Return all tokens of several sensors, in one sequence."""
    if len(parts) == 1:
        return parts[0]
    present = None
    if any(part.present is not None for part in parts):
        present = torch.cat([_mask(part) for part in parts], 1)
    features = torch.cat([part.features for part in parts], 1)
    return Tokens(features, torch.cat([part.places for part in parts], 1), present)


def _among(part: Tensor, rows: Tensor, count: int) -> Tensor:
    return part.new_zeros(count, *part.shape[1:]).index_copy(0, rows, part)


def _mask(part: Tokens) -> Tensor:
    if part.present is not None:
        return part.present
    return torch.ones(part.features.shape[:2], dtype=torch.bool, device=part.features.device)
