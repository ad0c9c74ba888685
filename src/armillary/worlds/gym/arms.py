"""Rules of stable-worldmodel's arms: dm_control's reacher, and OGBench's cube.

Success is what the package compares itself: read in stable-worldmodel 0.1.1,
``envs/dmcontrol/custom_tasks/reacher.py`` and ``envs/ogbench/cube_env.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from armillary.worlds.gl import import_mujoco

_REACHER_RAD, _CUBE_M = 0.05, 0.04
# Gains in parts of full torque per rad and per rad/s, for shoulder and elbow: found by trial, so
# that a reach takes about a second, as with the package's own (trained) policy.
_STIFFNESS, _DAMPING = np.array([2.5, 0.5]), np.array([0.3, 0.02])
_REACHER_NOISE, _REACH_STEPS = 0.2, 50
_CUBE_NOISE = 0.1
_CUBE_STEPS = 200
# Above the table's 0.02 m, a cube is being held.
_HELD_M = 0.03
_GRASPED_M, _CARRY_GAIN = 0.05, 5.0


@dataclass(frozen=True)
class Reach:
    """What the reacher's collection policy is doing.

    Attributes:
        qpos: joint angles [2] that it goes for, rad.
        noise: torque [2] on top; it changes slowly.
        steps_left: after which other angles are drawn.
    """

    qpos: np.ndarray
    noise: np.ndarray
    steps_left: int


class ReacherGround:
    """``swm/ReacherDMControl-v0``: two links, torques.

    Collection: the package's own policies are trained networks that it does not ship, so a
    spring and damper moves the joints towards angles drawn as the environment's reset draws them,
    with slow noise.
    """

    settings: Mapping[str, Any] = {}
    collection = "joint spring and damper with slow noise towards uniformly drawn angles"
    success_distance = _REACHER_RAD
    distance_unit = "rad"
    units: Mapping[str, tuple[str, str]] = {"qpos": ("rad", "joint"), "qvel": ("rad/s", "joint")}
    step_s: float | None = 0.04
    any_is_reachable = True
    # dm_control ends after 20 s, and would begin anew on the next step.
    most_steps: int | None = 500

    def __init__(self) -> None:
        import_mujoco()

    def begin(self, env: Any, rng: np.random.Generator) -> dict[str, Any]:
        """Return nothing: the environment draws everything from its seed."""
        return {}

    def truth(self, env: Any) -> dict[str, np.ndarray]:
        """Return ``qpos`` [2], rad (the shoulder's counts turns), and ``qvel`` [2], rad/s."""
        data = env.unwrapped.dmc_env.physics.data
        return {"qpos": data.qpos.copy(), "qvel": data.qvel.copy()}

    def explore(
        self, env: Any, rng: np.random.Generator, state: Reach | None
    ) -> tuple[np.ndarray, Reach]:
        """Return torques towards some angles."""
        now = self.truth(env)
        if state is None or state.steps_left <= 0:
            limit = env.unwrapped.dmc_env.physics.model.jnt_range[1, 1]
            qpos = rng.uniform([-np.pi, -limit], [np.pi, limit])
            state = Reach(qpos, np.zeros(2), int(rng.integers(_REACH_STEPS // 2, _REACH_STEPS + 1)))
        noise = 0.8 * state.noise + _REACHER_NOISE * rng.normal(size=2)
        state = replace(state, noise=noise, steps_left=state.steps_left - 1)
        return _spring(now, state.qpos) + noise, state

    def quicken(self, env: Any) -> None:
        """Shrink the shadow map and leave multisampling out."""
        _quicken(env.unwrapped.dmc_env.physics.model)

    def gap(self, now: Mapping[str, np.ndarray], goal: Mapping[str, np.ndarray]) -> float:
        """Return the larger error of the two joints, rad; a full turn counts as far."""
        return float(np.abs(now["qpos"] - goal["qpos"]).max())

    def towards(
        self, env: Any, goal: Mapping[str, np.ndarray], rng: np.random.Generator
    ) -> np.ndarray:
        """Return the torques of the spring and damper, without noise."""
        return _spring(self.truth(env), goal["qpos"])


def _spring(now: Mapping[str, np.ndarray], qpos: np.ndarray) -> np.ndarray:
    return np.clip(_STIFFNESS * (qpos - now["qpos"]), -1, 1) - _DAMPING * now["qvel"]


@dataclass(frozen=True)
class Carry:
    """What the cube's collection policy is doing.

    Attributes:
        target_xyz: where the cube shall go, metres.
        target_yaw: and how it shall lie, rad.
        rest_xyz: where the gripper goes after that, metres.
        rest_yaw: and how it is turned, rad.
        noise: size of the action's noise, as the package draws it once per episode.
        steps_left: after which another task is drawn.
    """

    target_xyz: np.ndarray
    target_yaw: float
    rest_xyz: np.ndarray
    rest_yaw: float
    noise: float
    steps_left: int


class CubeGround:
    """``swm/OGBCube-v0``: an arm with a gripper picks up one cube and puts it down.

    Collection: OGBench's ``CubeMarkovOracle`` with the noise of the package's ``ExpertPolicy``.
    When it is done, the next place is drawn, as in OGBench; the package goes for the same again.
    """

    settings: Mapping[str, Any] = {
        "env_type": "single",
        "multiview": False,
        "width": 224,
        "height": 224,
        "visualize_info": False,
        "terminate_at_goal": False,
        "mode": "data_collection",
    }
    collection = f"CubeMarkovOracle(min_norm=0.4), noise up to {_CUBE_NOISE}, places drawn anew"
    success_distance = _CUBE_M
    distance_unit = "m"
    units: Mapping[str, tuple[str, str]] = {
        "cube_xyz": ("m", "world"),
        "cube_yaw": ("rad", "world"),
        "gripper_xyz": ("m", "world"),
        "gripper_yaw": ("rad", "world"),
        "gripper_closing": ("", ""),
    }
    step_s: float | None = 0.05
    any_is_reachable = True
    most_steps: int | None = None

    def __init__(self) -> None:
        import_mujoco()

    def begin(self, env: Any, rng: np.random.Generator) -> dict[str, Any]:
        """Draw cube and places from ``rng``: the environment itself ignores its seed.

        It also takes every reset for a change of colours and compiles its model again, 0.2 s; since
        nothing here changes looks, only the first is let through.
        """
        raw = env.unwrapped
        if not raw._never_compiled:
            raw.mark_dirty = _ignore
        raw.np_random = rng
        spaces = raw.variation_space["cube"]
        names = ("start_position", "start_yaw", "goal_position", "goal_yaw")
        values = {f"cube.{n}": rng.uniform(spaces[n].low, spaces[n].high) for n in names}
        return {"variation": (), "variation_values": values}

    def truth(self, env: Any) -> dict[str, np.ndarray]:
        """Return places [3] in metres, yaws [1] in rad, and 0..1 for the gripper's closing [1]."""
        info = env.unwrapped.compute_ob_info()
        return {
            "cube_xyz": info["privileged/block_0_pos"],
            "cube_yaw": info["privileged/block_0_yaw"],
            "gripper_xyz": info["proprio/effector_pos"],
            "gripper_yaw": info["proprio/effector_yaw"],
            "gripper_closing": info["proprio/gripper_opening"],
        }

    def explore(
        self, env: Any, rng: np.random.Generator, state: Carry | None
    ) -> tuple[np.ndarray, Carry]:
        """Return a noisy action of the oracle for the present task."""
        state = state or _new_task(env, rng, float(rng.uniform(0, _CUBE_NOISE)))
        action, done = _oracle_action(env, state)
        noise = state.noise * np.array([1, 1, 1, 3, 10]) * rng.normal(size=5)
        done = done or state.steps_left <= 1
        after = _new_task(env, rng, state.noise) if done else state
        return action + noise, replace(after, steps_left=after.steps_left - 1)

    def quicken(self, env: Any) -> None:
        """Leave shadows and multisampling out: over 4 times as many pictures.

        The arm has 185,000 triangles, and a shadow draws them all once more. Pictures without
        shadows look flatter; whoever is compared sees the same.
        """
        _quicken(env.unwrapped.model)
        env.unwrapped.model.light_castshadow[:] = 0

    def gap(self, now: Mapping[str, np.ndarray], goal: Mapping[str, np.ndarray]) -> float:
        """Return how far the cube is from its place in the goal, metres; the arm does not count."""
        return float(np.linalg.norm(now["cube_xyz"] - goal["cube_xyz"]))

    def towards(
        self, env: Any, goal: Mapping[str, np.ndarray], rng: np.random.Generator
    ) -> np.ndarray:
        """Return OGBench's oracle action to the cube's place, without noise; there it stays.

        A cube in the air that belongs in the air is steered straight there: the oracle would open
        the gripper over its own small misalignment, or put the cube down and begin anew.
        """
        now = self.truth(env)
        place, cube = goal["cube_xyz"], now["cube_xyz"]
        grasped = np.linalg.norm(cube - now["gripper_xyz"]) < _GRASPED_M
        if grasped and min(cube[2], place[2]) > _HELD_M:
            return np.array([*_CARRY_GAIN * (place - cube), 0, 1])
        if self.gap(now, goal) <= _CUBE_M / 2:
            return np.array([0, 0, 0, 0, -1.0])
        rest = goal["gripper_xyz"]
        task = Carry(place, float(goal["cube_yaw"][0]), rest, float(goal["gripper_yaw"][0]), 0.0, 9)
        return _oracle_action(env, task)[0]


def _quicken(model: Any) -> None:
    model.vis.quality.shadowsize = 1024
    model.vis.quality.offsamples = 0


def _ignore() -> None:
    pass


def _new_task(env: Any, rng: np.random.Generator, noise: float) -> Carry:
    raw = env.unwrapped
    xy = rng.uniform(*raw._target_sampling_bounds)
    return Carry(
        target_xyz=np.array([*xy, 0.02]),
        target_yaw=float(rng.uniform(0, 2 * np.pi)),
        rest_xyz=rng.uniform(*raw._arm_sampling_bounds),
        rest_yaw=float(rng.uniform(-np.pi, np.pi)),
        noise=noise,
        steps_left=_CUBE_STEPS,
    )


def _oracle_action(env: Any, task: Carry) -> tuple[np.ndarray, bool]:
    """Return the oracle's action [5] for a task, and whether the task is done.

    The oracle's own ``reset`` draws from numpy's global generator, so its fields are set instead.
    """
    oracle = _oracle_class()(env=env, min_norm=0.4)
    oracle._done, oracle._step, oracle._max_step = False, 0, _CUBE_STEPS
    oracle._final_pos, oracle._final_yaw = task.rest_xyz, task.rest_yaw
    info = env.unwrapped.compute_ob_info()
    info["privileged/target_block"] = 0
    info["privileged/target_block_pos"] = task.target_xyz
    info["privileged/target_block_yaw"] = np.array([task.target_yaw])
    return oracle.select_action(None, info), oracle.done


@cache
def _oracle_class() -> Any:
    return import_module("ogbench.manipspace.oracles.markov.cube_markov").CubeMarkovOracle
