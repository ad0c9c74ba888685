"""Goal prior of armillary's model within what is left of its seconds, everything on the clock.

How many steps fit is measured on a few that are thrown away; they count too.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from armillary.core.progress import Progress, silent
from armillary.data import Cache, Windows
from armillary.models import load_model, save_prior
from armillary.training.prior import PriorConfig, fit_prior
from armillary.training.trails import trails_of

_TRIED = 5
# left for what a step costs more on a busier machine, and for the scale that is fitted at the end
_MARGIN = 0.93


def train_own_prior(
    folder: Path,
    cache: Cache,
    episodes: Int[np.ndarray, " E"],
    streams: tuple[str, ...],
    seconds: float,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train a goal prior on a model's latents and leave it in the model's folder.

    Args:
        folder: the model's.
        cache: prepared episodes at the model's picture size.
        episodes: positions in the cache to learn from.
        streams: names of the cache's streams that the model reads.
        seconds: encoding and training together.
        seed: names weights and samples.
        progress: called after each step.

    Returns:
        seconds, updates.
    """
    begun = time.perf_counter()
    trails = trails_of(load_model(folder), Windows(cache, episodes, 1, 1, streams))
    config = PriorConfig(seed=seed, steps=_TRIED)
    tried = time.perf_counter()
    fit_prior(trails, config)
    a_step = (time.perf_counter() - tried) / _TRIED
    left = _MARGIN * (seconds - (time.perf_counter() - begun))
    config = replace(config, steps=max(1, int(left / a_step)))
    save_prior(fit_prior(trails, config, progress), folder)
    return {"seconds": round(time.perf_counter() - begun, 2), "updates": config.steps}
