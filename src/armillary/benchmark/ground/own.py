"""Training of armillary for a number of seconds, by the clock.

The step is the training loop's own ``Stepper``; fitting scales and gathering clips count too.
Pictures were prepared before, as the peers' were, and saving the model comes after.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from armillary.core.progress import Progress, silent
from armillary.data import Cache, Windows
from armillary.models import JEPAConfig, save_model, untrained
from armillary.training import Processes, Stepper, TrainConfig, fit_scales
from armillary.training.log import Log

_ENDLESS = 1 << 40  # steps; the clock ends the run


def train_own(
    model_config: JEPAConfig,
    config: TrainConfig,
    cache: Cache,
    episodes: Int[np.ndarray, " E"],
    streams: tuple[str, ...],
    seconds: float,
    out: Path,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train armillary and leave its model in ``out / "model"``.

    Args:
        model_config: shape of the model, fitted to the data.
        config: settings of the training; its number of steps is not looked at.
        cache: prepared episodes at the model's picture size.
        episodes: positions in the cache to train on.
        streams: names of the cache's streams that model and losses read.
        seconds: of training; at least one step is taken.
        out: folder.
        progress: called after each step, in seconds.

    Returns:
        seconds, cpu_seconds (see ``train_peer``), updates, frames, parameters, loss (last),
        warnings of the collapse diagnosis.

    Raises:
        TrainingError: the loss is not a number.
    """
    out.mkdir(parents=True, exist_ok=True)
    config = replace(config, steps=_ENDLESS)
    begun, cpu = time.perf_counter(), time.process_time()
    windows = Windows(cache, episodes, config.clip_length, model_config.frame_skip, streams)
    model = untrained(model_config, config.seed)
    fit_scales(model, windows, config.seed)
    stepper = Stepper(model, config, windows, Processes(0, 1, torch.device("cpu")))
    log, updates, spent = Log(out), 0, time.perf_counter() - begun
    while True:
        numbers, latents = stepper.step(updates, over=min(1.0, spent / seconds))
        updates += 1
        spent = time.perf_counter() - begun
        if updates % config.log_every == 0:
            log.write(updates, {name: float(value) for name, value in numbers.items()})
            progress(round(min(spent, seconds)), round(seconds), f"{updates} updates")
        if spent >= seconds:
            break
    cpu_spent = time.process_time() - cpu
    save_model(stepper.best_model(), out / "model")
    return {
        "seconds": round(spent, 2),
        "cpu_seconds": round(cpu_spent, 2),
        "updates": updates,
        "frames": updates * config.batch_size * config.clip_length,
        "batch": config.batch_size,
        "loss": {"last": float(numbers["loss"])},
        "parameters": sum(p.numel() for p in model.parameters()),
        "warnings": list(stepper.diagnose(latents).warnings),
        "settings": {"model": asdict(model_config), "train": asdict(config)},
    }
