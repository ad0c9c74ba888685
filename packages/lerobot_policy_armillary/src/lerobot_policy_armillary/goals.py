"""Goals: what shall be seen, as a file.

A picture is enough for a model that sees pictures alone. What other models see (depth, the camera's
pose, ...) is kept in a safetensors file, an array for each stream.

Axes: H W image.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from armillary.core.errors import FormatError
from armillary.core.files import replacing
from armillary.core.values import Observation
from armillary.data.encoded import decode_rgb

_STREAMS_SUFFIX = ".safetensors"
_MOST_BYTES = 256 << 20


def read_goal(path: Path) -> dict[str, np.ndarray]:
    """Read a goal.

    Args:
        path: a picture, or a file of ``write_goal``.

    Returns:
        Arrays by stream name; ``rgb`` uint8 [H W 3] alone from a picture.

    Raises:
        FormatError: there is no such file, it is too large, or it is neither of the two.
    """
    if not path.is_file():
        raise FormatError(f"{path}: there is no such file; the picture of a goal was expected.")
    if path.stat().st_size > _MOST_BYTES:
        raise FormatError(f"{path}: larger than {_MOST_BYTES >> 20} MiB; refused as a goal.")
    if path.suffix != _STREAMS_SUFFIX:
        return {"rgb": decode_rgb(path.read_bytes(), str(path))}
    try:
        return load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise FormatError(f"{path}: not a goal that write_goal wrote ({error}).") from error


def write_goal(path: Path, goal: Observation) -> Path:
    """Write what the sensors give at the goal, for ``--policy.goal``.

    Args:
        path: ends with ``.safetensors``.
        goal: e.g. ``world.draw_goal(...).observation``, or a recorded moment.

    Raises:
        FormatError: the name has another ending.
        StorageError: the disk is full or not writable.
    """
    if path.suffix != _STREAMS_SUFFIX:
        raise FormatError(f"{path}: a goal with streams ends with {_STREAMS_SUFFIX}; rename it.")
    with replacing(path) as beside:
        streams = {name: np.ascontiguousarray(value) for name, value in goal.streams.items()}
        save_file(streams, beside)
    return path
