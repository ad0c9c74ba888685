"""Saved peers: weights as safetensors, and beside them all that is needed to act. No pickle.

weights.safetensors   of the whole network
peer.json             kind, settings of its training, scale of the actions
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from armillary.benchmark.ground.clips import ActionScale
from armillary.benchmark.ground.kinds import PEER_KINDS
from armillary.benchmark.ground.settings import FRAME_SKIP, PeerTraining
from armillary.core.errors import CheckpointError, FormatError
from armillary.core.files import read_json, write_json
from armillary.models.checkpoint import config_from_dict, read_tensors, write_tensors

_WEIGHTS, _ABOUT = "weights.safetensors", "peer.json"


def save_peer(
    folder: Path, kind: str, training: PeerTraining, scale: ActionScale, network: Any
) -> None:
    """Write a trained peer into a folder, the file that names it last.

    Raises:
        StorageError: the disk is full or not writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / _WEIGHTS, _state(network))
    about = {"kind": kind, "training": asdict(training), "actions": asdict(scale)}
    write_json(folder / _ABOUT, about)


def load_peer(folder: Path) -> tuple[Mapping[str, Any], Any]:
    """Return what was said of a peer, and its network ready for evaluation.

    Raises:
        CheckpointError: the folder is not a complete peer of a known kind.
    """
    try:
        about = read_json(folder / _ABOUT)
    except FormatError as error:
        raise CheckpointError(str(error)) from error
    if about.get("kind") not in PEER_KINDS:
        raise CheckpointError(
            f"{folder}: unknown peer {about.get('kind')!r}; known: {', '.join(PEER_KINDS)}."
        )
    training = config_from_dict(PeerTraining, about["training"], f"{folder}: training")
    width = FRAME_SKIP * len(about["actions"]["mean"])
    with torch.random.fork_rng():  # fresh weights are drawn, and then replaced
        network = PEER_KINDS[about["kind"]].network(training, width)
    wanted = {name: value.shape for name, value in _state(network).items()}
    state = network.state_dict() | read_tensors(folder / _WEIGHTS, wanted)
    network.load_state_dict(state)
    return about, network.eval().requires_grad_(False)


def peer_files(folder: Path) -> tuple[Path, Path]:
    """Return the files that decide what a peer does."""
    return folder / _WEIGHTS, folder / _ABOUT


def _state(network: torch.nn.Module) -> dict[str, Tensor]:
    """Return the weights by name; counters of batches (integers) decide nothing and stay out."""
    state = network.state_dict().items()
    return {name: value.detach().contiguous() for name, value in state if value.is_floating_point()}
