"""iCEM: CEM with noise that is coloured in time, elites that are kept, and fewer samples later.

Axes: B batch, S candidate plans, K elites, L plan length, A action width.
Source: Pinneri et al. 2020 (2008.06389), algorithm 1. Differences: candidates are clipped to the
bounds in world units before costing, and the mean is a candidate in every round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.planning.checks import at_least, elites_fit
from armillary.planning.colored import colored_noise
from armillary.planning.sampling import Sampling, SamplingConfig, refit_to_elites


@dataclass(frozen=True, kw_only=True)
class ICEMConfig(SamplingConfig):
    """Settings of ``ICEM``, beside those of ``SamplingConfig``.

    Attributes:
        length: actions per plan, L. A push takes so many.
        iterations: rounds per decision.
        elites: plans that the Gaussian is refitted to, K.
        momentum: share of the old mean and spread that stays at a refit.
        color: exponent of the noise's power over frequency; 0 white, 2 a random walk.
        decay: factor by which samples shrink per iteration, never below twice the elites.
        kept: elites that are tried again in the next iteration and the next decision.
    """

    length: int = 20
    iterations: int = 4
    elites: int = 8
    momentum: float = 0.1
    color: float = 2.0
    decay: float = 1.25
    kept: int = 3

    def __post_init__(self) -> None:
        self.check("icem")
        at_least("icem", 1, elites=self.elites, decay=self.decay)
        at_least("icem", 0, kept=self.kept, color=self.color, momentum=self.momentum)
        elites_fit("icem", self.elites, self.samples)
        if self.samples <= self.kept + 2:
            raise ConfigError(
                f"icem: samples must be more than kept + 2; got {self.samples} and {self.kept}."
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Candidates per iteration, fewer each time."""
        floor = min(self.samples, 2 * self.elites)
        return tuple(
            max(round(self.samples * self.decay**-i), floor) for i in range(self.iterations)
        )

    @property
    def carried(self) -> int:
        """The elites that are kept."""
        return min(self.kept, self.elites)


class ICEM(Sampling[ICEMConfig]):
    """Sample-efficient cross-entropy method."""

    Config = ICEMConfig

    def noise(
        self, rngs: Sequence[torch.Generator], samples: int, length: int, width: int
    ) -> Float[Tensor, "B S L A"]:
        """Return noise that is smooth in time."""
        return colored_noise(rngs, samples, length, width, self.config.color)

    def refit(
        self,
        plans: Float[Tensor, "B S L A"],
        costs: Float[Tensor, "B S"],
        mean: Float[Tensor, "B L A"],
        std: Float[Tensor, "B L A"],
    ) -> tuple[Float[Tensor, "B L A"], Float[Tensor, "B L A"]]:
        """Return mean and spread of the elites, with momentum."""
        c = self.config
        return refit_to_elites(plans, costs, mean, std, c.elites, c.momentum)
