"""Predictor fine-tuning: the encoder is frozen after its training, and the predictor trains on.

While both learn, the targets of the prediction change with every step, and the averages of their
weights that are kept were never trained together. Latents of a frozen encoder are computed once, so
a step costs no encoding. The recipe ``world`` fine-tunes its predictor so (``recipes/world.py``).
Surprise is measured against the predictions, so it is only as good as these.

The seeds of this file, its field of the settings and its entries of the log keep the old name
``settling``: with other names the same seed would draw other clips, and runs that were stored
before would not be read.

Axes: B clips, T steps, N tokens, D width.
Source: a predictor on a frozen encoder, as V-JEPA 2-AC (2506.09985) has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from armillary.core.errors import TrainingError
from armillary.core.rng import generator, torch_generator
from armillary.core.values import Batch, Latent
from armillary.data import Windows
from armillary.models import JEPA
from armillary.models.predictor import Predictor
from armillary.objectives import decaying_weights, rollout_loss
from armillary.training.augment import AugmentConfig, augment
from armillary.training.config import FinetuneConfig, OptimizerConfig
from armillary.training.devices import on_device
from armillary.training.rollouts import predict_from_each, some_starts, targets_after_each
from armillary.training.schedule import learning_rate
from armillary.training.sensor_dropout import draw_kept
from armillary.training.unit_latent import Unit, change_predictor

_ENCODED = 64  # clips at once
_JUDGED = 256  # held-out clips
_DECAY = 1e-3
_LIVELY = 4  # one clip in so many is lively


def finetune_predictor(
    model: JEPA,
    windows: Windows,
    config: FinetuneConfig,
    seed: int,
    watch: Callable[[int, float], None] = lambda done, error: None,
    varied: AugmentConfig | None = None,
    sensor_dropout: float = 0.0,
) -> None:
    """Train the predictor of a model on latents of its encoder, in place.

    Args:
        model: its encoder is trained; only its predictor changes.
        windows: training clips; of more than ``config.clips`` as many are drawn.
        config: how long, on how much.
        seed: names the clips and their order.
        watch: called after each step with the steps done and the error.
        varied: how clips are varied, each once; None for as they are.
        sensor_dropout: probability that an optional sensor is left out of a clip, drawn once: the
            predictor must do for any subset, as the encoder has learned to.

    Raises:
        TrainingError: the error is not a number.
        DatasetError: no episode is long enough for ``config.clip_length``.
    """
    windows = finetuning_windows(windows, config)
    drawn = np.sort(generator("settling.clips", seed).permutation(len(windows))[: config.clips])
    seen = _encoded(model, windows, drawn, _Sight(seed, varied, sensor_dropout))
    flat = model.predictor if isinstance(model.predictor, Predictor) else None
    unit = Unit.of_latents(seen.tokens.flatten(2))
    if flat is not None:  # weights shared over tokens absorb no change of unit
        tokens = unit.of(seen.tokens.flatten(2)).unflatten(2, seen.tokens.shape[2:])
        seen = Latent(tokens, seen.actions)
        change_predictor(flat, unit)
    lively = _lively(seen, config) if config.lively and _acted_in_most(seen) else None
    rates = OptimizerConfig(lr=config.lr, final_lr=0.0)
    predictor = model.predictor.requires_grad_(True)
    optimizer = torch.optim.AdamW(predictor.parameters(), weight_decay=_DECAY)
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(rates, step, config.steps)
        rng = generator("settling", seed, step)
        chosen = _chosen(rng, len(drawn), lively, config).to(seen.tokens.device)
        forgotten = torch.from_numpy(rng.random(len(chosen)) < config.forget)
        starts = _starts(rng, seen, config).to(seen.tokens.device)
        error = _error(model, seen, chosen, config, forgotten, starts)
        optimizer.zero_grad()
        error.backward()
        norm = nn.utils.clip_grad_norm_(predictor.parameters(), rates.clip_norm)
        if not math.isfinite(float(norm)):
            raise TrainingError(
                f"Fine-tuning the predictor stopped at step {step}: the gradient is not a number. "
                "Lower finetune.lr and continue with --resume; the training before it is kept."
            )
        optimizer.step()
        watch(step + 1, float(error.detach()))
    if flat is not None:
        change_predictor(flat, unit.back())


def finetuning_windows(windows: Windows, config: FinetuneConfig) -> Windows:
    """Return the clips of the fine-tuning: of the same episodes, perhaps longer.

    Raises:
        DatasetError: no episode is long enough for ``config.clip_length``.
    """
    length = config.clip_length
    if not length or length == windows.length:
        return windows
    return Windows(windows.cache, windows.episodes, length, windows.stride, windows.streams)


@torch.no_grad()
def step_ahead_error(model: JEPA, windows: Windows, seed: int) -> float:
    """Return the mean squared error of the step ahead over fixed clips, each after all before it.

    Args:
        model: whose predictions are judged.
        windows: held-out clips.
        seed: names those that are drawn.
    """
    drawn = generator("settling.judged", seed).permutation(len(windows))[:_JUDGED]
    seen = _encoded(model, windows, np.sort(drawn))
    everything = torch.arange(len(drawn), device=seen.tokens.device)
    return float(_error(model, seen, everything, FinetuneConfig(rollout_steps=1)))


def _chosen(
    rng: np.random.Generator,
    count: int,
    lively: Int[np.ndarray, " C"] | None,
    config: FinetuneConfig,
) -> Int[Tensor, " B"]:
    """Draw the clips of a step, a share of them from the lively ones."""
    chosen = rng.integers(0, count, config.batch_size)
    if lively is not None:
        some = round(config.lively * config.batch_size)
        chosen[:some] = rng.choice(lively, some)
    return torch.from_numpy(chosen)


def _starts(rng: np.random.Generator, seen: Latent, config: FinetuneConfig) -> Int[Tensor, " R"]:
    """Draw the steps of a clip that are started from."""
    order = rng.permutation(seen.tokens.shape[1] - config.rollout_steps)
    return some_starts(torch.from_numpy(order), config.starts)


def _acted_in_most(seen: Latent) -> bool:
    """Tell whether actions vary within most clips, so that they say why much changes."""
    if seen.actions is None:
        return False
    varied = (seen.actions != seen.actions[:, :1]).flatten(1).any(1)
    return bool(varied.float().mean() > 0.5)


def _lively(seen: Latent, config: FinetuneConfig) -> Int[np.ndarray, " C"]:
    """Return which clips are in the quarter whose latent changes most over the steps rolled out.

    They are chosen by what is still to come. Actions say what brought it about. Without them the
    predictor would learn odds that fresh clips do not have (docs/concepts/recipe.md, lively clips).
    """
    latents, ahead = seen.tokens.flatten(2), config.rollout_steps
    change = (latents[:, ahead:] - latents[:, :-ahead]).square().sum(-1).amax(1)
    ranked = change.argsort(descending=True)
    return ranked[: max(1, len(ranked) // _LIVELY)].cpu().numpy()


def _error(
    model: JEPA,
    seen: Latent,
    chosen: Tensor,
    config: FinetuneConfig,
    forgotten: Tensor | None = None,
    starts: Tensor | None = None,
) -> Tensor:
    """Return the weighted mean squared error of the predictions (``objectives/rollout.py``)."""
    latents, actions = seen.tokens[chosen].flatten(2), _actions(model, seen, chosen)
    if forgotten is not None:
        forgotten = forgotten.to(latents.device)
    ahead = config.rollout_steps
    predicted = predict_from_each(model, latents, actions, ahead, forgotten, starts)
    weights = decaying_weights(ahead, config.rollout_decay)
    return rollout_loss(predicted, targets_after_each(latents, ahead, starts), weights)


def _actions(model: JEPA, seen: Latent, chosen: Tensor) -> Tensor:
    if seen.actions is not None:
        return model.normalizer.actions(seen.actions[chosen])
    return seen.tokens.new_zeros(len(chosen), seen.tokens.shape[1] - 1, 0)


@dataclass(frozen=True)
class _Sight:
    """How the clips of the fine-tuning are seen; see ``finetune_predictor``."""

    seed: int = 0
    varied: AugmentConfig | None = None
    sensor_dropout: float = 0.0

    def batch(self, windows: Windows, index: Int[np.ndarray, " B"]) -> Batch:
        batch = windows.gather(index)
        if self.varied is None:
            return batch
        rng = generator("settling.augment", self.seed, int(index[0]))
        return augment(batch, self.varied, rng, windows.stride)

    def kept(self, model: JEPA, index: Int[np.ndarray, " B"]) -> dict[str, Tensor]:
        if not self.sensor_dropout:
            return {}
        rng = torch_generator("settling.sensors", self.seed, int(index[0]))
        return draw_kept(model.config, self.sensor_dropout, len(index), rng)


@torch.no_grad()
def _encoded(
    model: JEPA, windows: Windows, index: Int[np.ndarray, " C"], sight: _Sight | None = None
) -> Latent:
    """Return the latents of clips, in float32; as whoever uses the model sees them by default."""
    device, sight = next(model.parameters()).device, sight or _Sight()
    parts = []
    for at in range(0, len(index), _ENCODED):
        some = index[at : at + _ENCODED]
        kept = {name: used.to(device) for name, used in sight.kept(model, some).items()}
        parts.append(model.encode(on_device(sight.batch(windows, some), device), kept))
    actions = [part.actions for part in parts if part.actions is not None]
    return Latent(
        torch.cat([part.tokens for part in parts]), torch.cat(actions) if actions else None
    )
