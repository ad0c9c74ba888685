"""Grounds: the environments of the peers, and how armillary learns and acts in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from armillary.recipes.acting import NO_PLANNER
from armillary.recipes.fine_view import UNSPREAD

_SWM = "gym:stable_worldmodel:swm/"


@dataclass(frozen=True)
class Ground:
    """One environment of the peers.

    Attributes:
        world: its name for ``make_world``.
        iterations: of the peers' solver, as their authors set it here.
        changes: of the recipe, dotted names to values.
        settings: fields of ``PeersConfig`` that are not as usual here.
        acting: likewise, those that say how armillary acts and what it learns for it. They belong
            together: where another planner is asked for, none of them holds.
        recipe: of armillary, a key of ``RECIPES``; empty for the one called as the environment.
        acting_changes: of the recipe, which belong to ``acting``.
    """

    world: str
    iterations: int
    changes: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    acting: Mapping[str, Any] = field(default_factory=lambda: {"act": {"planner": "icem"}})
    recipe: str = ""
    acting_changes: Mapping[str, Any] = field(default_factory=dict)


_BLOCKS = {"model.frame_skip": 5}  # the peers' own: 25 steps ahead are 5 model steps
# The T's mark on the floor lies askew, and has one mirror: the diagonal from bottom left to top
# right. y points down in pictures and in actions: both change places, and signs.
_ASKEW = {
    **_BLOCKS,
    "augment.mirror": 0.5,
    "augment.mirror_line": "rising",
    "augment.swapped_actions": (0, 1),
    "augment.mirrored_actions": (0, 1),
}
# Where the policy is followed nothing is foreseen: a step of foresight is enough, and variance and
# covariance presumably only spread what the policy has to read. Of 300 other goals 25 steps ahead
# 69 % before, 74 with the mirror, 80 with both; only the first and the last are told apart.
_LEAN = {f"objective.{name}": value for name, value in UNSPREAD.items()}
_NO_GLIMPSE = {**_BLOCKS, "objective.glimpse": 0.0}
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


# A torque decides within a fraction of a model step, and one picture does not show how fast the arm
# is. Found with true angles (60 goals 25 steps ahead, at the end): goals up to five model steps
# ahead, eight components and a look at every model step 58 %; up to two, one component and a look
# at every world step 98 %. A policy that is told how fast the arm moves repeats what it did: 38 %.
_AT_ONCE = _followed(within=2, executed=1, share=0.3)
# A push lasts. Found with true places and noise of 4 px (100 goals 25 steps ahead, at the end):
# eight components and a look at every model step 45 %, at every second world step 67 %; with one
# component 56 and 78 %. Goals up to seven model steps ahead, 2 px, longer training: 87 %.
_PUSHING = _followed(within=7, executed=2, share=0.5, distance_every=4)
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
    "two_room": Ground(f"{_SWM}TwoRoom-v1", 10, _BLOCKS, {"seconds": 300.0}, _SEARCHED),
    "push_t": Ground(f"{_SWM}PushT-v1", 30, _ASKEW, _STROKES, _PUSHING, acting_changes=_LEAN),
    # recording and goals by the package's own policy, which moves at random; as it was measured
    "push_t_weak": Ground(f"{_SWM}PushT-v1", 30, _NO_GLIMPSE, {}, _SEARCHED, "push_t"),
    "reacher": Ground(f"{_SWM}ReacherDMControl-v0", 10, _BLOCKS, _QUICK, _AT_ONCE),
    "cube": Ground(f"{_SWM}OGBCube-v0", 10, _BLOCKS, _CUBE, _AT_ONCE),
}
