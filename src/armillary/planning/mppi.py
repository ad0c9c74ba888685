"""MPPI: model-predictive path integral. Every candidate counts, the cheap ones exponentially more.

weight = softmax(-(cost - lowest) / (temperature * (mean - lowest))), so the temperature has no
unit and does not depend on the scale of a model's latent space.
Axes: B batch, S candidate plans, L plan length, A action width.
Source: Williams et al. 2017 (1509.01149), with the spread refitted as in TD-MPC2 (2310.16828).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.planning.checks import positive
from armillary.planning.sampling import Sampling, SamplingConfig

_WORST = 1e30  # stands for +inf inside a softmax, where inf - inf would be NaN


@dataclass(frozen=True, kw_only=True)
class MPPIConfig(SamplingConfig):
    """Settings of ``MPPI``, beside those of ``SamplingConfig``.

    Attributes:
        temperature: softness of the weights, in units of (mean cost - lowest cost).
    """

    temperature: float = 0.1

    def __post_init__(self) -> None:
        self.check("mppi")
        positive("mppi", temperature=self.temperature)


class MPPI(Sampling[MPPIConfig]):
    """Path integral control with warm start and bounds."""

    Config = MPPIConfig

    def refit(
        self,
        plans: Float[Tensor, "B S L A"],
        costs: Float[Tensor, "B S"],
        mean: Float[Tensor, "B L A"],
        std: Float[Tensor, "B L A"],
    ) -> tuple[Float[Tensor, "B L A"], Float[Tensor, "B L A"]]:
        """Return mean and spread of all plans, each with its weight."""
        return _weighted(plans, costs, self.config.temperature)


def _weighted(
    plans: Float[Tensor, "B S L A"], costs: Float[Tensor, "B S"], temperature: float
) -> tuple[Float[Tensor, "B L A"], Float[Tensor, "B L A"]]:
    pairs = [_weighted_one(*pair, temperature) for pair in zip(plans, costs, strict=True)]
    return torch.stack([mean for mean, _ in pairs]), torch.stack([std for _, std in pairs])


def _weighted_one(
    plans: Float[Tensor, "S L A"], costs: Float[Tensor, " S"], temperature: float
) -> tuple[Float[Tensor, "L A"], Float[Tensor, "L A"]]:
    above = costs.clamp(max=_WORST) - costs.clamp(max=_WORST).min()
    finite = costs.isfinite()
    # Costs that are all equal have no spread; then every plan weighs the same.
    spread = (above * finite).sum() / finite.sum().clamp(min=1)
    weights = torch.softmax(-above / (temperature * spread).clamp(min=1e-20), dim=0)[:, None, None]
    mean = (weights * plans).sum(dim=0)
    return mean, (weights * (plans - mean).square()).sum(dim=0).sqrt()
