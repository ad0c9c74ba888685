"""Stepper: one optimizer step, everything counted (gather, encode, roll out, losses, update).

What the loop repeats and what the speed bench times are this same object.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from armillary.core.errors import TrainingError
from armillary.core.rng import generator
from armillary.core.values import Batch
from armillary.data import Windows
from armillary.models import JEPA
from armillary.objectives import CollapseDiagnosis, diagnose_collapse, weighted_sum
from armillary.training.augment import augment
from armillary.training.compute import ComputeConfig, prepare_blocks
from armillary.training.config import TrainConfig
from armillary.training.devices import on_device, pinned
from armillary.training.learner import Learner
from armillary.training.optimizer import Optimizer
from armillary.training.precision import training_dtype
from armillary.training.processes import Processes, own_cores
from armillary.training.schedule import learning_rate
from armillary.training.sharding import (
    clip_gradients,
    free_gathered,
    own_share,
    shard,
    whole_model,
)

_FINE = 1_000_000  # places of a schedule that follows the clock


class Stepper:
    """Holds what changes from step to step: learner, optimizer, moving average.

    Args:
        model: the model that learns.
        config: settings of the run.
        windows: training clips.
        processes: where this process stands.
        compute: how a step is computed; None for the usual way.

    Attributes:
        sharded: whether each process holds a share of the parameters, and not all.
    """

    def __init__(
        self,
        model: JEPA,
        config: TrainConfig,
        windows: Windows,
        processes: Processes,
        compute: ComputeConfig | None = None,
    ) -> None:
        compute = compute or ComputeConfig()
        self.config, self.windows, self.processes = config, windows, processes
        parts = compute.gradient_accumulation
        self.learner = Learner(model, config.objective, config.seed, processes, parts)
        self.learner.to(processes.device)
        self.average = _copy(model) if config.ema_decay else None
        prepare_blocks(model, compute)
        self.sharded = compute.parallel == "fsdp" and processes.count > 1
        if self.sharded:
            shard(self.learner, model, processes)
            if self.average is not None:
                shard(self.average, self.average, processes)
        self.optimizer = Optimizer(self.learner, config.optimizer)
        self.dtype = training_dtype(config.precision, processes.device)
        self._parallel = self.learner
        if processes.count > 1 and not self.sharded:
            # Looking for parameters without a gradient (a term of weight 0 leaves some) also keeps
            # the buckets as they are. Else they are built anew after an attempt's first step, and
            # with them, for three processes and more, the order of sums: a run that goes on would
            # not end in the same bits.
            self._parallel = DistributedDataParallel(self.learner, find_unused_parameters=True)
        self._order: tuple[int, np.ndarray] | None = None
        # a thread of its own, where a core is left for it: clips of the next step are gathered
        # while this one is computed. Without, it would hold up the others (2 threads on 2 cores:
        # 5,200 frames/s with it, 6,300 without).
        self._gatherer = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,))
        self._ahead: tuple[int, Future[Batch]] | None = None

    @property
    def model(self) -> JEPA:
        """The model that learns."""
        return self.learner.model

    def best_model(self) -> JEPA:
        """Return the model to keep, whole: the moving average where there is one.

        Of a sharded model it is a copy, for which every process must ask.
        """
        best = self.average if self.average is not None else self.model
        return whole_model(best) if self.sharded else best

    def step(self, step: int, over: float | None = None) -> tuple[dict[str, Tensor], Tensor]:
        """Take one optimizer step and return its numbers, as tensors, and its latents.

        Args:
            step: the step's number from 0; it alone decides data, learning rate and randomness.
            over: share of the run that is over, 0 to 1, for a run that ends by the clock: decides
                the learning rate in place of the step's number.

        Raises:
            TrainingError: the loss is not a number; nothing was updated.
        """
        place = (step, self.config.steps) if over is None else (round(over * _FINE), _FINE)
        self.optimizer.set_rate(learning_rate(self.config.optimizer, *place))
        batch = self.batch(step)
        with self.autocast():
            terms, latents = self._parallel(batch, step)
        loss = weighted_sum(terms, self.config.objective.weights)
        self.optimizer.zero_grad()
        loss.backward()
        norm = clip_gradients(self.learner, self.config.optimizer.clip_norm, self.sharded)
        if not math.isfinite(float(norm)):
            raise TrainingError(self._not_a_number(step, terms))
        self.optimizer.step()
        self._move_average(step)
        return {"loss": loss.detach(), "grad_norm": norm, **_detached(terms)}, latents.detach()

    @torch.no_grad()
    def held_out(self, windows: Windows, batches: int) -> dict[str, float]:
        """Return the mean loss terms over fixed held-out clips."""
        # as many at once as a step brings to this process, so that what fits there fits here
        size = min(len(windows), self.config.batch_size // self.processes.count)
        order = windows.order(self.config.seed, 0)
        sums: dict[str, float] = {}
        count = max(1, min(batches, len(windows) // size))
        for start in range(0, count * size, size):
            batch = on_device(windows.gather(order[start : start + size]), self.processes.device)
            with self.autocast():
                terms, _ = self.learner(batch, 0)
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + float(term) / count
        if self.sharded:
            free_gathered(self.learner)
        return sums

    def diagnose(self, latents: Tensor) -> CollapseDiagnosis:
        """Return the collapse diagnosis of a step's latents."""
        return diagnose_collapse(latents)

    def batch(self, step: int) -> Batch:
        """Return this process's clips of a step, and begin on the next with a core to spare."""
        ahead, self._ahead = self._ahead, None
        batch = ahead[1].result() if ahead and ahead[0] == step else self._gather(step)
        # a GPU leaves the cores free
        spare = self._on_gpu or torch.get_num_threads() < own_cores()
        if step + 1 < self.config.steps and spare:
            self._ahead = step + 1, self._gatherer.submit(self._gather, step + 1)
        return on_device(batch, self.processes.device)

    def _gather(self, step: int) -> Batch:
        size, total = self.config.batch_size, len(self.windows)
        positions = np.arange(step * size, (step + 1) * size)
        index = np.concatenate(
            [
                self._epoch(epoch)[positions[positions // total == epoch] % total]
                for epoch in range(positions[0] // total, positions[-1] // total + 1)
            ]
        )
        batch = self.windows.gather(self.processes.share(index))
        rng = generator("augment", self.config.seed, step, self.processes.rank)
        batch = augment(batch, self.config.augment, rng, self.windows.stride)
        return pinned(batch) if self._on_gpu else batch

    @property
    def _on_gpu(self) -> bool:
        return self.processes.device.type == "cuda"

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Compute in the run's precision."""
        enabled = self.dtype != torch.float32
        with torch.autocast(self.processes.device.type, dtype=self.dtype, enabled=enabled):
            yield

    def _epoch(self, epoch: int) -> np.ndarray:
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, self.windows.order(self.config.seed, epoch)
        return self._order[1]

    @torch.no_grad()
    def _move_average(self, step: int) -> None:
        if self.average is None:
            return
        # the average forgets the first steps faster, or it would remember the random start
        decay = min(self.config.ema_decay, (1 + step) / (10 + step))
        kept = [own_share(parameter) for parameter in self.average.parameters()]
        moving = [own_share(parameter) for parameter in self.model.parameters()]
        torch._foreach_lerp_(kept, moving, 1 - decay)

    def _not_a_number(self, step: int, terms: dict[str, Tensor]) -> str:
        values = ", ".join(f"{name} {float(term):.3g}" for name, term in _detached(terms).items())
        return (
            f"Training stopped at step {step}: the gradient is not a number ({values}). Look for "
            "NaN in the data or lower optimizer.lr, and begin anew with another --out: checkpoints "
            "stay, but go on with the settings and data alone that they were made with."
        )


def _copy(model: JEPA) -> JEPA:
    return copy.deepcopy(model).requires_grad_(False).eval()


def _detached(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: term.detach() for name, term in terms.items()}
