"""Goal policy file: a goal-conditioned policy beside the model whose latents it was trained on.

One file, ``policy/policy.safetensors`` in the model folder, so that it appears or is replaced in
one step. It is in a folder of its own because a model is named by the hash of the files beside its
weights, and it stays the same model with a policy or without. The file's header says, as JSON, the
configuration and the hash of the weights that it belongs to. Beside other weights it is refused.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from armillary.core.errors import ArmillaryError, CheckpointError
from armillary.core.files import replacing, storage_errors
from armillary.core.hashing import file_sha256
from armillary.models.checkpoint import config_from_dict, read_tensors, write_tensors
from armillary.models.goal_policy import GoalPolicy, GoalPolicyConfig, untrained_goal_policy
from armillary.models.jepa import JEPA

POLICY_FILE = "policy/policy.safetensors"
_MODEL_FILE = "model.safetensors"
_ABOUT = "armillary"
_KIND = "goal_policy"
_MAX_PARAMETERS = 1_000_000_000


def save_goal_policy(policy: GoalPolicy, folder: Path) -> Path:
    """Write a policy into the folder of its model, in one step, and return the file.

    Args:
        policy: trained on the latents of the model in ``folder``.
        folder: a model folder.

    Raises:
        CheckpointError: the folder holds no model.
        StorageError: the disk is full or not writable; an older policy stays.
    """
    about = {
        "architecture": _KIND,
        "config": dataclasses.asdict(policy.config),
        "model_sha256": _model_sha256(folder),
    }
    state = {name: value.detach().contiguous() for name, value in policy.state_dict().items()}
    with storage_errors(folder):
        (folder / POLICY_FILE).parent.mkdir(exist_ok=True)
    with replacing(folder / POLICY_FILE) as beside:
        write_tensors(beside, state, {_ABOUT: json.dumps(about, sort_keys=True)})
    return folder / POLICY_FILE


def load_goal_policy(folder: Path, model: JEPA) -> GoalPolicy | None:
    """Read the policy of a model folder, ready for use; None where there is none.

    Args:
        folder: a model folder.
        model: the model that was loaded from it.

    Raises:
        CheckpointError: the file is damaged or belongs to another model.
    """
    path = folder / POLICY_FILE
    if not path.is_file():
        return None
    about = _about(path)
    config: GoalPolicyConfig = config_from_dict(
        GoalPolicyConfig, about.get("config"), f"{path}: config"
    )
    widths = model.config.latent_width, model.config.action_width
    differs = (config.latent_width, config.action_width) != widths
    if differs or about.get("model_sha256") != _model_sha256(folder):
        raise CheckpointError(
            f"{path}: was trained for another model. Remove it, and train one for this model with: "
            f"armillary policy {folder} DATASET"
        )
    try:
        state = read_tensors(path, _expected(config, path))
    except CheckpointError as error:
        raise CheckpointError(
            f"{error} If an earlier version wrote it, train the policy again: armillary policy "
            f"{folder} DATASET"
        ) from error
    policy = untrained_goal_policy(config, 0)
    policy.load_state_dict(state)
    return policy.eval()


def _about(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(_ABOUT, "null"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a policy's safetensors file ({error}).") from error
    if not isinstance(about, dict) or about.get("architecture") != _KIND:
        raise CheckpointError(f"{path}: does not say that it is a goal policy.")
    return about


def _model_sha256(folder: Path) -> str:
    if not (folder / _MODEL_FILE).is_file():
        raise CheckpointError(f"{folder}: contains no {_MODEL_FILE}; a model folder was expected.")
    return file_sha256(folder / _MODEL_FILE)


def _expected(config: GoalPolicyConfig, path: Path) -> dict[str, torch.Size]:
    """Return the shapes that a configuration asks for, without taking memory for them."""
    try:
        with torch.device("meta"):
            state = GoalPolicy(config).state_dict()
    except (ArmillaryError, RuntimeError, TypeError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: no policy has this configuration ({reason}).") from error
    count = sum(tensor.numel() for tensor in state.values())
    if count > _MAX_PARAMETERS:
        raise CheckpointError(f"{path}: asks for {count:,} parameters, which are too many.")
    return {name: tensor.shape for name, tensor in state.items()}
