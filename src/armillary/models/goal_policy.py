"""Goal-conditioned policy on a world model's latents: an action towards a goal, soon or later.

It is told in how many model steps the goal is to be reached. So one network holds the quick way and
the slow one apart: with one step left it goes straight there, with many it first goes where a
recorded way began, for example behind what is to be pushed. The action of a model step is Gaussian.

    x = [z, m, z * m],  m = goal - z       three residual layers, each modulated by log2(steps)

Axes: B batch, P samples, Z flattened latent, A action of a model step.
Source: Ghosh et al. 2019 (1912.06088) for imitation towards goals in hindsight; the input is that
of INTACT (2607.26056); Peebles and Xie 2022 (2212.09748) for the modulation (AdaLN-zero).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.core.errors import ConfigError
from armillary.models.seeding import seeded

# Share of the time that is left in which the goal is to be reached: some is over then.
SHARE = 0.5
_LOG_STD = (-4.0, 1.0)  # narrower ones would make a likelihood explode
_WAVES = 8  # of log2(steps); the slowest has a period of 12 doublings
_MOST_LAYERS = 16


@dataclass(frozen=True)
class GoalPolicyConfig:
    """Shape of a goal-conditioned policy.

    Attributes:
        latent_width: Z of the world model.
        action_width: A of one model step.
        hidden: width of the hidden layers.
        layers: residual layers.
    """

    latent_width: int
    action_width: int
    hidden: int = 256
    layers: int = 3

    def __post_init__(self) -> None:
        if min(self.latent_width, self.action_width, self.hidden) < 1:
            raise ConfigError(f"A goal policy needs widths of at least 1; got {self}.")
        if not 1 <= self.layers <= _MOST_LAYERS:
            raise ConfigError(f"A goal policy has 1 to {_MOST_LAYERS} layers; got {self.layers}.")


class GoalPolicy(nn.Module):
    """The network, with the scales of the recording that it was trained on.

    Args:
        config: its shape.
    """

    latent_mean: Tensor
    latent_std: Tensor
    gap_std: Tensor
    action_mean: Tensor
    action_std: Tensor
    farthest: Tensor

    def __init__(self, config: GoalPolicyConfig) -> None:
        super().__init__()
        self.config = config
        z, a, hidden = config.latent_width, config.action_width, config.hidden
        self.first = nn.Linear(3 * z, hidden)
        self.layers = nn.ModuleList(_Modulated(hidden, 2 * _WAVES) for _ in range(config.layers))
        self.last = nn.Linear(hidden, 2 * a)
        self.register_buffer("latent_mean", torch.zeros(z))
        self.register_buffer("latent_std", torch.ones(z))
        self.register_buffer("gap_std", torch.ones(z))
        self.register_buffer("action_mean", torch.zeros(a))
        self.register_buffer("action_std", torch.ones(a))
        # most model steps to a goal that it was trained for
        self.register_buffer("farthest", torch.ones(()))

    def forward(
        self,
        latents: Float[Tensor, "B Z"],
        goals: Float[Tensor, "B Z"],
        steps: Float[Tensor, " B"],
    ) -> tuple[Float[Tensor, "B A"], Float[Tensor, "B A"]]:
        """Return mean and log of the standard deviation of normalised actions.

        Args:
            latents: flattened, where each is.
            goals: flattened, where each shall be.
            steps: model steps until then, above 0.
        """
        here = (latents - self.latent_mean) / self.latent_std
        gap = (goals - latents) / self.gap_std
        soon = _waves(steps)
        hidden = self.first(torch.cat([here, gap, here * gap], -1))
        for layer in self.layers:
            hidden = layer(hidden, soon)
        hidden = nn.functional.layer_norm(hidden, hidden.shape[-1:])
        mean, log_std = self.last(hidden).chunk(2, -1)
        return mean, log_std.clamp(*_LOG_STD)

    def act(
        self,
        latents: Float[Tensor, "B Z"],
        goals: Float[Tensor, "B Z"],
        steps_left: float = 1.0,
    ) -> Float[Tensor, "B A"]:
        """Return the likeliest actions, in the world's units and perhaps out of its bounds.

        Args:
            latents: flattened, where each is.
            goals: flattened, where each shall be.
            steps_left: until the deadline, in model steps; the goal is to be reached in
                ``SHARE`` of them.
        """
        steps = torch.full((len(latents),), self.goal_time(steps_left))
        mean, _ = self(latents, goals, steps)
        return mean * self.action_std + self.action_mean

    def goal_time(self, steps_left: float) -> float:
        """Return in how many model steps it means to reach the goal, at least 1.

        Args:
            steps_left: until the deadline, in model steps.
        """
        return max(min(SHARE * steps_left, float(self.farthest)), 1.0)

    def sample(
        self,
        latents: Float[Tensor, "P Z"],
        goals: Float[Tensor, "P Z"],
        steps: float,
        rng: torch.Generator,
    ) -> Float[Tensor, "P A"]:
        """Return one action per state, in the world's units and perhaps out of its bounds.

        The first is the likeliest, the others are drawn.

        Args:
            latents: flattened, of P states.
            goals: flattened, of each.
            steps: model steps in which the goals are to be reached, at least 1.
            rng: chance.
        """
        mean, log_std = self(latents, goals, torch.full((len(latents),), steps))
        noise = torch.randn(mean.shape, generator=rng)
        noise[0] = 0.0
        return (mean + log_std.exp() * noise) * self.action_std + self.action_mean


class _Modulated(nn.Module):
    """A residual layer whose scale, shift and gate depend on a condition; it begins as nothing."""

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)
        self.modulation = nn.Linear(condition, 3 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self, hidden: Float[Tensor, "B W"], condition: Float[Tensor, "B C"]
    ) -> Float[Tensor, "B W"]:
        scale, shift, gate = self.modulation(condition).chunk(3, -1)
        normal = nn.functional.layer_norm(hidden, hidden.shape[-1:])
        return hidden + (1 + gate) * nn.functional.gelu(self.layer(normal * (1 + scale) + shift))


def _waves(steps: Float[Tensor, " B"]) -> Float[Tensor, "B C"]:
    angles = steps.log2()[:, None] * (math.pi / 6 * torch.arange(1, _WAVES + 1))
    return torch.cat([angles.sin(), angles.cos()], -1)


def untrained_goal_policy(config: GoalPolicyConfig, seed: int) -> GoalPolicy:
    """Return a policy with random weights that depend on the seed alone.

    Args:
        config: its shape.
        seed: names the weights.
    """
    with seeded(seed):
        return GoalPolicy(config)
