"""Learning: a language model from scratch, on the text of episodes, for so many core seconds.

The number of updates is chosen before training: core seconds over what an update takes, as measured
on this machine with a throw-away model. So a training is repeatable from its number of updates, and
core seconds are comparable between a language model and a world model.

Loss: cross-entropy of the tokens of states after the first, whose words depend on nothing before.
Axes: E episodes, K tokens, R rows of a batch.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional

from armillary.core.progress import Progress, silent
from armillary.core.rng import generator
from armillary.models.seeding import seeded
from armillary.training.precision import training_dtype
from armillary.words.gpt import GPT, GPTConfig
from armillary.words.language import VOCABULARY, Form
from armillary.words.settings import CONTEXT

_PILOT = 12  # updates that are timed; the first third is not counted


@dataclass(frozen=True)
class LearningConfig:
    """Settings of a language model's training.

    Attributes:
        rows: texts of a batch.
        lr: highest learning rate; warm-up, then a cosine down to a tenth.
        warmup: share of the updates.
        weight_decay: of matrices.
        clip_norm: of gradients.
    """

    rows: int = 4
    lr: float = 3e-3
    warmup: float = 0.05
    weight_decay: float = 0.05
    clip_norm: float = 1.0


@dataclass(frozen=True)
class Learned:
    """A trained language model.

    Attributes:
        model: it.
        updates: of the optimizer.
        core_seconds: of this process, for training alone.
        tokens: that it read in training.
        loss: mean of the last tenth of the updates, nats a token of a state.
    """

    model: GPT
    updates: int
    core_seconds: float
    tokens: int
    loss: float


def updates_for(core_seconds: float, text: Int[np.ndarray, "E K"], form: Form) -> int:
    """Return how many updates fit into some core seconds on this machine, at least 1."""
    warm = _PILOT // 3
    _learn(text, form, warm, 0)
    began = time.process_time()
    _learn(text, form, _PILOT - warm, 0)
    return max(1, int(core_seconds * (_PILOT - warm) / (time.process_time() - began)))


def learn(
    text: Int[np.ndarray, "E K"],
    form: Form,
    updates: int,
    seed: int,
    config: LearningConfig = LearningConfig(),
    progress: Progress = silent,
) -> Learned:
    """Train a language model.

    Args:
        text: episodes as tokens, whole steps.
        form: how they are written.
        updates: of the optimizer.
        seed: names weights and batches.
        config: settings.
        progress: called after each update.
    """
    began = time.process_time()
    model, losses, tokens = _learn(text, form, updates, seed, config, progress)
    spent = time.process_time() - began
    last = losses[-max(1, len(losses) // 10) :]
    return Learned(model.eval(), updates, spent, tokens, float(np.mean(last)))


def _learn(
    text: np.ndarray,
    form: Form,
    updates: int,
    seed: int,
    config: LearningConfig = LearningConfig(),
    progress: Progress = silent,
) -> tuple[GPT, list[float], int]:
    with seeded(seed):
        model = GPT(shape_of(form))
    matrices = [weights for weights in model.parameters() if weights.ndim == 2]
    others = [weights for weights in model.parameters() if weights.ndim != 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.98))
    steps = min(CONTEXT // form.step_tokens, text.shape[1] // form.step_tokens)
    asked = asked_tokens(form, steps)
    dtype = training_dtype("auto", torch.device("cpu"))
    losses = []
    for update in range(updates):
        for group in optimizer.param_groups:
            group["lr"] = config.lr * _share(update, updates, config.warmup)
        batch = _batch(text, form, steps, config.rows, seed, update)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            scores = model(batch[:, :-1])
        loss = functional.cross_entropy(
            scores[:, asked].float().flatten(0, 1), _targets(batch, asked)
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        losses.append(float(loss.detach()))
        progress(update + 1, updates)
    return model, losses, updates * config.rows * (steps * form.step_tokens - 1)


def shape_of(form: Form) -> GPTConfig:
    """Return the shape of a language model for texts of a form."""
    return GPTConfig(len(VOCABULARY), CONTEXT, form.step_tokens)


def asked_tokens(form: Form, steps: int) -> Bool[Tensor, " K"]:
    """Return which next tokens count: those of states, without the first state and the actions."""
    place = torch.arange(1, steps * form.step_tokens)
    return (place >= form.step_tokens) & (place % form.step_tokens < form.state_tokens)


def _targets(batch: Tensor, asked: Tensor) -> Tensor:
    return batch[:, 1:][:, asked].flatten()


def _batch(
    text: np.ndarray, form: Form, steps: int, rows: int, seed: int, update: int
) -> Int[Tensor, "R K"]:
    rng = generator("words.batch", seed, update)
    whole = text.shape[1] // form.step_tokens
    episode = rng.integers(len(text), size=rows)
    first = rng.integers(whole - steps + 1, size=rows) * form.step_tokens
    columns = first[:, None] + np.arange(steps * form.step_tokens)
    return torch.from_numpy(text[episode[:, None], columns])


def _share(update: int, updates: int, warmup: float) -> float:
    """Return the learning rate as a share of the highest."""
    warm = max(1, round(warmup * updates))
    if update < warm:
        return (update + 1) / warm
    rest = (update - warm) / max(1, updates - warm)
    return 0.1 + 0.9 * (1 + math.cos(math.pi * rest)) / 2
