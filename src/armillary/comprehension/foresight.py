"""Foresight on real video: is a model without actions better than "it stays as it is"?

Two questions at each horizon. In the model's own latent space: is the foreseen latent nearer to
what came than the present latent is? And in a space the model had no hand in, the features of a
frozen random encoder: does a linear read-out of the foreseen latent come nearer to the coming
frame's features than the present frame's features do? The second cannot be bent by the model.
A read-out of the present latent, fitted in the same way, stands beside it: what regression alone
is worth. So does the training part's mean, which beats copy-last wherever all is forgotten.

Read-outs are fitted on the training part only. Intervals resample blocks of consecutive steps.

Axes: T steps, X features, L horizon in steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from armillary.comprehension.latents import encode
from armillary.comprehension.ridge import fit_ridge
from armillary.comprehension.statistics import block_bootstrap_interval
from armillary.core.errors import DatasetError
from armillary.core.protocols import WorldModel
from armillary.core.values import Batch, Latent
from armillary.data import Cache, Windows
from armillary.objectives.scaler import Scaler

_CONTEXTS_AT_ONCE = 256


@dataclass(frozen=True)
class _Seen:
    """One video, encoded: latents [T N D] and features of the frozen encoder [T X]."""

    tokens: Tensor
    frozen: np.ndarray


@dataclass(frozen=True)
class _Part:
    """Contexts that end at ``now`` [F], with the latents foreseen from there [F L X]."""

    now: np.ndarray
    foreseen: np.ndarray


def foresight(
    model: WorldModel,
    frozen: WorldModel,
    cache: Cache,
    train_range: range,
    test_range: range,
    horizons: Sequence[int],
    episode: int = 0,
    history: int = 4,
    block: int = 20,
    frame_skip: int = 1,
    seed: int = 0,
) -> dict[str, dict]:
    """Compare foresight with copy-last at several horizons.

    Args:
        model: trained on ``train_range`` only, without actions.
        frozen: an untrained encoder with weights of its own.
        cache: prepared video.
        train_range: frames to fit read-outs on.
        test_range: frames to judge on; contexts and targets both lie inside.
        horizons: how far ahead, in model steps.
        episode: which video of the cache.
        history: steps of context.
        block: length of a bootstrap block in frames; at least the time over which errors agree.
        frame_skip: frames in a model step.
        seed: of the bootstrap.

    Returns:
        By horizon (as text): ``latent`` with ``error, error_copy_last, error_mean, ratio, gain,
        gain_interval`` (gain = error of copy-last minus error, per standardised dimension), and
        ``frozen`` with the same, plus ``error_readout_present``; ``n``.

    Raises:
        DatasetError: the ranges share frames or are too short.
    """
    _check(train_range, test_range, horizons, history, frame_skip)
    seen = _see(model, frozen, cache, episode)
    longest = max(horizons)
    parts = [
        _foresee(model, seen.tokens, part, longest, history, frame_skip)
        for part in (train_range, test_range)
    ]
    return {
        str(horizon): _at_horizon(seen, parts, train_range, horizon, frame_skip, block, seed)
        for horizon in horizons
    }


def _at_horizon(
    seen: _Seen,
    parts: list[_Part],
    train: range,
    horizon: int,
    skip: int,
    block: int,
    seed: int,
) -> dict:
    fit, judge = parts
    ahead = horizon * skip
    latents = seen.tokens.flatten(1).numpy()
    scale = Scaler.fit(latents[train.start : train.stop])
    features = Scaler.fit(seen.frozen[train.start : train.stop])
    targets = features.apply(seen.frozen)
    came = scale.apply(latents[judge.now + ahead])
    foreseen = scale.apply(judge.foreseen[:, horizon - 1])
    latent = _row(foreseen, scale.apply(latents[judge.now]), came, block, seed)
    coming, to_come = targets[fit.now + ahead], targets[judge.now + ahead]
    read = _read_out(fit.foreseen[:, horizon - 1], coming, judge.foreseen[:, horizon - 1])
    outside = _row(read, targets[judge.now], to_come, block, seed)
    present = _error(_read_out(latents[fit.now], coming, latents[judge.now]), to_come)
    outside["error_readout_present"] = float(present.mean())
    return {"n": len(judge.now), "latent": latent, "frozen": outside}


def _read_out(fit: np.ndarray, targets: np.ndarray, judge: np.ndarray) -> np.ndarray:
    """Fit targets linearly; the penalty is chosen on the last fifth, a stretch of its own."""
    chosen = np.arange(len(fit)) >= int(0.8 * len(fit))
    return fit_ridge(fit, targets, chosen).predict(judge)


def _error(guess: np.ndarray, came: np.ndarray) -> Float[np.ndarray, " F"]:
    return ((guess - came) ** 2).mean(axis=1)


def _row(guess: np.ndarray, last: np.ndarray, came: np.ndarray, block: int, seed: int) -> dict:
    error, copy_last = _error(guess, came), _error(last, came)
    gain = copy_last - error
    return {
        "error": float(error.mean()),
        "error_copy_last": float(copy_last.mean()),
        # standardised: the training part's mean is 0
        "error_mean": float((came**2).mean()),
        "ratio": float(error.mean() / copy_last.mean()) if copy_last.mean() > 0 else None,
        "gain": float(gain.mean()),
        "gain_interval": list(block_bootstrap_interval(gain, block, seed)),
    }


def _see(model: WorldModel, frozen: WorldModel, cache: Cache, episode: int) -> _Seen:
    windows = Windows(cache, np.array([episode]), 1)
    frames = windows.gather(np.arange(len(windows)))
    frames = Batch(frames.streams, None, frames.valid)
    tokens = encode(model, frames)[:, 0]
    return _Seen(tokens, encode(frozen, frames).flatten(1).numpy())


@torch.no_grad()
def _foresee(
    model: WorldModel, tokens: Tensor, part: range, longest: int, history: int, skip: int
) -> _Part:
    before, after = (history - 1) * skip, longest * skip
    now = np.arange(part.start + before, part.stop - after)
    offsets = np.arange(-before, 1, skip)
    pieces = []
    for start in range(0, len(now), _CONTEXTS_AT_ONCE):
        index = torch.from_numpy(now[start : start + _CONTEXTS_AT_ONCE, None] + offsets)
        context = tokens[index]
        plans = context.new_zeros((len(context), 1, longest, 0))
        pieces.append(model.rollout(Latent(context), plans)[:, 0].flatten(2).float())
    return _Part(now, torch.cat(pieces).numpy())


def _check(train: range, test: range, horizons: Sequence[int], history: int, skip: int) -> None:
    if set(train) & set(test):
        raise DatasetError("Training and test frames overlap; judge on frames never trained on.")
    needed = (history - 1 + max(horizons)) * skip + 2
    for name, part in (("training", train), ("test", test)):
        if len(part) < needed:
            raise DatasetError(
                f"The {name} part has {len(part)} frames; horizons up to {max(horizons)} steps "
                f"need at least {needed}. Use a longer video or shorter horizons."
            )
