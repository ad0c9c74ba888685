"""Normal file: a model's errors in possible clips, by which all of its surprise is measured.

It is ``surprise/normal.safetensors`` in an agent's folder, so that the agent's digest holds it.

    mean [Z], spread [Z]   of each number of the latent's error; a spread of 0: it never varies
    rotation [kept K]      from standardised to whitened coordinates; absent where diagonal
    shrinkage [1]          of the correlation
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from armillary.core.errors import CheckpointError
from armillary.core.files import replacing
from armillary.models.checkpoint import read_tensors
from armillary.objectives.scaler import Scaler
from armillary.objectives.whitening import Whitening

NORMAL_FILE = "surprise/normal.safetensors"


def save_normal(normal: Whitening, path: Path) -> None:
    """Write it, in one step; the folder must be there.

    Raises:
        StorageError: the disk is full or not writable.
    """
    scaler = normal.scaler
    tensors = {
        "mean": scaler.mean,
        "spread": np.where(scaler.kept, scaler.spread, 0.0),
        "shrinkage": np.array([normal.shrinkage]),
    }
    if normal.rotation is not None:
        tensors["rotation"] = normal.rotation
    named = {name: np.ascontiguousarray(one, np.float32) for name, one in tensors.items()}
    with replacing(path) as beside:
        beside.write_bytes(save(named))


def read_normal(path: Path, width: int) -> Whitening:
    """Read it for a model.

    Args:
        path: of the file.
        width: Z of the model's latent.

    Raises:
        CheckpointError: not such a file, or one for another model.
    """
    turned = _rotation_shape(path, width)
    shapes = {"mean": (width,), "spread": (width,), "shrinkage": (1,), **turned}
    found = read_tensors(path, {name: torch.Size(shape) for name, shape in shapes.items()})
    mean, spread = (found[name].double().numpy() for name in ("mean", "spread"))
    kept = spread > 0
    rotation = found["rotation"].double().numpy() if turned else None
    if (spread < 0).any() or (rotation is not None and len(rotation) != kept.sum()):
        raise CheckpointError(f"{path}: its spreads do not fit; pack the agent again.")
    return Whitening(Scaler(mean, spread, kept), rotation, float(found["shrinkage"][0]))


def _rotation_shape(path: Path, width: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of the rotation as the file has it, if it could be one; empty for none."""
    try:
        with safe_open(path, framework="np") as file:
            if "rotation" not in file.keys():  # noqa: SIM118  (the handle is no mapping)
                return {}
            shape = tuple(map(int, file.get_slice("rotation").get_shape()))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a safetensors file ({error}).") from error
    if len(shape) != 2 or max(shape) > width:
        raise CheckpointError(f"{path}: its rotation has the shape {shape} for {width} numbers.")
    return {"rotation": shape}
