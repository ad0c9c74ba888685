"""Rollout: multi-step prediction in latent space.

Axes: B clips, T steps, R = T - K starts, K steps ahead, Z flattened latent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.models import JEPAConfig
from armillary.objectives import decaying_weights, rollout_loss
from armillary.training.rollouts import some_starts, targets_after_each
from armillary.training.terms.encoded_clips import EncodedClips
from armillary.training.terms.term import Term, TermConfig


@dataclass(frozen=True)
class RolloutConfig(TermConfig):
    """Weight and settings of the prediction loss.

    Attributes:
        rollout: multi-step prediction in latent space.
        rollout_steps: K, how many steps are predicted from each start.
        rollout_decay: weight of each further step relative to the one before.
        rollout_starts: share of the steps of a clip that are started from, drawn at each step of
            the training.
    """

    rollout: float = 1.0
    rollout_steps: int = 4
    rollout_decay: float = 0.7
    rollout_starts: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(1, "rollout_steps")
        if not 0 < self.rollout_starts <= 1:
            raise ConfigError(
                "objective.rollout_starts must be above 0 and at most 1, got "
                f"{self.rollout_starts}."
            )


class Rollout(Term):
    """The error of the latents predicted 1 to K steps ahead, from a share of the steps of a clip.

    Formula: sum over k of w_k mean((prediction_k - latent_k)^2), w_k ~ decay^(k-1), sum w_k = 1.
    Gradients go to both sides.

    Source: Dual-WM and TD-MPC2, several steps with decaying weights.
    """

    name = "rollout"

    def __init__(self, model: JEPAConfig, config: RolloutConfig) -> None:
        super().__init__(model, config)
        self.steps_ahead, self.decay = config.rollout_steps, config.rollout_decay
        self.share = config.rollout_starts

    def forward(self, clips: EncodedClips) -> Float[Tensor, ""]:
        """Return the weighted error over steps ahead."""
        steps = clips.latents.shape[1] - self.steps_ahead
        order = torch.randperm(steps, generator=clips.generator(self.name))
        starts = some_starts(order, self.share).to(clips.latents.device)
        predictions = clips.predictions(self.steps_ahead, starts)
        weights = decaying_weights(self.steps_ahead, self.decay)
        targets = targets_after_each(clips.latents, self.steps_ahead, starts)
        return rollout_loss(predictions, targets, weights)
