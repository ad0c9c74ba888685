"""Inverse dynamics: what was done must be readable from two latents that it lies between.

It brings into the latent what the agent controls, where a static layout would be easier to encode.
An action that takes effect late, or moves little in one step, shows in the sum of several.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.models import JEPAConfig
from armillary.objectives import inverse_dynamics_loss
from armillary.objectives.moments import mean_over_processes
from armillary.training.terms.encoded_clips import EncodedClips
from armillary.training.terms.term import Term, TermConfig, mlp_head

_HIDDEN = 128
_STEPS = (1, 4)  # between the two latents
_LEAST = 1e-4  # root mean square; smaller ones are those of a collapsed latent


@dataclass(frozen=True)
class InverseDynamicsConfig(TermConfig):
    """Weight of inverse dynamics.

    Attributes:
        inverse_dynamics: error of the actions predicted from two latents that they lie between.
    """

    inverse_dynamics: float = 0.0


class InverseDynamics(Term):
    """Error of the actions' sum that a head predicts from two latents, 1 and 4 steps apart.

    Formula: the mean over k in (1, 4) of
    mean((head_k(z_t - mean z, z_t+k - z_t) - (action_t + ... + action_t+k-1) / sqrt(k))^2), with
    actions of unit spread. The head reads both parts divided by their root mean square over the
    batch, through which no gradient flows. In a step a latent moves by a small share of its spread.
    Without the division, nothing was learned of forces in the first 900 updates on dm_control's
    reacher: docs/concepts/recipe.md, "Inverse dynamics".

    Source: Pathak et al. 2017 (1705.05363); EB-JEPA's ablation (97 % with it, 1 % without).
    """

    name = "inverse_dynamics"
    needs_actions = True

    def __init__(self, model: JEPAConfig, config: InverseDynamicsConfig) -> None:
        super().__init__(model, config)
        self.heads = nn.ModuleList(
            mlp_head(2 * model.latent_width, model.action_width, _HIDDEN) for _ in _STEPS
        )

    def forward(self, clips: EncodedClips) -> Float[Tensor, ""]:
        """Return the mean squared error; a clip of less than 4 moves is asked for all of them."""
        losses = []
        for most, head in zip(_STEPS, self.heads, strict=True):
            steps = min(most, clips.actions.shape[1])
            before, after = clips.latents[:, :-steps], clips.latents[:, steps:]
            centre = mean_over_processes(before.detach().mean((0, 1)))
            ends = torch.cat([_scaled(before - centre), _scaled(after - before)], -1)
            done = clips.actions.unfold(1, steps, 1).sum(-1) / math.sqrt(steps)
            losses.append(inverse_dynamics_loss(head(ends), done))
        return torch.stack(losses).mean()


def _scaled(values: Float[Tensor, "B T Z"]) -> Float[Tensor, "B T Z"]:
    """Return values divided by their root mean square over the batch of all processes."""
    square = mean_over_processes(values.detach().square().mean())
    return values / square.sqrt().clamp_min(_LEAST)
