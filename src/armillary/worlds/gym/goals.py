"""Which world a Gymnasium id is: one with rules of its own, or any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_type_hints

from armillary.core.errors import ConfigError, unknown_name
from armillary.core.protocols import World
from armillary.core.settings import as_declared
from armillary.worlds.gym.any_goals import AnyGoalWorld
from armillary.worlds.gym.arms import CubeGround, ReacherGround
from armillary.worlds.gym.environment import GymWorld
from armillary.worlds.gym.flat import PushTGround, TwoRoomGround
from armillary.worlds.gym.goal_world import GymGoalWorld
from armillary.worlds.gym.ground import Ground
from armillary.worlds.gym.maze import MazeGround

# A closed table: which Gymnasium ids have rules of their own, and by which policies their
# recordings and goals may come about; the first is the usual.
GROUNDS: dict[str, dict[str, Callable[[], Ground]]] = {
    "swm/TwoRoom-v1": {"expert": TwoRoomGround},
    "swm/PushT-v1": {"weak": PushTGround, "strokes": partial(PushTGround, strokes=True)},
    "swm/ReacherDMControl-v0": {"spring": ReacherGround},
    "swm/OGBCube-v0": {"oracle": CubeGround},
    "swm/OGBMaze-v0": {"pink": MazeGround},
}


def gym_world(env_id: str, collection: str = "", **settings: Any) -> World:
    """Make a world of a Gymnasium id, by the rules of ``GROUNDS`` where it has some.

    Args:
        env_id: as in ``GymWorld``.
        collection: which of the environment's collection policies; empty for the usual.
        settings: of ``GymGoalWorld``, or of ``AnyGoalWorld`` where there are no rules.

    Raises:
        ConfigError: no such environment, collection or setting, or one that cannot be.
    """
    grounds = GROUNDS.get(env_id.rpartition(":")[2], {})
    if collection and collection not in grounds:
        raise unknown_name(f"collection of gym:{env_id}", collection, grounds)
    if not grounds:
        return AnyGoalWorld(env_id, **_settings(env_id, AnyGoalWorld, settings))
    ground = grounds[collection or next(iter(grounds))]
    return GymGoalWorld(env_id, ground(), **_settings(env_id, GymGoalWorld, settings))


def _settings(env_id: str, kind: type[GymWorld], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with their declared types."""
    declared = get_type_hints(kind.__init__)
    known = declared.keys() - {"env_id", "ground", "return"}
    for name in chosen:
        if name not in known:
            raise unknown_name(f"setting of gym:{env_id}", name, known)
    given = chosen.get("env_settings")
    if given is not None and not isinstance(given, Mapping):
        raise ConfigError(
            f"gym:{env_id}: env_settings takes the environment's keyword arguments by name, "
            f'such as {{"size": 5}}, got {given!r}.'
        )
    return as_declared(f"gym:{env_id}", declared, chosen)
