"""Training of a peer for a number of seconds.

Only its own update is on the clock: gathering clips, normalising them and saving cost it nothing.
The learning rate follows the clock where theirs follows epochs.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import nn

from armillary.benchmark.ground.clips import PeerClips
from armillary.benchmark.ground.kinds import PEER_KINDS
from armillary.benchmark.ground.saved import save_peer
from armillary.benchmark.ground.settings import FRAME_SKIP, PeerTraining
from armillary.core.errors import TrainingError, unknown_name
from armillary.core.progress import Progress, silent
from armillary.core.rng import key
from armillary.data import Cache


def train_peer(
    kind: str,
    cache: Cache,
    episodes: Int[np.ndarray, " E"],
    settings: PeerTraining,
    seconds: float,
    out: Path,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train a peer and leave it in ``out``.

    Args:
        kind: a key of ``PEER_KINDS``.
        cache: prepared episodes at the settings' picture size.
        episodes: positions in the cache to train on.
        settings: its own.
        seconds: of its updates. The last one is the one whose end is nearest to them; at least
            one is taken.
        out: folder.
        seed: names weights, order and the chance of its losses.
        progress: called after each update, in seconds.

    Returns:
        seconds (cpu_seconds: what the processor spent of them, which shows a busy machine),
        updates, frames, parameters, loss (first and last) as JSON values.

    Raises:
        ConfigError: an unknown kind.
        TrainingError: the loss is not a number.
    """
    if kind not in PEER_KINDS:
        raise unknown_name("peer", kind, PEER_KINDS)
    clips = PeerClips(cache, episodes, settings.batch_size, seed)
    with torch.random.fork_rng():
        # their weights, dropout and SIGReg know no other chance than the global one
        torch.manual_seed(key("ground.peer", seed) >> 65)
        network = PEER_KINDS[kind].network(settings, FRAME_SKIP * clips.action_width)
        run = _Run(network.train(), clips, settings, seconds)
        run.all(progress)
    save_peer(out, kind, settings, clips.scale, network)
    parameters = sum(p.numel() for p in network.world_model.parameters())
    return run.numbers() | {"parameters": parameters, "settings": asdict(settings)}


class _Run:
    """Updates until the time is over."""

    def __init__(
        self, network: Any, clips: PeerClips, settings: PeerTraining, seconds: float
    ) -> None:
        self.network, self.clips, self.settings, self.limit = network, clips, settings, seconds
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
        )
        self.spent, self.cpu, self.losses = 0.0, 0.0, [0.0, 0.0]
        self.updates = 0

    def all(self, progress: Progress) -> None:
        last = 0.0
        while not self.updates or self.spent + last / 2 < self.limit:
            pixels, actions = self.clips.batch(self.updates)
            begun, cpu = time.perf_counter(), time.process_time()
            loss = self.update(pixels, actions)
            last = time.perf_counter() - begun
            self.cpu += time.process_time() - cpu
            self.spent += last
            self.losses = [self.losses[0] if self.updates else loss, loss]
            self.updates += 1
            progress(round(min(self.spent, self.limit)), round(self.limit), f"loss {loss:.4g}")

    def update(self, pixels: torch.Tensor, actions: torch.Tensor) -> float:
        rate = self.settings.lr * _share_of_rate(self.spent / self.limit, self.settings.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.bfloat16):
            loss = self.network.loss(pixels, actions)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        if not math.isfinite(value := float(loss.detach())):
            raise TrainingError(f"The peer's loss is {value} after {self.updates} updates.")
        return value

    def numbers(self) -> dict[str, Any]:
        frames = self.updates * self.clips.batch_size * self.clips.length
        return {
            "seconds": round(self.spent, 2),
            "cpu_seconds": round(self.cpu, 2),
            "updates": self.updates,
            "frames": frames,
            "batch": self.clips.batch_size,
            "loss": {"first": self.losses[0], "last": self.losses[1]},
        }


def _share_of_rate(over: float, warmup: float) -> float:
    """Return the share of the peak rate when this share of the time is over."""
    if over < warmup:
        return max(over / warmup, 0.1)  # the very first update at rate 0 would be wasted
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (over - warmup) / max(1e-9, 1 - warmup))))
