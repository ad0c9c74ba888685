"""Learning: one network from the sweeps of one fold."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import DatasetError
from armillary.core.rng import torch_generator
from armillary.experiments.lidar.folds import Fold, whole_windows
from armillary.experiments.lidar.track import Track
from armillary.experiments.lidar.views import (
    HINTS,
    MEMORY,
    MOTION,
    SEEN,
    Views,
    joined,
    make_views,
    mirrored,
)
from armillary.models.range_mixture import mixture_nll
from armillary.models.sweeps import SweepConfig, SweepForesight, SweepView, untrained_sweeps
from armillary.training.config import OptimizerConfig
from armillary.training.schedule import learning_rate


@dataclass(frozen=True)
class LearnConfig:
    """How a network learns.

    Attributes:
        steps: optimizer steps.
        batch_size: views in each.
        optimizer: learning rate and weight decay.
        width: channels of a beam's latent.
        farthest: horizons 1 to this are learned, forwards and backwards in time.
        jitter: relative noise on ranges.
        ridge: see ``track.corrected_poses``.
    """

    steps: int = 300
    batch_size: int = 16
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            lr=3e-3, weight_decay=0.01, warmup=0.05, final_lr=0.02, clip_norm=1.0
        )
    )
    width: int = 32
    farthest: int = 6
    jitter: float = 0.002
    ridge: float = 50.0


def lessons(track: Track, poses: Float[Tensor, "T 4 4"], fold: Fold, farthest: int) -> Views:
    """Return every view whose whole window may be learned from, forwards and backwards.

    Raises:
        DatasetError: there is none.
    """
    parts = []
    for direction in (1, -1):
        for horizon in range(1, farthest + 1):
            targets = whole_windows(fold.learned, horizon, MEMORY, direction)
            if len(targets):
                chosen = torch.from_numpy(targets)
                parts.append(make_views(track, poses, chosen, horizon, direction))
    if not parts:
        raise DatasetError("No part for training is long enough for a window. Record more sweeps.")
    return joined(parts)


def learn(
    track: Track,
    views: Views,
    config: LearnConfig,
    seed: int,
) -> SweepForesight:
    """Train one network.

    Args:
        track: the recording; only its beams are used.
        views: what is learned from.
        config: how.
        seed: of weights and order.
    """
    shape = SweepConfig(SEEN, HINTS, MOTION, config.width)
    model = untrained_sweeps(shape, track.angles_rad, seed)
    settings = config.optimizer
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
    )
    chance = torch_generator("lidar lessons", seed)
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step, config.steps)
        batch = _drawn(views, config, chance)
        loss = mixture_nll(model(batch.view), batch.truth_m).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        optimizer.step()
    return model.eval()


def _drawn(views: Views, config: LearnConfig, chance: torch.Generator) -> Views:
    count = len(views.truth_m)
    batch = views.rows(torch.randint(count, (config.batch_size,), generator=chance))
    batch = mirrored(batch, torch.rand(config.batch_size, generator=chance) < 0.5)
    view = batch.view
    noise = torch.randn(view.seen_m.shape, generator=chance)
    seen_m = view.seen_m * (1 + config.jitter * noise)
    return Views(SweepView(seen_m, view.hints, view.motion), batch.truth_m)
