"""Goal prior: which way to act towards a goal, and how many steps away it is, from latents alone.

Two small networks on a world model's frozen latents. The distance says how far a state is from a
goal in model steps along the shortest way that recordings, put together, know; the policy says
what was done, in places like this one, that brought such a goal nearer.

The distance is a quasimetric by construction: d(z, z) = 0, never negative, the triangle
inequality holds, and there may be a way back that is longer than the way there. It is the sum of a
symmetric part |f(z) - f(g)| and an asymmetric one, the mean over groups of
max(0, max_i h_i(z) - h_i(g)), which any quasimetric can be written as.

Axes: B batch, S states, N tokens, D width, Z = N*D flattened latent, M components, A action width.
Source: Liu et al. 2023 (2208.08133) for the form; Bishop 1994 for the mixture density network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from armillary.core.errors import ConfigError
from armillary.models.seeding import seeded
from armillary.models.trip_distance import TripDistance

_GROUPS = 8
MOST_LAYERS = 16
# Components narrower than this share of the actions' spread would make a likelihood explode.
_LOG_STD = (-3.0, 0.5)
_ROUND = 1e-6  # rounds the tip of the square root, whose slope is infinite at zero


@dataclass(frozen=True)
class GoalPriorConfig:
    """Shape of a goal prior.

    Attributes:
        latent_width: Z of the world model.
        action_width: A of one model step.
        hidden: width of the hidden layers.
        embedding: width of the space in which distances are taken; half of it is symmetric.
        components: M, actions that the policy can hold apart (left or right of an obstacle).
        layers: hidden layers of the policy.
        gap: the policy sees the goal minus the state, too: where a few millimetres decide, it need
            not find them as the small difference of two large numbers.
        distance: ``chains``, the quasimetric; or ``trips``, a ``TripDistance``.
    """

    latent_width: int
    action_width: int
    hidden: int = 256
    embedding: int = 128
    components: int = 4
    layers: int = 2
    gap: bool = False
    distance: Literal["chains", "trips"] = "chains"

    def __post_init__(self) -> None:
        widths = self.latent_width, self.action_width, self.hidden, self.components
        if min(widths) < 1 or self.embedding < 1 or self.embedding % (2 * _GROUPS):
            raise ConfigError(
                "A goal prior needs widths and components of at least 1 and an embedding that is a "
                f"multiple of {2 * _GROUPS}; got {self}."
            )
        if not 1 <= self.layers <= MOST_LAYERS:
            raise ConfigError(f"A goal prior has 1 to {MOST_LAYERS} layers; got {self.layers}.")


@dataclass(frozen=True)
class Mixture:
    """A mixture of Gaussians over normalised actions.

    Attributes:
        logits: [B M], log weights up to a constant.
        means: [B M A].
        log_stds: [B M A].
    """

    logits: Float[Tensor, "B M"]
    means: Float[Tensor, "B M A"]
    log_stds: Float[Tensor, "B M A"]

    def log_likelihood(self, actions: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
        """Return the log density of actions, up to a constant."""
        apart = (actions[:, None] - self.means) * (-self.log_stds).exp()
        each = -(0.5 * apart.square() + self.log_stds).sum(-1)
        return (self.logits.log_softmax(-1) + each).logsumexp(-1)

    def sample(self, rng: torch.Generator) -> Float[Tensor, "B A"]:
        """Return an action per row; the first row's is the mean of its heaviest component."""
        chosen = self._drawn(rng)
        noise = torch.randn(self.means[:, 0].shape, generator=rng)
        chosen[0], noise[0] = self.logits[0].argmax(), 0.0
        rows = torch.arange(len(chosen))
        return self.means[rows, chosen] + self.log_stds[rows, chosen].exp() * noise

    def intent(self, rng: torch.Generator) -> Float[Tensor, "B A"]:
        """Return the mean of a drawn component per row: what was meant, without the unsteadiness.

        The heaviest component every time can hold still for ever, where doing nothing is the
        likeliest thing to do; one that is drawn is left again.
        """
        chosen = self._drawn(rng)
        return self.means[torch.arange(len(chosen)), chosen]

    def _drawn(self, rng: torch.Generator) -> Int64[Tensor, " B"]:
        uniform = torch.rand(len(self.logits), 1, generator=rng)
        below = self.logits.softmax(-1).cumsum(-1) < uniform
        return below.sum(-1).clamp(max=self.logits.shape[1] - 1)


class GoalPrior(nn.Module):
    """Policy and goal distance on flattened latents.

    Args:
        config: its shape.
    """

    latent_mean: Tensor
    latent_std: Tensor
    action_mean: Tensor
    action_std: Tensor
    latent_per_step: Tensor

    def __init__(self, config: GoalPriorConfig) -> None:
        super().__init__()
        self.config = config
        z, a, m, hidden = (
            config.latent_width,
            config.action_width,
            config.components,
            config.hidden,
        )
        if config.distance == "trips":
            self.trips = TripDistance(z, hidden)
        else:
            self.embed = _network(z, hidden, config.embedding)
        seen = (3 if config.gap else 2) * z
        self.policy = _network(seen, hidden, m * (1 + 2 * a), config.layers)
        for name, width in (("latent", z), ("action", a)):
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_std", torch.ones(width))
        # mean squared latent difference that goes with one step of distance: what makes the
        # distance comparable with the latent part of a planning cost
        self.register_buffer("latent_per_step", torch.ones(()))

    def embedding(self, latents: Float[Tensor, "*B Z"]) -> Float[Tensor, "*B E"]:
        """Return where latents lie in the space of distances."""
        return self.embed((latents - self.latent_mean) / self.latent_std)

    def between(
        self, here: Float[Tensor, "*#B E"], goal: Float[Tensor, "*#B E"]
    ) -> Float[Tensor, "*B"]:
        """Return the distance from embedded states to embedded goals, in model steps."""
        half = self.config.embedding // 2
        apart = here - goal
        symmetric = (apart[..., :half].square().sum(-1) + _ROUND).sqrt() - _ROUND**0.5
        one_way = apart[..., half:].unflatten(-1, (_GROUPS, -1)).amax(-1).clamp(min=0).mean(-1)
        return symmetric + one_way

    def distance(
        self, tokens: Float[Tensor, "B S N D"], goal_tokens: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B S"]:
        """Return how many model steps states are from a goal.

        Args:
            tokens: latents of the states.
            goal_tokens: latent of each batch element's goal.
        """
        here, goal = tokens.flatten(2), goal_tokens.flatten(1)[:, None]
        if self.config.distance == "trips":
            return self.trips(here, goal.expand_as(here))
        return self.between(self.embedding(here), self.embedding(goal))

    def steps(
        self, here: Float[Tensor, "*B Z"], goal: Float[Tensor, "*B Z"]
    ) -> Float[Tensor, "*B"]:
        """Return how many model steps flattened latents are from goals, pair by pair."""
        if self.config.distance == "trips":
            return self.trips(here, goal)
        return self.between(*self.embedding(torch.stack([here, goal])))

    def mixture(self, latents: Float[Tensor, "B Z"], goals: Float[Tensor, "B Z"]) -> Mixture:
        """Return the policy's distribution over normalised actions."""
        both = (torch.stack([latents, goals]) - self.latent_mean) / self.latent_std
        if self.config.gap:
            both = torch.cat([both, both[1:] - both[:1]])
        told = both.movedim(0, 1).flatten(1)
        m, a = self.config.components, self.config.action_width
        logits, means, log_stds = self.policy(told).split([m, m * a, m * a], -1)
        return Mixture(
            logits, means.unflatten(-1, (m, a)), log_stds.clamp(*_LOG_STD).unflatten(-1, (m, a))
        )

    def sample(
        self,
        latents: Float[Tensor, "S Z"],
        goal_tokens: Float[Tensor, "N D"],
        rng: torch.Generator,
    ) -> Float[Tensor, "S A"]:
        """Return an action towards the goal for each state, in the world's units, unbounded.

        Args:
            latents: flattened latents of S states.
            goal_tokens: the one goal of all.
            rng: chance; the first state gets the likeliest action, the others drawn ones.
        """
        goals = goal_tokens.flatten().expand(len(latents), -1)
        return self.mixture(latents, goals).sample(rng) * self.action_std + self.action_mean

    def intent(
        self, latent: Float[Tensor, " Z"], goal: Float[Tensor, " Z"], rng: torch.Generator
    ) -> Float[Tensor, " A"]:
        """Return what the policy means to do in one state, in the world's units, unbounded.

        Args:
            latent: flattened, of the state.
            goal: likewise.
            rng: chance.
        """
        meant = self.mixture(latent[None], goal[None]).intent(rng)[0]
        return meant * self.action_std + self.action_mean


def untrained_prior(config: GoalPriorConfig, seed: int) -> GoalPrior:
    """Return a prior with random weights that depend on the seed alone.

    Args:
        config: its shape.
        seed: names the weights.
    """
    with seeded(seed):
        return GoalPrior(config)


def _network(width: int, hidden: int, out: int, depth: int = 2) -> nn.Sequential:
    # LayerNorm: bootstrapped values of unnormalised networks drift apart (Ball et al. 2023).
    layers: list[nn.Module] = []
    for seen in (width, *[hidden] * (depth - 1)):
        layers += [nn.Linear(seen, hidden), nn.LayerNorm(hidden), nn.GELU(approximate="tanh")]
    return nn.Sequential(*layers, nn.Linear(hidden, out))
