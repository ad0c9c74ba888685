"""Rules of OGBench's point maze, as stable-worldmodel has it.

Success is what the environment compares itself: read in ogbench 1.2, ``locomaze/maze.py``. Its
reset draws from numpy's global chance, so here the start is drawn from the seed and set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from armillary.worlds.gl import import_mujoco
from armillary.worlds.gym.any_goals import AnyGround

_REACHED_M, _STEP_M = 1.0, 0.2
_START_NOISE = 0.25  # of a cell, as the environment's own
# From the middle of a cell the straight way to the middle of the next one is free.
_MIDDLE_M = 0.5


class MazeGround(AnyGround):
    """``swm/OGBMaze-v0``: a point among walls, at most 0.2 m a step and axis.

    A cell is 4 m wide. The longest way is 14 cells in the medium maze, which is the default, and 19
    in the large one (``env_settings``, ``maze_type``). The expert takes 20 steps a cell.

    Collection: pink noise from a start that is uniform over the free cells, so that nothing in a
    recording knows the way through the maze.
    """

    # its pictures of 128 px are drawn from above and averaged
    settings: Mapping[str, Any] = {"maze_type": "medium", "width": 128, "height": 128}
    units: Mapping[str, tuple[str, str]] = {"agent_xy": ("m", "maze")}
    any_is_reachable = True

    def __init__(self) -> None:
        super().__init__(_REACHED_M)
        self.distance_unit = "m"
        import_mujoco()

    def begin(self, env: Any, rng: np.random.Generator) -> dict[str, Any]:
        """Return a start, and a target that is the same in all episodes: it is in the picture."""
        maze = env.unwrapped
        free = np.argwhere(maze.maze_map == 0)
        cell = tuple(map(int, rng.choice(free)))
        noise = rng.uniform(-_START_NOISE, _START_NOISE, 2) * maze._maze_unit
        where = np.array(maze.ij_to_xy(cell), np.float64) + noise
        info = {"init_ij": cell, "goal_ij": tuple(map(int, free[0]))}
        return {"task_info": info, "state": np.concatenate([where, np.zeros(2)])}

    def truth(self, env: Any) -> dict[str, np.ndarray]:
        """Return ``agent_xy`` [2], m."""
        return {"agent_xy": np.array(env.unwrapped.data.qpos, np.float64)}

    def gap(self, now: Mapping[str, np.ndarray], goal: Mapping[str, np.ndarray]) -> float:
        """Return how far apart the points are, m; walls do not count."""
        return float(np.linalg.norm(now["agent_xy"] - goal["agent_xy"]))

    def towards(
        self, env: Any, goal: Mapping[str, np.ndarray], rng: np.random.Generator
    ) -> np.ndarray:
        """Return the action to the next cell of the shortest way, or to the goal in its cell."""
        maze, here, there = env.unwrapped, self.truth(env)["agent_xy"], goal["agent_xy"]
        cell, last = maze.xy_to_ij(here), maze.xy_to_ij(there)
        towards = there
        if cell != last:
            middle = np.array(maze.ij_to_xy(cell), np.float64)
            after, _ = maze.get_oracle_subgoal(here, there)
            # to the middle of this cell first, unless already on the line to the next
            along = (after - middle) / np.linalg.norm(after - middle)
            aside = here - middle - along * ((here - middle) @ along)
            towards = after if np.linalg.norm(aside) < _MIDDLE_M else middle
        return np.clip((towards - here) / _STEP_M, -1.0, 1.0)
