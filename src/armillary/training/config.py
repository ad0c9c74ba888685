"""Settings of a training run: frozen, validated, saved beside the run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from armillary.core.errors import ConfigError
from armillary.training.augment import AugmentConfig
from armillary.training.terms import ObjectiveConfig


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warm-up and cosine decay.

    Attributes:
        lr: peak learning rate.
        weight_decay: decoupled decay, on matrices only.
        warmup: share of the steps with rising learning rate.
        final_lr: share of the peak that is left at the end.
        clip_norm: largest norm of the gradient.
    """

    lr: float = 1e-3
    weight_decay: float = 1e-3
    warmup: float = 0.05
    final_lr: float = 0.02
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        above_0 = 0 < self.lr < math.inf and self.clip_norm > 0
        if not (above_0 and self.weight_decay >= 0 and 0 <= self.warmup < 1):
            raise ConfigError(
                "optimizer.lr and clip_norm must be above 0, weight_decay at least 0 and warmup in "
                f"[0, 1), got {self.lr}, {self.clip_norm}, {self.weight_decay}, {self.warmup}."
            )


@dataclass(frozen=True)
class FinetuneConfig:
    """How the predictor is fine-tuned on a frozen encoder (``finetuning.py``).

    Attributes:
        steps: updates; 0 for none.
        batch_size: clips per step; 0 for those of the encoder's training, divided by ``starts``.
        lr: peak learning rate, of AdamW.
        clips: most clips whose latents are kept in memory.
        rollout_steps: steps ahead that are predicted from each start, on the predictor's own
            prediction from the second on.
        rollout_decay: weight of each step ahead, relative to the step before it.
        clip_length: model steps per clip; 0 for as many as the encoder learned from. Longer ones
            cost little here, and predictions far ahead must be learned from them.
        varied: whether clips are varied as those that the encoder learned from (``augment``), each
            once; else they are as recorded. The held-out error is always of clips as recorded. A
            goal policy learns from episodes varied alike, too (``recipes/goal_policy.py``).
        sensor_dropout: probability that an optional sensor is left out of a clip, once for all; 0
            takes the objective's. Of ``clips`` clips each way to see gets a share, and a
            predictor that sees few of one knows these by heart.
        lively: share of the clips of a step that is drawn from the quarter whose latent changes
            most; none where actions vary in half of the clips or fewer.
        forget: share of the clips of a step whose starts have an empty memory, as at the
            beginning of an episode. Else nearly all starts have a full one.
        starts: share of the steps of a clip that are started from, drawn at each update. With few
            starts in each of many clips, an update sees more that differs at the same cost.
        passes: as ``TrainConfig.passes``, for these updates.
    """

    steps: int = 0
    batch_size: int = 64
    lr: float = 1e-3
    clips: int = 4096
    rollout_steps: int = 1
    rollout_decay: float = 0.7
    clip_length: int = 0
    varied: bool = False
    sensor_dropout: float = 0.0
    lively: float = 0.0
    forget: float = 0.0
    starts: float = 1.0
    passes: float = 0.0

    def __post_init__(self) -> None:
        _check_passes("finetune.passes", self.passes)
        for name in ("lively", "forget"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"finetune.{name} must be in [0, 1], got {getattr(self, name)}.")
        if not 0 < self.starts <= 1 or not 0 < self.rollout_decay <= 1:
            raise ConfigError(
                "finetune.starts and finetune.rollout_decay must be above 0 and at most 1, got "
                f"{self.starts} and {self.rollout_decay}."
            )
        if not 0 <= self.sensor_dropout < 1:
            raise ConfigError(
                f"finetune.sensor_dropout must be in [0, 1), got {self.sensor_dropout}."
            )
        if self.rollout_steps < 1 or self.clip_length < 0:
            raise ConfigError(
                "finetune.rollout_steps must be at least 1 and finetune.clip_length at least 0, "
                f"got {self.rollout_steps} and {self.clip_length}."
            )
        if min(self.steps, self.batch_size) < 0 or self.clips < 1 or not self.lr > 0:
            raise ConfigError(
                "finetune.steps and finetune.batch_size must be at least 0, finetune.clips at "
                f"least 1 and finetune.lr above 0, got {self.steps}, {self.batch_size}, "
                f"{self.clips} and {self.lr}."
            )


# Stored runs and hashes of recipes say ``settling``, and so does the field; flags say ``finetune``.
@dataclass(frozen=True)
class TrainConfig:
    """How long, on how much at once, and how it is watched.

    Attributes:
        steps: optimizer steps, the most where ``passes`` is set.
        passes: fewer steps are taken where these would see each recorded frame more often than this
            (``recipes/world.py``); 0 for no bound.
        batch_size: clips per step, over all processes; 0 leaves it to the clips' length.
        clip_length: T, model steps per clip; 0 leaves it to the data, as ``recipes/world.py`` says.
        seed: names weights, order of the data and random directions.
        ema_decay: decay of the moving average of the weights that is kept as the model; 0: none.
        precision: bfloat16 autocast or float32; auto takes bfloat16 where the processor has it.
        threads: threads per process; 0 takes the cores that the machine has, or under torchrun a
            process's share of them.
        log_every: steps between lines of the log.
        eval_every: steps between held-out losses.
        checkpoint_every: steps between checkpoints.
    """

    steps: int = 2000
    passes: float = 0.0
    batch_size: int = 128
    clip_length: int = 8
    seed: int = 0
    ema_decay: float = 0.0
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    threads: int = 0
    log_every: int = 20
    eval_every: int = 200
    checkpoint_every: int = 500
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    settling: Annotated[FinetuneConfig, tyro.conf.arg(name="finetune")] = field(
        default_factory=FinetuneConfig
    )

    def __post_init__(self) -> None:
        least = {"steps": 1, "log_every": 1, "eval_every": 1, "checkpoint_every": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ConfigError(f"{name} must be at least {bound}, got {getattr(self, name)}.")
        _check_passes("passes", self.passes)
        for name in ("batch_size", "clip_length"):
            if getattr(self, name) < 2 and getattr(self, name) != 0:
                raise ConfigError(f"{name} must be at least 2, got {getattr(self, name)}.")
        if self.threads < 0 or not 0 <= self.ema_decay < 1:
            raise ConfigError(
                "threads must be at least 0 and ema_decay in [0, 1), got "
                f"{self.threads} and {self.ema_decay}."
            )
        if self.clip_length == 0:
            return
        if self.objective.rollout_steps >= self.clip_length:
            raise ConfigError(
                f"objective.rollout_steps ({self.objective.rollout_steps}) must be below "
                f"clip_length ({self.clip_length}). Pass --clip-length "
                f"{self.objective.rollout_steps + 1} or more, or fewer --objective.rollout-steps."
            )
        finetune = self.settling
        length = finetune.clip_length or self.clip_length
        if finetune.steps and not finetune.rollout_steps < length:
            raise ConfigError(
                f"finetune.rollout_steps ({finetune.rollout_steps}) must be below the length of "
                f"its clips ({length}); set finetune.clip_length."
            )


def _check_passes(name: str, passes: float) -> None:
    if not 0 <= passes < math.inf:
        raise ConfigError(f"{name} must be at least 0 and finite, got {passes}.")
