"""Goal prior of armillary's model within what is left of its seconds, everything on the clock."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from armillary.core.progress import Progress, silent
from armillary.data import Cache, Windows
from armillary.models import load_model, save_prior
from armillary.training import AugmentConfig
from armillary.training.prior import PriorConfig, fit_prior
from armillary.training.trails import trails_of

# left for the scale that is fitted at the end, and for writing
_MARGIN = 0.97


def train_own_prior(
    folder: Path,
    cache: Cache,
    episodes: Int[np.ndarray, " E"],
    streams: tuple[str, ...],
    seconds: float,
    config: PriorConfig,
    augment: AugmentConfig | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train a goal prior on a model's latents and leave it in the model's folder.

    Args:
        folder: the model's.
        cache: prepared episodes at the model's picture size.
        episodes: positions in the cache to learn from.
        streams: names of the cache's streams that the model reads.
        seconds: encoding and training together.
        config: settings; its number of steps is not looked at.
        augment: where it mirrors, the prior learns from mirror images, too.
        progress: called after each step.

    Returns:
        seconds, updates.
    """
    begun = time.perf_counter()
    trails = trails_of(load_model(folder), Windows(cache, episodes, 1, 1, streams), augment)
    updates = 0

    def told(done: int, total: int, note: str = "") -> None:
        nonlocal updates
        updates = done
        progress(done, total, note)

    left = _MARGIN * (seconds - (time.perf_counter() - begun))
    save_prior(fit_prior(trails, config, told, max(left, 1e-3)), folder)
    return {"seconds": round(time.perf_counter() - begun, 2), "updates": updates}
