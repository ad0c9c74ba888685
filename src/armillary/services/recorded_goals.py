"""Recorded goals: a goal given as values, found as a recorded moment that has them.

    object_xy=0.3,0.1           the moment whose recorded place is nearest to this one
    object_xy=0.2..0.3,any      a moment in this region

A goal policy needs a latent to go to, and values are none. So the goal is a moment that was seen.
Of the ``NEAREST`` moments with the nearest values the one is taken whose latent is nearest to the
present: what the values do not say shall stay as it is.

Axes: F moments, Y values of a truth stream.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64

from armillary.core.errors import ConfigError, unknown_name
from armillary.core.progress import Progress, silent
from armillary.core.values import Observation
from armillary.data import Dataset, open_dataset
from armillary.evaluation.seeing import encode_observation
from armillary.evaluation.specs import observation_streams
from armillary.models import JEPA
from armillary.services.value_goals import ValueGoal

NEAREST = 8  # moments that are looked at: each is an episode to decode


class RecordedGoals:
    """Moments of a recording, by what it records as truth.

    Args:
        model: in whose latents moments are near.
        dataset: with truth streams.
        progress: called while the truth is read.

    Raises:
        DatasetError: not a dataset, or an episode is damaged.
        ConfigError: the dataset has no truth.
    """

    def __init__(self, model: JEPA, dataset: Path, progress: Progress = silent) -> None:
        self.model, self.dataset = model, open_dataset(dataset)
        self.truth, self.moments = _truth(self.dataset, progress)
        if not self.truth:
            raise ConfigError(
                f"{dataset}: records no truth, so no values can be found in it. Record a world, or "
                "send pictures as goals."
            )

    @property
    def observes(self) -> tuple[str, ...]:
        """Streams that the model sees."""
        return tuple(observation_streams(self.model.config))

    def find(self, text: str, now: Observation) -> tuple[Observation, dict[str, Any]]:
        """Return a recorded moment as goal, and which it is.

        Args:
            text: one goal, or several with ``;`` between, which shall hold together.
            now: what is seen at present.

        Returns:
            The observation; ``episode``, ``step``, and ``off``: how far its values are outside of
            what was asked for, in the unit of the truth.

        Raises:
            ConfigError: no goal, or of something that is not recorded.
        """
        goals = [ValueGoal.parse(part.strip()) for part in text.split(";")]
        off = np.zeros(len(self.moments))
        for goal in goals:
            off = off + self._outside(goal)
        nearest = np.argsort(off, kind="stable")[:NEAREST]
        here = self._latent(now)
        moments = [self._moment(place) for place in nearest]
        apart = [float((self._latent(moment) - here).square().mean()) for moment in moments]
        best = int(np.argmin(apart))
        episode, step = self.moments[nearest[best]].tolist()
        return moments[best], {"episode": episode, "step": step, "off": float(off[nearest[best]])}

    def _outside(self, goal: ValueGoal) -> Float64[np.ndarray, " F"]:
        """Return how far each moment is outside of a goal; infinitely where nothing is recorded."""
        if goal.target not in self.truth:
            raise unknown_name("recorded truth", goal.target, self.truth)
        values = self.truth[goal.target]
        if values.shape[1] != len(goal.low):
            raise ConfigError(
                f"{goal.target} has {values.shape[1]} values, and the goal {goal} gives "
                f"{len(goal.low)}."
            )
        apart = goal.outside(torch.from_numpy(values)).numpy()
        return np.nan_to_num(apart, nan=np.inf)

    def _moment(self, place: int) -> Observation:
        episode, step = self.moments[place].tolist()
        return self.dataset.read(episode).observation(step).only(self.observes)

    def _latent(self, observation: Observation) -> torch.Tensor:
        return encode_observation(self.model, observation, self.model.config.encoder.image_size)


def _truth(
    dataset: Dataset, progress: Progress
) -> tuple[dict[str, Float64[np.ndarray, "F Y"]], Int64[np.ndarray, "F 2"]]:
    """Return the truth streams that all episodes have, and episode and step of each moment."""
    rows: dict[str, list[np.ndarray]] = {}
    moments = []
    for index in range(len(dataset)):
        low = dataset.read_low(index)
        found = {n: np.asarray(s.values) for n, s in low.streams.items() if s.kind == "truth"}
        for name, values in found.items():
            rows.setdefault(name, []).append(values.reshape(len(values), -1).astype(np.float64))
        moments.append(np.stack([np.full(len(low), index), np.arange(len(low))], -1))
        progress(index + 1, len(dataset))
    whole = {name: parts for name, parts in rows.items() if len(parts) == len(dataset)}
    same = {n: parts for n, parts in whole.items() if len({p.shape[1] for p in parts}) == 1}
    return {n: np.concatenate(p) for n, p in same.items()}, np.concatenate(moments)
