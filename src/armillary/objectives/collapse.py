"""Collapse: a running diagnosis of latents that say less than they could, in words.

Source: effective rank, Roy & Vetterli 2007; RankMe, Garrido et al. 2023 (2210.02885).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.objectives.moments import mean_and_covariance

# Below these a run is called collapsed. From the runs in results/: healthy ones stay above
# 0.2 of the width and 0.02 of motion; a constant encoder gives 1 dimension and 0.
_LEAST_RANK_SHARE = 0.05
_LEAST_SPREAD = 1e-2
_LEAST_MOTION_SHARE = 1e-3


@dataclass(frozen=True)
class CollapseDiagnosis:
    """How much the latents of a batch say.

    Attributes:
        effective_rank: exponential of the entropy of the covariance's spectrum; 1 to Z.
        least_spread: smallest standard deviation over dimensions.
        mean_spread: mean standard deviation over dimensions.
        motion_share: share of the variance that lies within clips; 0 if nothing moves in them.
        width: Z.
    """

    effective_rank: float
    least_spread: float
    mean_spread: float
    motion_share: float
    width: int

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong, one sentence each; empty for healthy latents."""
        found = []
        if self.mean_spread < _LEAST_SPREAD:
            found.append(
                f"The encoder has collapsed: its latents hardly differ (mean spread "
                f"{self.mean_spread:.1e}). Train longer; if that changes nothing, raise the "
                "weight of sigreg or variance."
            )
        elif self.effective_rank < max(2.0, _LEAST_RANK_SHARE * self.width):
            found.append(
                f"The latents use {self.effective_rank:.1f} of {self.width} dimensions. Train "
                "longer; if that changes nothing, raise the weight of sigreg or covariance."
            )
        if self.motion_share < _LEAST_MOTION_SHARE and not found:
            found.append(
                f"Only {self.motion_share:.2%} of the latent's variance lies within clips: the "
                "encoder sees what never changes. Train longer; if that changes nothing, raise the "
                "weight of motion_variance."
            )
        return tuple(found)


@torch.no_grad()
def diagnose_collapse(latents: Float[Tensor, "B T Z"]) -> CollapseDiagnosis:
    """Return the diagnosis of a batch of clips (all processes counted)."""
    clips = latents.float()
    _, covariance = mean_and_covariance(clips.flatten(0, 1))
    _, within = mean_and_covariance((clips - clips.mean(1, keepdim=True)).flatten(0, 1))
    spread = covariance.diagonal().clamp_min(0).sqrt()
    total = float(covariance.trace())
    return CollapseDiagnosis(
        effective_rank=_effective_rank(covariance),
        least_spread=float(spread.min()),
        mean_spread=float(spread.mean()),
        motion_share=float(within.trace()) / total if total > 0 else 0.0,
        width=clips.shape[-1],
    )


def _effective_rank(covariance: Tensor) -> float:
    spectrum = torch.linalg.eigvalsh(covariance).clamp_min(0)
    total = spectrum.sum()
    if total <= 0:
        return 1.0
    share = spectrum / total
    return float(torch.exp(-torch.special.xlogy(share, share).sum()))
