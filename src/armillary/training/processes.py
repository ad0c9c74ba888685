"""Processes: one, or several under ``torchrun``; the loop is the same.

``torchrun`` sets RANK, WORLD_SIZE, LOCAL_WORLD_SIZE and the rendezvous address; without them there
is one process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from armillary.core.cores import core_count
from armillary.core.errors import ConfigError

# Kept for as long as Python runs. Else the gradients' reducer would be the last to hold a group,
# and it frees it without giving up the GIL, for which gloo's thread may wait at that moment: a
# deadlock at the end of one training in twenty (torch 2.13; see pytorch/pytorch#56297).
_groups: list[dist.ProcessGroup | None] = []


@dataclass(frozen=True)
class Processes:
    """Where this process stands among those that train together.

    Attributes:
        rank: 0 writes files and speaks.
        count: how many there are.
        device: where this one computes.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def share(self, index: np.ndarray) -> np.ndarray:
        """Return this process's part of a step's window indices.

        Raises:
            ConfigError: the batch does not divide.
        """
        check_share(len(index), self.count)
        return index.reshape(self.count, -1)[self.rank]

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.count > 1:
            dist.barrier()

    def agree(self, on: bool) -> bool:
        """Return whether something is true in every process; all must ask."""
        if self.count == 1:
            return on
        flag = torch.tensor(int(on), device=self.device)
        dist.all_reduce(flag, dist.ReduceOp.MIN)
        return bool(flag)

    def mean(self, numbers: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the mean of each number over the processes; all must ask for the same."""
        if self.count == 1:
            return numbers
        sums = torch.stack([value.detach().float() for value in numbers.values()])
        dist.all_reduce(sums)
        return dict(zip(numbers, sums / self.count, strict=True))

    def background_group(self) -> dist.ProcessGroup:
        """Return a second group, for what runs beside training; every process must call this."""
        group = dist.new_group(backend="gloo")
        assert isinstance(group, dist.ProcessGroup)  # every rank belongs to it
        _groups.append(group)
        return group


def check_share(batch_size: int, processes: int) -> None:
    """Refuse a batch that so many processes cannot share.

    Raises:
        ConfigError: the batch does not divide.
    """
    if batch_size % processes:
        raise ConfigError(
            f"batch_size ({batch_size}) must be divisible by the number of processes ({processes})."
        )


def leads() -> bool:
    """Return whether this process writes files and speaks, before and after ``join_processes``."""
    return planned_processes() == 1 or planned_rank() == 0


def own_cores() -> int:
    """Return how many cores this process may use: the machine's, shared among those that train."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, core_count() // here)


@contextmanager
def join_processes() -> Iterator[Processes]:
    """Join the process group that ``torchrun`` announced, if any, and leave it at the end."""
    count = planned_processes()
    device = _device()
    if count == 1:
        yield Processes(0, 1, device)
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        store = _store_of_attempt()
        dist.init_process_group(backend, store=store, rank=planned_rank(), world_size=count)
    else:
        dist.init_process_group(backend)
    _groups.append(dist.group.WORLD)
    try:
        yield Processes(dist.get_rank(), count, device)
    finally:
        dist.destroy_process_group()


def planned_processes() -> int:
    """Return how many processes train together, as ``torchrun`` says; else 1."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def planned_rank() -> int:
    """Return the number of this process, as ``torchrun`` says; else 0."""
    return int(os.environ.get("RANK", "0"))


def _store_of_attempt() -> dist.Store:
    """Return where the processes of torchrun on one node find each other.

    After a restart, torchrun's store still has the addresses of the processes before it, and new
    ones would wait for those (torch 2.13; pytorch/pytorch#135712). So each attempt has its own part
    of it. Several nodes count attempts differently, which docs/how-to/growing.md has a remedy for.
    """
    store: dist.Store = next(rendezvous("env://"))[0]
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return dist.PrefixStore(f"attempt_{attempt}", store)


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    torch.cuda.set_device(local)
    return torch.device("cuda", local)
