"""Trails: the latents of a recording, and (state, goal) samples with goals in hindsight.

Any recorded state may be called a goal afterwards: one that came later in the same episode (it is
recorded how to get there), one from anywhere in the episode (perhaps only other recordings know
the way), or one of another episode.

Axes: F frames, K frames with an action, B samples, Z flattened latent, A action of a model step.
Source: Andrychowicz et al. 2017 (1707.01495) for goals in hindsight.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from armillary.core.errors import ConfigError, TrainingError
from armillary.data import Windows
from armillary.models import JEPA
from armillary.training.augment import AugmentConfig, mirror, mirrored_actions

_ENCODED_AT_ONCE = 512


@dataclass(frozen=True)
class GoalShares:
    """Where goals are taken from, and how far what bounds a distance reaches.

    Attributes:
        later: share of goals that come later in the same episode.
        same_episode: share of goals from anywhere in the same episode; the rest is from any.
        apart: share of the states to be kept apart that come from the same episode. Where every
            episode has a scene of its own, only these say anything.
        within: most model steps to a later goal, and then any world step up to there as often; 0
            for any model step until the episode ends. What an episode does next leads to a goal
            soon after, and less to later ones.
        jump: most model steps between two states of which the recording bounds the distance; each
            sample draws 1 to this many.
    """

    later: float = 0.5
    same_episode: float = 0.25
    apart: float = 0.25
    within: int = 0
    jump: int = 4

    def __post_init__(self) -> None:
        shares = self.later, self.same_episode, self.apart
        if min(shares) < 0 or self.apart > 1 or self.later + self.same_episode > 1:
            raise ConfigError(
                "goals: the shares later and same_episode must not be negative nor sum to more "
                f"than 1, and apart must lie in 0..1; got {shares}."
            )
        if self.jump < 1 or self.within < 0:
            raise ConfigError(
                f"goals: jump must be at least 1 and within at least 0, got {self.jump} and "
                f"{self.within}."
            )


@dataclass(frozen=True)
class Trails:
    """Recorded latents and what led from one to the next, end to end.

    Attributes:
        latents: [F Z]; frames of one model step distance are ``skip`` rows apart.
        actions: [F A] of the model step that starts at a frame; rows without one are not used.
        begin: [F], first row of the frame's episode.
        end: [F], last row of the frame's episode.
        skip: rows per model step.
    """

    latents: Float[Tensor, "F Z"]
    actions: Float[Tensor, "F A"]
    begin: Int64[Tensor, " F"]
    end: Int64[Tensor, " F"]
    skip: int = 1

    def __post_init__(self) -> None:
        if not len(self.starts):
            raise TrainingError(
                f"No episode lasts {self.skip + 1} steps, so there is no action to learn from; "
                "record longer episodes."
            )

    @cached_property
    def starts(self) -> Int64[Tensor, " K"]:
        """Rows from which a model step was taken."""
        rows = torch.arange(len(self.latents))
        return rows[rows + self.skip <= self.end]


@dataclass(frozen=True)
class Samples:
    """A batch of rows: where, what came next and soon after, and which goal.

    Attributes:
        here: [B].
        after: [B], one model step later.
        soon: [B], ``jump`` model steps after ``here``.
        jump: [B], model steps from ``here`` to ``soon``.
        goal: [B].
        known: [B], model steps that the recording took from here to the goal (in parts of one where
            goals are ``within`` some); inf if it did not.
        far: [B], states to be kept apart from ``here``: of the same episode or of any.
    """

    here: Int64[Tensor, " B"]
    after: Int64[Tensor, " B"]
    soon: Int64[Tensor, " B"]
    jump: Float[Tensor, " B"]
    goal: Int64[Tensor, " B"]
    known: Float[Tensor, " B"]
    far: Int64[Tensor, " B"]


@torch.no_grad()
def trails_of(model: JEPA, windows: Windows, augment: AugmentConfig | None = None) -> Trails:
    """Return the latents of whole episodes, each frame encoded once.

    Args:
        model: encodes.
        windows: of length 1, with the streams that the model sees.
        augment: where it mirrors, whatever share of the clips, every episode comes again as its
            mirror image.

    Raises:
        TrainingError: the recording has no actions.
        ConfigError: it cannot be mirrored so.
    """
    cache, skip = windows.cache, model.config.frame_skip
    if cache.actions is None or not model.config.action_width:
        raise TrainingError(
            "To learn how to act needs actions, and this model or dataset has none. Record a "
            "world, or ingest a dataset with actions."
        )
    first = windows.locate(np.arange(len(windows)))[1]
    lengths = cache.lengths[windows.episodes]
    ends = np.cumsum(lengths)
    own = np.minimum(first[:, None] + np.arange(skip), len(cache.actions) - 1)
    trails = Trails(
        latents=_latents(model, windows),
        actions=torch.from_numpy(cache.actions[own].reshape(len(first), -1)),
        begin=torch.from_numpy(np.repeat(ends - lengths, lengths)),
        end=torch.from_numpy(np.repeat(ends - 1, lengths)),
        skip=skip,
    )
    if augment is None or not augment.mirror:
        return trails
    frames = len(trails.latents)
    return Trails(
        latents=torch.cat([trails.latents, _latents(model, windows, augment)]),
        actions=torch.cat([trails.actions, mirrored_actions(trails.actions, augment, skip)]),
        begin=torch.cat([trails.begin, trails.begin + frames]),
        end=torch.cat([trails.end, trails.end + frames]),
        skip=skip,
    )


def _latents(
    model: JEPA, windows: Windows, mirrored: AugmentConfig | None = None
) -> Float[Tensor, "F Z"]:
    parts = []
    for rows in np.array_split(np.arange(len(windows)), -(-len(windows) // _ENCODED_AT_ONCE)):
        batch = windows.gather(rows)
        if mirrored is not None:
            batch = mirror(batch, torch.ones(len(rows), dtype=torch.bool), mirrored, 1)
        parts.append(model.encode(batch).tokens.flatten(1))
    return torch.cat(parts)


def check_finite(trails: Trails) -> None:
    """Refuse what nothing can be learned from, rather than leave a policy that says nothing.

    Raises:
        TrainingError: a latent or an action that is used is not a finite number.
    """
    for name, values in (("latents", trails.latents), ("actions", trails.actions[trails.starts])):
        if wrong := int((~values.isfinite()).any(1).sum()):
            raise TrainingError(
                f"The {name} of {wrong:,} of {len(values):,} recorded frames are not finite. "
                "Look for NaN in the dataset."
            )


def draw(trails: Trails, size: int, shares: GoalShares, rng: np.random.Generator) -> Samples:
    """Return samples with goals in hindsight.

    Args:
        trails: what was recorded.
        size: how many, B.
        shares: where goals come from.
        rng: chance.
    """
    starts, skip = trails.starts, trails.skip
    here = starts[torch.from_numpy(rng.integers(0, len(starts), size))]
    left = (trails.end[here] - here) // skip
    share, kind, where = torch.from_numpy(rng.random((3, size)))
    # half of the later goals near (a power of the share), half anywhere until the end
    power = torch.from_numpy(rng.integers(0, 2, size)) * 2 + 1
    reach, rows = left, skip
    if shares.within:
        power, rows = torch.ones_like(power), 1
        reach = (trails.end[here] - here).clamp(max=shares.within * skip)
    later = here + (1 + (share**power * reach).long().clamp(max=reach - 1)) * rows
    begin, end = trails.begin[here], trails.end[here]
    same = begin + (where * (end - begin + 1)).long()
    other = torch.from_numpy(rng.integers(0, len(trails.latents), size))
    is_later, is_same = kind < shares.later, kind < shares.later + shares.same_episode
    goal = torch.where(is_later, later, torch.where(is_same, same, other))
    far = torch.where(share < shares.apart, same, other)
    jump = torch.from_numpy(rng.integers(1, shares.jump + 1, size)).minimum(left)
    gap = goal - here
    recorded = (gap >= 0) & (goal <= end) & (is_later | (gap % skip == 0))
    known = torch.where(recorded, gap / skip, torch.inf)
    return Samples(here, here + skip, here + jump * skip, jump.float(), goal, known, far)
