"""Replaying: level 1. All recorded actions in the world, without any model; the controls again.

Invented outcomes cannot survive it. Who chose the actions it does not show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from armillary.core.errors import ArmillaryError
from armillary.core.processes import map_in_processes
from armillary.core.protocols import BlindWorld, World
from armillary.evaluation.evaluate import evaluate
from armillary.evaluation.manifest import EpisodeSpec, Manifest, draw_goal
from armillary.evaluation.records import Record, actions_of
from armillary.evaluation.specs import NoOpSpec, OracleSpec, RandomSpec
from armillary.proof.suite_worlds import SuiteWorld
from armillary.proof.verify.case import Case
from armillary.proof.verify.rules import Check, Said, first

# World units (metres). The same arithmetic repeats to the bit; elsewhere the last bits differ.
LIMITS = {"same": 1e-9, "other-isa": 1e-6, "other-graphics": 1e-6, "bfloat16": 1e-6}
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
    return first(_control_problems(case), f"The controls ({names}) were run again; all match.")


def _control_problems(case: Case) -> Iterator[str]:
    for task, row in case.sources.rows.items():
        manifest = case.sources.manifests[task]
        for name in case.sources.suite.controls:
            workers = workers_for(case, len(row[name]) * manifest.budget)
            world = SuiteWorld.of(manifest)
            again = evaluate(manifest, _CONTROLS[name], world, workers=workers)
            yield from _differing(f"{task}/{name}", row[name], again, LIMITS[case.arithmetic])


def _differing(
    where: str, claimed: Sequence[Record], again: Sequence[Record], limit: float
) -> Iterator[str]:
    for one, other in zip(claimed, again, strict=False):
        facts = (one.outcome, one.steps, len(one.distances))
        if facts != (other.outcome, other.steps, len(other.distances)):
            yield f"{where}: {one.id} ends as {one.outcome}, here as {other.outcome}."
        elif _gap(one, other) > limit:
            yield f"{where}: {one.id} acts otherwise than this control does."


def _gap(one: Record, other: Record) -> float:
    distances = np.abs(np.subtract(one.distances, other.distances)).max(initial=0.0)
    actions = np.abs(actions_of(one) - actions_of(other)).max(initial=0.0)
    return float(max(distances, actions))


REPLAY = (
    Check("replay.distances", 1, distances, about="outcomes that the actions do not lead to"),
    Check("replay.controls", 1, controls, about="floors and ceilings that nobody ran"),
)
