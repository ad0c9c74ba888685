"""Players: records as cheats make them, with all of the agent's own paperwork where it helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from armillary.core.processes import one_thread
from armillary.core.protocols import World
from armillary.core.rng import generator
from armillary.core.values import Goal, Observation
from armillary.evaluation.carry import Decision
from armillary.evaluation.episode import policy_seed
from armillary.evaluation.manifest import EpisodeSpec, Manifest, draw_goal
from armillary.evaluation.model_policy import ModelPolicy
from armillary.evaluation.model_state import ModelState
from armillary.evaluation.records import Outcome, Record
from armillary.evaluation.worlds import WorldFactory, WorldSource

# (world, goal, what is seen, step, what the agent wants to do) -> what is done instead
Choose = Callable[[World, Goal, Observation, int, np.ndarray], np.ndarray]


def honest(
    world: World, goal: Goal, seen: Observation, step: int, wanted: np.ndarray
) -> np.ndarray:
    """Return what the agent wants to do."""
    return wanted


def expert(
    world: World, goal: Goal, seen: Observation, step: int, wanted: np.ndarray
) -> np.ndarray:
    """Return what somebody would do who reads the simulator's state."""
    return world.expert(goal, generator("attack.expert", step))


def stronger(
    world: World, goal: Goal, seen: Observation, step: int, wanted: np.ndarray
) -> np.ndarray:
    """Return a little more than the agent wants to do."""
    return np.clip(wanted * 1.01, world.spec.bounds.low, world.spec.bounds.high)


def play(
    manifest: Manifest,
    policy: ModelPolicy,
    identity: str,
    choose: Choose = honest,
    world_source: WorldSource | None = None,
) -> list[Record]:
    """Return records of all episodes in which ``choose`` acts while the agent writes its plans.

    Args:
        manifest: the rules; its planner's budget is not enforced.
        policy: decides, and leaves its decisions for the record.
        identity: name of the actor for the records.
        choose: what is done.
        world_source: makes the world; None for the manifest's.
    """
    world = (world_source or WorldFactory(manifest.world, manifest.settings))()
    try:
        with one_thread():
            return [
                _played(world, manifest, e, policy, identity, choose) for e in manifest.episodes
            ]
    finally:
        world.close()


def _played(
    world: World,
    manifest: Manifest,
    episode: EpisodeSpec,
    policy: ModelPolicy,
    identity: str,
    choose: Choose,
) -> Record:
    seen = world.reset(episode.seed)
    goal = draw_goal(world, manifest.task, episode)
    state = policy.init(goal.observation.only(policy.observes), policy_seed(episode))
    distances, actions, decisions = [world.distance(goal)], [], []
    for step in range(manifest.budget):
        wanted, state = policy.act(seen.only(policy.observes), state)
        if state.decision is not None and state.decision.step == step:
            decisions.append(state.decision)
        action = np.asarray(choose(world, goal, seen, step, wanted.astype(np.float64)))
        seen = world.step(action)
        actions.append(tuple(action.tolist()))
        distances.append(world.distance(goal))
    return told(manifest, episode, identity, distances, actions, decisions)


def told(
    manifest: Manifest,
    episode: EpisodeSpec,
    identity: str,
    distances: list[float],
    actions: list[tuple[float, ...]],
    decisions: list[Decision],
) -> Record:
    """Return an episode's record, its outcome as its last distance says."""
    outcome: Outcome = "success" if distances[-1] <= manifest.success_distance else "failure"
    return Record(
        id=episode.id,
        seed=episode.seed,
        goal_seed=episode.goal_seed,
        manifest=manifest.sha256,
        policy=identity,
        privileged=False,
        outcome=outcome,
        error="",
        success_distance=manifest.success_distance,
        distances=tuple(distances),
        actions=tuple(actions),
        decisions=tuple(decisions),
    )


class Steered:
    """A policy that tries many planner states at each step and keeps what the expert likes best.

    Each of its decisions comes out again from its recorded state; no chain of them does.

    Args:
        policy: whose decisions they are.
        tries: planner states per step.
    """

    def __init__(self, policy: ModelPolicy, tries: int = 6) -> None:
        self.policy, self.tries = policy, tries

    def play(self, manifest: Manifest, identity: str) -> list[Record]:
        """Return records of all episodes."""
        world = WorldFactory(manifest.world, manifest.settings)()
        try:
            with one_thread():
                return [self._played(world, manifest, e, identity) for e in manifest.episodes]
        finally:
            world.close()

    def _played(
        self, world: World, manifest: Manifest, episode: EpisodeSpec, identity: str
    ) -> Record:
        policy, seen = self.policy, world.reset(episode.seed)
        goal = draw_goal(world, manifest.task, episode)
        state = policy.init(goal.observation.only(policy.observes), policy_seed(episode))
        distances, actions, decisions = [world.distance(goal)], [], []
        for step in range(manifest.budget):
            wanted = expert(world, goal, seen, step, np.zeros(2))
            action, decision = self._steered(state, seen, step, wanted)
            decisions.append(decision)
            seen = world.step(action)
            actions.append(tuple(action.tolist()))
            distances.append(world.distance(goal))
        return told(manifest, episode, identity, distances, actions, decisions)

    def _steered(
        self, state: ModelState, seen: Observation, step: int, wanted: np.ndarray
    ) -> tuple[np.ndarray, Decision]:
        policy, start = self.policy, state.planner
        tokens = policy.encode(seen.only(policy.observes))
        latent = policy.latent(replace(state, tokens=(tokens,), actions=()))
        centre = torch.from_numpy(wanted).float().expand_as(start.mean)
        found = []
        for part in np.linspace(0.0, 1.0, self.tries):
            mean = start.clip(float(part) * centre)
            carry = start.carry(mean, start.kept)
            plan, decision, _ = policy.decide(latent, state.goal_tokens, carry, state.seed, step)
            action = plan[0].double().numpy()
            found.append((float(np.abs(action - wanted).max()), action, decision))
        _, action, decision = min(found, key=lambda one: one[0])
        return action, decision
