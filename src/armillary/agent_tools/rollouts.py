"""Rollouts: what a prediction and a plan are made of, checked before the model is asked.

Axes: T recorded steps, L model steps, N tokens, D latent width, A action width of a recorded step,
k recorded steps of a model step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from armillary.agent_tools.excerpts import excerpt
from armillary.agent_tools.library import Pair
from armillary.agent_tools.limits import MOST_AHEAD, MOST_ROWS
from armillary.api.acting import plan
from armillary.core.errors import ConfigError, ShapeError
from armillary.core.rng import torch_generator
from armillary.core.values import Episode, Latent
from armillary.planning import GuidedConfig, guided_plan
from armillary.planning.state import box_of

_REMEMBERED = 8  # model steps before the start that the predictor is shown


@dataclass(frozen=True)
class Surroundings:
    """A stretch of an episode around the step at which a prediction begins.

    Attributes:
        number: of the episode.
        step: recorded step of the episode at which the prediction begins.
        episode: the stretch.
        latent: of all its model steps.
        start: model step of the stretch at which the prediction begins.
    """

    number: int
    step: int
    episode: Episode
    latent: Latent
    start: int

    @property
    def shown(self) -> Latent:
        """What the predictor is shown: the start, and what it remembers."""
        actions = self.latent.actions if self.start else None
        before = None if actions is None else actions[:, : self.start]
        return Latent(self.latent.tokens[:, : self.start + 1], before)


@dataclass(frozen=True)
class Found:
    """A plan, and what the model predicts of it.

    Attributes:
        planner: that made it.
        actions: in the dataset's units, one row for each model step [L kA].
        tokens: latents now and after each model step [L+1 N D].
        cost: of the plan, as the planner minimises it.
        model_steps: predictor steps that it took.
    """

    planner: str
    actions: Float[Tensor, "L _"]
    tokens: Float[Tensor, "L1 N D"]
    cost: float
    model_steps: int


def around(pair: Pair, episode: int, step: int, count: int) -> Surroundings:
    """Return what the predictor remembers at a step, and what comes after it.

    Args:
        pair: model and dataset.
        episode: number of the episode.
        step: recorded step, which must be there.
        count: model steps after it, as far as the episode goes.
    """
    before = min(step // pair.stride, _REMEMBERED)
    if pair.config.action_width and not pair.dataset.has_actions:
        before = 0  # its memory is made of actions, too
    last = min(step + count * pair.stride, int(pair.dataset.lengths[episode]) - 1)
    shown = excerpt(
        pair.dataset, episode, range(step - before * pair.stride, last + 1), pair.config
    )
    return Surroundings(episode, step, shown, pair.encoded(shown), before)


def checked_actions(
    pair: Pair, actions: Sequence[Sequence[float]], notes: list[str]
) -> Float[Tensor, "L _"]:
    """Return given actions inside the bounds, one row for each model step.

    Args:
        pair: whose bounds are kept.
        actions: one row for each recorded step [L*k A], in the dataset's units.
        notes: gets a sentence where actions were clipped.

    Raises:
        ConfigError: the model takes no actions.
        ShapeError: too many or too few of them, of another width, or not finite.
    """
    width, stride = pair.world_action_width, pair.stride
    if not width:
        raise ConfigError(
            f"The model {pair.seer.name!r} takes no actions. Leave actions out, and say how far "
            "with ahead."
        )
    most = min(MOST_ROWS, MOST_AHEAD * stride)
    if not 1 <= len(actions) <= most or len(actions) % stride:
        several = f", a multiple of {stride}" if stride > 1 else ""
        raise ShapeError(f"Give 1 to {most} actions{several}; got {len(actions)}.")
    if wrong := [len(row) for row in actions if len(row) != width]:
        raise ShapeError(
            f"Each action has {width} numbers, one row for each recorded step; got {wrong[0]}."
        )
    values = np.array(actions, np.float64)
    if not np.isfinite(values).all():
        raise ShapeError("Actions are finite numbers; got NaN or an infinite one.")
    within = np.clip(values, pair.box.low, pair.box.high)
    changed = int((within != values).any(axis=1).sum())
    if changed:
        notes.append(
            f"{changed} of {len(values)} actions were clipped to the bounds that `list` gives."
        )
    return torch.from_numpy(within.astype(np.float32)).reshape(-1, width * stride)


def recorded_actions(
    pair: Pair, seen: Surroundings, count: int, notes: list[str]
) -> Float[Tensor, "L _"]:
    """Return the recorded actions after the start, for as many model steps as there are.

    Args:
        pair: model and dataset.
        seen: the stretch.
        count: model steps at most.
        notes: gets a sentence where the episode ends before.

    Raises:
        ConfigError: the episode ends at once, or it has no actions and the model takes some.
    """
    left = min(count, seen.latent.tokens.shape[1] - 1 - seen.start)
    if left < 1:
        raise ConfigError(
            "The episode ends before one model step has passed. Begin earlier, or give actions."
        )
    if left < count:
        notes.append(f"The episode ends; {left} of {count} steps are predicted.")
    if not pair.config.action_width:
        return torch.zeros(left, 0)
    if seen.latent.actions is None:
        raise ConfigError("The dataset records no actions. Give some.")
    return seen.latent.actions[0, seen.start : seen.start + left]


def planned(pair: Pair, now: Episode, goal: Episode, ahead: int, seed: int) -> Found:
    """Return a plan: the goal policy's with a guided search where there is one, else iCEM's.

    Args:
        pair: model and dataset.
        now: one step, from which it leads.
        goal: one step, to which it leads.
        ahead: model steps.
        seed: of the search.
    """
    latent = pair.encoded(now)
    if pair.seer.policy is None:
        made = plan(
            pair.network,
            now.observation(0),
            goal.observation(0),
            bounds=pair.box,
            seed=seed,
            length=ahead,
        )
        actions = torch.from_numpy(made.actions).reshape(ahead, -1)
        tokens = torch.cat([latent.tokens[0], made.predicted])
        return Found("icem", actions, tokens, made.cost, made.model_steps)
    chosen = guided_plan(
        pair.network,
        pair.seer.policy,
        latent,
        pair.encoded(goal).tokens.flatten(),
        float(ahead),
        box_of(pair.box, pair.stride),
        GuidedConfig(longest=MOST_AHEAD),
        torch_generator("policy.guided", seed, 0),
    )
    with torch.no_grad():
        predicted = pair.network.rollout(latent, chosen.actions[:, None])[0, 0]
    tokens = torch.cat([latent.tokens[0], predicted])
    cost = float(chosen.costs[0])
    return Found("guided", chosen.actions[0], tokens, cost, chosen.model_steps)
