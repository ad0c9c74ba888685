"""Learning-rate schedule: linear warm-up, then a half cosine down to a share of the peak."""

from __future__ import annotations

import math

from armillary.training.config import OptimizerConfig


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """Return the learning rate of a step.

    Args:
        config: peak, warm-up share and final share.
        step: the optimizer step, from 0.
        steps: optimizer steps of the whole run.
    """
    warmup = round(config.warmup * steps)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    share = config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * done))
    return config.lr * share
