"""Exploring the yard: trips across it, curves, straight ways that things stop, turns and rests.

A model that never saw somebody drive against a wall foresees that they pass it. The explorer keeps
nothing: its state goes in and out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from armillary.worlds.yard.drive import Pose
from armillary.worlds.yard.layout import VEHICLE_RADIUS_M, Layout
from armillary.worlds.yard.planner import steer

# Chance to begin each behaviour, and for how many steps.
_CHANCE = {"trip": 0.35, "curve": 0.3, "straight": 0.2, "spin": 0.1, "rest": 0.05}
_STEPS = {
    "trip": (20, 60),
    "curve": (6, 16),
    "straight": (6, 16),
    "spin": (2, 7),
    "rest": (1, 3),
}
_ARRIVED_M = 0.25
_NOISE = 0.05  # share of the limits


@dataclass(frozen=True)
class ExploreState:
    """What the explorer is doing.

    Attributes:
        mode: the behaviour.
        steps_left: after which another one is drawn.
        target: of a trip, metres; None else.
        command: that is held, m/s and rad/s.
    """

    mode: str
    steps_left: int
    target: tuple[float, float] | None
    command: tuple[float, float]


def explore(
    layout: Layout,
    pose: Pose,
    rng: np.random.Generator,
    state: ExploreState | None,
    limits: tuple[float, float],
    step_s: float,
) -> tuple[Float64[np.ndarray, " 2"], ExploreState]:
    """Return a command (not clipped to any bounds) and the next state."""
    if state is None or state.steps_left <= 0 or _is_there(pose, state):
        state = _begin(layout, rng, limits)
    command = np.array(state.command)
    if state.target is not None:
        command = steer(layout, pose, np.array(state.target), None, limits, step_s)
    if state.mode != "rest":
        command = command + rng.normal(0.0, _NOISE, 2) * limits
    return command, replace(state, steps_left=state.steps_left - 1)


def _begin(layout: Layout, rng: np.random.Generator, limits: tuple[float, float]) -> ExploreState:
    modes = list(_CHANCE)
    mode = modes[int(rng.choice(len(modes), p=list(_CHANCE.values())))]
    low, high = _STEPS[mode]
    steps = int(rng.integers(low, high + 1))
    side = 1.0 if rng.uniform() < 0.5 else -1.0
    turn = side * float(rng.uniform(0.3, 1.0)) * limits[1]
    # A fifth of all curves and straight ways go backwards.
    speed = float(rng.uniform(0.3, 1.0)) * limits[0] * (-1.0 if rng.uniform() < 0.2 else 1.0)
    if mode == "trip":
        x, y = layout.draw_free(rng, VEHICLE_RADIUS_M + 0.1).tolist()
        return ExploreState(mode, steps, (x, y), (0.0, 0.0))
    command = {
        "curve": (speed, 0.6 * turn),
        "straight": (speed, 0.0),
        "spin": (0.0, turn),
        "rest": (0.0, 0.0),
    }[mode]
    return ExploreState(mode, steps, None, command)


def _is_there(pose: Pose, state: ExploreState) -> bool:
    target = state.target
    return target is not None and float(np.hypot(*(pose.xy - target))) < _ARRIVED_M
