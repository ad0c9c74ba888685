"""Motion skill: does a model predict that things move, and that others rest?

Places are read from latents by ridge, fitted on training steps. The predicted displacement is the
read-out of the predicted latent minus the read-out of the present one. Skill is 1 minus squared
error over squared true displacement, where a thing really moved: 1 is perfect, 0 is "it stays".
False motion is the mean length of the predicted displacement where the thing rested.

A read-out with a small penalty is steep where true latents hardly vary. Predicted latents err there
too, and the read-out makes much of it. So the penalty of the model's read-out is chosen where
predicted latents of training episodes are read (``fit_motion_reader``). On the hand of FetchReach
this takes the skill at four steps from -1.7 to 0.9. On the table it changes nothing after the whole
training, and was worse after an eighth of it (0.48 in place of 0.68).

The read-out of the true later latent is the bound: what is lost there is the encoder's or the
read-out's fault, not the predictor's. Its penalty, and that of the linear baseline, is the one that
serves true latents best. It can be below the model, whose latents are smoother.

Axes: F training steps, W windows, Z numbers of a latent, Y coordinates (x y or x y z of each
point), P points, C coordinates of one point (2 or 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from armillary.core.rng import generator
from armillary.core.statistics import Interval, group_draws, group_sums, quantile_interval
from armillary.understanding.ridge import PENALTIES, Ridge, fit_each, fit_with

AHEAD = (4, 8)
MOVED_SHARE = 0.05  # of the range; the tabletop's 2 cm of 0.4 m
RESTED_SHARE = 0.002
LEAST_WINDOWS = 20


@dataclass(frozen=True)
class Displacements:
    """True and read displacements of points over some model steps.

    Attributes:
        true: [W C].
        read: by source (``model``, ``bound`` ...) [W C].
        groups: what an interval draws together [W].
    """

    true: Float[np.ndarray, "W C"]
    read: Mapping[str, Float[np.ndarray, "W C"]]
    groups: Int[np.ndarray, " W"]

    def where(self, kept: np.ndarray) -> Displacements:
        """Return those that are kept."""
        read = {name: values[kept] for name, values in self.read.items()}
        return Displacements(self.true[kept], read, self.groups[kept])


@dataclass(frozen=True)
class PredictedWindows:
    """Windows of training steps, and the latents that a model predicts for their end.

    Attributes:
        now: row of the present in the training steps [W].
        later: row of the step that is predicted [W].
        predicted: its latent [W Z].
    """

    now: Int[np.ndarray, " W"]
    later: Int[np.ndarray, " W"]
    predicted: Float[np.ndarray, "W Z"]


def fit_motion_reader(
    latents: Float[np.ndarray, "F Z"],
    truth: Float[np.ndarray, "F Y"],
    held_out: Bool[np.ndarray, " F"],
    windows: Sequence[PredictedWindows],
) -> Ridge | None:
    """Fit places from true latents, with the penalty that reads motion best from predicted ones.

    Each penalty is fitted on the steps that are not held out. The squared errors of displacements
    are summed over the held-out windows, and the best penalty is fitted again on all steps.

    Args:
        latents: of training steps.
        truth: their places; rows that are not finite are left out.
        held_out: steps of whole groups on which the penalty is chosen.
        windows: with what the model predicts in them, for each horizon.

    Returns:
        The read-out; None where no held-out window has places at both ends.
    """
    known = np.asarray(np.isfinite(truth).all(axis=1))
    judged = [(one, held_out[one.now] & known[one.now] & known[one.later]) for one in windows]
    if not any(rows.any() for _, rows in judged):
        return None
    fit = known & ~held_out
    errors, count = np.zeros(len(PENALTIES)), sum(int(rows.sum()) for _, rows in judged)
    for index, reader in enumerate(fit_each(latents[fit], truth[fit])):
        for one, rows in judged:
            now, later = one.now[rows], one.later[rows]
            read = reader.predict(one.predicted[rows]) - reader.predict(latents[now])
            errors[index] += ((read - (truth[later] - truth[now])) ** 2).sum()
    errors /= count * truth.shape[1]
    best = int(np.argmin(errors))
    return fit_with(latents[known], truth[known], PENALTIES[best], float(errors[best]))


def displacements(
    readers: Mapping[str, Ridge],
    present: Float[np.ndarray, "W Z"],
    later: Mapping[str, np.ndarray],
    truth_now: Float[np.ndarray, "W Y"],
    truth_later: Float[np.ndarray, "W Y"],
    groups: Int[np.ndarray, " W"],
    coordinates: int = 2,
) -> Displacements:
    """Return the displacements of all points, one row each, in the order of windows.

    Args:
        readers: of places from latents, by source.
        present: latents now.
        later: latents of the later step by source [W Z].
        truth_now: places now.
        truth_later: places then.
        groups: of the windows.
        coordinates: C of one point.
    """
    row = (-1, coordinates)
    read = {
        name: (readers[name].predict(values) - readers[name].predict(present)).reshape(row)
        for name, values in later.items()
    }
    points = truth_now.shape[1] // coordinates
    return Displacements(
        (truth_later - truth_now).astype(np.float64).reshape(row),
        read,
        np.repeat(groups, points),
    )


def skills(
    moved: Displacements, draws: int, seed: int
) -> tuple[dict[str, float], dict[str, Interval]]:
    """Return the skill of each source, and its 95 % interval over groups; NaN without windows."""
    if not len(moved.true):
        nothing = dict.fromkeys(moved.read, float("nan"))
        return nothing, dict.fromkeys(moved.read, (float("nan"),) * 2)
    names, group_of = np.unique(moved.groups, return_inverse=True)
    motion = group_sums((moved.true**2).sum(axis=1), group_of, len(names))
    weights = group_draws(len(names), draws, generator("skill bootstrap", seed))
    values, intervals = {}, {}
    for name, read in moved.read.items():
        error = group_sums(((read - moved.true) ** 2).sum(axis=1), group_of, len(names))
        values[name] = float(1 - error.sum() / motion.sum())
        intervals[name] = quantile_interval(1 - (weights @ error) / (weights @ motion))
    return values, intervals


def false_motion(
    rested: Displacements, draws: int, seed: int
) -> tuple[dict[str, float], dict[str, Interval]]:
    """Return the mean length of what was read where nothing moved; NaN without windows."""
    if not len(rested.true):
        nothing = dict.fromkeys(rested.read, float("nan"))
        return nothing, dict.fromkeys(rested.read, (float("nan"),) * 2)
    names, group_of = np.unique(rested.groups, return_inverse=True)
    counts = np.bincount(group_of, minlength=len(names)).astype(np.float64)
    weights = group_draws(len(names), draws, generator("rest bootstrap", seed))
    values, intervals = {}, {}
    for name, read in rested.read.items():
        length = group_sums(np.linalg.norm(read, axis=1), group_of, len(names))
        values[name] = float(length.sum() / counts.sum())
        intervals[name] = quantile_interval((weights @ length) / (weights @ counts))
    return values, intervals


def stream_range(truth: Float[np.ndarray, "F Y"], coordinates: int = 2) -> float:
    """Return the range of a stream of places: the longest side of the box that holds all points."""
    points = truth.reshape(-1, coordinates)
    return float((points.max(axis=0) - points.min(axis=0)).max())
