"""Prior file: a goal prior beside the model whose latents it was trained on.

One file, ``prior.safetensors``, so that it appears or is replaced in one step and a model folder
without it stays what it was. Its header says, as JSON, which architecture it is (a closed
registry), its configuration, and the hash of the weights that it belongs to: beside other weights
it would read latents that mean something else, so it is refused there.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from armillary.core.errors import ArmillaryError, CheckpointError
from armillary.core.files import replacing
from armillary.core.hashing import file_sha256
from armillary.models.checkpoint import config_from_dict, read_tensors, write_tensors
from armillary.models.jepa import JEPA
from armillary.models.prior import GoalPrior, GoalPriorConfig, untrained_prior

PRIORS = {"goal_prior": (GoalPrior, GoalPriorConfig)}
PRIOR_FILE = "prior.safetensors"
_MODEL_FILE = "model.safetensors"
_ABOUT = "armillary"
_MAX_PARAMETERS = 1_000_000_000


def save_prior(prior: GoalPrior, folder: Path) -> Path:
    """Write a goal prior into the folder of its model, in one step, and return the file.

    Args:
        prior: trained on the latents of the model in ``folder``.
        folder: a model folder.

    Raises:
        CheckpointError: the folder holds no model.
        StorageError: the disk is full or not writable; an older prior stays.
    """
    belongs_to = _model_sha256(folder)
    state = {name: value.detach().contiguous() for name, value in prior.state_dict().items()}
    about = {
        "architecture": "goal_prior",
        "config": dataclasses.asdict(prior.config),
        "model_sha256": belongs_to,
    }
    with replacing(folder / PRIOR_FILE) as beside:
        write_tensors(beside, state, {_ABOUT: json.dumps(about, sort_keys=True)})
    return folder / PRIOR_FILE


def load_prior(folder: Path, model: JEPA | None = None) -> GoalPrior | None:
    """Read the goal prior of a model folder, ready for evaluation; None where there is none.

    Args:
        folder: a model folder.
        model: the model that was loaded from it; its widths must be the prior's.

    Raises:
        CheckpointError: the file is damaged, of an unknown architecture, or belongs to another
            model.
    """
    path = folder / PRIOR_FILE
    if not path.is_file():
        return None
    about = _about(path)
    name = about.get("architecture")
    if not isinstance(name, str) or name not in PRIORS:
        raise CheckpointError(f"{path}: unknown architecture {name!r}; known: {', '.join(PRIORS)}.")
    config = config_from_dict(PRIORS[name][1], about.get("config"), f"{path}: config")
    if about.get("model_sha256") != _model_sha256(folder) or _differs(config, model):
        raise CheckpointError(
            f"{path}: was trained for another model. Train one for this model with: "
            f"armillary prior {folder} DATASET"
        )
    state = read_tensors(path, _expected(config, path))
    prior = untrained_prior(config, 0)
    prior.load_state_dict(state)
    return prior.eval()


def _about(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(_ABOUT, "null"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a goal prior's safetensors file ({error}).") from error
    if not isinstance(about, dict):
        raise CheckpointError(f"{path}: has no description of its content; it is not a goal prior.")
    return about


def _model_sha256(folder: Path) -> str:
    if not (folder / _MODEL_FILE).is_file():
        raise CheckpointError(f"{folder}: contains no {_MODEL_FILE}; a model folder was expected.")
    return file_sha256(folder / _MODEL_FILE)


def _differs(config: GoalPriorConfig, model: JEPA | None) -> bool:
    if model is None:
        return False
    widths = model.config.latent_width, model.config.action_width
    return (config.latent_width, config.action_width) != widths


def _expected(config: GoalPriorConfig, path: Path) -> dict[str, torch.Size]:
    """Return the shapes that a configuration asks for, without taking memory for them."""
    try:
        with torch.device("meta"):
            state = GoalPrior(config).state_dict()
    except (ArmillaryError, RuntimeError, TypeError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: no prior has this configuration ({reason}).") from error
    count = sum(tensor.numel() for tensor in state.values())
    if count > _MAX_PARAMETERS:
        raise CheckpointError(f"{path}: asks for {count:,} parameters, which are too many.")
    return {name: tensor.shape for name, tensor in state.items()}
