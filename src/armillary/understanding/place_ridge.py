"""Place ridge: frozen features predicted linearly, with the same weights at every place.

A prediction for a place is read from the features at it and at its eight neighbours: how far they
are from their mean over time, and how they changed in the last model step. One picture gives 64
samples. So a minute of video is enough for a fit that holds in the next, where a ridge with a
weight for each place learns where things were. It knows no model, and is the strongest baseline of
a short recording.

Axes: F model steps, W windows, X features, C features of a place, S side of the grid, K folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from armillary.understanding.frozen_features import PLACES
from armillary.understanding.ridge import PENALTIES

_NEAR = 3  # side of a neighbourhood
_AT_ONCE = 128  # windows


@dataclass(frozen=True)
class PlaceRidge:
    """A fitted prediction.

    Attributes:
        mean: of each feature at each place over time [C S S].
        weights: from the neighbourhood to the change of the features of a place.
        penalty: in units of the mean squared input, summed over samples.
    """

    mean: Float[Tensor, "C S S"]
    weights: Float[Tensor, "inputs C"]
    penalty: float

    @classmethod
    def fit(
        cls,
        features: Float[np.ndarray, "F X"],
        now: Int[np.ndarray, " W"],
        ahead: int,
        held_out: Bool[np.ndarray, "K W"],
        penalties: tuple[float, ...] = PENALTIES,
    ) -> PlaceRidge:
        """Fit on windows of a recording; the penalty is chosen by cross-validation.

        Args:
            features: of every model step, as ``frozen_features`` returns them.
            now: the present of each window; the step before it must be in ``features``.
            ahead: model steps.
            held_out: windows that each fold holds out; every window is held out once.
            penalties: the choices.
        """
        maps = _maps(features)
        mean = maps[torch.from_numpy(now)].mean(0)
        moments = [_moments(maps, mean, now[fold], ahead) for fold in held_out]
        whole = _Moments(
            torch.stack([one.square for one in moments]).sum(0),
            torch.stack([one.product for one in moments]).sum(0),
        )
        errors = [
            sum(one.error(whole.without(one).weights(penalty)) for one in moments)
            for penalty in penalties
        ]
        best = penalties[int(np.argmin(errors))]
        return cls(mean, whole.weights(best).float(), best)

    def predict(
        self, features: Float[np.ndarray, "F X"], now: Int[np.ndarray, " W"]
    ) -> Float[np.ndarray, "W X"]:
        """Return the features that are predicted from windows of the same or another recording."""
        maps, found = _maps(features), []
        for at in range(0, len(now), _AT_ONCE):
            some = torch.from_numpy(now[at : at + _AT_ONCE])
            change = _inputs(maps, self.mean, some) @ self.weights
            grid = change.unflatten(0, (len(some), -1)).transpose(1, 2)
            found.append(maps[some].flatten(1) + grid.flatten(1))
        return torch.cat(found).numpy()


@dataclass(frozen=True)
class _Moments:
    """Second moments of inputs and targets, summed over samples: all that a ridge needs."""

    square: Float[Tensor, "inputs inputs"]
    product: Float[Tensor, "inputs C"]

    def without(self, other: _Moments) -> _Moments:
        return _Moments(self.square - other.square, self.product - other.product)

    def weights(self, penalty: float) -> Tensor:
        unit = self.square.diagonal().mean().clamp_min(1e-12)
        ridge = penalty * unit * torch.eye(len(self.square), dtype=self.square.dtype)
        return torch.cholesky_solve(self.product, torch.linalg.cholesky(self.square + ridge))

    def error(self, weights: Tensor) -> float:
        """Return the squared error of weights on these samples, but for a constant."""
        return float((weights * (self.square @ weights - 2 * self.product)).sum())


def _maps(features: np.ndarray) -> Tensor:
    """Return features as maps: [F C S S]."""
    flat = torch.from_numpy(features)
    return flat.unflatten(1, (-1, PLACES, PLACES))


def _inputs(maps: Tensor, mean: Tensor, now: Tensor) -> Tensor:
    """Return what each place is predicted from: [W S S, inputs]."""
    here = torch.cat([maps[now] - mean, maps[now] - maps[now - 1]], 1)
    return functional.unfold(here, _NEAR, padding=_NEAR // 2).transpose(1, 2).flatten(0, 1)


def _moments(maps: Tensor, mean: Tensor, now: np.ndarray, ahead: int) -> _Moments:
    width, out = 2 * _NEAR**2 * maps.shape[1], maps.shape[1]
    square = torch.zeros(width, width, dtype=torch.float64)
    product = torch.zeros(width, out, dtype=torch.float64)
    for at in range(0, len(now), _AT_ONCE):
        some = torch.from_numpy(now[at : at + _AT_ONCE])
        change = (maps[some + ahead] - maps[some]).flatten(2).transpose(1, 2).flatten(0, 1)
        inputs = _inputs(maps, mean, some)
        square += inputs.T @ inputs
        product += inputs.T @ change
    return _Moments(square, product)
