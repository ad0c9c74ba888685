"""Probes of a variant: where the object is, as seen from elsewhere, and after ten steps unseen.

Every read-out is fitted on the variant's training episodes, from the usual view, and judged on
episodes that were recorded for that alone.

Axes: F frames, W windows, X latent width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from armillary.core.values import Latent
from armillary.data import Cache, Windows
from armillary.models import JEPA
from armillary.understanding.probe import ProbeResult, probe
from armillary.understanding.probe_suite import encode_frames, frame_targets

TARGET = "object_xy"
AHEAD = 10
_CONTEXT = 3
PROBED_STEPS = _CONTEXT + AHEAD  # model steps of a window that is probed
_MOVED_M = 0.01
_OTHERS = 1 << 40  # episodes of judged recordings are other episodes, whatever their numbers
_WINDOW_STEP = 4
Split = tuple[Cache, np.ndarray]


def position_errors_cm(
    model: JEPA, known: Split, judged: Mapping[str, Cache], seed: int = 0
) -> dict[str, float]:
    """Return the mean error of the object's place on each judged recording, in centimetres.

    Args:
        model: frozen.
        known: recording and episodes that the linear read-out is fitted on.
        judged: recordings by name.
        seed: of the choice of the penalty.
    """
    cache, episodes = known
    features, groups = encode_frames(model, cache, episodes)
    targets = frame_targets(cache, episodes, TARGET)
    found = {}
    for name, other in judged.items():
        every = np.arange(other.num_episodes)
        seen, of = encode_frames(model, other, every)
        asked = frame_targets(other, every, TARGET)
        result = probe(features, targets, groups, seen, asked, of + _OTHERS, seed=seed)
        found[name] = 100 * result.error
    return found


def hidden_position(model: JEPA, known: Split, judged: Cache, seed: int = 0) -> dict[str, Any]:
    """Return how far off the object is predicted after ten model steps without a picture.

    The model sees three steps, then rolls its own state on under the actions that were taken. A
    linear read-out of such states says where the object is. Counted are windows in which it was
    moved meanwhile (by a centimetre; all windows where it never is).

    Args:
        model: frozen.
        known: recording and episodes that the read-out is fitted on.
        judged: recording.
        seed: of the choice of the penalty.

    Returns:
        ``error_m``, ``last_seen_m`` (of who says it stays where it was seen last), ``windows``.
    """
    states, truth, _, groups = _rolled(model, *known)
    asked, target, last, of = _rolled(model, judged, np.arange(judged.num_episodes))
    moved = np.linalg.norm(target - last, axis=1) >= _MOVED_M
    if not moved.any():
        moved[:] = True
    result: ProbeResult = probe(
        states, truth, groups, asked[moved], target[moved], of[moved] + _OTHERS, seed=seed
    )
    stays = np.linalg.norm(target[moved] - last[moved], axis=1)
    return {
        "error_m": result.error,
        "last_seen_m": float(stays.mean()),
        "windows": int(moved.sum()),
    }


@torch.no_grad()
def _rolled(
    model: JEPA, cache: Cache, episodes: np.ndarray
) -> tuple[
    Float[np.ndarray, "W X"],
    Float[np.ndarray, "W 2"],
    Float[np.ndarray, "W 2"],
    Int[np.ndarray, " W"],
]:
    """Return rolled states, where the object is then, where it was last seen, and the episodes."""
    config = model.config
    windows = Windows(cache, episodes, PROBED_STEPS, config.frame_skip)
    index = np.arange(0, len(windows), _WINDOW_STEP)
    states = []
    for some in np.array_split(index, max(1, len(index) // 128)):
        clips = windows.gather(some)
        assert clips.actions is not None
        tokens = model.encode(clips).tokens[:, :_CONTEXT]
        seen = Latent(tokens, clips.actions[:, : _CONTEXT - 1])
        plans = clips.actions[:, None, _CONTEXT - 1 :]
        states.append(model.rollout(seen, plans)[:, 0, -1].flatten(1).numpy())
    places = windows.truth(TARGET, index).astype(np.float32)
    of = windows.locate(index)[0].astype(np.int64)
    return np.concatenate(states), places[:, -1], places[:, _CONTEXT - 1], of
