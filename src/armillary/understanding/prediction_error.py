"""Prediction error: how far a model's predictions are from what was seen, beside plain baselines.

Error is the sum of squared errors over the sum of squares of the targets about their mean: 0 is
perfect, 1 is as good as the mean of the very targets. Baselines are copy-last, the training mean,
linear extrapolation of the last two steps, and ridge from both of them and the actions (or from
the present alone where that serves better, see ``chosen_ridge``).

Axes: W windows, F model steps, X numbers of a target, L horizons, G groups, R draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from armillary.core.errors import DatasetError
from armillary.core.protocols import WorldModel
from armillary.core.rng import generator
from armillary.core.statistics import Interval, group_draws, group_sums, quantile_interval
from armillary.core.values import Latent
from armillary.understanding.chosen_ridge import ChosenRidge, Form, choose_ridge
from armillary.understanding.stretches import Projection, Steps

HORIZONS = (1, 2, 4, 8, 16)
BASELINES = ("copy_last", "mean", "linear", "ridge")
WITHOUT_LATENT = "no_latent"  # what a read-out gets from all but the latent; where there is one
_AT_ONCE = 512  # rollouts
# What ridge may read a later step from, and how. The present alone keeps it from being beaten by
# a model that merely has fewer inputs to overfit.
_RIDGE: Mapping[str, tuple[Form, ...]] = {"all": ("direct", "change"), "present": ("change",)}
# Below this share of their mean square, the spread of targets is rounding: nothing to predict.
_LEAST_SPREAD = 1e-10


@dataclass(frozen=True)
class Errors:
    """Errors over the variance of the target, by name of who predicted.

    Attributes:
        values: NaN where the targets do not vary.
        intervals: 95 %, bootstrap over groups.
        margin: interval of the best baseline's error minus the model's, drawn together; above zero
            means that the model beats all of them. None without baselines.
    """

    values: Mapping[str, float]
    intervals: Mapping[str, Interval]
    margin: Interval | None


@torch.no_grad()
def roll_out(
    model: WorldModel,
    steps: Steps,
    now: Int[np.ndarray, " W"],
    horizons: Sequence[int],
    history: int,
    projection: Projection,
) -> Float[np.ndarray, "W L Z"]:
    """Return the latents that a model predicts for later steps; NaN beyond the stretch.

    The model gets the present step and up to ``history - 1`` before it, and the actions that were
    taken. Windows with equally many steps before and after them go through it together.

    Args:
        model: any that keeps the protocol.
        steps: what was seen.
        now: the present of each window.
        horizons: how far ahead, in model steps, ascending.
        history: most steps that the model sees, at least 1.
        projection: of flattened tokens.
    """
    width = steps.latents.shape[1]
    predicted = np.full((len(now), len(horizons), width), np.nan, np.float32)
    seen = np.minimum(steps.before[now] + 1, history)
    reach = np.array([sum(h <= after for h in horizons) for after in steps.after[now]], np.int64)
    for length in np.unique(seen):
        for count in np.unique(reach[reach > 0]):
            rows = np.flatnonzero((seen == length) & (reach == count))
            for at in range(0, len(rows), _AT_ONCE):
                some = rows[at : at + _AT_ONCE]
                plans = steps.plans(now[some], horizons[count - 1])[:, None]
                tokens = predict(model, steps, now[some], plans, int(length))[:, 0]
                shown = tokens[:, [h - 1 for h in horizons[:count]]].flatten(0, 1)
                flat = projection.apply(shown.flatten(1).numpy())
                predicted[some, :count] = flat.reshape(len(some), count, width)
    return predicted


def predict(
    model: WorldModel,
    steps: Steps,
    now: Int[np.ndarray, " W"],
    plans: Float[np.ndarray, "W S L A"],
    length: int,
) -> Float[torch.Tensor, "W S L N D"]:
    """Return the tokens that each plan leads to, from windows that show ``length`` steps."""
    context = now[:, None] + np.arange(1 - length, 1)
    acts = steps.actions.shape[1] and length > 1
    taken = torch.from_numpy(steps.actions[context[:, :-1]]) if acts else None
    latent = Latent(steps.tokens[torch.from_numpy(context)], taken)
    return model.rollout(latent, torch.from_numpy(plans)).float()


@dataclass(frozen=True)
class Baselines:
    """What needs no model, fitted on training steps for one horizon.

    Attributes:
        horizon: model steps ahead.
        mean: of all training steps [X].
        ridge: from the present, the step before and the actions on the way.
    """

    horizon: int
    mean: Float[np.ndarray, " X"]
    ridge: ChosenRidge

    @classmethod
    def fit(
        cls, values: Float[np.ndarray, "F X"], steps: Steps, horizon: int, most: int, seed: int
    ) -> Baselines:
        """Fit on at most ``most`` training windows; a fifth of the groups chooses ridge's form.

        Raises:
            DatasetError: fewer than two training groups reach that far.
        """
        now = steps.windows(1, horizon, most, seed)
        held = validation_groups(steps.groups[now])
        inputs = _inputs(values, steps, now, horizon)
        ridge = choose_ridge(_RIDGE, inputs, values[now], values[now + horizon], held)
        return cls(horizon, values.mean(axis=0), ridge)

    def predict(
        self, values: Float[np.ndarray, "F X"], steps: Steps, now: Int[np.ndarray, " W"]
    ) -> dict[str, Float[np.ndarray, "W X"]]:
        """Return what each baseline predicts, by the names in ``BASELINES``."""
        present, change = values[now], values[now] - values[now - 1]
        return {
            "copy_last": present,
            "mean": np.broadcast_to(self.mean, present.shape),
            "linear": present + self.horizon * change,
            "ridge": self.ridge.predict(_inputs(values, steps, now, self.horizon), present),
        }


def relative_errors(
    predicted: Mapping[str, np.ndarray],
    target: Float[np.ndarray, "W X"],
    groups: Int[np.ndarray, " W"],
    draws: int,
    seed: int,
) -> Errors:
    """Return the errors of several predictions over the variance of their target.

    Args:
        predicted: by name [W X]; ``model`` is the one that ``margin`` is about.
        target: what was seen.
        groups: what an interval draws together.
        draws: bootstrap replicates, the same for all, so that differences are paired.
        seed: of the draws.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    exact = target.astype(np.float64)
    centred = exact - exact.mean(axis=0)
    own = group_sums((centred**2).sum(axis=1), group_of, len(names))
    first = np.zeros((len(names), target.shape[1]))
    np.add.at(first, group_of, centred)
    counts = np.bincount(group_of, minlength=len(names)).astype(np.float64)
    errors = {
        name: group_sums(((guess - exact) ** 2).sum(axis=1), group_of, len(names))
        for name, guess in predicted.items()
    }
    weights = group_draws(len(names), draws, generator("prediction bootstrap", seed))
    spread = weights @ own - ((weights @ first) ** 2).sum(axis=1) / (weights @ counts)
    total = float(own.sum())
    if total <= _LEAST_SPREAD * float((exact**2).sum()):
        nothing = dict.fromkeys(predicted, float("nan"))
        return Errors(nothing, dict.fromkeys(predicted, (float("nan"),) * 2), None)
    spread = np.where(spread > 0, spread, np.nan)
    drawn = {name: weights @ sums / spread for name, sums in errors.items()}
    return Errors(
        {name: float(sums.sum() / total) for name, sums in errors.items()},
        {name: quantile_interval(values) for name, values in drawn.items()},
        _margin(drawn),
    )


def validation_groups(groups: Int[np.ndarray, " F"]) -> np.ndarray:
    """Return True for the samples of the last fifth of the groups, on which a penalty is chosen.

    The last, not any: blocks of one long recording are judged by what comes after them, too.

    Raises:
        DatasetError: there are fewer than two groups.
    """
    names = np.unique(groups)
    if len(names) < 2:
        raise DatasetError(
            "A ridge read-out needs at least two training episodes that are long enough; record "
            "more or longer ones."
        )
    return np.isin(groups, names[-max(1, len(names) // 5) :])


def _inputs(
    values: np.ndarray, steps: Steps, now: np.ndarray, horizon: int
) -> dict[str, np.ndarray]:
    actions = steps.plans(now, horizon).reshape(len(now), -1)
    both = np.concatenate([values[now], values[now - 1], actions], axis=1)
    return {"all": both, "present": values[now]}


def _margin(drawn: Mapping[str, np.ndarray]) -> Interval | None:
    others = [values for name, values in drawn.items() if name in (*BASELINES, WITHOUT_LATENT)]
    if not others or "model" not in drawn:
        return None
    return quantile_interval(np.min(others, axis=0) - drawn["model"])
