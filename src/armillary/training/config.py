"""Settings of a training run: frozen, validated, saved beside the run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from armillary.core.errors import ConfigError, unknown_name
from armillary.objectives import GLIMPSE_PIXELS
from armillary.training.augment import AugmentConfig

Method = Literal["adamw", "muon"]


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, or Muon for the matrices inside, with linear warm-up and cosine decay.

    Attributes:
        method: ``muon`` learns more in a step, which takes longer (``optimizer.py``).
        lr: peak learning rate.
        weight_decay: decoupled decay, on matrices only.
        warmup: share of the steps with rising learning rate.
        final_lr: share of the peak that is left at the end.
        clip_norm: largest norm of the gradient.
    """

    method: Method = "adamw"
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
        if self.method not in get_args(Method):
            raise unknown_name("method of optimizer", self.method, get_args(Method))


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights of the loss terms by name; a term of weight 0 is not computed.

    Attributes:
        rollout: multi-step prediction in latent space.
        sigreg: distance of the latents from an isotropic Gaussian.
        variance: hinge on each dimension's standard deviation over the batch.
        covariance: squared covariances between dimensions.
        motion_variance: the hinge on latents minus their clip's mean.
        motion_covariance: the covariances of the same.
        inverse_dynamics: error of the action guessed from two neighbouring latents.
        smoothness: squared change of latent from step to step.
        bird_view: unexplained share of what stands where, seen from above (needs depth).
        picture_view: the same for what stands out where in the picture itself.
        glimpse: the same for what things look like, seen from where they are.
        cross_modal: disagreement of the latent guessed from one half of the sensors with that of
            the other half.
        other_view: disagreement of the latent guessed from camera 0 with that of camera 1 (needs
            two cameras).
        rollout_steps: K, how many steps are foreseen from each start.
        rollout_decay: weight of each further step relative to the one before.
        sigreg_directions: random directions per step.
        motion_margin: standard deviation within a clip that motion_variance asks for.
        motion_share: share of the state tokens that it is asked of; the others may hold what
            rests.
        bird_view_cells: grid places a side of either view.
        picture_view_every: of a clip's frames, every how manyth has its picture viewed, and its
            things.
        glimpse_pixels: side of what is cut out of the picture; the largest thing should fit.
        glimpse_grey: whether a thing without hue is cut out, too.
        sensor_dropout: probability that an optional sensor of the model is left out of a clip.
    """

    rollout: float = 1.0
    sigreg: float = 0.0
    variance: float = 0.0
    covariance: float = 0.0
    motion_variance: float = 0.0
    motion_covariance: float = 0.0
    inverse_dynamics: float = 0.0
    smoothness: float = 0.0
    bird_view: float = 0.0
    picture_view: float = 0.0
    glimpse: float = 0.0
    cross_modal: float = 0.0
    other_view: float = 0.0
    rollout_steps: int = 4
    rollout_decay: float = 0.7
    sigreg_directions: int = 64
    motion_margin: float = 0.5
    motion_share: float = 0.5
    bird_view_cells: int = 8
    picture_view_every: int = 8
    glimpse_pixels: int = GLIMPSE_PIXELS
    glimpse_grey: bool = False
    sensor_dropout: float = 0.0

    def __post_init__(self) -> None:
        least = {"rollout_steps": 1, "picture_view_every": 1, "glimpse_pixels": 1}
        for name, bound in (least | {"sigreg_directions": 1, "bird_view_cells": 2}).items():
            if getattr(self, name) < bound:
                value = getattr(self, name)
                raise ConfigError(f"objective.{name} must be at least {bound}: {value}.")
        if not self.weights:
            raise ConfigError("objective: every term has weight 0, so nothing would be learned.")
        if not 0 <= self.sensor_dropout < 1:
            raise ConfigError(
                f"objective.sensor_dropout must be in [0, 1), got {self.sensor_dropout}."
            )

    @property
    def weights(self) -> dict[str, float]:
        """The terms that count, by name."""
        names = (
            "rollout",
            "sigreg",
            "variance",
            "covariance",
            "motion_variance",
            "motion_covariance",
            "inverse_dynamics",
            "smoothness",
            "bird_view",
            "picture_view",
            "glimpse",
            "cross_modal",
            "other_view",
        )
        return {name: getattr(self, name) for name in names if getattr(self, name) != 0}


@dataclass(frozen=True)
class SettlingConfig:
    """How the predictor learns on when the encoder stands still (``settling.py``).

    Attributes:
        steps: updates; 0 for none.
        batch_size: clips per step.
        lr: peak learning rate, of AdamW.
        clips: most clips whose latents are kept in memory.
        rollout_steps: steps ahead that are foreseen from every step of a clip, on the predictor's
            own foresight from the second on.
        clip_length: model steps per clip; 0 for as many as the encoder learned from. Longer ones
            cost little here, and what is foreseen far ahead must be learned from them.
        varied: whether clips are varied as those that the encoder learned from (``augment``), each
            once; else they are as recorded. The held-out error is always of clips as recorded.
        sensor_dropout: probability that an optional sensor is left out of a clip, once for all; 0
            takes the objective's. Of ``clips`` clips each way to see gets a share, and a
            predictor that sees few of one knows these by heart.
    """

    steps: int = 0
    batch_size: int = 64
    lr: float = 1e-3
    clips: int = 4096
    rollout_steps: int = 1
    clip_length: int = 0
    varied: bool = False
    sensor_dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.sensor_dropout < 1:
            raise ConfigError(
                f"settling.sensor_dropout must be in [0, 1), got {self.sensor_dropout}."
            )
        if self.rollout_steps < 1 or self.clip_length < 0:
            raise ConfigError(
                "settling.rollout_steps must be at least 1 and settling.clip_length at least 0, "
                f"got {self.rollout_steps} and {self.clip_length}."
            )
        if self.steps < 0 or min(self.batch_size, self.clips) < 1 or not self.lr > 0:
            raise ConfigError(
                "settling.steps must be at least 0, settling.batch_size and clips at least 1 and "
                f"settling.lr above 0, got {self.steps}, {self.batch_size}, {self.clips} and "
                f"{self.lr}."
            )


@dataclass(frozen=True)
class TrainConfig:
    """How long, on how much at once, and how it is watched.

    Attributes:
        steps: optimizer steps.
        batch_size: clips per step, over all processes.
        clip_length: T, model steps per clip.
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
    settling: SettlingConfig = field(default_factory=SettlingConfig)

    def __post_init__(self) -> None:
        least = {"steps": 1, "batch_size": 2, "clip_length": 2, "log_every": 1}
        for name, bound in (least | {"eval_every": 1, "checkpoint_every": 1}).items():
            if getattr(self, name) < bound:
                raise ConfigError(f"{name} must be at least {bound}, got {getattr(self, name)}.")
        if self.threads < 0 or not 0 <= self.ema_decay < 1:
            raise ConfigError(
                "threads must be at least 0 and ema_decay in [0, 1), got "
                f"{self.threads} and {self.ema_decay}."
            )
        if self.objective.rollout_steps >= self.clip_length:
            raise ConfigError(
                f"objective.rollout_steps ({self.objective.rollout_steps}) must be below "
                f"clip_length ({self.clip_length}). Pass --clip-length "
                f"{self.objective.rollout_steps + 1} or more, or fewer --objective.rollout-steps."
            )
        settling = self.settling
        settled = settling.clip_length or self.clip_length
        if settling.steps and not settling.rollout_steps < settled:
            raise ConfigError(
                f"settling.rollout_steps ({settling.rollout_steps}) must be below the length of "
                f"its clips ({settled}); set settling.clip_length."
            )
