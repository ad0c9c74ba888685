"""Goal tasks for the environments of stable-worldmodel: the ground that its world models play on.

A start is a moment in the middle of a recording: after the environment's own reset its collection
policy runs for some steps, drawn from the seed. Goals are drawn in a twin of the environment that
is brought to the same moment by the same seed and actions, so the world itself is never touched:

- ``ahead_25``, ``ahead_50``, ``ahead_100``: where the collection policy is that many steps later.
  No recording holds these steps. The goal can be reached and held: the twin has done both.
- ``any``: the start of another, independent episode of the same scene.

The environment's own target, reward and ``terminated`` play no part.

Source: goals ahead on a recording and budgets of twice the offset are the protocol of LeWM
(arXiv 2603.19312); independent start and goal are AnyGoal's point (arXiv 2610.26844).

Axes: A action, K steps ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float64

from armillary.core.errors import ConfigError, WorldError, unknown_name
from armillary.core.rng import generator
from armillary.core.values import Goal, Observation, WorldSpec
from armillary.worlds.gym.environment import GymWorld, make_env
from armillary.worlds.gym.ground import Ground
from armillary.worlds.gym.texture import with_texture

AHEAD = {"ahead_25": 25, "ahead_50": 50, "ahead_100": 100}
TASKS = (*AHEAD, "any")
_BUDGET = {**{task: 2 * steps for task, steps in AHEAD.items()}, "any": 200}
# A goal that is solved already, or that cannot be held for so many steps (a disc at full speed
# pushes on), is drawn again, this often at most. Measured on PushT with its weak policy: 1 goal in
# 20 cannot be held.
_DRAWS = 10
_HOLD_STEPS = 10
# Seeds of "any" goals: beside those of recordings (48 bits) and of manifests (53 bits).
_ANY_SEEDS = 1 << 53


class GymGoalWorld(GymWorld):
    """A Gymnasium environment with goal tasks.

    Args:
        env_id: as in ``GymWorld``.
        ground: the rules of this environment.
        image_size: H = W of the pictures, pixels.
        sensors: of rgb and proprio.
        env_settings: keyword arguments of the environment, over those of the rules.
        lead_steps: a start, and an ``any`` goal, lies at most this many steps of the collection
            policy after the environment's reset, and at least half as many; 0 for the reset itself.
        task: the default task.
        quick_pictures: cheaper pictures from MuJoCo: no multisampling, and smaller shadow maps
            (reacher) or no shadows (cube).
        textured: the ground, where it has one colour, gets a strong pattern (``texture.py``).

    Raises:
        ConfigError: no such environment, task or sensor, or lead_steps below zero.
    """

    _most_draws = _DRAWS

    def __init__(
        self,
        env_id: str,
        ground: Ground,
        image_size: int = 64,
        sensors: tuple[str, ...] = ("rgb",),
        env_settings: Mapping[str, Any] | None = None,
        lead_steps: int = 50,
        task: str = TASKS[0],
        quick_pictures: bool = False,
        textured: bool = False,
    ) -> None:
        if task not in TASKS:
            raise unknown_name(f"task of gym:{env_id}", task, TASKS)
        if lead_steps < 0:
            raise ConfigError(f"gym:{env_id}: lead_steps is 0 or more, got {lead_steps}.")
        super().__init__(env_id, image_size, sensors, {**ground.settings, **(env_settings or {})})
        self._remake = lambda: GymGoalWorld(
            env_id,
            ground,
            image_size,
            sensors,
            env_settings,
            lead_steps,
            task,
            quick_pictures,
            textured,
        )
        self._ground, self._lead, self._quick = ground, lead_steps, quick_pictures
        self._textured = textured
        self._spec = _with_tasks(self._spec, ground, task, lead_steps)
        self._twin: GymGoalWorld | None = None
        self._taken: list[np.ndarray] = []
        self._wander: Any = None

    def truth(self) -> Mapping[str, np.ndarray]:
        """Return the environment's state by the names of its rules."""
        self._check_started()
        return self._ground.truth(self._env)

    def draw_goal(self, task: str, rng: np.random.Generator) -> Goal:
        """Draw a goal in the twin; the truth of one ``ahead`` holds the actions that lead there.

        A goal that the present state solves, or where the twin cannot stay, is drawn again, up to
        ten times in all; a manifest leaves out what is still solved then.

        Raises:
            ConfigError: an unknown task.
        """
        if task not in TASKS:
            raise unknown_name(f"task of {self._spec.name}", task, TASKS)
        self._check_started()
        twin, draw = self._other(), self._go_anywhere if task == "any" else self._go_ahead
        for left in reversed(range(self._most_draws)):
            raw, way = draw(task, rng)
            goal = Goal(task, Observation({}), {**twin.truth(), **way})
            solved = self.distance(goal) <= self._spec.success_distance
            if solved and left:
                continue
            goal = replace(goal, observation=twin._observe(raw))
            if not left or task == "any" or twin._holds(goal, rng):
                return goal
        raise AssertionError("the last draw returns")

    def distance(self, goal: Goal) -> float:
        """Return the distance from the goal by the environment's own rule of success."""
        return self._ground.gap(self.truth(), goal.truth)

    def expert(self, goal: Goal | None, rng: np.random.Generator) -> Float64[np.ndarray, " A"]:
        """Return the action that led to the goal; after it, or without one, the best known action.

        Right for ``ahead`` goals if every step since the draw was the expert's. Without a goal it
        is the collection policy's.
        """
        self._check_started()
        if goal is None:
            return self.explore(rng, None)[0]
        actions = goal.truth.get("ahead_actions", ())
        step = len(self._taken) - int(goal.truth.get("drawn_at", np.zeros(1))[0])
        if 0 <= step < len(actions):
            return actions[step].astype(np.float64)
        return self._in_bounds(self._ground.towards(self._env, goal.truth, rng))

    def explore(
        self, rng: np.random.Generator, state: Any
    ) -> tuple[Float64[np.ndarray, " A"], Any]:
        """Return an action of the collection policy and the policy's next state."""
        self._check_started()
        action, state = self._ground.explore(self._env, rng, state)
        return self._in_bounds(action), state

    def close(self) -> None:
        """Close the environment and its twin; a second call does nothing."""
        super().close()
        if self._twin is not None:
            self._twin.close()

    def _make(self, env_id: str, settings: dict[str, Any]) -> Any:
        # Those of dm_control render, but do not say so.
        return make_env(env_id, settings)

    def _begin(self, seed: int) -> Any:
        raw = super()._begin(seed)
        if self._quick:
            self._ground.quicken(self._env)
        rng, self._wander = generator("gym_goals.lead", int(seed)), None
        for _ in range(int(rng.integers((self._lead + 1) // 2, self._lead + 1))):
            action, self._wander = self.explore(rng, self._wander)
            raw = super()._advance(action)
            if self.ended:
                raise WorldError(
                    f"{self._spec.name}: the episode ends within lead_steps ({self._lead}); take "
                    "fewer."
                )
        self._taken = []
        return raw

    def _rendered(self) -> np.ndarray:
        frame = super()._rendered()
        return with_texture(frame) if self._textured else frame

    def _reset_options(self) -> dict[str, Any] | None:
        return self._ground.begin(self._env, generator("gym_goals.scene", self._seed)) or None

    def _advance(self, action: Any) -> Any:
        raw = super()._advance(action)
        self._taken.append(np.array(action))
        return raw

    def _is_over(self, terminated: bool, truncated: bool) -> bool:
        most = self._ground.most_steps
        return truncated or (most is not None and (self._steps or 0) >= most)

    def _other(self) -> GymGoalWorld:
        self._twin = self._twin or self._remake()
        return self._twin

    def _go_anywhere(self, task: str, rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
        """Bring the twin to another start; return what it gives there, and no way."""
        return self._other()._begin(_ANY_SEEDS | int(rng.integers(_ANY_SEEDS))), {}

    def _go_ahead(self, task: str, rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
        """Bring the twin some steps ahead of here; return what it gives there, and the way."""
        twin, actions = self._other(), []
        raw = twin._begin(self._seed)
        for action in self._taken:
            raw = twin._advance(action)
        wander = None if self._taken else twin._wander
        for left in reversed(range(AHEAD[task])):
            action, wander = twin._on_the_way(rng, wander, left)
            if twin.ended:
                break
            actions.append(action.astype(np.float32))
            raw = twin._advance(actions[-1])
        return raw, {
            "ahead_actions": np.array(actions, np.float32).reshape(-1, len(self._spec.bounds.low)),
            "drawn_at": np.array([len(self._taken)]),
        }

    def _on_the_way(
        self, rng: np.random.Generator, state: Any, left: int
    ) -> tuple[Float64[np.ndarray, " A"], Any]:
        """Return an action that leads to a goal ``left + 1`` steps ahead, as ``explore`` does."""
        return self.explore(rng, state)

    def _holds(self, goal: Goal, rng: np.random.Generator) -> bool:
        """Tell whether the goal, where this world is now, is still reached some steps later."""
        for _ in range(self._hold_steps(goal)):
            if self.ended:
                break
            self._advance(self.expert(goal, rng))
        return self.distance(goal) <= self._spec.success_distance

    def _hold_steps(self, goal: Goal) -> int:
        """Return for how many steps a goal must be held."""
        return _HOLD_STEPS

    def _in_bounds(self, action: np.ndarray) -> Float64[np.ndarray, " A"]:
        bounds = self._spec.bounds
        return np.clip(np.asarray(action, np.float64), bounds.low, bounds.high)

    def _check_started(self) -> None:
        if self._steps is None:
            raise WorldError(f"{self._spec.name}: no episode is running; call reset(seed) first.")


def _with_tasks(spec: WorldSpec, ground: Ground, task: str, lead_steps: int) -> WorldSpec:
    return replace(
        spec,
        step_s=ground.step_s or spec.step_s,
        tasks=(task, *(name for name in TASKS if name != task)),
        budget=_BUDGET[task],
        success_distance=ground.success_distance,
        distance_unit=ground.distance_unit,
        units={**spec.units, **ground.units},
        extra={
            "budget": _BUDGET,
            "success_distance": dict.fromkeys(TASKS, ground.success_distance),
            "reachable": {**dict.fromkeys(AHEAD, True), "any": ground.any_is_reachable or None},
            "collection": ground.collection,
            "lead_steps": lead_steps,
        },
    )
