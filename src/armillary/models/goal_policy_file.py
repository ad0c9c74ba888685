"""Goal policy file: a goal-conditioned policy beside the model whose latents it was trained on.

One file, ``policy/policy.safetensors`` in the model folder (``beside.py`` says why). Its header
holds the configuration.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from armillary.core.errors import ArmillaryError, CheckpointError
from armillary.models.beside import model_sha256, read_about, write_beside
from armillary.models.checkpoint import config_from_dict, read_tensors
from armillary.models.goal_policy import GoalPolicy, GoalPolicyConfig, untrained_goal_policy
from armillary.models.jepa import JEPA

POLICY_FILE = "policy/policy.safetensors"
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
    state = {name: value.detach().contiguous() for name, value in policy.state_dict().items()}
    return write_beside(
        folder, POLICY_FILE, _KIND, {"config": dataclasses.asdict(policy.config)}, state
    )


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
    about = read_about(path, _KIND, "a goal policy")
    config: GoalPolicyConfig = config_from_dict(
        GoalPolicyConfig, about.get("config"), f"{path}: config"
    )
    widths = model.config.latent_width, model.config.action_width
    differs = (config.latent_width, config.action_width) != widths
    if differs or about.get("model_sha256") != model_sha256(folder):
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
