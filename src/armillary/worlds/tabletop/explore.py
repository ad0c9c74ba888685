"""Exploring the tabletop: a mixture of behaviours that a world model can learn from.

About 60 % of the time goes into pushing objects; the rest drifts, travels, sweeps at full speed
and rests, so that speed and picture change are no tell-tale of what is possible.
The explorer keeps nothing: its state goes in and out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float64

from armillary.worlds.tabletop.tasks import Layout, push_action, reach_action

Mode = Literal["push", "drift", "travel", "sweep", "rest"]

# Chance to begin each behaviour; pushes last longest, which makes them about 60 % of all steps.
_CHANCE: dict[Mode, float] = {
    "push": 0.36,
    "drift": 0.34,
    "travel": 0.15,
    "sweep": 0.1,
    "rest": 0.05,
}
_STEPS: dict[Mode, tuple[int, int]] = {
    "push": (10, 24),
    "drift": (2, 6),
    "travel": (4, 14),
    "sweep": (3, 7),
    "rest": (1, 3),
}
_NOISE_M_S = 0.02


@dataclass(frozen=True)
class ExploreState:
    """What the explorer is doing.

    Attributes:
        mode: the behaviour.
        steps_left: after which another one is drawn.
        vector: velocity in m/s (drift, sweep, rest), or a target place in metres.
        speed_m_s: of travelling.
        index: the object that is pushed.
    """

    mode: Mode
    steps_left: int
    vector: Float64[np.ndarray, " 2"]
    speed_m_s: float = 0.4
    index: int = 0


def explore(
    layout: Layout, rng: np.random.Generator, state: ExploreState | None, step_s: float
) -> tuple[Float64[np.ndarray, " 2"], ExploreState]:
    """Return an action in m/s (not clipped to any bounds) and the next state."""
    if state is None or state.steps_left <= 0 or _is_done(layout, state):
        state = _begin(layout, rng)
    action = _act(layout, state, step_s) + rng.normal(0.0, _NOISE_M_S, 2)
    return action, replace(state, steps_left=state.steps_left - 1)


def _act(layout: Layout, state: ExploreState, step_s: float) -> Float64[np.ndarray, " 2"]:
    if state.mode == "push":
        return push_action(layout, state.index, state.vector, step_s)
    if state.mode == "travel":
        return reach_action(layout.pusher_xy, state.vector, step_s, state.speed_m_s)
    return state.vector


def _is_done(layout: Layout, state: ExploreState) -> bool:
    if state.mode == "push":
        place = layout.objects_xyz[state.index, :2]
        return bool(np.linalg.norm(state.vector - place) < 0.01)
    if state.mode == "travel":
        return bool(np.linalg.norm(state.vector - layout.pusher_xy) < 0.01)
    return False


def _begin(layout: Layout, rng: np.random.Generator) -> ExploreState:
    modes = list(_CHANCE)
    mode = modes[int(rng.choice(len(modes), p=list(_CHANCE.values())))]
    low, high = _STEPS[mode]
    steps = int(rng.integers(low, high + 1))
    if mode == "push":
        index = 0 if rng.uniform() < 0.6 else int(rng.integers(len(layout.radii_m)))
        return ExploreState(mode, steps, _push_target(layout, index, rng), index=index)
    if mode == "travel":
        speed = float(rng.uniform(0.08, 0.4))
        return ExploreState(mode, steps, rng.uniform(-0.2, 0.2, 2), speed)
    if mode == "rest":
        return ExploreState(mode, steps, np.zeros(2))
    speed = 0.4 if mode == "sweep" else float(rng.uniform(0.03, 0.4))
    return ExploreState(mode, steps, speed * _direction(-layout.pusher_xy, rng))


def _push_target(layout: Layout, index: int, rng: np.random.Generator) -> Float64[np.ndarray, " 2"]:
    """Draw a place 5-20 cm away, more likely towards the middle when near the edge."""
    place = layout.objects_xyz[index, :2]
    target = place + rng.uniform(0.05, 0.2) * _direction(-place, rng)
    return np.clip(target, -0.18, 0.18)


def _direction(
    inward: Float64[np.ndarray, " 2"], rng: np.random.Generator
) -> Float64[np.ndarray, " 2"]:
    """Draw a direction; the further out, the more it leans ``inward`` (metres from here to 0)."""
    angle = rng.uniform(0, 2 * np.pi)
    wanted = np.array([np.cos(angle), np.sin(angle)]) + 4.0 * rng.uniform() * inward
    return wanted / max(float(np.linalg.norm(wanted)), 1e-9)
