"""Evidence: what a diagnosis looks at, on training and on held-out episodes.

Both sides are encoded once, brought to a width that ridge can take, and predicted from.

Axes: W windows, L horizons, Z numbers of a latent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from armillary.core.errors import DatasetError
from armillary.core.progress import Progress, silent
from armillary.core.protocols import WorldModel
from armillary.core.values import Batch
from armillary.data import Cache, Windows
from armillary.understanding.latents import encode
from armillary.understanding.prediction_error import HORIZONS, roll_out
from armillary.understanding.stretches import (
    WIDEST,
    Projection,
    Steps,
    Stretch,
    check_enough,
    chosen,
    project,
    room_for,
    see,
)

FEATURE_WIDTH = 128  # 95 % of the features' variance on the demo's recording

_ADVICE = {
    "training": "Record more or longer episodes.",
    "held-out": "Hold some out, or run armillary diagnose: it draws some of all episodes, and "
    "splits the only one in time.",
}


@dataclass(frozen=True)
class Limits:
    """How much is looked at; what is beyond is left out by a draw of fixed seed.

    Attributes:
        training_steps: model steps of training episodes, for read-outs and baselines.
        held_out_steps: model steps of held-out episodes.
        windows: held-out windows that are predicted from, and as many of training.
        ranked: windows in which actions are ranked.
        draws: bootstrap replicates.
        history: most steps that the model sees before it predicts.
        seed: of every draw.
    """

    training_steps: int = 6000
    held_out_steps: int = 3000
    windows: int = 2000
    ranked: int = 300
    draws: int = 1000
    history: int = 4
    seed: int = 0


LIGHT = Limits(training_steps=2400, held_out_steps=1200, windows=800, ranked=100, draws=500)


@dataclass(frozen=True)
class Side:
    """Training or held-out episodes, and what was predicted in them.

    Attributes:
        steps: everything that was encoded.
        now: the present of each window [W].
        predicted: latents at each horizon; NaN beyond the stretch [W L Z].
        horizons: model steps ahead [L].
    """

    steps: Steps
    now: Int[np.ndarray, " W"]
    predicted: Float[np.ndarray, "W L Z"]
    horizons: tuple[int, ...]

    def at(self, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the windows that reach a horizon, and the latents predicted there."""
        there = self.steps.after[self.now] >= horizon
        return self.now[there], self.predicted[there, self.horizons.index(horizon)]


@dataclass(frozen=True)
class Evidence:
    """What the numbers are made from.

    Attributes:
        training: the side on which read-outs and baselines are fitted.
        held_out: the side that judges.
        projection: of flattened tokens to latents.
        features: projection of frozen features; None without pictures.
        whole_features: frozen features of both sides before it [F X] [F2 X]; likewise.
    """

    training: Side
    held_out: Side
    projection: Projection
    features: Projection | None = None
    whole_features: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def horizons(self) -> tuple[int, ...]:
        """Model steps ahead."""
        return self.held_out.horizons


def gather_evidence(
    model: WorldModel,
    cache: Cache,
    training: Sequence[Stretch],
    held_out: Sequence[Stretch],
    limits: Limits,
    skip: int = 1,
    streams: tuple[str, ...] | None = None,
    acts: bool = True,
    progress: Progress = silent,
) -> Evidence:
    """Encode both sides and predict from windows of both.

    Args:
        model: any that keeps the protocol.
        cache: prepared episodes.
        training: stretches to fit on.
        held_out: stretches that judge.
        limits: how much is looked at.
        skip: frames in a model step.
        streams: names in the cache that the model sees; all that models look for if None.
        acts: whether the model takes actions.
        progress: called up to 80 of 100.

    Raises:
        DatasetError: the episodes are too few or too short.
    """
    width = _latent_width(model, cache, streams)
    sides, done = [], 0
    for which, parts, most, share in (
        ("training", training, limits.training_steps, 40),
        ("held-out", held_out, limits.held_out_steps, 20),
    ):
        if not parts:
            raise DatasetError(
                f"A diagnosis needs at least two {which} episodes of three model steps or more; "
                f"there are none. {_ADVICE[which]}"
            )
        some = chosen(parts, room_for(width, most), limits.seed)
        report = _within(progress, done, share)
        sides.append(see(model, cache, some, skip, streams, acts, report))
        check_enough(sides[-1], which)
        done += share
    fit, judge = sides
    latents = Projection.fit(fit.latents, WIDEST)
    features = None if fit.features is None else Projection.fit(fit.features, FEATURE_WIDTH)
    both = fit.features, judge.features
    whole = None if both[0] is None or both[1] is None else (both[0], both[1])
    fit, judge = (project(steps, latents, features) for steps in (fit, judge))
    starts = [steps.windows(1, 1, limits.windows, limits.seed) for steps in (fit, judge)]
    horizons = _reached((fit, judge), starts)
    found = []
    for steps, now in zip((fit, judge), starts, strict=True):
        predicted = roll_out(model, steps, now, horizons, limits.history, latents)
        found.append(Side(steps, now, predicted, horizons))
        done += 10
        progress(done, 100, "predicting")
    own, held = found
    return Evidence(own, held, latents, features, whole)


def _reached(sides: Sequence[Steps], starts: Sequence[np.ndarray]) -> tuple[int, ...]:
    """Return the horizons that windows of at least two groups reach, on either side."""

    def groups(steps: Steps, now: np.ndarray, horizon: int) -> int:
        return len(np.unique(steps.groups[now[steps.after[now] >= horizon]]))

    both = list(zip(sides, starts, strict=True))
    return tuple(h for h in HORIZONS if min(groups(*side, h) for side in both) >= 2)


def _within(progress: Progress, start: int, share: int) -> Progress:
    """Return a progress that fills a share of another's hundred, from ``start`` on."""

    def report(done: int, total: int, note: str = "") -> None:
        progress(start + share * done // total, 100, "encoding")

    return report


def _latent_width(model: WorldModel, cache: Cache, streams: tuple[str, ...] | None) -> int:
    one = Windows(cache, None, 1, 1, streams).gather(np.zeros(1, np.int64))
    return encode(model, Batch(one.streams, None, one.valid)).numel()
