"""Observations: one row of a LeRobot batch as the streams that an armillary model sees.

    rgb          observation.images.rgb, observation.image, or the only camera
    rgb_1, ...   observation.images.rgb_1, ...
    proprio      observation.state
    any other    observation.NAME, or NAME within observation.robot_state
    the goal     observation.images.goal, observation.goal.NAME, or "goal" in robot_state

LeRobot's environments carry nothing but pictures and vectors, except within ``robot_state``. So
depth and camera poses travel there, to the bit.

Axes: B batch, H W image, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from armillary.core.errors import FormatError

IMAGES = "observation.images."
ROBOT_STATE = "observation.robot_state"
GOAL = "goal"
_STATE = "observation.state"
_IMAGE = "observation.image"


def rows_of(batch: Mapping[str, Any]) -> int:
    """Return how many episodes a batch holds, B.

    Raises:
        FormatError: it holds no observation.
    """
    for name, value in batch.items():
        if name.startswith("observation.") and isinstance(value, Tensor):
            return len(value)
    raise FormatError("The batch has no tensor whose name begins with 'observation.'.")


def observed(
    batch: Mapping[str, Any], row: int, streams: Sequence[str], keys: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Return what is seen now, by stream.

    Args:
        batch: of LeRobot.
        row: which episode of it.
        streams: that the model sees.
        keys: LeRobot's key of a stream, where it is not found by itself.

    Raises:
        FormatError: a stream is missing, or a picture is none.
    """
    return {name: _array(batch, row, name, *_found(batch, name, keys)) for name in streams}


def goal_of(batch: Mapping[str, Any], row: int, streams: Sequence[str]) -> dict[str, np.ndarray]:
    """Return what shall be seen, by stream; empty where the batch has no goal.

    Raises:
        FormatError: the goal lacks a stream, or a picture is none.
    """
    inside = _inside(batch).get(GOAL, {})
    found: dict[str, tuple[str, Any]] = {}
    for name in streams:
        names = [f"observation.{GOAL}.{name}"]
        names += [IMAGES + GOAL] if name == "rgb" else []
        key = next((key for key in names if key in batch), None)
        if key is not None:
            found[name] = key, batch[key]
        elif name in inside:
            found[name] = f"{ROBOT_STATE}[{GOAL!r}][{name!r}]", inside[name]
    missing = [name for name in streams if name not in found]
    if found and missing:
        raise FormatError(
            f"The goal lacks {', '.join(missing)}, which the model sees. Add observation.{GOAL}."
            f"{missing[0]}, or leave the goal out and give --policy.goal."
        )
    return {name: _array(batch, row, name, *one) for name, one in found.items()}


def number_of(batch: Mapping[str, Any], row: int, name: str) -> int | None:
    """Return a whole number that an environment says within ``robot_state``; None without one."""
    value = _inside(batch).get(name)
    return None if value is None else int(value[row].reshape(-1)[0])


def _inside(batch: Mapping[str, Any]) -> Mapping[str, Any]:
    value = batch.get(ROBOT_STATE)
    return value if isinstance(value, Mapping) else {}


def _found(batch: Mapping[str, Any], name: str, keys: Mapping[str, str]) -> tuple[str, Any]:
    """Return the key and the value of a stream."""
    if name in keys:
        names = [keys[name]]
    else:
        names = [IMAGES + name, f"observation.{name}"]
        names += {"rgb": [_IMAGE], "proprio": [_STATE]}.get(name, [])
    for key in names:
        if isinstance(batch.get(key), Tensor):
            return key, batch[key]
    cameras = [key for key in batch if key.startswith(IMAGES) and key != IMAGES + GOAL]
    if name not in keys:
        if name in _inside(batch):
            return f"{ROBOT_STATE}[{name!r}]", _inside(batch)[name]
        if name == "rgb" and len(cameras) == 1:
            return cameras[0], batch[cameras[0]]
    given = sorted(key for key in batch if key.startswith("observation."))
    raise FormatError(
        f"The model sees {name}, and the observation has no {' or '.join(names)}; it has "
        f"{', '.join(given)}. Name it with --policy.keys='{{{name}: KEY}}'."
    )


def _array(batch: Mapping[str, Any], row: int, name: str, key: str, value: Any) -> np.ndarray:
    rows = rows_of(batch)
    if not isinstance(value, Tensor) or not value.ndim or len(value) != rows:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise FormatError(f"{key} is no tensor of {rows} rows; got {shape}.")
    one = value[row].detach().cpu()
    return _picture(key, one) if name.startswith("rgb") else one.numpy()


def _picture(key: str, value: Tensor) -> np.ndarray:
    """Return a picture [3 H W] of 0..1, or of bytes, as bytes [H W 3]; bytes come back exactly."""
    if value.ndim != 3 or value.shape[0] != 3:
        raise FormatError(f"{key} is a picture (3, H, W) per row; got {tuple(value.shape)}.")
    if value.is_floating_point():
        if not bool(((value >= 0) & (value <= 1)).all()):
            raise FormatError(
                f"{key} has values outside 0 to 1. Leave pictures out of the normalisation: the "
                "model does its own."
            )
        value = (value * 255).round().to(torch.uint8)
    if value.dtype != torch.uint8:
        raise FormatError(f"{key} is a picture of bytes or of 0 to 1; got {value.dtype}.")
    return np.ascontiguousarray(value.permute(1, 2, 0).numpy())
