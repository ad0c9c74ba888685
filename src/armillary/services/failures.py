"""Failures: why an episode was not solved, as far as a simulator can tell.

A failed episode is replayed in the simulator, from its seed and its recorded actions, and every
picture is encoded. The first of these that holds is its cause:

    sight       in the end it looks to the model as near to the goal as solved episodes do, or as if
                nine tenths of the way were over
    prediction  along the way, the model predicts worse than "nothing changes"
    cost        along the way, the distance of latents does not rank states by their true distance
    search      none of these: the way is seen and predicted, and other actions would have done

The order matters: a model that sees wrong is not asked how it predicts.

Axes: T world steps, S model steps, L steps ahead, Z flattened latent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from armillary.core.progress import Progress, silent
from armillary.core.protocols import World
from armillary.core.values import Latent
from armillary.evaluation import Manifest, Record, WorldFactory
from armillary.evaluation.goal_conditioned_policy import GoalConditionedPolicy
from armillary.evaluation.manifest import EpisodeSpec, draw_goal
from armillary.evaluation.model_policy import ModelPolicy
from armillary.evaluation.records import actions_of
from armillary.evaluation.seeing import encode_observation
from armillary.evaluation.specs import PolicyFactory
from armillary.evaluation.worlds import WorldSource
from armillary.understanding.goal_progress import spearman

CAUSES = ("sight", "prediction", "cost", "search")
_MOST = 30  # episodes of either outcome that are replayed
_AHEAD = 5  # model steps
_RANKED = 0.5  # rank correlation below which a cost misleads
_NEAR = 0.9  # of the solved episodes end as near as this, as the model sees it
_SAME = 1e-6  # of a distance, relative: the simulator repeats what was recorded
_START = 0.01  # of the first squared distance of latents, a tenth of the way, is near, too


@dataclass(frozen=True)
class Failures:
    """How many failed episodes have which cause.

    Attributes:
        failed: episodes that failed, but for crashes and timeouts.
        looked_at: of these, how many were replayed.
        unrepeatable: of these, how many the simulator did not repeat; they have no cause.
        causes: count by cause.
    """

    failed: int
    looked_at: int
    unrepeatable: int
    causes: dict[str, int]

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {count}" for name, count in self.causes.items())
        more = f", {self.unrepeatable} not repeatable" if self.unrepeatable else ""
        return f"why {self.looked_at} of {self.failed} failed episodes failed: {counts}{more}"


@dataclass(frozen=True)
class _Seen:
    """One replayed episode, as the model sees it.

    Attributes:
        latents: at every world step, the first included.
        goal: the goal's.
        shape: of the tokens, N and D.
    """

    latents: Float[torch.Tensor, "T Z"]
    goal: Float[torch.Tensor, " Z"]
    shape: tuple[int, int]

    @property
    def away(self) -> Float[np.ndarray, " T"]:
        """Mean squared distance of latents from the goal's."""
        return (self.latents - self.goal).square().mean(1).double().numpy()


def why_failed(
    records: Sequence[Record],
    manifest: Manifest,
    make: PolicyFactory,
    world_factory: WorldSource | None = None,
    progress: Progress = silent,
) -> Failures | None:
    """Return the causes of failed episodes; None where nothing failed, or nothing is predicted.

    Args:
        records: of all episodes of a policy.
        manifest: that they were made for.
        make: makes the policy, which has a model.
        world_factory: None for the manifest's world.
        progress: called after each replayed episode.
    """
    failed = [record for record in records if record.outcome == "failure"]
    solved = [record for record in records if record.outcome == "success"][:_MOST]
    if not failed:
        return None
    world = (world_factory or WorldFactory(manifest.world, manifest.settings))()
    specs = {episode.id: episode for episode in manifest.episodes}
    total = min(len(failed), _MOST) + len(solved)
    try:
        policy = make(world.spec)
        if not isinstance(policy, (ModelPolicy, GoalConditionedPolicy)):
            return None
        ends = []
        for done, record in enumerate(solved):
            seen = _replayed(world, policy, record, specs[record.id], manifest.task)
            ends += [] if seen is None else [float(seen.away[-1])]
            progress(done + 1, total)
        near = float(np.quantile(ends, _NEAR)) if ends else 0.0
        causes, lost = dict.fromkeys(CAUSES, 0), 0
        for done, record in enumerate(failed[:_MOST]):
            seen = _replayed(world, policy, record, specs[record.id], manifest.task)
            if seen is None:
                lost += 1
            else:
                causes[_cause(policy, record, seen, near)] += 1
            progress(len(solved) + done + 1, total)
    finally:
        world.close()
    return Failures(len(failed), min(len(failed), _MOST), lost, causes)


def _replayed(
    world: World,
    policy: ModelPolicy | GoalConditionedPolicy,
    record: Record,
    spec: EpisodeSpec,
    task: str,
) -> _Seen | None:
    """Return what the model sees of an episode; None where the simulator does not repeat it."""
    try:
        looks = [world.reset(record.seed)]
        goal = draw_goal(world, task, spec)
        distances = [world.distance(goal)]
        for action in actions_of(record):
            looks.append(world.step(action))
            distances.append(world.distance(goal))
    except Exception:  # a simulator may raise anything, and the rows of what was done are kept
        return None
    if not np.allclose(distances, record.distances, rtol=_SAME, atol=_SAME):
        return None
    tokens = [
        encode_observation(policy.model, look.only(policy.observes), policy.image_size)[0, 0]
        for look in (*looks, goal.observation)
    ]
    together = torch.stack(tokens).float()
    shape = int(together.shape[1]), int(together.shape[2])
    flat = together.flatten(1)
    return _Seen(flat[:-1], flat[-1], shape)


def _cause(
    policy: ModelPolicy | GoalConditionedPolicy, record: Record, seen: _Seen, near: float
) -> str:
    away = seen.away
    if away[-1] <= max(near, _START * away[0]):
        return "sight"
    if _prediction_fails(policy, actions_of(record), seen):
        return "prediction"
    if spearman(away, np.array(record.distances)) < _RANKED:
        return "cost"
    return "search"


@torch.no_grad()
def _prediction_fails(
    policy: ModelPolicy | GoalConditionedPolicy, actions: Float[np.ndarray, "T A"], seen: _Seen
) -> bool:
    """Tell whether the model, with the policy's memory, predicts the way worse than a copy."""
    skip, error, copied = policy.frame_skip, 0.0, 0.0
    count = len(actions) // skip
    plans = torch.from_numpy(actions[: count * skip].astype(np.float32)).reshape(count, -1)
    for step in range(count):
        ahead = plans[step : step + _AHEAD]
        first = max(step - policy.history + 1, 0)
        shown = seen.latents[first * skip : step * skip + 1 : skip]
        now = shown[-1]
        later = seen.latents[(step + 1) * skip :: skip][: len(ahead)]
        done = plans[first:step][None] if step > first else None
        present = Latent(shown.reshape(1, -1, *seen.shape), done)
        predicted = policy.model.rollout(present, ahead[None, None])[0, 0].flatten(1)
        error += float((predicted - later).square().sum())
        copied += float((now - later).square().sum())
    return error > copied
