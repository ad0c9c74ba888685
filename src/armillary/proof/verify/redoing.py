"""Redoing: one recorded decision, made again with the agent, and all that follows from it.

The planner's recorded state is not believed on its own: what a decision leaves behind must be what
the next one begins with, and the first begins with nothing. An agent that follows a goal policy has
no such state: it decides by what it saw and did, which the world and the recorded actions give. One
that judges clips has none either: it says of each what that clip alone tells.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from armillary.core.errors import ArmillaryError, FormatError, ShapeError
from armillary.core.protocols import World
from armillary.core.values import Latent, Observation
from armillary.evaluation.carry import pack, unpack
from armillary.evaluation.episode import check_actor, policy_seed
from armillary.evaluation.goal_conditioned_policy import GoalConditionedPolicy
from armillary.evaluation.manifest import EpisodeSpec, Manifest, draw_goal
from armillary.evaluation.model_policy import ModelPolicy
from armillary.evaluation.records import Record, actions_of
from armillary.planning import PlannerState
from armillary.proof.agent import Agent
from armillary.proof.quadruplets.policy import SurprisePolicy
from armillary.proof.quadruplets.world import margin
from armillary.proof.suite_worlds import SuiteWorld
from armillary.proof.verify.active import active_judging, active_parameters

_FAR = 1e30
_Policy = ModelPolicy | GoalConditionedPolicy | SurprisePolicy


@dataclass(frozen=True)
class Redone:
    """What came out when a decision was made again.

    Attributes:
        episode: its id.
        step: world step of the decision.
        action: largest difference over the executed actions, in action units; of a surprise above
            1, in its own size.
        cost: difference of the plan's cost, relative.
        carry: largest difference of the planner's state: before the first decision, or as the next
            one begins with it.
        model_steps: that it took here.
        claimed_steps: that it took according to the record.
        problem: why it could not be made again; empty where it could.
        active: the parameters on which it depends, as masks by the name of the tensor.
    """

    episode: str
    step: int
    action: float = 0.0
    cost: float = 0.0
    carry: float = 0.0
    model_steps: int = 0
    claimed_steps: int = 0
    problem: str = ""
    active: Mapping[str, np.ndarray] | None = None


@dataclass(frozen=True)
class Job:
    """Decisions of one episode that are to be made again."""

    record: Record
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Redoing:
    """Opens a world and the agent's policy in any process, and makes decisions again.

    Attributes:
        manifest: the rules.
        agent: whose decisions they should be.
        attributed: whether to find which parameters the decisions depend on.
    """

    manifest: Manifest
    agent: Agent
    attributed: bool = True

    def __call__(self) -> Callable[[Job], list[Redone]]:
        """Return the function that makes the decisions of a job again.

        Raises:
            ConfigError: the agent asks to see what policies may not.
        """
        world = SuiteWorld.of(self.manifest)()
        policy = self.agent(self.manifest.ruled(world.spec))
        check_actor(policy, world.spec)

        def run(job: Job) -> list[Redone]:
            return _redone(job, self.manifest, world, policy, self.attributed)

        return run


def _redone(
    job: Job, manifest: Manifest, world: World, policy: _Policy, attributed: bool
) -> list[Redone]:
    record = job.record
    last = max(record.decisions[index].step for index in job.indices)
    try:
        goal, seen = _watched(record, manifest, world, last, policy)
    except ArmillaryError as error:
        steps = (record.decisions[index].step for index in job.indices)
        return [Redone(record.id, step, problem=str(error)) for step in steps]
    if isinstance(policy, SurprisePolicy):
        return [_judged(record, index, seen, policy, attributed) for index in job.indices]
    if isinstance(policy, GoalConditionedPolicy):
        return [_followed(record, index, goal, seen, policy, attributed) for index in job.indices]
    return [_one(record, index, goal, seen, policy, attributed) for index in job.indices]


def _watched(
    record: Record, manifest: Manifest, world: World, last: int, policy: _Policy
) -> tuple[Observation, list[Observation]]:
    """Return the goal and all that was seen up to a step, from the world itself."""
    seen = [world.reset(record.seed)]
    episode = EpisodeSpec(record.id, record.seed, record.goal_seed)
    goal = draw_goal(world, manifest.task, episode)
    actions = actions_of(record)
    if last > len(actions):
        raise ShapeError(f"{record.id}: a decision at step {last}, after its last action.")
    seen += [world.step(action) for action in actions[:last]]
    return goal.observation.only(policy.observes), [one.only(policy.observes) for one in seen]


def _judged(
    record: Record,
    index: int,
    seen: Sequence[Observation],
    policy: SurprisePolicy,
    attributed: bool,
) -> Redone:
    """Find the surprise of a clip again."""
    decision = record.decisions[index]
    step = decision.step
    try:
        made, again = policy.judge(seen[step], step)
    except ArmillaryError as error:
        return Redone(record.id, step, problem=str(error))
    return Redone(
        episode=record.id,
        step=step,
        action=_surprise_gap(record, step, float(made[0])),
        cost=_relative(decision.cost, again.cost),
        carry=_FAR if decision.carry else 0.0,
        model_steps=again.model_steps,
        claimed_steps=decision.model_steps,
        active=active_judging(policy, seen[step]) if attributed else None,
    )


def _surprise_gap(record: Record, step: int, made: float) -> float:
    """Return how far a recorded surprise is from the one that was found, in its own size.

    Where four differences as large could have made the order that the record claims, it is far: a
    judge that says nearly the same of all clips could else be helped by the tolerance.
    """
    said = [action[0] for action in record.actions]
    gap = abs(said[step] - made)
    lead = abs(margin(record.seed, said)) * sum(map(abs, said))
    if record.success and gap and len(said) * gap >= lead:
        return _FAR
    return gap / max(1.0, abs(made))


def _followed(
    record: Record,
    index: int,
    goal: Observation,
    seen: Sequence[Observation],
    policy: GoalConditionedPolicy,
    attributed: bool,
) -> Redone:
    """Make a decision of an agent again that follows a goal policy."""
    decision, actions = record.decisions[index], actions_of(record)
    step = decision.step
    try:
        start = policy.init(
            goal, policy_seed(EpisodeSpec(record.id, record.seed, record.goal_seed))
        )
        state = policy.state_at(start, seen[: step + 1], actions[:step])
        made, meant, again = policy.decide(state)
    except ArmillaryError as error:
        return Redone(record.id, step, problem=str(error))
    executed = actions[step : step + 1]
    return Redone(
        episode=record.id,
        step=step,
        action=float(np.abs(made - executed).max(initial=0.0)),
        cost=_relative(decision.cost, again.cost),
        carry=_FAR if decision.carry else 0.0,
        model_steps=again.model_steps,
        claimed_steps=decision.model_steps,
        active=active_parameters(policy, seen[step], goal, meant[None]) if attributed else None,
    )


def _one(
    record: Record,
    index: int,
    goal: Observation,
    seen: Sequence[Observation],
    policy: ModelPolicy,
    attributed: bool,
) -> Redone:
    decision, actions = record.decisions[index], actions_of(record)
    episode = EpisodeSpec(record.id, record.seed, record.goal_seed)
    try:
        if decision.step % policy.decides_every:
            raise ShapeError(f"{record.id}: the agent decides nothing at step {decision.step}.")
        start = policy.init(goal, policy_seed(episode))
        state = _state(decision.carry, start.planner)
        latent = _latent(policy, seen, actions, decision.step)
        plan, again, later = policy.decide(
            latent, start.goal_tokens, state, start.seed, decision.step
        )
    except ArmillaryError as error:
        return Redone(record.id, decision.step, problem=str(error))
    until = decision.step + policy.decides_every
    executed = actions[decision.step : until]
    made = plan.double().numpy().reshape(-1, actions.shape[1] or 1)[: len(executed)]
    leaves = pack(policy.planner.advance(later, policy.replan))
    return Redone(
        episode=record.id,
        step=decision.step,
        action=float(np.abs(made - executed).max(initial=0.0)),
        cost=_relative(decision.cost, again.cost),
        carry=max(
            _carry_gap(decision.carry, pack(start.planner)) if index == 0 else 0.0,
            _carry_gap(record.decisions[index + 1].carry, leaves)
            if index + 1 < len(record.decisions)
            else 0.0,
        ),
        model_steps=again.model_steps,
        claimed_steps=decision.model_steps,
        active=active_parameters(policy, seen[decision.step], goal, plan) if attributed else None,
    )


def _state(carry: Mapping[str, Any], fresh: PlannerState) -> PlannerState:
    """Return the recorded state of the planner, if it could be one.

    Raises:
        FormatError: it cannot be read.
        ShapeError: it has another shape than this planner's, or is not finite.
    """
    try:
        state = unpack(carry, fresh)
    except RuntimeError as error:  # torch's, where a shape asks for more numbers than there are
        raise FormatError(f"A decision's planner state cannot be read back ({error}).") from error
    batch, length, width = fresh.mean.shape
    kept = state.kept.shape
    fits = state.mean.shape == fresh.mean.shape and len(kept) == 4 and kept[1] <= 4096
    if not fits or (kept[0], *kept[2:]) != (batch, length, width):
        raise ShapeError("A decision's planner state has another shape than this planner's.")
    if not (torch.isfinite(state.mean).all() and torch.isfinite(state.kept).all()):
        raise ShapeError("A decision's planner state is not finite.")
    return state


def _latent(
    policy: ModelPolicy, seen: Sequence[Observation], actions: np.ndarray, step: int
) -> Latent:
    skip = policy.frame_skip
    steps = range(max(step - (policy.history - 1) * skip, 0), step + 1, skip)
    tokens = [policy.encode(seen[at]) for at in steps]
    if len(tokens) == 1:
        return Latent(tokens[0], None)
    between = actions[steps[0] : step].astype(np.float32)
    memory = torch.from_numpy(between.reshape(1, len(tokens) - 1, skip * actions.shape[1]))
    return Latent(torch.cat(tokens, dim=1), memory)


def _relative(claimed: float | None, found: float | None) -> float:
    if claimed is None or found is None:
        return 0.0 if claimed is found else _FAR
    return abs(claimed - found) / max(1.0, abs(found))


def _carry_gap(claimed: Mapping[str, Any], found: Mapping[str, Any]) -> float:
    """Return how far two packed states are apart; unlike shapes are far apart."""
    if claimed == found:
        return 0.0
    if any(claimed[name]["shape"] != found[name]["shape"] for name in found if name in claimed):
        return _FAR
    try:
        gaps = [
            np.abs(_numbers(claimed[name]) - _numbers(found[name])).max(initial=0.0)
            for name in ("mean", "kept")
        ]
    except (KeyError, TypeError, ValueError):
        return _FAR
    gap = float(max(gaps))
    return gap if np.isfinite(gap) else _FAR


def _numbers(packed: Mapping[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["float32"], validate=True), "<f4").astype(float)
