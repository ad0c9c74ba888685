"""Goal prior of armillary's model within what is left of its seconds, everything on the clock.

How many steps fit is measured on a few that are thrown away; they count too. What a training takes
beside its steps (fitting scales to all latents) is told apart from them by two such trainings.
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
from armillary.training.trails import Trails, trails_of

_TRIED = 1, 16
# left for what a step costs more on a busier machine, and for the scale that is fitted at the end
_MARGIN = 0.93


def train_own_prior(
    folder: Path,
    cache: Cache,
    episodes: Int[np.ndarray, " E"],
    streams: tuple[str, ...],
    seconds: float,
    config: PriorConfig,
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
        progress: called after each step.

    Returns:
        seconds, updates.
    """
    begun = time.perf_counter()
    trails = trails_of(load_model(folder), Windows(cache, episodes, 1, 1, streams))
    few, more = (_seconds_of(trails, replace(config, steps=steps)) for steps in _TRIED)
    # a busy machine can make the longer one look no longer
    a_step = max(more - few, 0.02 * more) / (_TRIED[1] - _TRIED[0])
    left = _MARGIN * (seconds - (time.perf_counter() - begun)) - few
    config = replace(config, steps=max(1, int(left / a_step)))
    save_prior(fit_prior(trails, config, progress), folder)
    return {"seconds": round(time.perf_counter() - begun, 2), "updates": config.steps}


def _seconds_of(trails: Trails, config: PriorConfig) -> float:
    begun = time.perf_counter()
    fit_prior(trails, config)
    return time.perf_counter() - begun
