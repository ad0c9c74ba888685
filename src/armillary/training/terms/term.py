"""Term: one part of the training loss, with its weight, its settings and its head in one file.

``objective.py`` lists the terms. How to write one: docs/how-to/extending.md, "A loss".
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from armillary.core.errors import ConfigError
from armillary.models import JEPAConfig
from armillary.training.terms.encoded_clips import EncodedClips


@dataclass(frozen=True)
class TermConfig:
    """Weight and settings of a term.

    The weight is a field with the term's name. ``ObjectiveConfig`` inherits from the configs of
    all terms, so every field becomes a flag ``--objective.FIELD``.
    """

    def __post_init__(self) -> None:
        """Check the settings. A config that overrides this calls ``super().__post_init__()``."""

    def at_least(self, bound: int, *names: str) -> None:
        """Check that settings are not below a bound.

        Raises:
            ConfigError: one is.
        """
        for name in names:
            if (value := getattr(self, name)) < bound:
                raise ConfigError(f"objective.{name} must be at least {bound}: {value}.")


class Term(nn.Module):
    """One part of the training loss.

    The docstring of a term says what it is, its formula and its source. A head, which is needed
    only in training, is an attribute. It is drawn from the run's seed.

    Args:
        model: shape of the model that learns.
        config: the weights and settings of all terms.

    Raises:
        ConfigError: the term needs actions, and the model takes none.

    Attributes:
        name: of the term, its weight and its line in the log.
        needs_actions: whether it cannot be computed for a model without actions.
        without_latents: why the term has no gradient into ``clips.latents``; empty where it has.
    """

    name: ClassVar[str]
    needs_actions: ClassVar[bool] = False
    without_latents: ClassVar[str] = ""

    def __init__(self, model: JEPAConfig, config: Any) -> None:
        super().__init__()
        if self.needs_actions and not model.action_width:
            raise ConfigError(
                f"objective.{self.name} needs actions, and the model takes none "
                "(model.action_width is 0). Set it to 0."
            )

    @classmethod
    def streams(cls, model: JEPAConfig) -> tuple[str, ...]:
        """Return the streams of a batch that the term reads, besides those that the model reads.

        Training refuses a dataset without them.

        Args:
            model: shape of the model.
        """
        return ()

    @classmethod
    def optional_streams(cls, model: JEPAConfig) -> tuple[str, ...]:
        """Return the streams that the term reads where the dataset has them (``clips.has``)."""
        return ()

    @abstractmethod
    def forward(self, clips: EncodedClips) -> Float[Tensor, ""]:
        """Return the loss of a batch, not yet multiplied by its weight.

        Under several processes, random numbers are the same in all (``clips.generator``), and
        statistics are those of the whole batch (``objectives/moments.py``).

        Raises:
            ShapeError: the clips lack a stream that the term reads.
        """


def mlp_head(inputs: int, outputs: int, hidden: int = 256) -> nn.Module:
    """Return a head with one hidden layer."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, outputs)
    )
