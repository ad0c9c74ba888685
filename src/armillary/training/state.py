"""Training state: all that a run needs to go on as if it had never stopped.

    checkpoints/000500/pretrained_model/        the model as ``load_model`` reads it
    checkpoints/000500/training_state/          learner, optimizer, average; state.json
    checkpoints/last                            link to the newest

Data order, learning rate and random directions are functions of the step, so they need no state.
A checkpoint is replicated state: it can be read by any number of processes.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from torch import Tensor, nn

from armillary.core.errors import CheckpointError
from armillary.core.files import read_json, replacing_folder, storage_errors, write_json
from armillary.models.checkpoint import read_tensors, save_model, write_tensors
from armillary.training.stepper import Stepper

_KEPT = 2
_STATE = "state.json"
_LEFTOVER = re.compile(r"\.(.+\.\d+\.(part|old)|last\.\d+)")


def save_state(out: Path, done: int, stepper: Stepper, run_digest: str) -> Path:
    """Write a checkpoint in one step, point ``last`` to it, and drop all but the newest two.

    Args:
        out: folder of the run.
        done: optimizer steps that were taken.
        stepper: what is kept.
        run_digest: names the run's settings and data, compared at resume.

    Raises:
        StorageError: the disk is full or not writable; older checkpoints are kept.
    """
    folder = out / "checkpoints" / f"{done:06d}"
    with replacing_folder(folder) as beside:
        save_model(stepper.best_model(), beside / "pretrained_model")
        state = beside / "training_state"
        state.mkdir()
        write_tensors(state / "learner.safetensors", _weights(stepper.learner))
        write_tensors(state / "optimizer.safetensors", _moments(stepper))
        if stepper.average is not None:
            write_tensors(state / "average.safetensors", _weights(stepper.average))
        write_json(
            state / _STATE,
            {"done": done, "run": run_digest, "processes": stepper.processes.count},
        )
    _point_last(folder)
    _drop_old(folder.parent)
    return folder


def load_state(out: Path, stepper: Stepper, run_digest: str) -> int:
    """Bring a stepper to the newest checkpoint of a run and return the steps already taken.

    Args:
        out: folder of the run.
        stepper: freshly made with the run's settings.
        run_digest: names the run's settings and data.

    Returns:
        0 where the run has no checkpoint yet.

    Raises:
        CheckpointError: the checkpoint is damaged, or belongs to other settings or data.
    """
    folders = _checkpoints(out / "checkpoints")
    if not folders:
        return 0
    state = folders[-1] / "training_state"
    document = read_json(state / _STATE)
    if not isinstance(document, dict) or not {"done", "run"} <= document.keys():
        raise CheckpointError(f"{state / _STATE}: says neither steps nor run; it is damaged.")
    if document["run"] != run_digest:
        raise CheckpointError(
            f"{folders[-1]}: was made with other settings or other data; resume with the same, or "
            "choose a new --out."
        )
    _load(stepper.learner, state / "learner.safetensors")
    if stepper.average is not None:
        _load(stepper.average, state / "average.safetensors")
    _load_moments(stepper, state / "optimizer.safetensors")
    return int(document["done"])


def _weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().contiguous() for name, value in module.state_dict().items()}


def _load(module: nn.Module, path: Path) -> None:
    expected = {name: value.shape for name, value in module.state_dict().items()}
    module.load_state_dict(read_tensors(path, expected))


def _moments(stepper: Stepper) -> dict[str, Tensor]:
    """Return the optimizer's state by parameter name; zero before the first step."""
    return {
        f"{name}.{key}": value.contiguous()
        for name, parameter in stepper.learner.named_parameters()
        for key, value in stepper.optimizer.moments(parameter).items()
    }


def _load_moments(stepper: Stepper, path: Path) -> None:
    expected = {name: value.shape for name, value in _moments(stepper).items()}
    moments = read_tensors(path, expected)
    for name, parameter in stepper.learner.named_parameters():
        keys = stepper.optimizer.moments(parameter)
        stepper.optimizer.restore(parameter, {key: moments[f"{name}.{key}"] for key in keys})


def _checkpoints(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.name.isdigit() and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name))


def _point_last(folder: Path) -> None:
    link = folder.parent / "last"
    beside = folder.parent / f".last.{os.getpid()}"
    with storage_errors(link):
        beside.unlink(missing_ok=True)
        beside.symlink_to(folder.name)
        beside.replace(link)


def drop_leftovers(out: Path) -> None:
    """Remove what killed attempts at a run left half-written beside its files."""
    for folder in (out, out / "checkpoints"):
        for path in folder.iterdir() if folder.is_dir() else ():
            if _LEFTOVER.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif _LEFTOVER.fullmatch(path.name):
                path.unlink(missing_ok=True)


def _drop_old(folder: Path) -> None:
    for old in _checkpoints(folder)[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
