"""Value goals: what a plan shall reach, given as values of read-outs instead of a picture.

    object_xy=0.3,0.1           a place
    object_xy=0.2..0.3,any      a region: the first number within limits, the second anywhere

The cost of a predicted latent is how far its read-out lies outside of the region, squared, in units
of the read-out's own error. So goals with other units can stand side by side, and nothing is gained
by being nearer than the read-out can tell.

Axes: S plans, L model steps, N tokens, D latent width, Y values of a read-out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.planning.latent_cost import CostOfSteps
from armillary.understanding.read_out import ReadOut

_ANY = "any"
_MOST_VALUES = 1024
_GREATEST = 1e18  # its square is a float32
_LEAST_ERROR = 1e-9  # of a read-out that is perfect on its held-out episodes


@dataclass(frozen=True)
class ValueGoal:
    """A region of what a read-out gives.

    Attributes:
        target: name of the truth stream that the read-out was fitted on.
        low: least value of each number; minus infinity for none.
        high: greatest value of each number.
    """

    target: str
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> ValueGoal:
        """Return the goal that a text says: ``NAME=VALUE,VALUE``.

        Args:
            text: each value is a number, ``LOW..HIGH``, or ``any``.

        Raises:
            ConfigError: it says something else.
        """
        name, equals, values = text.partition("=")
        words = values.split(",")
        if not (name and equals and values) or len(words) > _MOST_VALUES:
            raise ConfigError(
                f"A goal is NAME=VALUE,VALUE, where each value is a number, LOW..HIGH or any, e.g. "
                f"object_xy=0.3,0.0..0.1; got {text!r}."
            )
        limits = [_limits(word.strip(), text) for word in words]
        return cls(name, tuple(low for low, _ in limits), tuple(high for _, high in limits))

    def outside(self, values: Float[Tensor, "*B Y"]) -> Float[Tensor, "*B"]:
        """Return the distance to the region, in the unit of the truth; 0 within."""
        low, high = values.new_tensor(self.low), values.new_tensor(self.high)
        return torch.maximum(low - values, values - high).clamp(min=0.0).norm(dim=-1)

    def __str__(self) -> str:
        shown = [
            _ANY if math.isinf(low) else f"{low:g}" if low == high else f"{low:g}..{high:g}"
            for low, high in zip(self.low, self.high, strict=True)
        ]
        return f"{self.target}={','.join(shown)}"


def value_cost(pairs: Sequence[tuple[ReadOut, ValueGoal]]) -> CostOfSteps:
    """Return a cost of predicted latents that is 0 where all goals hold (for ``arm.plan``).

    Args:
        pairs: read-outs, each with the goal for what it reads.

    Raises:
        ConfigError: a goal has another number of values than its read-out.
    """
    for where, goal in pairs:
        if len(goal.low) != len(where.offset):
            raise ConfigError(
                f"{where.target} has {len(where.offset)} values, and the goal {goal} gives "
                f"{len(goal.low)}."
            )

    def cost(latents: Float[Tensor, "S L N D"]) -> Float[Tensor, "S L"]:
        parts = [
            (goal.outside(where(latents)) / max(where.error, _LEAST_ERROR)).square()
            for where, goal in pairs
        ]
        return torch.stack(parts).sum(0)

    return cost


def _limits(word: str, text: str) -> tuple[float, float]:
    if word == _ANY:
        return -math.inf, math.inf
    low, dots, high = word.partition("..")
    try:
        limits = float(low), float(high if dots else low)
    except ValueError:
        limits = math.nan, math.nan
    if not (max(map(abs, limits)) <= _GREATEST and limits[0] <= limits[1]):
        raise ConfigError(
            f"A value of a goal is a number, LOW..HIGH or any; got {word!r} in {text!r}."
        )
    return limits
