"""Replaying: level 1. All recorded actions in the world, without any model.

The controls choose each of their actions again.

Invented outcomes cannot survive it. Who chose the actions it does not show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from armillary.core.errors import ArmillaryError
from armillary.core.processes import map_in_processes
from armillary.core.protocols import BlindWorld, World
from armillary.evaluation.episode import Answer, Ask, episode_steps
from armillary.evaluation.manifest import EpisodeSpec, Manifest, draw_goal
from armillary.evaluation.oracle import Oracle
from armillary.evaluation.records import Record, actions_of
from armillary.evaluation.specs import Actor, NoOpSpec, OracleSpec, RandomSpec
from armillary.proof.suite_worlds import SuiteWorld
from armillary.proof.verify.case import Case
from armillary.proof.verify.rules import Check, Said, first

# World units (metres). The same arithmetic repeats to the bit; elsewhere the last bits differ.
LIMITS = {"same": 1e-9, "other-isa": 1e-6, "other-graphics": 1e-6, "bfloat16": 1e-6}
# By how much more an action of a control may differ than the places it follows from: those of the
# tabletop are velocities, a gap divided by 0.1 s.
_STEEPEST = 10.0
_STEPS_WORTH_A_PROCESS = 20_000
_CONTROLS = {"random": RandomSpec(), "noop": NoOpSpec(), "oracle": OracleSpec()}


@dataclass(frozen=True)
class Replaying:
    """Opens a world in any process and replays episodes in it."""

    manifest: Manifest
    limit: float

    def __call__(self) -> Callable[[Record], str]:
        """Return the function that says what is wrong with a record, else an empty text."""
        world = SuiteWorld.of(self.manifest)()

        def run(record: Record) -> str:
            return _problem(record, self.manifest, world, self.limit)

        return run


def workers_for(case: Case, steps: int) -> int:
    """Return how many processes so many world steps are worth."""
    return max(1, min(case.how.workers, 1 + steps // _STEPS_WORTH_A_PROCESS))


def distances(case: Case) -> Said:
    """The world goes through all recorded distances under the recorded actions."""
    total = sum(len(row["agent"]) for row in case.sources.rows.values())
    return first(_replay_problems(case), f"{total} episodes replayed in the world; all match.")


def _replay_problems(case: Case) -> Iterator[str]:
    for task, row in case.sources.rows.items():
        manifest = case.sources.manifests[task]
        light = [replace(record, decisions=()) for record in row["agent"]]
        workers = workers_for(case, sum(record.steps for record in light))
        opener = Replaying(manifest, LIMITS[case.arithmetic])
        found = map_in_processes(opener, light, workers, case.how.progress)
        yield from (f"{task}: {problem}" for problem in found if problem)


def _problem(record: Record, manifest: Manifest, world: World, limit: float) -> str:
    try:
        found = replayed(record, manifest, world)
    except ArmillaryError as error:
        return f"{record.id}: the world refuses its actions: {error}"
    claimed = np.array(record.distances)
    if not len(claimed) and not record.steps:
        return ""  # its process died before anything was seen; it counts as a failure
    if len(claimed) != len(found):
        return f"{record.id}: {len(claimed)} distances for {record.steps} actions."
    gap = float(np.abs(claimed - found).max())
    if not gap <= limit:
        return (
            f"{record.id}: the world goes elsewhere, by up to {gap:.3g} {manifest.distance_unit}."
        )
    return ""


def replayed(record: Record, manifest: Manifest, world: World) -> np.ndarray:
    """Return the distances to the goal under a record's actions.

    Args:
        record: whose seeds and actions are used; nothing else of it is believed.
        manifest: the rules.
        world: any state; it is reset.

    Raises:
        ArmillaryError: the world does not take these actions.
    """
    world.reset(record.seed)
    goal = draw_goal(world, manifest.task, EpisodeSpec(record.id, record.seed, record.goal_seed))
    found = [world.distance(goal)]
    for action in actions_of(record):
        world.advance(action) if isinstance(world, BlindWorld) else world.step(action)
        found.append(world.distance(goal))
    return np.array(found)


def controls(case: Case) -> Said:
    """Random, no-op and oracle do here what their records say; they need no model."""
    names = ", ".join(case.sources.suite.controls)
    return first(
        _control_problems(case),
        f"All actions of the controls ({names}) were chosen again; all match.",
    )


@dataclass(frozen=True)
class Following:
    """Opens a world in any process and lets controls choose the actions of their records again.

    The world goes on with the recorded action. A control that sees what it did would else end
    elsewhere on another processor: in 60 steps of pushing, the last bit becomes 0.5 m/s.
    """

    manifest: Manifest
    limit: float

    def __call__(self) -> Callable[[tuple[str, Record]], str]:
        """Return the function that says what is wrong with a record, else an empty text."""
        world = SuiteWorld.of(self.manifest)()
        spec = self.manifest.ruled(world.spec)
        actors = {name: control(spec) for name, control in _CONTROLS.items()}

        def run(told: tuple[str, Record]) -> str:
            name, record = told
            return _unlike(record, self.manifest, world, actors[name], self.limit)

        return run


def _control_problems(case: Case) -> Iterator[str]:
    for task, row in case.sources.rows.items():
        manifest = case.sources.manifests[task]
        told = [(name, record) for name in case.sources.suite.controls for record in row[name]]
        workers = workers_for(case, len(told) * manifest.budget)
        opener = Following(manifest, LIMITS[case.arithmetic])
        found = map_in_processes(opener, told, workers, case.how.progress)
        pairs = zip(told, found, strict=True)
        yield from (f"{task}/{name}: {problem}" for (name, _), problem in pairs if problem)


def _unlike(claimed: Record, manifest: Manifest, world: World, actor: Actor, limit: float) -> str:
    episode = EpisodeSpec(claimed.id, claimed.seed, claimed.goal_seed)
    steps = episode_steps(world, actor, manifest, episode, claimed.policy)
    strayed = [0.0]
    try:
        ask = next(steps)
        for action in actions_of(claimed):
            try:
                chosen, state = _chosen(actor, ask)
            except Exception as error:  # the episode says whose fault it was
                ask = steps.throw(error)
                continue
            strayed.append(np.abs(chosen - action).max())
            ask = steps.send(Answer(action, state, 0.0))
        return f"{claimed.id} ends after {claimed.steps} steps, and this control goes on."
    except StopIteration as end:
        found: Record = end.value
    if _facts(claimed) != _facts(found):
        return f"{claimed.id} ends as {claimed.outcome}, here as {found.outcome}."
    gone = np.abs(np.subtract(claimed.distances, found.distances)).max(initial=0.0)
    if not (gone <= limit and np.max(strayed) <= _STEEPEST * limit):
        return f"{claimed.id} acts otherwise than this control does."
    return ""


def _facts(record: Record) -> tuple[str, int, int]:
    return record.outcome, record.steps, len(record.distances)


def _chosen(actor: Actor, ask: Ask) -> tuple[np.ndarray, Any]:
    if isinstance(actor, Oracle):
        return actor.act(ask.world, ask.goal, *ask.chance), None
    return actor.act(ask.observation, ask.state)


REPLAY = (
    Check("replay.distances", 1, distances, about="outcomes that the actions do not lead to"),
    Check("replay.controls", 1, controls, about="floors and ceilings that nobody ran"),
)
