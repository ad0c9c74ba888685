"""Goal tasks for any Gymnasium environment: where random actions lead in so many steps.

The environment is started twice from one seed. In the twin actions are pink noise, as they are when
it is recorded. In the last ten steps nothing is done, so that what moved comes to rest; where
actions are choices, these go on. What is seen then is the goal. No recording holds these steps, and
the goal can be reached: the twin has been there. A goal that the environment leaves again before
the budget ends, without an action, is drawn again, up to 100 times in all. The environment's own
target and reward play no part.

Where the environment is, is the first of these that it has:

    places      ``info["truth"]`` at ``reset`` and at every step
    qpos        positions and angles of all joints, from MuJoCo; whole turns of a hinge that has no
                limit do not count, since no picture shows them
    state       the environment's own observation, if it is a Box, or a Dict of Boxes, of floats

A goal is reached when a quarter of the way is left. The way is the distance between start and goal:
of places the farthest in metres, or whatever their unit is; of joints or an observation the length
of the difference. A limit in the unit itself is the setting ``goal_distance``. An environment
with a better rule has a method ``goal_gap(now, goal)``, which takes truths by name.

Axes: A action, S numbers of a state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from armillary.core.errors import ConfigError, WorldError, unknown_name
from armillary.core.values import Goal
from armillary.worlds.actions import validate_action
from armillary.worlds.gym.environment import (
    GymWorld,
    action_bounds,
    checked_rendering,
    flat_observation,
    is_flat,
    make_env,
)
from armillary.worlds.gym.goal_world import AHEAD, GymGoalWorld
from armillary.worlds.policies import pink_action

_LEFT = 0.25  # share of the way
_LEAST_WAY = 1e-6
_DRAWN = 2  # times the wanted size, so that edges are averaged
_REST_STEPS = 10  # of the way, without action
_MOST_DRAWS = 100
_PLACES = ("_xy", "_xyz")
_HINGE = 3  # MuJoCo's mjtJoint
_QUATERNION_AT = {0: 3, 1: 0}  # of a free joint and a ball: where its quaternion begins
_OF_THE_WAY = "of the way"  # unit of distances that are shares of the start's distance
_START_DISTANCE = "start_distance"  # in a goal's truth: how far it was from the start


class AnyGround:
    """What holds for every environment.

    Args:
        goal_distance: reached within this; 0 for a quarter of the way.
    """

    settings: Mapping[str, Any] = {}
    units: Mapping[str, tuple[str, str]] = {}
    collection = "pink noise"
    step_s = None
    any_is_reachable = False
    most_steps = None

    def __init__(self, goal_distance: float) -> None:
        self.success_distance = goal_distance or _LEFT
        self.distance_unit = "" if goal_distance else _OF_THE_WAY

    def begin(self, env: Any, rng: np.random.Generator) -> dict[str, Any]:
        """Return no options: the seed decides."""
        return {}

    def truth(self, env: Any) -> dict[str, np.ndarray]:
        """Return the positions of all joints, where MuJoCo moves it."""
        qpos = _qpos(env)
        return {} if qpos is None else {"qpos": np.array(qpos, np.float64)}

    def explore(self, env: Any, rng: np.random.Generator, state: Any) -> tuple[np.ndarray, Any]:
        """Return an action of pink noise, and the policy's next state."""
        return pink_action(action_bounds(str(env.spec.id), env.action_space), rng, state)

    def quicken(self, env: Any) -> None:
        """Leave shadows and multisampling out, where MuJoCo draws."""
        model = getattr(_simulator(env), "model", None)
        if model is not None and hasattr(model, "vis"):
            model.vis.quality.shadowsize, model.vis.quality.offsamples = 1024, 0
            model.light_castshadow[:] = 0

    def gap(self, now: Mapping[str, np.ndarray], goal: Mapping[str, np.ndarray]) -> float:
        """Return the farthest distance of a place; without places, of all numbers together.

        What is NaN here or in the goal does not count; where all is, so is the distance.
        """
        places = [name for name in now if name.endswith(_PLACES)]
        away = np.array([np.linalg.norm(now[name] - goal[name]) for name in places or now])
        known = away[np.isfinite(away)]
        if not len(known):
            return float("nan")
        return float(known.max() if places else np.linalg.norm(known))

    def towards(
        self, env: Any, goal: Mapping[str, np.ndarray], rng: np.random.Generator
    ) -> np.ndarray:
        """Return no action: nothing is known but the way there."""
        return np.zeros(len(action_bounds(str(env.spec.id), env.action_space).low))


class AnyGoalWorld(GymGoalWorld):
    """A Gymnasium environment with goals where random actions lead.

    Args:
        env_id: as in ``GymWorld``.
        image_size: H = W of the pictures, pixels.
        sensors: of rgb and proprio.
        env_settings: keyword arguments of the environment.
        lead_steps: as in ``GymGoalWorld``.
        task: the default of ``ahead_25``, ``ahead_50`` and ``ahead_100``.
        goal_distance: a goal is reached within this, in the unit of the places, the joints or the
            observation; 0 for a quarter of the way.
        quick_pictures: where MuJoCo draws, leave shadows and multisampling out, and draw twice the
            size that is wanted in place of what the environment draws.

    Raises:
        ConfigError: as ``GymGoalWorld``, or a goal_distance below 0.
    """

    _most_draws = _MOST_DRAWS

    def __init__(
        self,
        env_id: str,
        image_size: int = 64,
        sensors: tuple[str, ...] = ("rgb",),
        env_settings: Mapping[str, Any] | None = None,
        lead_steps: int = 0,
        task: str = next(iter(AHEAD)),
        goal_distance: float = 0.0,
        quick_pictures: bool = False,
    ) -> None:
        if task not in AHEAD:
            raise unknown_name(f"task of gym:{env_id}", task, AHEAD)
        if not 0 <= goal_distance < np.inf:
            raise ConfigError(f"gym:{env_id}: goal_distance is 0 or more, got {goal_distance}.")
        ground = AnyGround(goal_distance)
        super().__init__(
            env_id, ground, image_size, sensors, env_settings, lead_steps, task, quick_pictures
        )
        if quick_pictures:
            _draw_small(self._env, _DRAWN * image_size)
        self._remake = lambda: AnyGoalWorld(
            env_id, image_size, sensors, env_settings, lead_steps, task, goal_distance,
            quick_pictures,
        )  # fmt: skip
        places = (unit for name, (unit, _) in self._spec.units.items() if name.endswith(_PLACES))
        tasks = tuple(name for name in self._spec.tasks if name in AHEAD)
        self._spec = replace(
            self._spec,
            distance_unit=ground.distance_unit or next(places, ""),
            tasks=tasks if self._knows_where() else (),
            # reached, but perhaps not held until the end of the budget
            extra={**self._spec.extra, "reachable": dict.fromkeys(AHEAD)},
        )
        self._raw: Any = None
        self._stands = False  # an end is stood through, once there is a goal

    def truth(self) -> Mapping[str, np.ndarray]:
        """Return where the environment is; nothing where nothing tells."""
        told = GymWorld.truth(self)
        if told or self._steps is None:
            return told
        return self._ground.truth(self._env) or self._state()

    def draw_goal(self, task: str, rng: np.random.Generator) -> Goal:
        """Draw a goal in the twin, as ``GymGoalWorld`` does.

        From then on an environment that ends its episode stands still: what is left of the way is
        judged there.

        Raises:
            ConfigError: an unknown task, or nothing tells where the environment is.
            WorldError: the same seed and actions lead elsewhere in the twin.
        """
        if task not in AHEAD:
            raise unknown_name(f"task of {self._spec.name}", task, AHEAD)
        self._check_started()
        if not self.truth():
            raise ConfigError(
                f"{self._spec.name}: nothing tells where it is, so no goal can be judged. Give "
                "places in info['truth'] at reset and at every step."
            )
        goal = super().draw_goal(task, rng)
        self._stands = True
        return goal

    def distance(self, goal: Goal) -> float:
        """Return how much of the way is left, or the distance where ``goal_distance`` is set."""
        gap = self._gap(goal.truth)
        return gap / float(goal.truth[_START_DISTANCE][0]) if _START_DISTANCE in goal.truth else gap

    def _make(self, env_id: str, settings: dict[str, Any]) -> Any:
        env = make_env(env_id, settings)
        # those of dm_control render, but do not say so
        if env.render_mode is None and _simulator(env) is not None:
            return env
        return checked_rendering(env_id, env)

    def _is_over(self, terminated: bool, truncated: bool) -> bool:
        return GymWorld._is_over(self, terminated, truncated)

    def _begin(self, seed: int) -> Any:
        self._stands = False
        self._raw = super()._begin(seed)
        return self._raw

    def _advance(self, action: Any) -> Any:
        if self.ended and self._stands:
            validate_action(self._spec, action)
        else:
            self._raw = super()._advance(action)
        return self._raw

    def _go_ahead(self, task: str, rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
        _, way = super()._go_ahead(task, rng)
        twin = self._other()
        there, raw = twin.truth(), twin._begin(self._seed)
        for action in self._taken:
            raw = twin._advance(action)
        repeats = _same(self.truth(), twin.truth())
        for action in way["ahead_actions"]:
            raw = twin._advance(action)
        if not (repeats and _same(there, twin.truth())):
            raise WorldError(
                f"{self._spec.name}: the same seed and actions lead elsewhere the next time, so "
                "goals cannot be drawn. Let reset(seed=...) seed all its chance."
            )
        return raw, way | self._start_distance()

    def _holds(self, goal: Goal, rng: np.random.Generator) -> bool:
        return not self.ended and super()._holds(goal, rng)

    def _hold_steps(self, goal: Goal) -> int:
        return AHEAD[goal.task]  # as long as the budget lasts

    def _on_the_way(self, rng: np.random.Generator, state: Any, left: int) -> tuple[Any, Any]:
        if left >= _REST_STEPS or self.discrete:  # of choices none is to do nothing
            return super()._on_the_way(rng, state, left)
        return self._in_bounds(np.zeros(len(self._spec.bounds.low))), state

    def _start_distance(self) -> dict[str, np.ndarray]:
        """Return how far the twin is from here, unless goals are judged by distance."""
        if self._ground.distance_unit != _OF_THE_WAY:
            return {}
        return {_START_DISTANCE: np.array([max(self._gap(self._other().truth()), _LEAST_WAY)])}

    def _gap(self, goal: Mapping[str, np.ndarray]) -> float:
        if self._env.has_wrapper_attr("goal_gap"):
            own = self._env.get_wrapper_attr("goal_gap")
            return float(self._call(own, dict(self.truth()), dict(goal)))
        now = self.truth()
        gap = self._ground.gap(now, _at_nearest_turn(_simulator(self._env), now, goal))
        if np.isnan(gap):
            raise WorldError(
                f"{self._spec.name}: no place is known both here and in the goal (NaN in "
                f"{', '.join(self.truth())}), so no goal can be judged."
            )
        return gap

    def _state(self) -> dict[str, np.ndarray]:
        space = self._env.observation_space
        return {"state": flat_observation(space, self._raw)} if is_flat(space) else {}

    def _knows_where(self) -> bool:
        """Tell whether there is a state before anything has run."""
        told = bool(self._spec.units) or _qpos(self._env) is not None
        if told or is_flat(self._env.observation_space):
            return True
        self._begin(0)
        told, self._steps = bool(GymWorld.truth(self)), None
        return told


def _same(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name], equal_nan=True) for name in one
    )


def _simulator(env: Any) -> Any:
    """Return what holds MuJoCo's model and data, or None."""
    raw = env.unwrapped
    control = getattr(raw, "dmc_env", None) or getattr(raw, "_env", None)
    for holder in (raw, getattr(raw, "point_env", None), getattr(control, "physics", None)):
        if hasattr(getattr(holder, "data", None), "qpos"):
            return holder
    return None


def _at_nearest_turn(
    simulator: Any, now: Mapping[str, np.ndarray], goal: Mapping[str, np.ndarray]
) -> Mapping[str, np.ndarray]:
    """Return the goal with every turning joint as near to now as the same pose can be.

    A hinge without a limit is the same after a turn of 2 pi, and a quaternion with the other sign.
    """
    own = "qpos" in now and simulator is not None
    if not own or len(now["qpos"]) != len(simulator.data.qpos):  # the environment's own truth
        return goal
    model, here, there = simulator.model, now["qpos"], np.array(goal["qpos"])
    for kind, limited, first in zip(
        model.jnt_type, model.jnt_limited, model.jnt_qposadr, strict=True
    ):
        if kind == _HINGE and not limited:
            turn = 2 * np.pi
            there[first] -= turn * np.round((there[first] - here[first]) / turn)
        elif kind in _QUATERNION_AT:
            turned = slice(first + _QUATERNION_AT[kind], first + _QUATERNION_AT[kind] + 4)
            there[turned] *= -1 if there[turned] @ here[turned] < 0 else 1
    return {**goal, "qpos": there}


def _draw_small(env: Any, side: int) -> None:
    """Let Gymnasium's renderer draw no more than ``side`` pixels; others are left alone."""
    renderer = getattr(env.unwrapped, "mujoco_renderer", None)
    if renderer is not None and hasattr(renderer, "width") and hasattr(renderer, "height"):
        # it makes its window with the first picture, of this size
        renderer.width = min(int(renderer.width), side)
        renderer.height = min(int(renderer.height), side)


def _qpos(env: Any) -> Any:
    holder = _simulator(env)
    return None if holder is None else holder.data.qpos
