"""Probes: can where things are be read from a frozen latent, in episodes never seen?

A linear (ridge) and a small-MLP read-out, fitted on training episodes and judged on held-out ones.
Beside the trained encoder stand the same encoder untrained and the same latents with labels
permuted across episodes: what architecture and chance are worth.

Axes: F frames, X features (all tokens, flattened), Y coordinates of a target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from armillary.core.errors import DatasetError
from armillary.core.rng import generator
from armillary.core.statistics import Interval, group_draws, quantile_interval
from armillary.understanding.mlp import fit_mlp
from armillary.understanding.ridge import fit_ridge

Kind = Literal["linear", "mlp"]


@dataclass(frozen=True)
class ProbeResult:
    """How well a target is read out on held-out episodes.

    Attributes:
        r2: 1 - residual / variance, averaged over coordinates. 0 is the mean of the test frames.
        r2_interval: 95 %, bootstrap over episodes.
        error: mean distance between read-out and truth (mean over points for a target that holds
            several), in the target's unit.
        error_interval: 95 %, bootstrap over episodes.
        constant: True where the features never change, so that nothing can be read.
    """

    r2: float
    r2_interval: Interval
    error: float
    error_interval: Interval
    constant: bool = False


def probe(
    features_train: Float[np.ndarray, "F X"],
    targets_train: Float[np.ndarray, "F Y"],
    groups_train: Int[np.ndarray, " F"],
    features_test: Float[np.ndarray, "G X"],
    targets_test: Float[np.ndarray, "G Y"],
    groups_test: Int[np.ndarray, " G"],
    kind: Kind = "linear",
    seed: int = 0,
) -> ProbeResult:
    """Fit a read-out on training frames and judge it on held-out episodes.

    Args:
        features_train: latents of training frames.
        targets_train: what is to be read.
        groups_train: the episode of each training frame.
        features_test: latents of frames from other episodes.
        targets_test: the truth there.
        groups_test: the episode of each test frame.
        kind: ``linear`` is ridge, its penalty chosen on a fifth of the training episodes.
        seed: of that choice, of the MLP and of the bootstrap.

    Raises:
        DatasetError: an episode is on both sides, or there are too few to choose on.
    """
    _check_split(groups_train, groups_test)
    constant = not (features_train.std(axis=0) > 1e-7).any()
    if kind == "mlp":
        guess = fit_mlp(features_train, targets_train, seed).predict(features_test)
    else:
        chosen = _held_out(groups_train, seed)
        guess = fit_ridge(features_train, targets_train, chosen).predict(features_test)
    return _judge(guess, targets_test, groups_test, seed, constant)


def shuffle_across_episodes(
    targets: Float[np.ndarray, "F Y"], groups: Int[np.ndarray, " F"], seed: int = 0
) -> Float[np.ndarray, "F Y"]:
    """Return targets with each episode's labels replaced by another episode's, in their order.

    Where the other episode is shorter its labels are repeated. With one episode they are permuted
    within it.
    """
    rng = generator("shuffled labels", seed)
    names = np.unique(groups)
    if len(names) == 1:
        return rng.permutation(targets)
    order = rng.permutation(names)
    shuffled = np.empty_like(targets)
    for own, other in zip(order, np.roll(order, 1), strict=True):
        lent = targets[groups == other]
        wanted = int((groups == own).sum())
        shuffled[groups == own] = lent[np.arange(wanted) % len(lent)]
    return shuffled


def _judge(
    guess: np.ndarray, truth: np.ndarray, groups: np.ndarray, seed: int, constant: bool
) -> ProbeResult:
    truth = truth.astype(np.float64)
    distance = _distance(guess - truth)
    centred = truth - truth.mean(axis=0)
    columns = np.column_stack(
        [np.ones(len(truth)), distance, (guess - truth) ** 2, centred, centred**2]
    )
    episodes, episode_of = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(episodes), columns.shape[1]))
    np.add.at(sums, episode_of, columns)
    weights = group_draws(len(episodes), 2000, generator("probe bootstrap", seed))
    r2, error = _scores(sums.sum(axis=0)[None])
    r2_draws, error_draws = _scores(weights @ sums)
    return ProbeResult(
        float(r2[0]),
        quantile_interval(r2_draws),
        float(error[0]),
        quantile_interval(error_draws),
        constant,
    )


def _scores(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return R2 and mean distance from sums of (1, distance, residual^2, truth, truth^2)."""
    count, distance = sums[:, :1], sums[:, 1]
    residual, first, second = np.split(sums[:, 2:], 3, axis=1)
    variance = second - first**2 / count
    moved = (variance > 1e-12 * count).all(axis=0)  # a coordinate that never changes has no R2
    if not moved.any():
        return np.full(len(sums), np.nan), distance / count[:, 0]
    r2 = 1 - residual[:, moved] / variance[:, moved]
    return r2.mean(axis=1), distance / count[:, 0]


def _distance(difference: np.ndarray) -> np.ndarray:
    """Return the length of xy differences (mean over points), or of the whole row."""
    width = difference.shape[1]
    points = difference.reshape(len(difference), -1, 2 if width % 2 == 0 else width)
    return np.linalg.norm(points, axis=2).mean(axis=1)


def _held_out(groups: np.ndarray, seed: int) -> np.ndarray:
    names = generator("probe validation", seed).permutation(np.unique(groups))
    if len(names) < 2:
        raise DatasetError("A probe needs at least two training episodes; record or ingest more.")
    return np.isin(groups, names[: max(1, len(names) // 5)])


def _check_split(train: np.ndarray, test: np.ndarray) -> None:
    both = np.intersect1d(train, test)
    if len(both):
        raise DatasetError(
            f"Episodes {both[:5].tolist()} are both in training and in test; split by episode."
        )
