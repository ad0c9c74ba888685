"""Any Gymnasium environment that renders, as a world: pictures and actions.

Goals are in ``goal_world.py`` and ``any_goals.py``.

Discrete actions become one number per choice in 0..1, of which the largest is taken. When an
environment ends its episode, ``ended`` is True and a further ``step`` is refused.

An environment, or a wrapper around it, that gives places by name in ``info["truth"]`` has them
recorded as truth: for probes and judges, hidden from training. ``metadata["truth_units"]`` may name
the unit and the frame of each.

Axes: H W image, A action, Q proprioception.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import cv2
import gymnasium
import numpy as np
from jaxtyping import Float32, Float64

from armillary.core.errors import (
    ArmillaryError,
    ConfigError,
    MissingExtraError,
    WorldError,
    unknown_name,
)
from armillary.core.rng import key
from armillary.core.values import ActionBounds, Goal, Observation, StreamKind, WorldSpec
from armillary.worlds.actions import validate_action
from armillary.worlds.gl import import_mujoco

_SENSORS: dict[str, StreamKind] = {"rgb": "rgb", "proprio": "proprio"}
_BUDGET = 200
_DEFAULT_STEP_S = 0.05


class GymWorld:
    """A Gymnasium environment as a world.

    Args:
        env_id: ``"Env-v0"``, or ``"module:Env-v0"`` where a module must be imported first.
        image_size: H = W of the pictures, pixels.
        sensors: of rgb and proprio (the environment's own observation in one row, if it is a Box
            or a Dict of Boxes, of floats).
        env_settings: keyword arguments of the environment.

    Attributes:
        discrete: whether an action is a choice: the largest of its numbers is taken.
        ended: whether the environment has ended the episode.

    Raises:
        ConfigError: no such environment, it does not render, its actions are whole numbers or
            have no bounds, or ``truth_units`` have another form.
    """

    def __init__(
        self,
        env_id: str,
        image_size: int = 64,
        sensors: tuple[str, ...] = ("rgb",),
        env_settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._env = self._make(env_id, dict(env_settings or {}))
        self._size = image_size
        self.discrete = isinstance(self._env.action_space, gymnasium.spaces.Discrete)
        _check_sensors(env_id, sensors, self._env.observation_space)
        fps = self._env.metadata.get("render_fps")
        self._spec = WorldSpec(
            name=f"gym:{env_id}",
            bounds=action_bounds(env_id, self._env.action_space),
            step_s=1 / fps if fps else _DEFAULT_STEP_S,
            tasks=(),
            budget=_BUDGET,
            success_distance=0.0,
            distance_unit="",
            sensors={name: _SENSORS[name] for name in sensors},
            units=_units(env_id, self._env.metadata.get("truth_units", {})),
        )
        self._truth: dict[str, np.ndarray] = {}
        self._steps: int | None = None
        self._seed = 0
        self.ended = False

    @property
    def spec(self) -> WorldSpec:
        """What this world promises."""
        return self._spec

    def reset(self, seed: int) -> Observation:
        """Start an episode; Gymnasium takes 31 bits of seed."""
        return self._observe(self._begin(seed))

    def step(self, action: Any) -> Observation:
        """Apply one action [A].

        Raises:
            ShapeError: wrong width, not finite, or out of bounds.
            WorldError: the environment raised, or the episode was over.
        """
        return self._observe(self._advance(action))

    def advance(self, action: Any) -> None:
        """Apply one action [A] without a picture, which is most of a step's time.

        Raises:
            ShapeError: as ``step``.
            WorldError: as ``step``.
        """
        self._advance(action)

    def truth(self) -> Mapping[str, np.ndarray]:
        """Return what the environment gave as ``info["truth"]``; nothing where it gave none."""
        return {name: values.copy() for name, values in self._truth.items()}

    def draw_goal(self, task: str, rng: np.random.Generator) -> Goal:
        """Refuse: there are no goal tasks."""
        raise self._no_tasks()

    def distance(self, goal: Goal) -> float:
        """Refuse: there are no goal tasks."""
        raise self._no_tasks()

    def expert(self, goal: Goal | None, rng: np.random.Generator) -> Float64[np.ndarray, " A"]:
        """Return a random action."""
        if goal is not None:
            raise self._no_tasks()
        return rng.uniform(self._spec.bounds.low, self._spec.bounds.high)

    def close(self) -> None:
        """Close the environment, whatever it raises then; a second call does nothing."""
        if self._env is not None:
            _close(self._env)
            self._env = None
        self._steps = None

    def _make(self, env_id: str, settings: dict[str, Any]) -> Any:
        return checked_rendering(env_id, make_env(env_id, settings))

    def _begin(self, seed: int) -> Any:
        """Start an episode without a picture; return the environment's own observation."""
        self._seed, self._steps, self.ended = int(seed), 0, False
        options, own = self._reset_options(), key("gym.reset", int(seed)) >> 97
        # A wrapper may draw before it passes the seed on, as Meta-World's choice of a task does.
        with contextlib.suppress(AttributeError):  # an environment may have no chance to set
            self._env.unwrapped.np_random = gymnasium.utils.seeding.np_random(own)[0]
        raw, info = self._call(self._env.reset, seed=own, options=options)
        self._truth = self._read_truth(info)
        return raw

    def _reset_options(self) -> dict[str, Any] | None:
        return None

    def _advance(self, action: Any) -> Any:
        """Step without a picture; return the environment's own observation."""
        if self._steps is None or self.ended:
            raise WorldError(f"{self._spec.name}: no episode is running; call reset(seed) first.")
        raw, _, terminated, truncated, info = self._call(self._env.step, self._native(action))
        self._steps += 1
        truth = self._read_truth(info)
        if _shapes(truth) != _shapes(self._truth):
            raise WorldError(
                f"{self._spec.name}: info['truth'] holds {_shapes(truth)} after step {self._steps} "
                f"and {_shapes(self._truth)} before; give the same names and shapes at every step "
                "and at reset, NaN for what is not there."
            )
        self._truth = truth
        self.ended = self._is_over(bool(terminated), bool(truncated))
        return raw

    def _is_over(self, terminated: bool, truncated: bool) -> bool:
        return terminated or truncated

    def _native(self, action: Any) -> Any:
        values = validate_action(self._spec, action)
        space = self._env.action_space
        if self.discrete:
            return int(np.argmax(values)) + int(space.start)
        return values.reshape(space.shape).astype(space.dtype)

    def _observe(self, raw: Any) -> Observation:
        streams: dict[str, np.ndarray] = {}
        if "rgb" in self._spec.sensors:
            streams["rgb"] = self._picture()
        if "proprio" in self._spec.sensors:
            streams["proprio"] = flat_observation(self._env.observation_space, raw)
        return Observation(streams)

    def _read_truth(self, info: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return ``info["truth"]`` as new arrays, flat."""
        given = info.get("truth", {})
        try:
            truth = {str(n): np.array(values, np.float32).ravel() for n, values in given.items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise WorldError(
                f"{self._spec.name}: info['truth'] is no mapping of names to numbers ({error}); "
                "write for example {'ball_xy': [0.1, 0.2]}."
            ) from error
        taken = sorted(truth.keys() & self._spec.sensors.keys())
        if taken:
            raise WorldError(
                f"{self._spec.name}: info['truth'] holds {taken[0]!r}, which is a sensor's name; "
                "choose another."
            )
        return truth

    def _rendered(self) -> np.ndarray:
        """Return a picture [H W 3] in the environment's own size."""
        frame = np.asarray(self._call(self._env.render))
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise WorldError(
                f"{self._spec.name}: render() gives {frame.dtype} {frame.shape}; "
                "a uint8 picture (H, W, 3) is needed."
            )
        return frame

    def _picture(self) -> np.ndarray:
        frame = self._rendered()
        if frame.shape[:2] == (self._size, self._size):
            return frame.copy()
        shrinks = min(frame.shape[:2]) >= self._size
        way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return cv2.resize(frame, (self._size, self._size), interpolation=way)

    def _call(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the environment; whatever it raises becomes one sentence."""
        try:
            return method(*args, **kwargs)
        except ArmillaryError:
            raise
        except Exception as error:
            raise WorldError(
                f"{self._spec.name}: {method.__name__} raised {type(error).__name__} "
                f"after step {self._steps} of the episode of seed {self._seed}: {error}."
            ) from error

    def _no_tasks(self) -> ConfigError:
        return ConfigError(f"{self._spec.name}: this environment has no goal tasks.")


def make_env(env_id: str, settings: dict[str, Any]) -> Any:
    """Make a Gymnasium environment that is asked to render pictures.

    Raises:
        ConfigError: Gymnasium could not make it.
    """
    with contextlib.suppress(MissingExtraError):
        import_mujoco()  # so that it draws off screen if this environment draws with it
    try:
        return gymnasium.make(env_id, render_mode="rgb_array", disable_env_checker=True, **settings)
    except Exception as error:  # unknown id, missing module, wrong setting: all of it the user's
        raise ConfigError(
            f"gym:{env_id}: Gymnasium could not make it ({error}); check the id, that its package "
            "is installed, and write gym:module:Env-v0 where a module registers it."
        ) from error


def checked_rendering(env_id: str, env: Any) -> Any:
    """Return an environment that gives pictures.

    Raises:
        ConfigError: it has no render mode for them; it is closed.
    """
    if env.render_mode != "rgb_array":
        _close(env)
        raise ConfigError(f"gym:{env_id}: has no render mode 'rgb_array', so it gives no pictures.")
    return env


def _units(env_id: str, given: Any) -> dict[str, tuple[str, str]]:
    """Return units and frames by name, as the environment's metadata say."""
    pairs = given.values() if isinstance(given, Mapping) else [None]
    if not all(isinstance(p, tuple | list) and list(map(type, p)) == [str, str] for p in pairs):
        raise ConfigError(
            f"gym:{env_id}: metadata['truth_units'] names a unit and a frame for each truth, such "
            f"as {{'ball_xy': ('m', 'world')}}, got {given!r}."
        )
    return {str(name): (unit, frame) for name, (unit, frame) in given.items()}


def _shapes(truth: Mapping[str, np.ndarray]) -> dict[str, int]:
    return {name: len(values) for name, values in truth.items()}


def _close(env: Any) -> None:
    # Many environments raise where they were never reset, or lost their window; what was done
    # with them before is whole, and must not end in an error.
    with contextlib.suppress(Exception):
        env.close()


def action_bounds(env_id: str, space: Any) -> ActionBounds:
    """Return the box of a space of actions: of choices, a number in 0..1 for each.

    Raises:
        ConfigError: another kind of space, whole numbers, or no finite bounds.
    """
    if isinstance(space, gymnasium.spaces.Discrete):
        return ActionBounds(np.zeros(int(space.n)), np.ones(int(space.n)))
    if not isinstance(space, gymnasium.spaces.Box):
        raise ConfigError(
            f"gym:{env_id}: its actions are {type(space).__name__}; Box and Discrete are supported."
        )
    if not np.issubdtype(space.dtype, np.floating):
        raise ConfigError(
            f"gym:{env_id}: its actions are a Box of {space.dtype}; Box of floats and Discrete are "
            "supported."
        )
    low, high = space.low.ravel().astype(np.float64), space.high.ravel().astype(np.float64)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ConfigError(
            f"gym:{env_id}: its actions have no finite bounds; wrap it with "
            "gymnasium.wrappers.RescaleAction or ClipAction and register that."
        )
    return ActionBounds(low, high)


def _check_sensors(env_id: str, sensors: tuple[str, ...], space: Any) -> None:
    for name in sensors:
        if name not in _SENSORS:
            raise unknown_name(f"sensor of gym:{env_id}", name, _SENSORS)
    if "proprio" in sensors and not is_flat(space):
        raise ConfigError(
            f"gym:{env_id}: its observation is {space}; proprio needs a Box, or a Dict of Boxes, "
            "of floats."
        )


def is_flat(space: Any) -> bool:
    """Tell whether observations are numbers that can stand in one row."""
    if isinstance(space, gymnasium.spaces.Dict):
        return len(space.spaces) > 0 and all(map(is_flat, space.spaces.values()))
    return isinstance(space, gymnasium.spaces.Box) and np.issubdtype(space.dtype, np.floating)


def flat_observation(space: Any, raw: Any) -> Float32[np.ndarray, " Q"]:
    """Return an observation in one row, keys in the order of the space.

    Args:
        space: of observations, for which ``is_flat`` holds.
        raw: an observation.

    It is a copy: many environments write each state into the array that they gave before.
    """
    if isinstance(space, gymnasium.spaces.Dict):
        inner = space.spaces.items()
        return np.concatenate([flat_observation(one, raw[name]) for name, one in inner])
    return np.array(raw, np.float32).ravel()
