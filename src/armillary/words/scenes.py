"""Scenes: which worlds are written as text, and which of their streams.

A scene is two places: of what acts, and of what is acted on or in the way. Places of any world are
brought to the square of the language, 0.5 m wide, and actions to its range. So centimetres of
another world are fiftieths of its width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from armillary.words.language import ACTION_MOST_M_S, PLACE_FROM_M
from armillary.worlds.two_rooms.layout import ARENA_M
from armillary.worlds.two_rooms.world import MAX_STEP_M

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Scene:
    """What is written of a world.

    Attributes:
        world: its name for ``make_world``.
        settings: of the world, in recording.
        pusher: stream of the place of what acts.
        thing: streams of the place of what is acted on: one of two numbers, or two of one.
        low: least place, in the world's unit.
        high: greatest place.
        action: greatest component of an action, in the world's unit.
        y_up: whether y grows away from the bottom of the picture.
        task: goal task that all variants are asked to do; empty for none.
        registration: file that fixes what is compared; None where nothing is registered.
    """

    world: str
    pusher: str
    thing: tuple[str, ...]
    low: float
    high: float
    action: float
    registration: Path | None
    y_up: bool = True
    task: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needed(self) -> tuple[str, ...]:
        """Streams that a recording needs."""
        return self.pusher, *self.thing, "actions"

    @property
    def action_scale(self) -> float:
        """What an action of the language is times this, in the world's unit."""
        return self.action / ACTION_MOST_M_S

    def places(self, values: np.ndarray) -> np.ndarray:
        """Return places in metres of the language's square."""
        if self.low == PLACE_FROM_M and self.high == -PLACE_FROM_M:
            return values  # to the bit
        share = (np.asarray(values, np.float64) - self.low) / (self.high - self.low)
        return PLACE_FROM_M - 2 * PLACE_FROM_M * share


_STROKES = {"collection": "strokes", "image_size": 64}

SCENES: dict[str, Scene] = {
    "tabletop": Scene(
        "tabletop", "pusher_xy", ("object_xy",), PLACE_FROM_M, -PLACE_FROM_M, ACTION_MOST_M_S,
        _FOLDER / "registration.json", True, "reach",
    ),
    "push_t": Scene(
        "gym:stable_worldmodel:swm/PushT-v1", "agent_xy", ("block_xy",), 0.0, 512.0, 1.0,
        _FOLDER / "registration_push_t.json", False, "", _STROKES,
    ),
    # the second place is where the wall and its door are
    "two_rooms": Scene(
        "two_rooms", "agent_xy", ("wall_x", "door_y"), 0.0, ARENA_M, MAX_STEP_M, None, True, "",
        {"image_size": 64},
    ),
}  # fmt: skip
