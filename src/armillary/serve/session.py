"""Session: one client's goal and episode, and what a request is answered with.

    request   observation/image, observation/state, ...   what is seen now
              goal/image, goal/state, ...                  a new goal, which begins an episode
              reset, seed, steps, latency_budget_ms        all optional
    reply     actions [1 A]; stop, clipped [1]; plan: cost, model_steps, searched, ...

Names of openpi stand for streams: ``image`` is ``rgb``, ``state`` is ``proprio``. All other streams
have their own names. Every array of a reply leads with the horizon, as openpi's broker wants it.

Axes: H W image, A action, Q proprioception.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from armillary.control import GoalConditionedPolicy, ModelSpec
from armillary.control.goal_conditioned_policy import GoalConditionedState
from armillary.control.guard import GuardedPolicy, GuardState
from armillary.control.guard_file import GuardedSpec
from armillary.control.model_policy import ModelPolicy
from armillary.core.errors import ConfigError, FormatError
from armillary.core.values import ActionBounds, Observation, WorldSpec

_STREAM_OF = {"image": "rgb", "state": "proprio"}
_NAME_OF = {stream: name for name, stream in _STREAM_OF.items()}
_MOST_SIDE_PX, _MOST_STEPS, _MOST_SEED = 4096, 10_000, 1 << 53
_REMEMBERED, _MARGIN = 50, 1.2  # decisions whose times say how long the next takes; and some more
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


@dataclass(frozen=True)
class Decider:
    """The policy that all clients share; what an episode remembers is theirs.

    Attributes:
        policy: decides.
        world: what the robot or world promises.
        identity: of the policy.
    """

    policy: Acting
    world: WorldSpec
    identity: str
    _times: dict[bool, deque[float]] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, spec: ModelSpec, world: WorldSpec, guard: Path | None = None) -> Decider:
        """Load a model's policy, under a guard where one is given.

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
        return cls(policy, world, factory.identity())

    @property
    def bare(self) -> ModelPolicy | GoalConditionedPolicy:
        """The policy without its guard."""
        inner = self.policy.policy if isinstance(self.policy, GuardedPolicy) else self.policy
        assert isinstance(inner, ModelPolicy | GoalConditionedPolicy)
        return inner

    @property
    def searches(self) -> bool:
        """Whether it can decide with its search and without."""
        return isinstance(self.bare, GoalConditionedPolicy) and self.bare.search is not None

    def acting(self, steps: int | None, searching: bool) -> Acting:
        """Return the policy with a deadline, with its search or without.

        Args:
            steps: world steps of the episode; None for the world's.
            searching: whether it searches, if it can.
        """
        inner = self.bare
        if not isinstance(inner, GoalConditionedPolicy):
            return self.policy
        deadline = inner.deadline if steps is None else steps
        search = inner.search if searching else None
        changed = replace(inner, deadline=deadline, search=search)
        if isinstance(self.policy, GuardedPolicy):
            return replace(self.policy, policy=changed)
        return changed

    def expected_ms(self, searching: bool) -> float:
        """Return how long a decision takes at most, by the last ones; 0 before the first."""
        return _MARGIN * max(self._times.get(searching, ()), default=0.0)

    def left_out(self, budget_ms: float) -> None:
        """Note that a search was left out; where searches usually fit, it counts as a usual one.

        Else one slow search would be the last, because only searches bring new times. So its time
        leaves the memory after as many decisions as are remembered.

        Args:
            budget_ms: that it did not fit into.
        """
        usual = statistics.median(self._times.get(True) or [math.inf])
        if _MARGIN * usual <= budget_ms:
            self.took(True, usual)

    def took(self, searching: bool, ms: float) -> None:
        """Note how long a decision took."""
        self._times.setdefault(searching, deque(maxlen=_REMEMBERED)).append(ms)

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

    def decide(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a request.

        Raises:
            FormatError: something is missing, or has another type or shape than is read.
            ConfigError: there is no goal yet.
        """
        began = time.perf_counter()
        budget = _number(request, "latency_budget_ms", 0.0, 1e6)
        self._begin(request)
        seen = self._streams(request, "observation/")
        searching = self._searching(budget)
        policy = self.decider.acting(self._steps, searching)
        action, self._state = policy.act(seen, self._state)
        ms = 1000 * (time.perf_counter() - began)
        self.decider.took(searching, ms)
        return self._reply(action, searching, ms, budget)

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
        new = any(name.startswith("goal/") for name in request)
        if new:
            self._goal = self._streams(request, "goal/")
        if self._goal is None:
            keys = ", ".join(self.decider.metadata()["goal_keys"])
            raise ConfigError(f"There is no goal yet. Send one with the first request: {keys}.")
        if new or request.get("reset"):
            self._seed = _whole(request, "seed", _MOST_SEED) or 0
            self._steps = _whole(request, "steps", _MOST_STEPS)
            policy = self.decider.acting(self._steps, True)
            self._state = policy.init(self._goal, self._seed)

    def _searching(self, budget: float | None) -> bool:
        if not self.decider.searches:
            return False
        if budget is None or self.decider.expected_ms(True) <= budget:
            return True
        self.decider.left_out(budget)
        return False

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
        self, action: Float[np.ndarray, " A"], searched: bool, ms: float, budget: float | None
    ) -> dict[str, Any]:
        bounds, state = self.decider.world.bounds, self._state
        sent = np.clip(action, bounds.low, bounds.high)
        decision = getattr(state, "decision", None)
        alarm = getattr(state, "alarm", None)
        plan: dict[str, Any] = {
            "searched": searched,
            "deadline_missed": budget is not None and ms > budget,
        }
        if decision is not None:
            plan |= {"model_steps": decision.model_steps, "step": decision.step}
            plan |= {} if decision.cost is None else {"cost": decision.cost}
        if alarm is not None:
            plan |= {"alarm": alarm.reason, "alarm_step": alarm.step}
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
