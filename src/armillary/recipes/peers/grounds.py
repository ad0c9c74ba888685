"""Grounds: the environments of the peers, and how armillary learns and acts in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from armillary.recipes.acting import NO_PLANNER

_SWM = "gym:stable_worldmodel:swm/"


@dataclass(frozen=True)
class Ground:
    """One environment of the peers.

    Attributes:
        world: its name for ``make_world``.
        iterations: of the peers' solver, as their authors set it here.
        settings: fields of ``PeersConfig`` that are not as usual here.
        acting: likewise, those that say how armillary acts and what it learns for it. They belong
            together: where another planner is asked for, none of them holds.
    """

    world: str
    iterations: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    acting: Mapping[str, Any] = field(default_factory=lambda: {"act": {"planner": "icem"}})


_CHEAP = {"quick_pictures": True}
_QUICK = {"record_settings": _CHEAP, "world_settings": _CHEAP}


def _followed(within: int, executed: int, share: float, **prior: Any) -> dict[str, Any]:
    """Return how armillary acts where its goal prior is followed.

    Args:
        within: model steps, at most, to the goals that it learns from.
        executed: world steps until the next look.
        share: of the seconds, for the prior.
        prior: other fields of ``PriorConfig`` that are not as usual.
    """
    return {
        "act": {"planner": NO_PLANNER, "prior": True, "executed": executed},
        "prior": {"goals.within": within, "components": 1, **prior},
        "prior_share": share,
        "equal_steps": 320,  # what a search takes in two_room
    }


# A torque decides within a fraction of half a second, and one picture does not show how fast the
# arm is. Found with true angles and model steps of five world steps (60 goals 25 steps ahead, at
# the end): goals up to 25 world steps ahead, eight components and a look at every model step 58 %;
# up to ten, one component and a look at every world step 98 %. A policy that is told how fast the
# arm moves repeats what it did: 38 %. Here ten world steps are five model steps.
_AT_ONCE = _followed(within=5, executed=1, share=0.3)
# A push lasts. Found with true places, noise of 4 px and model steps of five world steps (100 goals
# 25 steps ahead, at the end): eight components and a look at every model step 45 %, at every second
# world step 67 %; with one component 56 and 78 %. Goals up to 35 world steps ahead, 2 px, longer
# training: 87 %. Here a world step is a model step.
_PUSHING = _followed(within=35, executed=1, share=0.5, distance_every=4)
_SEARCHED = {
    "act": {
        "planner": "icem",
        "prior": True,
        "planner_settings": {"length": 5, "samples": 32, "iterations": 2, "elites": 6},
    },
    "prior_share": 0.2,
}
_PUSHER = {"collection": "strokes"}
_STROKES = {
    "record_settings": _PUSHER,
    "world_settings": _PUSHER,
    "recorded": 6000,
    "seconds": 1800.0,
}
_CUBE = {**_QUICK, "recorded": 500, "seconds": 450.0}  # a picture of it takes 30 ms
GROUNDS: dict[str, Ground] = {
    "two_room": Ground(f"{_SWM}TwoRoom-v1", 10, {"seconds": 300.0}, _SEARCHED),
    "push_t": Ground(f"{_SWM}PushT-v1", 30, _STROKES, _PUSHING),
    # recording and goals by the package's own policy, which moves at random
    "push_t_weak": Ground(f"{_SWM}PushT-v1", 30, {}, _SEARCHED),
    "reacher": Ground(f"{_SWM}ReacherDMControl-v0", 10, _QUICK, _AT_ONCE),
    "cube": Ground(f"{_SWM}OGBCube-v0", 10, _CUBE, _AT_ONCE),
}
