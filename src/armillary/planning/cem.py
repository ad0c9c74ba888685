"""CEM: the cross-entropy method. Draw plans, keep the cheapest, refit a Gaussian to them, repeat.

Axes: B batch, S candidate plans, K elites, L plan length, A action width.
Source: Rubinstein 1999; in latent space as in DINO-WM (2411.04983) and LeWM (2603.19312), but
clipped to the world's bounds before costing, which several public versions leave out.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from armillary.planning.checks import at_least, elites_fit
from armillary.planning.sampling import Sampling, SamplingConfig, refit_to_elites


@dataclass(frozen=True, kw_only=True)
class CEMConfig(SamplingConfig):
    """Settings of ``CEM``, beside those of ``SamplingConfig``.

    Attributes:
        elites: plans that the Gaussian is refitted to, K.
        momentum: share of the old mean and spread that stays at a refit.
    """

    elites: int = 8
    momentum: float = 0.1

    def __post_init__(self) -> None:
        self.check("cem")
        at_least("cem", 1, elites=self.elites)
        at_least("cem", 0, momentum=self.momentum)
        elites_fit("cem", self.elites, self.samples)


class CEM(Sampling[CEMConfig]):
    """Cross-entropy method with warm start and bounds."""

    Config = CEMConfig

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
