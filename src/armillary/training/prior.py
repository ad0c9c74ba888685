"""Goal prior: train policy and goal distance on a model's frozen latents, in minutes.

The whole recording is encoded once, and goals are given in hindsight (``training/trails.py``). The
distance is the largest quasimetric that recorded steps allow:

    push d(z, g) up for all pairs,   while d(z_t, z_{t+m}) <= m for what was recorded.

As a quasimetric keeps the triangle inequality, what holds for steps holds for chains of steps,
also over recordings that share no way: at the optimum d is the shortest way that recordings, put
together, know. There is nothing to bootstrap. (Tried first, on a maze with a door: an expectile of
temporal differences. After the same 700 steps its rank correlation with the way to walk was 0.46
to 0.84 across the wall, by settings, against 0.91, and it left chains of two recordings too
short.) The policy repeats recorded actions, the more the more they shortened that distance.

Axes: F frames, B samples, Z flattened latent, A action width of a model step.
Source: Wang et al. 2023 (2304.01203) for the distance; Destrade et al. 2025 (2601.00844) for its
use in latent planning; Peng et al. 2019 (1910.00177) for the weights of the policy.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.core.errors import ConfigError, TrainingError
from armillary.core.progress import Progress, silent
from armillary.core.rng import generator
from armillary.data import Windows
from armillary.models import JEPA, GoalPrior, GoalPriorConfig, untrained_prior
from armillary.models.prior import MOST_LAYERS
from armillary.models.trip_distance import trip_loss
from armillary.training.trails import GoalShares, Samples, Trails, check_finite, draw, trails_of

_JUDGED = 4096
_MOST_WEIGHT = 3.0  # e^3: one lucky sample must not be a batch of its own
_SOFTNESS = 0.1  # per model step: how gradually the push ends at the farthest distance
_FORCE_RATE, _FORCE = 0.05, (0.05, 3000.0)


@dataclass(frozen=True)
class PriorConfig:
    """Settings of the training of a goal prior.

    Attributes:
        steps: optimizer steps.
        batch_size: samples (state, goal) per step.
        lr: learning rate at the start; it falls to zero along a cosine.
        farthest: model steps beyond which distances are no longer pushed up.
        slack: root mean square by which distances of recorded steps may exceed them.
        sharpness: weight of an action is exp(sharpness * steps it gained), at most e^3.
        hidden: hidden width of both networks.
        components: actions that the policy can hold apart.
        layers: hidden layers of the policy.
        gap: the policy sees the goal minus the state, too.
        goals: where goals come from.
        distance: ``chains``: the largest quasimetric, which joins recordings; ``trips``: a low
            quantile of the steps that recorded trips took, for scenes that differ from episode to
            episode.
        distance_every: of the steps, every how manyth the distance learns at, too; where only the
            policy is wanted, less of it will do.
        quantile: of trips; 0.2: four of five took longer.
        seed: names weights and samples.
    """

    steps: int = 3000
    batch_size: int = 512
    lr: float = 1e-3
    farthest: float = 60.0
    slack: float = 0.25
    sharpness: float = 2.0
    hidden: int = 256
    components: int = 4
    layers: int = 2
    gap: bool = False
    goals: GoalShares = field(default_factory=GoalShares)
    distance: Literal["chains", "trips"] = "chains"
    distance_every: int = 1
    quantile: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        above_0 = "steps", "batch_size", "hidden", "components", "layers", "distance_every"
        for name in (*above_0, "lr", "farthest", "slack"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"prior: {name} must be above 0, got {getattr(self, name)}.")
        if self.layers > MOST_LAYERS:
            raise ConfigError(f"prior: layers is 1 to {MOST_LAYERS}, got {self.layers}.")
        if not 0 < self.quantile < 1:
            raise ConfigError(f"prior: quantile must lie between 0 and 1, got {self.quantile}.")
        if not self.sharpness >= 0:
            raise ConfigError(f"prior: sharpness must be at least 0, got {self.sharpness}.")


def imitation(within: int = 0) -> PriorConfig:
    """Return settings for a policy that is followed without a search.

    It repeats what was recorded on the way to goals that were reached, whether that was quick or
    not, and is large enough for it.

    Args:
        within: most model steps to a goal, as in ``GoalShares``.
    """
    return PriorConfig(
        steps=5000,
        hidden=512,
        components=8,
        layers=3,
        gap=True,
        sharpness=0.0,
        distance="trips",
        goals=GoalShares(later=1.0, same_episode=0.0, apart=0.0, within=within),
    )


def train_prior(
    model: JEPA,
    windows: Windows,
    config: PriorConfig | None = None,
    progress: Progress = silent,
) -> GoalPrior:
    """Return a goal prior trained on the latents of a recording; the model stays as it is.

    Args:
        model: gives the latents.
        windows: of length 1: the frames to learn from, whole episodes.
        config: settings; None takes the defaults.
        progress: called after each step.

    Raises:
        TrainingError: plain video without actions, episodes too short for one model step, or as
            ``fit_prior``.
    """
    return fit_prior(trails_of(model, windows), config or PriorConfig(), progress)


def fit_prior(
    trails: Trails,
    config: PriorConfig,
    progress: Progress = silent,
    seconds: float | None = None,
) -> GoalPrior:
    """Return a goal prior trained on latents.

    Args:
        trails: what was recorded.
        config: settings.
        progress: called after each step.
        seconds: after which no further step is taken, scales and all on the clock; the learning
            rate follows it. At least one step is. None for as many steps as the settings say.

    Raises:
        ConfigError: seconds are not above 0.
        TrainingError: latents or actions, or what came of them, are not finite numbers.
    """
    if seconds is not None and not seconds > 0:
        raise ConfigError(f"The training time of a prior must be above 0 s, got {seconds}.")
    begun = time.perf_counter()
    check_finite(trails)
    widths = trails.latents.shape[1], trails.actions.shape[1]
    shape = GoalPriorConfig(
        *widths,
        hidden=config.hidden,
        components=config.components,
        layers=config.layers,
        gap=config.gap,
        distance=config.distance,
    )
    prior = untrained_prior(shape, config.seed)
    _fit_scales(prior, trails)
    optimizer = torch.optim.AdamW(prior.parameters(), lr=config.lr, weight_decay=1e-4)
    force, step, done = 1.0, 0, 0.0
    while done < 1:
        for group in optimizer.param_groups:
            group["lr"] = config.lr * (1 + math.cos(math.pi * done)) / 2
        rng = generator("prior", config.seed, step)
        samples = draw(trails, config.batch_size, config.goals, rng)
        loss = _imitation(prior, trails, samples, config)
        if step % config.distance_every == 0:
            far, force = _distance(prior, trails, samples, config, force)
            loss = loss + far
        if not loss.isfinite():
            raise TrainingError(_diverged(f"at step {step} the loss", config))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step += 1
        spent = time.perf_counter() - begun
        done = step / config.steps if seconds is None else spent / seconds
        progress(step, config.steps if seconds is None else max(step, round(step / done)))
    _fit_latent_per_step(prior, trails, config.seed)
    if not all(values.isfinite().all() for values in prior.state_dict().values()):
        raise TrainingError(_diverged("in the end a weight", config))
    return prior.eval()


@torch.no_grad()
def judge_prior(
    prior: GoalPrior, trails: Trails, seed: int = 0, within: int = 0
) -> dict[str, float]:
    """Return how a prior does on other episodes than it learned from.

    Args:
        prior: judged.
        trails: of held-out episodes.
        seed: names the samples.
        within: most model steps to a goal, as in ``GoalShares``.

    Returns:
        ``order``: rank correlation of distance with recorded steps, for goals that the recording
        reached. ``action_nats``: by how much it foretells actions towards such goals better than a
        Gaussian over all actions does, per action.
    """
    later = GoalShares(later=1.0, same_episode=0.0, within=within)
    samples = draw(trails, _JUDGED, later, generator("judge", seed))
    here, goal = trails.latents[samples.here], trails.latents[samples.goal]
    distance = prior.steps(here, goal)
    actions = (trails.actions[samples.here] - prior.action_mean) / prior.action_std
    plain = -0.5 * actions.square().sum(-1)
    gain = prior.mixture(here, goal).log_likelihood(actions) - plain
    order = np.corrcoef(_ranks(distance), _ranks(samples.known))[0, 1]
    return {"order": float(order), "action_nats": float(gain.mean())}


def _diverged(what: str, config: PriorConfig) -> str:
    return f"The goal prior came to nothing: {what} is not a number. Lower lr ({config.lr:g})."


def _distance(
    prior: GoalPrior, trails: Trails, samples: Samples, config: PriorConfig, force: float
) -> tuple[Float[Tensor, ""], float]:
    """Return the loss of the distance, and the weight of its constraint from now on."""
    if config.distance == "trips":
        return _trips(prior, trails, samples, config), force
    push, excess = _chains(prior, trails, samples, config)
    loss = (push + force * excess) / (1 + force)
    return loss, _adapted(force, float(excess.detach()), config.slack)


def _chains(
    prior: GoalPrior, trails: Trails, samples: Samples, config: PriorConfig
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return what pushes distances up, and their excess over recorded steps."""
    rows = torch.stack([samples.here, samples.soon, samples.far])
    here, soon, far = prior.embedding(trails.latents[rows])
    push = nn.functional.softplus(config.farthest - prior.between(here, far), beta=_SOFTNESS).mean()
    excess = (prior.between(here, soon) - samples.jump).clamp(min=0).square().mean()
    return push, excess


def _trips(
    prior: GoalPrior, trails: Trails, samples: Samples, config: PriorConfig
) -> Float[Tensor, ""]:
    """Return the loss of the distance on the samples whose goal the recording reached."""
    reached = samples.known.isfinite()
    here, goal = (trails.latents[rows[reached]] for rows in (samples.here, samples.goal))
    if not len(here):  # where few goals come later in the same episode, there may be no such trip
        return prior.trips(trails.latents[:1], trails.latents[:1]).sum() * 0
    return trip_loss(prior.trips(here, goal), samples.known[reached], config.quantile)


def _imitation(
    prior: GoalPrior, trails: Trails, samples: Samples, config: PriorConfig
) -> Float[Tensor, ""]:
    """Return the policy's loss: recorded actions, by how much they shortened the distance."""
    here, after, goal = trails.latents[torch.stack([samples.here, samples.after, samples.goal])]
    weights = here.new_ones(len(here))
    if config.sharpness:
        with torch.no_grad():
            gained = prior.steps(here, goal) - prior.steps(after, goal) - 1
            weights = (config.sharpness * gained).clamp(max=_MOST_WEIGHT).exp()
    # where nothing is left to do, no action is better than another
    weights = weights.masked_fill(samples.known == 0, 0.0)
    actions = (trails.actions[samples.here] - prior.action_mean) / prior.action_std
    likelihood = prior.mixture(here, goal).log_likelihood(actions)
    return -(weights * likelihood).sum() / weights.sum().clamp(min=1e-6)


def _adapted(force: float, excess: float, slack: float) -> float:
    """Return the weight of the constraint (a Lagrange multiplier): up while it is broken."""
    broken = min(max(excess / slack**2 - 1, -1.0), 1.0)
    return min(max(force * math.exp(_FORCE_RATE * broken), _FORCE[0]), _FORCE[1])


@torch.no_grad()
def _fit_scales(prior: GoalPrior, trails: Trails) -> None:
    if prior.config.distance == "trips":
        prior.trips.fit_scale(trails.latents, trails.begin)
    std, mean = torch.std_mean(trails.latents, 0, correction=0)
    prior.latent_mean.copy_(mean)
    # Dimensions that hardly move are mostly noise, and are not blown up to the others' size.
    prior.latent_std.copy_(std.maximum(0.1 * std.mean()).clamp(min=1e-6))
    std, mean = torch.std_mean(trails.actions[trails.starts], 0, correction=0)
    prior.action_mean.copy_(mean)
    prior.action_std.copy_(std.clamp(min=1e-6))


@torch.no_grad()
def _fit_latent_per_step(prior: GoalPrior, trails: Trails, seed: int) -> None:
    within = GoalShares(later=0.0, same_episode=1.0)
    samples = draw(trails, _JUDGED, within, generator("prior.scale", seed))
    here, goal = trails.latents[samples.here], trails.latents[samples.goal]
    steps = prior.steps(here, goal).mean()
    prior.latent_per_step.copy_((here - goal).square().mean() / steps.clamp(min=1e-6))


def _ranks(values: Float[Tensor, " B"]) -> np.ndarray:
    # equal values get the mean of their ranks
    _, which, count = np.unique(values.numpy(), return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[which]
