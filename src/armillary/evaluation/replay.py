"""Replay: check records without trusting who made them.

``replay`` executes the recorded actions again, in the world and without the model. ``redecide``
makes one recorded decision again, with the model and the planner's recorded state.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.core.values import Latent, Observation
from armillary.evaluation.carry import unpack
from armillary.evaluation.episode import check_action, policy_seed
from armillary.evaluation.manifest import EpisodeSpec, Manifest, draw_goal
from armillary.evaluation.model_policy import ModelPolicy
from armillary.evaluation.records import Record, actions_of
from armillary.evaluation.worlds import WorldFactory, WorldSource


@dataclass(frozen=True)
class Replay:
    """What a replay found.

    Attributes:
        ok: whether the record holds.
        problem: a sentence where it does not, else empty.
        difference: largest difference between recorded and replayed distances, in world units.
    """

    ok: bool
    problem: str
    difference: float


def replay(
    record: Record,
    manifest: Manifest,
    world_factory: WorldSource | None = None,
    tolerance: float = 0.0,
) -> Replay:
    """Execute a record's actions again and compare distances and outcome.

    Args:
        record: of an episode that ended in success or failure. Of a crash or timeout, only the
            steps before it are compared.
        manifest: that it was made for.
        world_factory: None for the manifest's world.
        tolerance: largest difference of a distance that passes, in world units; 0 asks for
            equality to the bit, which holds on the same machine.

    Raises:
        ConfigError: the record belongs to another manifest.
    """
    episode = _episode_of(record, manifest)
    world = (world_factory or WorldFactory(manifest.world, manifest.settings))()
    try:
        world.reset(episode.seed)
        goal = draw_goal(world, manifest.task, episode)
        distances = [world.distance(goal)]
        for action in actions_of(record):
            world.step(check_action(action, world.spec.bounds))
            distances.append(world.distance(goal))
    finally:
        world.close()
    return _compared(record, manifest, np.array(distances), tolerance)


def redecide(
    record: Record,
    index: int,
    policy: ModelPolicy,
    manifest: Manifest,
    world_factory: WorldSource | None = None,
) -> float:
    """Make one recorded decision again and return how far its actions are from the recorded ones.

    Args:
        record: of an episode of this policy.
        index: which of its decisions.
        policy: the model and planner that are claimed, made for ``manifest.ruled`` of the world.
        manifest: that the record was made for.
        world_factory: None for the manifest's world.

    Returns:
        The largest difference over the executed actions of this decision, in action units; 0 for
        the same model on the same machine.

    Raises:
        ConfigError: the record belongs to another manifest, or has no such decision.
        FormatError: the recorded planner state cannot be read.
    """
    episode = _episode_of(record, manifest)
    if not 0 <= index < len(record.decisions):
        raise ConfigError(
            f"{record.id} has {len(record.decisions)} decisions; there is no decision {index}."
        )
    decision, actions = record.decisions[index], actions_of(record)
    goal, seen = _observations(record, manifest, decision.step, world_factory)
    start = policy.init(goal.only(policy.observes), policy_seed(episode))
    latent, goal_tokens = _latent(policy, goal, seen, actions, decision.step)
    plan, _, _ = policy.decide(
        latent,
        goal_tokens,
        unpack(decision.carry, start.planner),
        start.seed,
        decision.step,
    )
    until = decision.step + policy.decides_every
    executed = actions[decision.step : until]
    again = plan.double().numpy().reshape(-1, actions.shape[1])[: len(executed)]
    return float(np.abs(again - executed).max(initial=0.0))


def _observations(
    record: Record, manifest: Manifest, steps: int, world_factory: WorldSource | None
) -> tuple[Observation, list[Observation]]:
    """Return the goal and what was seen up to a step, from the world and the recorded actions."""
    world = (world_factory or WorldFactory(manifest.world, manifest.settings))()
    try:
        seen = [world.reset(record.seed)]
        goal = draw_goal(world, manifest.task, _episode_of(record, manifest))
        seen += [world.step(action) for action in actions_of(record)[:steps]]
    finally:
        world.close()
    return goal.observation, seen


def _latent(
    policy: ModelPolicy,
    goal: Observation,
    seen: list[Observation],
    actions: np.ndarray,
    step: int,
) -> tuple[Latent, Float[Tensor, "1 N D"]]:
    """Return what a decision rested on, and the goal's latent."""
    skip = policy.frame_skip
    steps = range(max(step - (policy.history - 1) * skip, 0), step + 1, skip)
    looks = [seen[at].only(policy.observes) for at in steps]
    goal_tokens = policy.encode(goal.only(policy.observes))[:, 0]
    tokens = torch.cat([policy.encode(look) for look in looks], dim=1)
    shape = (1, len(looks) - 1, skip * actions.shape[1])
    between = actions[steps[0] : step].astype(np.float32).reshape(shape)
    memory = torch.from_numpy(between) if len(looks) > 1 else None
    return Latent(tokens, memory), goal_tokens


def _episode_of(record: Record, manifest: Manifest) -> EpisodeSpec:
    if record.manifest != manifest.sha256:
        raise ConfigError(f"The record {record.id} belongs to another manifest.")
    found = [episode for episode in manifest.episodes if episode.id == record.id]
    if not found or (found[0].seed, found[0].goal_seed) != (record.seed, record.goal_seed):
        raise ConfigError(f"The record {record.id} is not an episode of this manifest.")
    return found[0]


def _compared(
    record: Record, manifest: Manifest, distances: np.ndarray, tolerance: float
) -> Replay:
    claimed = np.array(record.distances)
    if len(claimed) != len(distances):
        problem = f"{record.id}: {len(claimed)} distances for {record.steps} actions."
        return Replay(False, problem, float("inf"))
    difference = float(np.abs(claimed - distances).max())
    if not difference <= tolerance:
        problem = f"{record.id}: distances differ by up to {difference:g} {manifest.distance_unit}."
        return Replay(False, problem, difference)
    outcome = "success" if distances[-1] <= manifest.success_distance else "failure"
    if record.outcome in ("success", "failure") and record.outcome != outcome:
        problem = f"{record.id}: claims {record.outcome}, the world says {outcome}."
        return Replay(False, problem, difference)
    return Replay(True, "", difference)
