"""Training state: all that a run needs to go on as if it had never stopped.

    checkpoints/000500/pretrained_model/        the model as ``load_model`` reads it
    checkpoints/000500/training_state/          learner, optimizer, average; state.json
    checkpoints/last                            link to the newest
    train.lock                                  empty; held while a training writes here

Data order, learning rate and random directions are functions of the step, so they need no state.
A checkpoint is replicated state: it can be read by any number of processes.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from torch import Tensor, nn

from armillary.core.errors import CheckpointError, FormatError
from armillary.core.files import read_json, replacing_folder, storage_errors, write_json
from armillary.models.checkpoint import read_tensors, save_model, write_tensors
from armillary.training.stepper import Stepper

_KEPT = 2
_FOLDER, _STATE = "training_state", "state.json"
LOCK = "train.lock"
_LEFTOVER = re.compile(r"\.(.+\.\d+\.(part|old)|last\.\d+)")


def save_state(out: Path, done: int, stepper: Stepper, run_digest: str) -> Path:
    """Write a checkpoint in one step, point ``last`` to it, and drop all but the newest two.

    Its files are on the disk before it takes its name, so that a power cut leaves it whole or not
    at all.

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
        state = beside / _FOLDER
        state.mkdir()
        write_tensors(state / "learner.safetensors", _weights(stepper.learner))
        write_tensors(state / "optimizer.safetensors", _moments(stepper))
        if stepper.average is not None:
            write_tensors(state / "average.safetensors", _weights(stepper.average))
        write_json(
            state / _STATE,
            {"done": done, "run": run_digest, "processes": stepper.processes.count},
        )
        _flush_to_disk(beside)
    _point_last(folder)
    _drop_old(folder.parent)
    return folder


def has_checkpoints(out: Path) -> bool:
    """Return whether a run has a checkpoint, whole or damaged."""
    return bool(_checkpoints(out / "checkpoints"))


def load_state(out: Path, stepper: Stepper, run_digest: str) -> tuple[int, tuple[str, ...]]:
    """Bring a stepper to the newest whole checkpoint of a run.

    Args:
        out: folder of the run.
        stepper: freshly made with the run's settings.
        run_digest: names the run's settings and data.

    Returns:
        The steps already taken, 0 where the run has no checkpoint yet; and what is wrong with
        newer checkpoints that were passed over, one sentence each.

    Raises:
        CheckpointError: all checkpoints are damaged, or one belongs to other settings or data.
    """
    damage: list[CheckpointError] = []
    for folder in reversed(_checkpoints(out / "checkpoints")):
        try:
            done, made_with = _steps_and_writer(folder)
            if made_with == run_digest:
                _restore(stepper, folder / _FOLDER)
                return done, tuple(f"{one} Training went on from step {done}." for one in damage)
        except CheckpointError as error:
            damage.append(error)
        else:
            raise CheckpointError(
                f"{folder}: was made with other settings or other data; resume with the same, or "
                "choose a new --out."
            )
    if damage:
        raise damage[0]
    return 0, ()


def _steps_and_writer(folder: Path) -> tuple[int, str]:
    """Return the steps that a checkpoint's run had taken, and the digest of its settings."""
    path = folder / _FOLDER / _STATE
    try:
        document = read_json(path)
        return int(document["done"]), str(document["run"])
    except (FormatError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: says neither steps nor run; it is damaged.") from error


def _restore(stepper: Stepper, state: Path) -> None:
    _load(stepper.learner, state / "learner.safetensors")
    if stepper.average is not None:
        _load(stepper.average, state / "average.safetensors")
    _load_moments(stepper, state / "optimizer.safetensors")


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


def _flush_to_disk(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())


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
