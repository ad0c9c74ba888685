"""The probe suite: a model's read-outs for several targets, with every floor beside them.

It meets a prepared cache and a model; the read-outs themselves are in ``probe``.

Axes: F frames, X features (all tokens, flattened), Y coordinates of a target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int

from armillary.core.errors import DatasetError
from armillary.core.protocols import WorldModel
from armillary.core.values import Batch
from armillary.data import Cache, Windows
from armillary.understanding.latents import encode
from armillary.understanding.probe import Kind, ProbeResult, probe, shuffle_across_episodes

PIXEL_GRID = 16


def probe_suite(
    model: WorldModel,
    untrained_model: WorldModel,
    cache: Cache,
    train: np.ndarray,
    test: np.ndarray,
    targets: Sequence[str] = ("pusher_xy", "object_xy"),
    pixels: bool = False,
    seed: int = 0,
) -> dict[str, dict]:
    """Probe a model for several targets, with the floors beside it.

    Args:
        model: the trained encoder.
        untrained_model: the same architecture with its first weights.
        cache: prepared episodes that hold truth.
        train: episodes to fit on; may be those the model was trained on.
        test: held-out episodes.
        targets: names of truth streams.
        pixels: also read from coarse pixels.
        seed: of splits, permutations and bootstraps.

    Returns:
        By target: ``r2, r2_interval, error_m, error_m_interval`` of the linear read-out of the
        trained encoder; ``r2_mlp, error_m_mlp``; ``r2_untrained, r2_shuffled`` (and
        ``r2_pixels``) with their ``error_m_*`` and intervals; ``frames, episodes``; ``note``.
    """
    sources = {"": model, "untrained": untrained_model}
    seen = {name: _both(encoder, cache, train, test) for name, encoder in sources.items()}
    if pixels:
        seen["pixels"] = (pixel_frames(cache, train), pixel_frames(cache, test))
    groups = (_frame_groups(cache, train), _frame_groups(cache, test))
    return {name: _target_row(seen, groups, cache, (train, test), name, seed) for name in targets}


def encode_frames(
    model: WorldModel, cache: Cache, episodes: np.ndarray, batch: int = 1024
) -> tuple[Float[np.ndarray, "F X"], Int[np.ndarray, " F"]]:
    """Return the latent of every frame, tokens flattened, and the episode it belongs to.

    Args:
        model: the encoder; each frame is encoded by itself.
        cache: prepared episodes.
        episodes: which of them, in this order.
        batch: frames at once.
    """
    pieces, groups = [], []
    for episode in episodes.tolist():
        tokens = encode(model, _frames(cache, episode), batch)
        pieces.append(tokens.flatten(1).numpy())
        groups.append(np.full(len(tokens), episode, np.int64))
    return np.concatenate(pieces), np.concatenate(groups)


def frame_targets(cache: Cache, episodes: np.ndarray, name: str) -> Float[np.ndarray, "F Y"]:
    """Return the truth ``name`` at every frame, in the order of ``encode_frames``."""
    pieces = [_truth(cache, episode, name) for episode in episodes.tolist()]
    return np.concatenate(pieces).astype(np.float32)


def pixel_frames(cache: Cache, episodes: np.ndarray) -> Float[np.ndarray, "F X"]:
    """Return every frame's pixels averaged on a 16 x 16 grid: a probe without a model."""
    pieces = []
    for episode in episodes.tolist():
        rgb = _frames(cache, episode).streams["rgb"][:, 0].permute(0, 3, 1, 2).float()
        small = torch.nn.functional.adaptive_avg_pool2d(rgb, PIXEL_GRID)
        pieces.append((small / 255).flatten(1).numpy())
    return np.concatenate(pieces)


def _target_row(
    seen: Mapping[str, tuple[np.ndarray, np.ndarray]],
    groups: tuple[np.ndarray, np.ndarray],
    cache: Cache,
    split: tuple[np.ndarray, np.ndarray],
    name: str,
    seed: int,
) -> dict:
    truth = [frame_targets(cache, episodes, name) for episodes in split]
    here = [
        np.asarray(np.isfinite(values).all(axis=1)) for values in truth
    ]  # NaN: no such object there
    if not (here[0].any() and here[1].any()):
        raise DatasetError(f"No frame of the split has a finite {name!r}; probe another target.")

    def run(source: str, labels: np.ndarray, kind: Kind = "linear") -> ProbeResult:
        fit, judge = (values[keep] for values, keep in zip(seen[source], here, strict=True))
        train_groups, test_groups = groups[0][here[0]], groups[1][here[1]]
        test_labels = truth[1][here[1]]
        return probe(fit, labels, train_groups, judge, test_labels, test_groups, kind, seed)

    labels = truth[0][here[0]]
    results = {source: run(source, labels) for source in seen}
    results["mlp"] = run("", labels, "mlp")
    results["shuffled"] = run("", shuffle_across_episodes(labels, groups[0][here[0]], seed))
    return _flat(results) | _counts(here, groups)


def _flat(results: Mapping[str, ProbeResult]) -> dict:
    row: dict = {}
    for name, result in results.items():
        tail = f"_{name}" if name else ""
        row[f"r2{tail}"] = result.r2
        row[f"r2{tail}_interval"] = list(result.r2_interval)
        row[f"error_m{tail}"] = result.error
        row[f"error_m{tail}_interval"] = list(result.error_interval)
    if results[""].constant:
        row["note"] = "The encoder is constant: it gives every frame the same latent (collapse)."
    return row


def _counts(here: Sequence[np.ndarray], groups: tuple[np.ndarray, np.ndarray]) -> dict:
    row: dict = {}
    for side, keep, group in zip(("train", "test"), here, groups, strict=True):
        row[f"frames_{side}"] = int(keep.sum())
        row[f"episodes_{side}"] = len(np.unique(group[keep]))
    return row


def _both(
    model: WorldModel, cache: Cache, train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    return encode_frames(model, cache, train)[0], encode_frames(model, cache, test)[0]


def _frames(cache: Cache, episode: int) -> Batch:
    windows = Windows(cache, np.array([episode]), 1)
    frames = windows.gather(np.arange(len(windows)))
    return Batch(frames.streams, None, frames.valid)  # single frames: no action has a part in it


def _truth(cache: Cache, episode: int, name: str) -> np.ndarray:
    windows = Windows(cache, np.array([episode]), 1)
    values = np.asarray(windows.truth(name, np.arange(len(windows))))
    return values.reshape(len(windows), -1)


def _frame_groups(cache: Cache, episodes: np.ndarray) -> np.ndarray:
    counts = [len(Windows(cache, np.array([episode]), 1)) for episode in episodes.tolist()]
    return np.repeat(episodes.astype(np.int64), counts)
