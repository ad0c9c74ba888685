"""Beside: a file in a model folder that belongs to the model's weights, and is read only with them.

Its header says, as JSON, what it is and the hash of the weights that it was made for. It is in a
folder of its own because a model is named by the hash of the files beside its weights, and it stays
the same model with such a file or without.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from armillary.core.errors import CheckpointError
from armillary.core.files import replacing, storage_errors
from armillary.core.hashing import file_sha256
from armillary.models.checkpoint import write_tensors

_MODEL_FILE = "model.safetensors"
_ABOUT = "armillary"


def write_beside(
    folder: Path, name: str, kind: str, about: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Path:
    """Write a file that belongs to the model in a folder, in one step, and return its path.

    Args:
        folder: a model folder.
        name: of the file, below the folder.
        kind: what it is, as its header says.
        about: what else the header says.
        tensors: by name.

    Raises:
        CheckpointError: the folder holds no model.
        StorageError: the disk is full or not writable; an older file stays.
    """
    path = folder / name
    header = {"architecture": kind, **about, "model_sha256": model_sha256(folder)}
    with storage_errors(folder):
        path.parent.mkdir(exist_ok=True)
    with replacing(path) as beside:
        write_tensors(beside, dict(tensors), {_ABOUT: json.dumps(header, sort_keys=True)})
    return path


def read_about(path: Path, kind: str, called: str) -> dict[str, Any]:
    """Return what the header of such a file says.

    Args:
        path: of the file.
        kind: what it should be.
        called: the same in words, for errors.

    Raises:
        CheckpointError: it is not a safetensors file, or not of this kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(_ABOUT, "null"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a safetensors file of {called} ({error}).") from error
    if not isinstance(about, dict) or about.get("architecture") != kind:
        raise CheckpointError(f"{path}: does not say that it holds {called}.")
    return about


def model_sha256(folder: Path) -> str:
    """Return the hash of the weights in a model folder.

    Raises:
        CheckpointError: there are none.
    """
    if not (folder / _MODEL_FILE).is_file():
        raise CheckpointError(f"{folder}: contains no {_MODEL_FILE}; a model folder was expected.")
    return file_sha256(folder / _MODEL_FILE)
