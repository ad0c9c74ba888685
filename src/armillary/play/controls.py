"""Controls: what a person has chosen, and the messages that carry it.

    {"type": "drive", "axes": [0.5, -1], "key": 7}    shares of each action's box, -1 to 1
    {"type": "mode", "mode": "imagined" | "real"}
    {"type": "show", "sensor": "colour" | "depth" | "points"}
    {"type": "rate", "hz": 20}
    {"type": "pause", "on": true}
    {"type": "goal", "place": "pusher_xy", "at": [0.5, 0.3]}    shares of the picture; null: none
    {"type": "follow", "on": true}
    {"type": "reset", "seed": 3} | {"type": "step"} | {"type": "depart"} | {"type": "rejoin"}
    {"type": "shown", "frame": 12}

Every message is checked before anything of it is used.

Axes: A action of a world step.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np
from jaxtyping import Float

from armillary.core.errors import FormatError
from armillary.core.values import ActionBounds
from armillary.play.sensors import COLOUR, SENSORS

MAX_BYTES = 4096
MODES = ("imagined", "real")
EVENTS = ("reset", "step", "depart", "rejoin", "shown")
SLOWEST_HZ, FASTEST_HZ = 0.5, 60.0
USUAL_HZ = 20.0
_MOST_WHOLE = 1 << 53


@dataclass(frozen=True)
class Controls:
    """What a person has chosen.

    Attributes:
        axes: of each action, -1 lowest to 1 highest; 0 is rest.
        key: number of the last change of ``axes``, which a frame names again.
        mode: whether the model looks at each step ("real") or not ("imagined").
        hz: model steps a second.
        paused: whether time stands.
        goal: name of a place, and where it shall be, in shares of the picture; None for none.
        follow: whether the plan acts.
        sensor: what is shown, of ``SENSORS``; colour where the source does not give it.
    """

    axes: tuple[float, ...]
    key: int = 0
    mode: str = MODES[0]
    hz: float = USUAL_HZ
    paused: bool = False
    goal: tuple[str, tuple[float, float]] | None = None
    follow: bool = False
    sensor: str = COLOUR

    def action(self, bounds: ActionBounds, parts: int) -> Float[np.ndarray, " _"]:
        """Return the action of a model step: ``parts`` equal world actions side by side.

        It lies in the bounds. Rest is the action nearest to zero.
        """
        axes = np.clip(np.array(self.axes, np.float64), -1.0, 1.0)
        rest = np.clip(0.0, bounds.low, bounds.high)
        span = np.where(axes > 0, bounds.high - rest, rest - bounds.low)
        return np.tile(np.clip(rest + axes * span, bounds.low, bounds.high), parts)


def read_message(text: str | bytes, controls: Controls) -> tuple[Controls, dict[str, Any] | None]:
    """Return the controls after a message, and its event where it is one of ``EVENTS``.

    Raises:
        FormatError: what was sent is no message that is known, or lies outside of its range.
    """
    message = _object(text)
    kind = message.get("type")
    if kind in EVENTS:
        return controls, _event(kind, message)
    if not isinstance(kind, str) or kind not in _CHANGES:
        known = ", ".join(sorted({*_CHANGES, *EVENTS}))
        raise FormatError(f"There is no message {str(kind)[:40]!r}. Known: {known}.")
    return _CHANGES[kind](controls, message), None


def _object(text: str | bytes) -> Mapping[str, Any]:
    if not isinstance(text, str) or len(text) > MAX_BYTES:
        raise FormatError(f"A message is JSON text of at most {MAX_BYTES:,} bytes.")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError("The message is not JSON.") from error
    if not isinstance(message, dict):
        raise FormatError("A message is a JSON object with a type.")
    return message


def _event(kind: str, message: Mapping[str, Any]) -> dict[str, Any]:
    if kind == "reset" and message.get("seed") is not None:
        return {"type": kind, "seed": _whole(message, "seed")}
    if kind == "shown":
        return {"type": kind, "frame": _whole(message, "frame")}
    return {"type": kind}


def _drive(controls: Controls, message: Mapping[str, Any]) -> Controls:
    axes, width = message.get("axes"), len(controls.axes)
    if not isinstance(axes, list) or len(axes) != width or not all(map(_is_number, axes)):
        raise FormatError(f"axes are {width} numbers, one for each action.")
    return replace(controls, axes=tuple(map(float, axes)), key=_whole(message, "key"))


def _mode(controls: Controls, message: Mapping[str, Any]) -> Controls:
    if message.get("mode") not in MODES:
        raise FormatError(f"mode is one of {', '.join(MODES)}.")
    return replace(controls, mode=message["mode"])


def _show(controls: Controls, message: Mapping[str, Any]) -> Controls:
    if message.get("sensor") not in SENSORS:
        raise FormatError(f"sensor is one of {', '.join(SENSORS)}.")
    return replace(controls, sensor=message["sensor"])


def _rate(controls: Controls, message: Mapping[str, Any]) -> Controls:
    hz = message.get("hz")
    if not _is_number(hz) or not SLOWEST_HZ <= hz <= FASTEST_HZ:
        raise FormatError(f"hz is a number from {SLOWEST_HZ:g} to {FASTEST_HZ:g}.")
    return replace(controls, hz=float(hz))


def _goal(controls: Controls, message: Mapping[str, Any]) -> Controls:
    at, place = message.get("at"), message.get("place")
    if at is None:
        return replace(controls, goal=None, follow=False)
    if not isinstance(at, list) or len(at) != 2 or not all(map(_is_number, at)):
        raise FormatError("at is two numbers, shares of the picture's width and height.")
    if not isinstance(place, str) or not place or not all(-1 <= share <= 2 for share in at):
        raise FormatError("A goal names a place, and lies on the picture or near it.")
    return replace(controls, goal=(place, (float(at[0]), float(at[1]))))


def _pause(controls: Controls, message: Mapping[str, Any]) -> Controls:
    return replace(controls, paused=_switch(message))


def _follow(controls: Controls, message: Mapping[str, Any]) -> Controls:
    return replace(controls, follow=_switch(message) and controls.goal is not None)


_CHANGES: dict[str, Callable[[Controls, Mapping[str, Any]], Controls]] = {
    "drive": _drive,
    "mode": _mode,
    "show": _show,
    "rate": _rate,
    "goal": _goal,
    "pause": _pause,
    "follow": _follow,
}


def _switch(message: Mapping[str, Any]) -> bool:
    if not isinstance(message.get("on"), bool):
        raise FormatError("on is true or false.")
    return message["on"]


def _whole(message: Mapping[str, Any], name: str) -> int:
    value = message.get(name)
    if type(value) is not int or not 0 <= value <= _MOST_WHOLE:
        raise FormatError(f"{name} is a whole number, 0 or more.")
    return value


def _is_number(value: Any) -> TypeGuard[float]:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and abs(value) < _MOST_WHOLE and math.isfinite(value)
