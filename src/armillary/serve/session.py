"""Session: one client's goal and episode, and what a request is answered with.

    request   observation/image, observation/state, ...   what is seen now
              goal/image, goal/state, ...                  a new goal, which begins an episode
              goal_value                                   or one given as values
              reset, seed, steps, latency_budget_ms        all optional
    reply     actions [1 A]; stop, clipped [1]; plan: cost, model_steps, searched, surprise, ...

Names of openpi stand for streams: ``image`` is ``rgb``, ``state`` is ``proprio``. All other streams
have their own names. Every array of a reply leads with the horizon, as openpi's broker wants it.

Axes: H W image, A action, Q proprioception.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from armillary.core.errors import ConfigError, FormatError, WorldError
from armillary.core.values import ActionBounds, Observation, WorldSpec
from armillary.evaluation import GoalConditionedPolicy, ModelSpec
from armillary.evaluation.goal_conditioned_policy import GoalConditionedState
from armillary.evaluation.model_policy import ModelPolicy
from armillary.evaluation.records import Alarm
from armillary.monitoring.guard import Guard, GuardedPolicy, GuardState
from armillary.monitoring.guard_file import GuardedSpec
from armillary.serve.budget import BudgetedPolicy, Pace

_STREAM_OF = {"image": "rgb", "state": "proprio"}
_NAME_OF = {stream: name for name, stream in _STREAM_OF.items()}
_MOST_SIDE_PX, _MOST_STEPS, _MOST_SEED = 4096, 10_000, 1 << 53
_WARM = 3
_BLANK: Mapping[str, np.ndarray] = {
    "rgb": np.zeros((64, 64, 3), np.uint8),
    "depth": np.ones((64, 64), np.float32),
    "world_from_camera": np.eye(4),
    "intrinsics": np.array([[64.0, 0.0, 31.5], [0.0, 64.0, 31.5], [0.0, 0.0, 1.0]]),
}
Acting = ModelPolicy | GoalConditionedPolicy | GuardedPolicy


def world_of_a_robot(
    low: tuple[float, ...], high: tuple[float, ...], step_s: float, steps: int
) -> WorldSpec:
    """Return what a robot promises, for a model that no simulator of ours belongs to.

    Args:
        low: of each action.
        high: of each action.
        step_s: seconds that an action lasts.
        steps: in which a goal is to be reached, if a client says nothing.

    Raises:
        ConfigError: bounds that are not numbers, or low ones above high ones.
    """
    bounds = np.array(low, np.float64), np.array(high, np.float64)
    fits = len(low) == len(high) > 0 and np.isfinite(bounds).all()
    # equal ones hold an action still, as those of a Twist that a wheeled robot has no use for
    ordered = fits and (bounds[0] <= bounds[1]).all() and (bounds[0] < bounds[1]).any()
    if not ordered or not step_s > 0 or steps < 1:
        raise ConfigError(
            "A robot needs --low and --high with a number for each action, low below high, and "
            f"--step-s and --steps above 0; got {low}, {high}, {step_s:g} and {steps}."
        )
    return WorldSpec("robot", ActionBounds(*bounds), step_s, (), steps, 0.0, "", {})


class FindsGoals(Protocol):
    """Finds a goal given as values of what was recorded (``services/recorded_goals.py``)."""

    def find(self, text: str, now: Observation) -> tuple[Observation, dict[str, Any]]:
        """Return the goal, and which moment it is.

        Raises:
            ConfigError: no goal, or of something that is not recorded.
        """
        ...


@dataclass(frozen=True)
class _HeardGuard(Guard):
    """A guard whose last scores are kept, so that a client can be given them.

    Attributes:
        heard: the largest score as a share of its limit; an alarm is above 1. One decision is made
            at a time, so it is of the present one.
    """

    heard: list[float] = field(default_factory=list, compare=False, repr=False)

    def alarm(self, step: int, scores: Mapping[str, float]) -> Alarm | None:
        """Return the alarm as the guard does, and keep the scores."""
        shares = [scores[name] / limit for name, limit in self.limits.items() if limit > 0]
        self.heard[:] = [max(shares)] if shares and np.isfinite(shares).all() else []
        return super().alarm(step, scores)


@dataclass(frozen=True)
class Decider:
    """The policy that all clients share; what an episode remembers is theirs.

    Attributes:
        policy: decides.
        world: what the robot or world promises.
        identity: of the policy.
        pace: how long its searches take.
        values: finds goals that are given as values; None for none.
    """

    policy: Acting
    world: WorldSpec
    identity: str
    pace: Pace = field(default_factory=Pace, repr=False)
    values: FindsGoals | None = None

    @classmethod
    def load(
        cls,
        spec: ModelSpec,
        world: WorldSpec,
        guard: Path | None = None,
        values: FindsGoals | None = None,
    ) -> Decider:
        """Load a model's policy, under a guard where one is given.

        Args:
            spec: makes the policy.
            world: what the robot or world promises.
            guard: file of ``armillary guard``.
            values: finds goals that are given as values; None for none.

        Raises:
            CheckpointError: the folder is not a complete model.
            ConfigError: a setting that cannot be, a guard of another policy, or a world that does
                not give what the model sees.
            FormatError: the file is not a guard.
            ShapeError: the model's actions are not the world's.
        """
        factory = spec if guard is None else GuardedSpec(spec, guard)
        policy = factory(world)
        given = {*world.sensors, "intrinsics"}
        missing = [name for name in policy.observes if name not in given]
        if world.sensors and missing:  # of a robot nobody knows here what it sends
            raise ConfigError(
                f"The model sees {', '.join(missing)}, which {world.name} does not give. Use the "
                "world that it was trained in."
            )
        if isinstance(policy, GuardedPolicy):
            policy = replace(policy, guard=_HeardGuard(**vars(policy.guard)))
        return cls(policy, world, factory.identity(), values=values)

    @property
    def bare(self) -> ModelPolicy | GoalConditionedPolicy:
        """The policy without its guard."""
        inner = self.policy.policy if isinstance(self.policy, GuardedPolicy) else self.policy
        assert isinstance(inner, ModelPolicy | GoalConditionedPolicy)
        return inner

    @property
    def keeps_time(self) -> bool:
        """Whether it can answer within a budget."""
        return isinstance(self.bare, GoalConditionedPolicy)

    @property
    def surprise(self) -> float | None:
        """The guard's largest score of the last decision as a share of its limit; None without."""
        guard = self.policy.guard if isinstance(self.policy, GuardedPolicy) else None
        heard = guard.heard if isinstance(guard, _HeardGuard) else []
        return heard[0] if heard else None

    def forget_surprise(self) -> None:
        """Forget the last scores: a decision without any would be given those of another."""
        guard = self.policy.guard if isinstance(self.policy, GuardedPolicy) else None
        if isinstance(guard, _HeardGuard):
            guard.heard.clear()

    def acting(self, steps: int | None) -> Acting:
        """Return the policy with a deadline.

        Args:
            steps: world steps of the episode; None for the world's.
        """
        return self.policy if steps is None else self._guarded(replace(self.bare, deadline=steps))

    def acting_in_time(
        self, steps: int | None, due: float
    ) -> tuple[Acting | BudgetedPolicy, BudgetedPolicy | None]:
        """Return a policy that answers in time, and the part of it that says how it did.

        Args:
            steps: world steps of the episode; None for the world's.
            due: when the answer is due, in seconds of ``time.perf_counter``.

        Raises:
            ConfigError: the policy is a search without a goal policy, which has no best so far.
        """
        inner = self.bare
        if not isinstance(inner, GoalConditionedPolicy):
            raise ConfigError(
                "This server searches without a goal policy, and such a search cannot be cut "
                "short. Leave latency_budget_ms out, or serve with --planner guided."
            )
        if inner.search is None:
            return self.acting(steps), None
        inner = inner if steps is None else replace(inner, deadline=steps)
        timed = BudgetedPolicy(inner, self.pace, due)
        return self._guarded(timed), timed

    def _guarded(self, inner: Any) -> Any:
        """Return a policy under the guard, where there is one."""
        if isinstance(self.policy, GuardedPolicy):
            return replace(self.policy, policy=inner)
        return inner

    def metadata(self) -> dict[str, Any]:
        """Return the metadata that a client gets when it connects."""
        names = [_NAME_OF.get(name, name) for name in self.policy.observes]
        bounds = self.world.bounds
        return {
            "protocol": "armillary/1",
            "world": self.world.name,
            "policy": self.identity,
            "action_bounds": np.stack([bounds.low, bounds.high], -1),
            "action_horizon": 1,
            "control_hz": 1 / self.world.step_s,
            "observation_keys": [f"observation/{name}" for name in names],
            "goal_keys": [f"goal/{name}" for name in names],
            "steps": self.world.budget,
            "guarded": isinstance(self.policy, GuardedPolicy),
        }

    def warm_up(self) -> None:
        """Decide a few times on empty pictures, so that the first client does not wait."""
        if not {*self.policy.observes} <= _BLANK.keys():
            return
        seen = {f"observation/{name}": _BLANK[name] for name in self.policy.observes}
        goal = {f"goal/{name}": _BLANK[name] for name in self.policy.observes}
        for steps in (1, 8, self._longest()):
            session = Session(self)
            for _ in range(_WARM):
                session.decide({**seen, **goal, "steps": steps})

    def _longest(self) -> int:
        """Return the world steps of an episode with the longest search."""
        inner = self.bare
        if not isinstance(inner, GoalConditionedPolicy) or inner.search is None:
            return 1
        # the goal is to be reached in half of the time
        return min(2 * inner.search.longest * inner.frame_skip, _MOST_STEPS)


class Session:
    """One connection: its goal, and what its episode remembers.

    Args:
        decider: whose policy acts.
    """

    def __init__(self, decider: Decider) -> None:
        self.decider = decider
        self._goal: Observation | None = None
        self._seed = 0
        self._steps: int | None = None
        self._state: Any = None
        self._found: dict[str, Any] | None = None

    def decide(self, request: Mapping[str, Any], began: float | None = None) -> dict[str, Any]:
        """Answer a request.

        Args:
            request: names and values.
            began: when the request arrived, in seconds of ``time.perf_counter``; None for now. Its
                budget counts from there.

        Raises:
            FormatError: something is missing, or has another type or shape than is read.
            ConfigError: there is no goal yet, or a budget that this policy cannot keep.
            WorldError: the decision is not a number.
        """
        began = time.perf_counter() if began is None else began
        budget = _number(request, "latency_budget_ms", 0.0, 1e6)
        self._begin(request)
        seen = self._streams(request, "observation/")
        self.decider.forget_surprise()
        timed: BudgetedPolicy | None = None
        if budget is None:
            policy: Any = self.decider.acting(self._steps)
        else:
            policy, timed = self.decider.acting_in_time(self._steps, began + budget / 1000)
        action, self._state = policy.act(seen, self._state)
        if not np.isfinite(action).all():  # clipping lets NaN through
            raise WorldError(
                f"The policy decided {action.tolist()}, which is not a number, so it is not sent."
            )
        ms = 1000 * (time.perf_counter() - began)
        return self._reply(action, timed, ms, budget)

    def interrupted(self) -> None:
        """Forget what was seen and done lately: time has passed in which others acted.

        The goal stays. A memory with a gap in it would be predicted from wrongly.
        """
        state = self._state
        if isinstance(state, GuardState) and isinstance(state.inner, GoalConditionedState):
            self._state = replace(state, inner=replace(state.inner, seen=(), done=()))
        elif isinstance(state, GoalConditionedState):
            self._state = replace(state, seen=(), done=())

    def _begin(self, request: Mapping[str, Any]) -> None:
        """Begin an episode, where there is a new goal or one is asked for."""
        new, self._found = any(name.startswith("goal/") for name in request), None
        if new:
            self._goal = self._streams(request, "goal/")
        if (value := request.get("goal_value")) is not None:
            self._goal, self._found = self._valued(value, request, new)
            new = True
        if self._goal is None:
            keys = ", ".join(self.decider.metadata()["goal_keys"])
            raise ConfigError(f"There is no goal yet. Send one with the first request: {keys}.")
        reset = request.get("reset", False)
        if not isinstance(reset, bool):
            raise FormatError("reset is true or false.")
        if new or reset:
            self._seed = _whole(request, "seed", _MOST_SEED) or 0
            self._steps = _whole(request, "steps", _MOST_STEPS)
            policy = self.decider.acting(self._steps)
            self._state = policy.init(self._goal, self._seed)

    def _valued(
        self, value: Any, request: Mapping[str, Any], pictured: bool
    ) -> tuple[Observation, dict[str, Any]]:
        """Return the goal that is given as values, and which recorded moment it is."""
        if not isinstance(value, str) or pictured:
            raise FormatError("goal_value is a text, such as object_xy=0.3,0.1, in place of goal/.")
        if self.decider.values is None:
            raise ConfigError(
                "This server has no recording to find values in. Send a picture as goal, or serve "
                "with --values DATASET."
            )
        return self.decider.values.find(value, self._streams(request, "observation/"))

    def _streams(self, request: Mapping[str, Any], prefix: str) -> Observation:
        found = {}
        for stream in self.decider.policy.observes:
            names = [prefix + name for name in (_NAME_OF.get(stream, stream), stream)]
            name = next((name for name in names if name in request), None)
            if name is None:
                raise FormatError(f"The request lacks {names[0]!r}.")
            found[stream] = _checked(name, stream, request[name])
        return Observation(found)

    def _reply(
        self,
        action: Float[np.ndarray, " A"],
        timed: BudgetedPolicy | None,
        ms: float,
        budget: float | None,
    ) -> dict[str, Any]:
        bounds, state = self.decider.world.bounds, self._state
        sent = np.clip(action, bounds.low, bounds.high)
        decision = getattr(state, "decision", None)
        alarm = getattr(state, "alarm", None)
        surprise = self.decider.surprise if alarm is None else None
        plan: dict[str, Any] = {
            "searched": decision is not None and decision.model_steps > 0,
            "cut_short": timed is not None and timed.cut_short,
            "deadline_missed": budget is not None and ms > budget,
        }
        plan |= {} if surprise is None else {"surprise": surprise}
        plan |= {} if self._found is None else {"goal": self._found}
        if decision is not None:
            plan |= {"model_steps": decision.model_steps, "step": decision.step}
            plan |= {} if decision.cost is None else {"cost": decision.cost}
        if alarm is not None:
            plan |= {"alarm": alarm.reason, "alarm_step": alarm.step}
            above = alarm.score is not None and alarm.limit > 0
            plan |= {"surprise": alarm.score / alarm.limit} if above else {}
        return {
            "actions": sent[None],
            "clipped": np.array([bool((sent != action).any())]),
            "stop": np.array([alarm is not None]),
            "plan": plan,
            "policy_timing": {"infer_ms": ms},
        }


def _checked(name: str, stream: str, value: Any) -> np.ndarray:
    """Return a stream of an observation.

    Raises:
        FormatError: another type, shape or size than such a stream has.
    """
    if not isinstance(value, np.ndarray):
        raise FormatError(f"{name} is no array.")
    if stream.startswith("rgb"):
        if value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3:
            raise FormatError(
                f"{name} is a uint8 picture (H, W, 3); got {value.dtype} {value.shape}."
            )
    elif value.dtype.kind != "f":
        raise FormatError(f"{name} is floating point numbers; got {value.dtype}.")
    if not value.size or max(value.shape) > _MOST_SIDE_PX * (1 if value.ndim > 1 else 16):
        raise FormatError(f"{name} has the shape {value.shape}, which is not read.")
    if stream == "proprio" and not np.isfinite(value).all():
        raise FormatError(f"{name} holds NaN or infinite numbers.")
    return value


def _number(request: Mapping[str, Any], name: str, least: float, most: float) -> float | None:
    value = request.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise FormatError(f"{name} is a number from {least:g} to {most:g}.")
    return float(value)


def _whole(request: Mapping[str, Any], name: str, most: int) -> int | None:
    value = request.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= most:
        raise FormatError(f"{name} is a whole number from 0 to {most}.")
    return value
