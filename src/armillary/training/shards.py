"""Shards on disk: torch.distributed.checkpoint with one safetensors file per process.

Its own format keeps a pickle beside the tensors, which can run code when it is loaded, so torch's
safetensors writer and reader are used. Each file's header says which part of a tensor it holds, so
any number of processes can read it, and whole safetensors files as well.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.api import CheckpointException

from armillary.core.errors import CheckpointError


def write_shards(folder: Path, tensors: Mapping[str, Tensor], group: dist.ProcessGroup) -> Future:
    """Begin to write tensors that are spread over processes; return what ends when all are written.

    Args:
        folder: for the files; must exist.
        tensors: by name, sharded or the same in all processes. They are copied before this returns.
        group: of gloo, which nothing else uses meanwhile. Training goes on with its own.
    """
    # on a CPU torch stages nothing: without a copy, the file would hold later steps
    copies: dict[str, Any] = {n: t.detach().to("cpu", copy=True) for n, t in tensors.items()}
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    return cast(Future, dcp.async_save(copies, storage_writer=writer, process_group=group))


def finish_writing(writing: Future) -> None:
    """Wait until the shards of all processes are on the disk.

    Raises:
        Exception: what stopped one of them; OSError for what its disk refuses.
    """
    try:
        writing.result()
    except CheckpointException as error:  # is no Exception
        reasons = [reason for reason, _ in error.failures.values()]
        refused = [reason for reason in reasons if isinstance(reason, OSError)]
        raise (refused or reasons)[0] from error


def read_shards(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Fill tensors from the safetensors files of a folder, whoever wrote them.

    What no file holds of a tensor that some file holds is left as it is.

    Args:
        folder: of the files.
        tensors: by name, sharded or whole.

    Raises:
        CheckpointError: a file is damaged, or a tensor is missing or has another shape.
    """
    try:
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, framework="pt"):  # else torch prints a traceback of a damaged one
                pass
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that one process reads what several may have written
            dcp.load(
                dict(tensors),
                storage_reader=HuggingFaceStorageReader(str(folder)),
                no_dist=not dist.is_initialized(),
            )
    except (
        CheckpointException,
        SafetensorError,
        AssertionError,
        KeyError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = _reason(error)
        raise CheckpointError(
            f"{folder}: does not hold this model whole ({reason}); the checkpoint is damaged."
        ) from error


def _reason(error: BaseException) -> str:
    reason = error
    if isinstance(error, CheckpointException) and error.failures:
        reason = next(iter(error.failures.values()))[0]
    lines = str(reason).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(reason).__name__
