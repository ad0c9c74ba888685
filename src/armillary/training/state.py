"""Training state: all that a run needs to go on as if it had never stopped.

    checkpoints/000500/pretrained_model/        the model as ``load_model`` reads it
    checkpoints/000500/training_state/          learner, optimizer, average; state.json
                                                sharded: one file per process of all three
    checkpoints/last                            link to the newest
    train.lock                                  empty; held while a training writes here

Data order, learning rate and random directions are functions of the step, so they need no state.
Any number of processes can read a checkpoint, sharded or not, whichever wrote it. One of shards has
no ``pretrained_model``: no process holds the whole model before the end.
"""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from armillary.core.errors import CheckpointError, FormatError, StorageError
from armillary.core.files import read_json, replacing_folder, storage_errors, write_json
from armillary.models.checkpoint import read_tensors, save_model, write_tensors
from armillary.training.sharding import own_share
from armillary.training.stepper import Stepper

_KEPT = 2
_LEARNER, _AVERAGE = "learner.safetensors", "average.safetensors"
_FOLDER, _STATE = "training_state", "state.json"
LOCK = "train.lock"
# The names that ``_beside`` gives and those of ``replacing_folder``.
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
    with replacing_folder(folder) as beside, naming(folder):
        save_model(stepper.best_model(), beside / "pretrained_model")
        state = beside / _FOLDER
        state.mkdir()
        write_tensors(state / _LEARNER, _weights(stepper.learner))
        write_tensors(state / "optimizer.safetensors", _moments(stepper))
        if stepper.average is not None:
            write_tensors(state / _AVERAGE, _weights(stepper.average))
        write_json(state / _STATE, _state(done, stepper, run_digest))
        _flush_to_disk(beside)
    _point_last(folder)
    _drop_old(folder.parent)
    return folder


class Saves:
    """Writes the checkpoints of a run: whole ones at once, shards while training goes on.

    Use it as a context, which ends when the last checkpoint is written.

    Args:
        out: folder of the run.
        stepper: what is kept.
        run_digest: names the run's settings and data, compared at resume.
    """

    def __init__(self, out: Path, stepper: Stepper, run_digest: str) -> None:
        self._out, self._stepper, self._digest = out, stepper, run_digest
        self._group = stepper.processes.background_group() if stepper.sharded else None
        self._writer = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    def __enter__(self) -> Saves:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        try:
            self.wait()
        except Exception:
            if kind is None:  # else what ended the training is the reason to be told
                raise
        finally:
            self._writer.shutdown()

    def save(self, done: int) -> None:
        """Write a checkpoint, or begin to, after the one before is written; all must call this.

        Args:
            done: optimizer steps that were taken.

        Raises:
            StorageError: the disk is full or not writable; older checkpoints are kept.
        """
        processes = self._stepper.processes
        if self._group is None:
            if processes.leads:
                save_state(self._out, done, self._stepper, self._digest)
            processes.wait()
            return
        self.wait()
        folder = self._out / "checkpoints" / f"{done:06d}"
        if processes.leads:
            with storage_errors(folder):
                shutil.rmtree(_beside(folder), ignore_errors=True)
                (_beside(folder) / _FOLDER).mkdir(parents=True)
        processes.wait()
        from armillary.training.shards import write_shards  # takes a second, so not in every run

        shards = write_shards(_beside(folder) / _FOLDER, _tensors(self._stepper), self._group)
        state = _state(done, self._stepper, self._digest)
        self._writing = self._writer.submit(self._publish, shards, folder, state)

    def wait(self) -> None:
        """Wait until the last checkpoint is written.

        Raises:
            StorageError: the disk is full or not writable; older checkpoints are kept.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _publish(self, shards: Future[Any], folder: Path, state: dict[str, Any]) -> None:
        """Give a checkpoint its name as soon as all its shards are on the disk."""
        from armillary.training.shards import finish_writing

        beside = _beside(folder)
        try:
            with naming(folder):
                finish_writing(shards)
                if not self._stepper.processes.leads:
                    return
                write_json(beside / _FOLDER / _STATE, state)
                _flush_to_disk(beside)
                if folder.exists():  # damaged, or it would not be written again
                    shutil.rmtree(folder)
                beside.replace(folder)
        finally:
            if self._stepper.processes.leads:
                shutil.rmtree(beside, ignore_errors=True)
        _point_last(folder)
        _drop_old(folder.parent)


@contextmanager
def naming(folder: Path) -> Iterator[None]:
    """Let what the disk refuses name a folder, and not what is written beside it and then deleted.

    Args:
        folder: what is written, by the name that it gets in the end.

    Raises:
        StorageError: the disk is full or not writable.
    """
    with storage_errors(folder):
        try:
            yield
        except StorageError as error:  # of a file in the folder beside, by whoever wrote it
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None
            raise


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
    if stepper.sharded or not (state / _LEARNER).is_file():
        _restore_shards(stepper, state)
        return
    _load(stepper.learner, state / _LEARNER)
    if stepper.average is not None:
        _load(stepper.average, state / _AVERAGE)
    _load_moments(stepper, state / "optimizer.safetensors")


def _restore_shards(stepper: Stepper, state: Path) -> None:
    """Read a checkpoint of shards, or into shards; nothing is set unless all of it is whole."""
    from armillary.training.shards import read_shards

    # what no file holds stays NaN
    tensors = {name: torch.full_like(t, math.nan) for name, t in _tensors(stepper).items()}
    read_shards(state, tensors)
    if not stepper.processes.agree(
        all(bool(own_share(t).isfinite().all()) for t in tensors.values())
    ):
        raise CheckpointError(
            f"{state}: a shard is missing, or holds NaN or infinity; the checkpoint is damaged."
        )
    for module in (stepper.learner, stepper.average):
        if module is not None:
            module.load_state_dict({name: tensors[name] for name in module.state_dict()})
    _set_moments(stepper, tensors)


def _tensors(stepper: Stepper) -> dict[str, Tensor]:
    """Return all that is kept, by the names that the files of a whole checkpoint have, too.

    The learner's begin with ``model.`` or ``terms.``, and so do the optimizer's, which end with
    what is kept; the average's begin with the model's modules.
    """
    average = {} if stepper.average is None else _weights(stepper.average)
    return _weights(stepper.learner) | _moments(stepper) | average


def _state(done: int, stepper: Stepper, run_digest: str) -> dict[str, Any]:
    return {"done": done, "run": run_digest, "processes": stepper.processes.count}


def _beside(folder: Path) -> Path:
    """Return where the processes write a checkpoint before it has its name; the same for all."""
    return folder.with_name(f".{folder.name}.0.part")


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
    _set_moments(stepper, read_tensors(path, expected))


def _set_moments(stepper: Stepper, moments: dict[str, Tensor]) -> None:
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
