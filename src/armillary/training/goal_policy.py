"""Goal policy: imitate recorded actions towards goals in hindsight, on a model's frozen latents.

Every recorded state was a goal of what was done before it. How many model steps before is drawn
evenly over its logarithm, and is an input of the policy: near goals say which action leads there,
far ones how a way begins. The loss is the likelihood of the recorded actions.

Two things keep it from learning the recording by heart, on episodes of the tabletop. Without a
weight decay of 0.1 the likelihood of held-out actions fell after 500 steps. With it, and without
noise on the latents, it fell after 2,000 where goals were at most four steps away.

The noise moves both latents alike, so the gap between them still says which way to go. In a model
step dm_control's point mass moves by 0.09 of its spread. Noise of 0.1 on each latent of its own hid
such steps (``test_small_steps_in_a_large_room_are_learned``: R2 0.21 in place of 1.00).

A small network is better in the same time, since it sees more samples. On Push-T, in 75 s of one
core, the R2 of held-out actions with goals 12 to 25 steps away was 0.29 with a width of 512 and a
learning rate of 0.001, and 0.38 as here. Without a search, 44 and 59 of 100 goals were reached.

Axes: B samples, Z flattened latent, A action of a model step.
Source: Ghosh et al. 2019 (1912.06088).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from armillary.core.errors import ConfigError, TrainingError
from armillary.core.progress import Progress, silent
from armillary.core.rng import generator
from armillary.models.goal_policy import GoalPolicy, GoalPolicyConfig, untrained_goal_policy
from armillary.training.encoded_episodes import EncodedEpisodes, check_finite

_JUDGED = 4096
_FAR_SHARE = 0.1  # of the states have goals as far as the farthest that the policy gets
_LEAST_STD = 0.1  # of the mean spread: dimensions that hardly move are mostly noise
_CLIP = 1.0  # longest gradient


@dataclass(frozen=True)
class GoalPolicyTraining:
    """Settings of the training of a goal policy.

    Attributes:
        steps: optimizer steps.
        batch_size: samples per step.
        lr: learning rate at the start; it falls to zero along a cosine.
        weight_decay: of AdamW.
        noise: standard deviation of what is added to both latents alike, relative to their own.
        gap_noise: of what is added to the goal besides, relative to the gap's own.
        farthest: most model steps to a goal.
        hidden: width of the hidden layers.
        layers: residual layers.
        seed: names weights and samples.
    """

    steps: int = 8000
    batch_size: int = 256
    lr: float = 2e-3
    weight_decay: float = 0.1
    noise: float = 0.3
    gap_noise: float = 0.02
    farthest: int = 40
    hidden: int = 256
    layers: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "lr", "farthest", "hidden", "layers"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"policy: {name} must be above 0, got {getattr(self, name)}.")
        for name in ("weight_decay", "noise", "gap_noise"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"policy: {name} is 0 or more, got {getattr(self, name)}.")


@dataclass(frozen=True)
class HindsightSamples:
    """States, goals that were reached from them, and how soon.

    Attributes:
        here: [B], rows of the encoded episodes.
        goal: [B], rows of the same episodes, later.
        steps: [B], model steps between them; in parts of one where a model step has several rows.
    """

    here: Int64[Tensor, " B"]
    goal: Int64[Tensor, " B"]
    steps: Float[Tensor, " B"]


def fit_goal_policy(
    encoded: EncodedEpisodes,
    config: GoalPolicyTraining | None = None,
    progress: Progress = silent,
) -> GoalPolicy:
    """Return a policy trained on latents.

    Args:
        encoded: what was recorded.
        config: settings; None takes the defaults.
        progress: called after each step.

    Raises:
        TrainingError: latents or actions, or the weights, are not finite numbers.
    """
    config = config or GoalPolicyTraining()
    check_finite(encoded)
    widths = encoded.latents.shape[1], encoded.actions.shape[1]
    shape = GoalPolicyConfig(*widths, hidden=config.hidden, layers=config.layers)
    policy = untrained_goal_policy(shape, config.seed)
    _fit_scales(policy, encoded, config)
    optimizer = torch.optim.AdamW(
        policy.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
    )
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = config.lr * (1 + math.cos(math.pi * step / config.steps)) / 2
        rng = generator("goal policy", config.seed, step)
        samples = hindsight(encoded, config.batch_size, config.farthest, rng)
        loss = _surprise(policy, encoded, samples, config, rng)
        if not loss.isfinite():
            raise TrainingError(_diverged(f"at step {step} the loss", config))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), _CLIP)
        optimizer.step()
        progress(step + 1, config.steps)
    if not all(values.isfinite().all() for values in policy.state_dict().values()):
        raise TrainingError(_diverged("in the end a weight", config))
    return policy.eval()


def hindsight(
    encoded: EncodedEpisodes, size: int, farthest: int, rng: np.random.Generator
) -> HindsightSamples:
    """Return states with goals that their episodes reached later.

    Args:
        encoded: what was recorded.
        size: how many, B.
        farthest: most model steps to a goal; the logarithm of how many is uniform.
        rng: chance.
    """
    starts = encoded.starts
    here = starts[torch.from_numpy(rng.integers(0, len(starts), size))]
    left = (encoded.end[here] - here).clamp(max=farthest * encoded.skip)
    share = torch.from_numpy(rng.random(size))
    rows = ((left + 1).double().log() * share).exp().long().clamp(min=1).minimum(left)
    return HindsightSamples(here, here + rows, rows.float() / encoded.skip)


@torch.no_grad()
def judge_goal_policy(policy: GoalPolicy, encoded: EncodedEpisodes, seed: int = 0) -> float:
    """Return the share of the variance of actions that it explains for goals one model step away.

    Args:
        policy: judged.
        encoded: of episodes that it was not trained on.
        seed: names the samples.
    """
    rng = generator("goal policy judge", seed)
    rows = encoded.starts[torch.from_numpy(rng.integers(0, len(encoded.starts), _JUDGED))]
    actions = (encoded.actions[rows] - policy.action_mean) / policy.action_std
    goals = encoded.latents[rows + encoded.skip]
    mean, _ = policy(encoded.latents[rows], goals, torch.ones(len(rows)))
    spread = (actions - actions.mean(0)).square().mean()
    return float(1 - (actions - mean).square().mean() / spread.clamp(min=1e-12))


def _surprise(
    policy: GoalPolicy,
    encoded: EncodedEpisodes,
    samples: HindsightSamples,
    config: GoalPolicyTraining,
    rng: np.random.Generator,
) -> Float[Tensor, ""]:
    """Return the mean negative log likelihood of recorded actions, up to a constant."""
    shape = 2, len(samples.here), encoded.latents.shape[1]
    both, gap = torch.from_numpy(rng.standard_normal(shape, np.float32))
    moved = config.noise * policy.latent_std * both
    here = encoded.latents[samples.here] + moved
    goal = encoded.latents[samples.goal] + moved + config.gap_noise * policy.gap_std * gap
    actions = (encoded.actions[samples.here] - policy.action_mean) / policy.action_std
    mean, log_std = policy(here, goal, samples.steps)
    return (0.5 * ((actions - mean) * (-log_std).exp()).square() + log_std).sum(-1).mean()


@torch.no_grad()
def _fit_scales(policy: GoalPolicy, encoded: EncodedEpisodes, config: GoalPolicyTraining) -> None:
    std, mean = torch.std_mean(encoded.latents, 0, correction=0)
    least = (_LEAST_STD * std.mean()).clamp(min=1e-6)
    policy.latent_mean.copy_(mean)
    policy.latent_std.copy_(std.maximum(least))
    rng = generator("goal policy scale", config.seed)
    samples = hindsight(encoded, _JUDGED, config.farthest, rng)
    gap = encoded.latents[samples.goal] - encoded.latents[samples.here]
    policy.gap_std.copy_(gap.square().mean(0).sqrt().maximum(least))
    left = (encoded.end[encoded.starts] - encoded.starts).double() / encoded.skip
    farthest = float(np.quantile(left.numpy(), 1 - _FAR_SHARE))
    policy.farthest.fill_(min(max(farthest, 1.0), config.farthest))
    std, mean = torch.std_mean(encoded.actions[encoded.starts], 0, correction=0)
    policy.action_mean.copy_(mean)
    policy.action_std.copy_(std.clamp(min=1e-6))


def _diverged(what: str, config: GoalPolicyTraining) -> str:
    return f"The goal policy diverged: {what} is not a number. Lower lr ({config.lr:g})."
