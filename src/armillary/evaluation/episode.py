"""Episode: run one, from the harness's side of the fence.

The harness owns world, seeds, clock, bounds and allow-list. Whatever breaks, world or policy,
costs this episode and nothing else.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float64

from armillary.core.errors import ArmillaryError, ConfigError, ShapeError, WorldError
from armillary.core.protocols import BlindWorld, GlancingPolicy, World
from armillary.core.rng import key
from armillary.core.values import ActionBounds, Goal, Observation, WorldSpec
from armillary.evaluation.carry import Decision
from armillary.evaluation.manifest import EpisodeSpec, Manifest, draw_goal
from armillary.evaluation.oracle import Oracle
from armillary.evaluation.records import Alarm, Outcome, Record
from armillary.evaluation.specs import Actor

# What a real sensor gives; segmentation and truth are the simulator's own.
_ALLOWED_KINDS = ("rgb", "depth", "points", "lidar", "pose", "proprio")


class _BrokenError(Exception):
    """The episode cannot go on; carries the outcome and the sentence."""

    def __init__(self, outcome: Outcome, sentence: str) -> None:
        super().__init__(sentence)
        self.outcome: Outcome = outcome


@dataclass
class _Trace:
    """What is collected while an episode runs.

    Attributes:
        distances: from the goal, at the start and after each step.
        actions: as sent.
        decisions: of a policy that tells of them.
        ms: each decision took, with the looks since the last one.
        looked_ms: those looks, until the next decision.
        alarm: that stopped it.
    """

    distances: list[float] = field(default_factory=list)
    actions: list[tuple[float, ...]] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)
    looked_ms: float = 0.0
    alarm: Alarm | None = None


def check_action(action: Any, bounds: ActionBounds) -> Float64[np.ndarray, " A"]:
    """Return an action as float64; nothing is clipped.

    Raises:
        ShapeError: another width, NaN or infinite, or outside the bounds.
    """
    values = np.asarray(action, dtype=np.float64)
    if values.shape != (bounds.width,):
        raise ShapeError(
            f"The policy's action has shape {values.shape}; the world takes ({bounds.width},). "
            "Use a model that was trained in this world."
        )
    if not np.isfinite(values).all():
        raise ShapeError(
            f"The policy's action is not finite: {values.tolist()}; check the model's weights."
        )
    if (values < bounds.low).any() or (values > bounds.high).any():
        raise ShapeError(
            f"The policy's action {values.tolist()} is outside the world's bounds "
            f"{bounds.low.tolist()} to {bounds.high.tolist()}; let the policy clip it."
        )
    return values


def policy_seed(episode: EpisodeSpec) -> int:
    """Return the seed that a policy gets: hashed, so that it cannot rebuild the scene from it."""
    return key("evaluation.policy", episode.seed, episode.goal_seed) >> 76


def check_actor(actor: Actor, spec: WorldSpec) -> None:
    """Check that a policy sees only what it may see and the world offers.

    Raises:
        ConfigError: it wants simulator state, or a stream that this world does not give.
    """
    if isinstance(actor, Oracle):
        return
    allowed = {name for name, kind in spec.sensors.items() if kind in _ALLOWED_KINDS}
    for name in actor.observes:
        if name not in allowed and name != "intrinsics":
            raise ConfigError(
                f"The policy asks for {name!r}, which {spec.name} does not give to policies. "
                f"Allowed here: {', '.join(sorted(allowed))}."
            )


@dataclass(frozen=True)
class Ask:
    """What an episode wants to know at one step: what to do now.

    Attributes:
        world: for an oracle only.
        goal: for an oracle only.
        observation: what the actor may see.
        state: the actor's own, as it returned it.
        chance: seed and step, for an oracle only.
    """

    world: World
    goal: Goal
    observation: Observation
    state: Any
    chance: tuple[int, int]


@dataclass(frozen=True)
class Answer:
    """What an actor answers.

    Attributes:
        action: as sent; not yet checked.
        state: to be asked with next time.
        ms: wall time of the answer, milliseconds.
    """

    action: Any
    state: Any
    ms: float


def episode_steps(
    world: World, actor: Actor, manifest: Manifest, episode: EpisodeSpec, identity: str
) -> Generator[Ask, Answer, Record]:
    """Run one episode, asking for every action, and return its record.

    Whoever asks the actor sends the answer in, or throws what the actor raised. Nothing that world
    or policy do comes out of here as an error.

    Args:
        world: any state; it is reset.
        actor: a policy, or an oracle; asked here for its first state only.
        manifest: the rules.
        episode: which one.
        identity: name of the actor for the record.
    """
    trace, error = _Trace(), ""
    try:
        yield from _run(world, actor, manifest, episode, trace)
        outcome: Outcome = _judged(trace.distances, manifest)
    except _BrokenError as broken:
        outcome, error = broken.outcome, str(broken)
    return Record(
        id=episode.id,
        seed=episode.seed,
        goal_seed=episode.goal_seed,
        manifest=manifest.sha256,
        policy=identity,
        privileged=isinstance(actor, Oracle),
        outcome=outcome,
        error=error,
        success_distance=manifest.success_distance,
        distances=tuple(trace.distances),
        actions=tuple(trace.actions),
        decisions=tuple(trace.decisions),
        ms_per_decision=tuple(trace.ms),
        alarm=trace.alarm,
    )


def crash_record(manifest: Manifest, episode: EpisodeSpec, identity: str, sentence: str) -> Record:
    """Return the record of an episode whose process died."""
    return Record(
        id=episode.id,
        seed=episode.seed,
        goal_seed=episode.goal_seed,
        manifest=manifest.sha256,
        policy=identity,
        privileged=False,
        outcome="crash",
        error=sentence,
        success_distance=manifest.success_distance,
        distances=(),
        actions=(),
        decisions=(),
    )


def _judged(distances: list[float], manifest: Manifest) -> Outcome:
    return "success" if distances[-1] <= manifest.success_distance else "failure"


def _run(
    world: World, actor: Actor, manifest: Manifest, episode: EpisodeSpec, trace: _Trace
) -> Generator[Ask, Answer, None]:
    with _blamed("world"):
        observation = world.reset(episode.seed)
        goal = draw_goal(world, manifest.task, episode)
        trace.distances.append(_distance(world, goal))
    seed = policy_seed(episode)
    with _blamed("policy"):
        state = None
        if not isinstance(actor, Oracle):
            state = actor.init(goal.observation.only(actor.observes), seed)
    for step in range(manifest.budget):
        with _blamed("policy"):
            seen = observation if isinstance(actor, Oracle) else observation.only(actor.observes)
            answer = yield Ask(world, goal, seen, state, (seed, step))
        state, action = answer.state, _inside(answer.action, world.spec.bounds)
        trace.alarm = getattr(state, "alarm", None)
        _note_decision(trace, state, step, answer.ms, manifest)
        with _blamed("world"):
            goes_on = step + 1 < manifest.budget
            observation = _stepped(world, action, goes_on and _looks(actor, state))
            distance = _distance(world, goal)
        trace.actions.append(tuple(action.tolist()))
        trace.distances.append(distance)
        if manifest.stop_at_hit and distance <= manifest.success_distance:
            return


def _looks(actor: Actor, state: Any) -> bool:
    """Tell whether the actor will read the next observation."""
    if isinstance(actor, Oracle):
        return False
    return not isinstance(actor, GlancingPolicy) or actor.looks(state)


def _stepped(world: World, action: Float64[np.ndarray, " A"], looks: bool) -> Observation:
    """Return what follows an action; nothing, where nobody looks and the world can do without."""
    if looks or not isinstance(world, BlindWorld):
        return world.step(action)
    world.advance(action)
    return Observation({})


def _inside(sent: Any, bounds: ActionBounds) -> Float64[np.ndarray, " A"]:
    try:
        return check_action(sent, bounds)
    except (ShapeError, TypeError, ValueError) as error:
        raise _BrokenError("crash", str(error)) from error


def _note_decision(trace: _Trace, state: Any, step: int, ms: float, manifest: Manifest) -> None:
    """Note what was decided at this step, and hold it against the limits."""
    limit = manifest.decision_limit_s
    if limit is not None and ms > 1e3 * limit:
        raise _BrokenError("timeout", f"The decision at step {step} took longer than {limit:g} s.")
    decision = getattr(state, "decision", None)
    if decision is not None and decision.step != step:
        # it goes on with an earlier plan; a look that it took meanwhile is for the next decision
        trace.looked_ms += ms
        return
    trace.ms.append(trace.looked_ms + ms)
    trace.looked_ms = 0.0
    if decision is not None:
        trace.decisions.append(decision)
        budget = manifest.planner_budget
        if budget is not None and decision.model_steps > budget:
            raise _BrokenError(
                "crash",
                f"A decision took {decision.model_steps} model steps; {budget} are allowed.",
            )


def _distance(world: World, goal: Goal) -> float:
    distance = float(world.distance(goal))
    if not np.isfinite(distance):
        raise WorldError(f"the distance to the goal is {distance}")
    return distance


@contextmanager
def _blamed(who: str) -> Iterator[None]:
    try:
        yield
    except ArmillaryError as error:
        outcome: Outcome = "timeout" if isinstance(error, TimeoutError) else "crash"
        raise _BrokenError(outcome, f"The {who} stopped: {error}") from error
    except Exception as error:  # whatever it is, it costs this episode only
        sentence = f"The {who} raised {type(error).__name__}: {error}"
        raise _BrokenError("crash", sentence) from error
