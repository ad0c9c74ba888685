"""Rules of stable-worldmodel's flat environments: two rooms, and pushing a T.

Success is what the environments compare themselves, and so what stable-worldmodel's evaluation
counts: read in stable-worldmodel 0.1.1, ``envs/two_room/env.py`` (``step``) and
``envs/pusht/env.py`` (``eval_state``).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np

from armillary.worlds.gym.pusher import REACH_PX, Stroke, push

# As in the project's own collection of this data set (scripts/data/collect_tworooms.py).
_TWO_ROOM_NOISE = 3.0
_TWO_ROOM_PX = 16.0
_PUSH_T_PX, _PUSH_T_RAD = 20.0, np.pi / 9


class TwoRoomGround:
    """``swm/TwoRoom-v1``: an agent and a wall with a door, 224 x 224 px, 5 px a step.

    Collection: the package's ``ExpertPolicy`` with the noise of its own data set, towards targets
    that are drawn uniformly and drawn anew when reached. Without noise it is the expert.
    """

    settings: Mapping[str, Any] = {}
    collection = f"ExpertPolicy(action_noise={_TWO_ROOM_NOISE}), targets drawn anew when reached"
    success_distance = _TWO_ROOM_PX
    distance_unit = "px"
    units: Mapping[str, tuple[str, str]] = {"agent_xy": ("px", "picture of 224")}
    step_s: float | None = None
    any_is_reachable = True
    most_steps: int | None = None

    def begin(self, env: Any, rng: np.random.Generator) -> dict[str, Any]:
        """Return nothing: the environment draws everything from its seed."""
        return {}

    def truth(self, env: Any) -> dict[str, np.ndarray]:
        """Return ``agent_xy`` [2], pixels."""
        return {"agent_xy": env.unwrapped.agent_position.numpy().astype(np.float64)}

    def explore(
        self, env: Any, rng: np.random.Generator, state: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a noisy action towards the target [2] (the policy's state), and the target."""
        here = self.truth(env)["agent_xy"]
        if state is None or np.linalg.norm(here - state) < _TWO_ROOM_PX:
            space = env.unwrapped.variation_space["target"]["position"]
            state = rng.uniform(space.low, space.high)
        target = np.asarray(state)
        return self._act(env, target, rng, _TWO_ROOM_NOISE), target

    def quicken(self, env: Any) -> None:
        """Do nothing: 2 ms a picture is quick."""

    def gap(self, now: Mapping[str, np.ndarray], goal: Mapping[str, np.ndarray]) -> float:
        """Return how far apart the agents are, pixels."""
        return float(np.linalg.norm(now["agent_xy"] - goal["agent_xy"]))

    def towards(
        self, env: Any, goal: Mapping[str, np.ndarray], rng: np.random.Generator
    ) -> np.ndarray:
        """Return the package's expert action, without noise."""
        return self._act(env, goal["agent_xy"], rng, 0.0)

    def _act(
        self, env: Any, target: np.ndarray, rng: np.random.Generator, noise: float
    ) -> np.ndarray:
        module = import_module("stable_worldmodel.envs.two_room.expert_policy")
        policy = module.ExpertPolicy(action_noise=noise)
        policy.env, policy.rng = _many(env), rng
        here = self.truth(env)["agent_xy"]
        return policy.get_action({"state": here[None], "goal_state": target[None]})[0]


class PushTGround:
    """``swm/PushT-v1``: a disc pushes a T on a plane of 512 x 512 px.

    Args:
        strokes: the collection policy: armillary's scripted pusher (``pusher.py``), or the
            package's ``WeakPolicy``, random moves that stay around the T.
    """

    settings: Mapping[str, Any] = {}
    success_distance = 1.0
    distance_unit = "of the limit"
    units: Mapping[str, tuple[str, str]] = {
        "agent_xy": ("px", "plane of 512"),
        "block_xy": ("px", "plane of 512"),
        "block_angle": ("rad", "plane of 512"),
    }
    step_s: float | None = None
    any_is_reachable = False
    most_steps: int | None = None

    def __init__(self, strokes: bool = False) -> None:
        self._strokes = strokes
        self.collection = "scripted strokes" if strokes else "WeakPolicy(dist_constraint=100)"

    def begin(self, env: Any, rng: np.random.Generator) -> dict[str, Any]:
        """Return nothing: the environment draws everything from its seed."""
        return {}

    def truth(self, env: Any) -> dict[str, np.ndarray]:
        """Return ``agent_xy`` [2] and ``block_xy`` [2] in px, ``block_angle`` [1] in 0..2 pi."""
        body, block = env.unwrapped.agent, env.unwrapped.block
        return {
            "agent_xy": np.array(body.position, np.float64),
            "block_xy": np.array(block.position, np.float64),
            "block_angle": np.array([block.angle % (2 * np.pi)], np.float64),
        }

    def explore(
        self, env: Any, rng: np.random.Generator, state: Stroke | None
    ) -> tuple[np.ndarray, Stroke | None]:
        """Return an action, and the stroke that the pusher is at; the weak policy has no state."""
        if self._strokes:
            block = env.unwrapped.block
            tee = np.array(block.local_to_world(block.center_of_gravity), np.float64)
            return push(self.truth(env)["agent_xy"], tee, rng, state)
        policy = import_module("stable_worldmodel.envs.pusht.expert_policy").WeakPolicy()
        policy.env, policy.rng = _many(env), rng
        return policy.get_action({})[0], None

    def quicken(self, env: Any) -> None:
        """Do nothing: 2 ms a picture is quick."""

    def gap(self, now: Mapping[str, np.ndarray], goal: Mapping[str, np.ndarray]) -> float:
        """Return the worse of two errors, in parts of what is allowed.

        One is the length of the error of both places together, [4], against 20 px; the other the
        error of the T's angle against pi/9.
        """
        agent, block = (now[name] - goal[name] for name in ("agent_xy", "block_xy"))
        px = float(np.linalg.norm([*agent, *block]))
        turn = abs(float(now["block_angle"][0] - goal["block_angle"][0]))
        rad = min(turn, 2 * np.pi - turn)
        return max(px / _PUSH_T_PX, rad / _PUSH_T_RAD)

    def towards(
        self, env: Any, goal: Mapping[str, np.ndarray], rng: np.random.Generator
    ) -> np.ndarray:
        """Return the move to the disc's place in the goal.

        It stays there and leaves the T alone, so it solves ``any`` by chance only: nobody here
        knows how to push the T anywhere, and such goals are of unknown reachability.
        """
        return (goal["agent_xy"] - self.truth(env)["agent_xy"]) / REACH_PX


def _many(env: Any) -> SimpleNamespace:
    """Return one environment as the package's policies know them: a list of one."""
    shape = (1, *env.action_space.shape)
    return SimpleNamespace(envs=[env], num_envs=1, action_space=SimpleNamespace(shape=shape))
