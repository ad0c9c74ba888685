"""Read-out: a recorded truth, such as a place, as a linear function of a model's latents.

It is fitted on labelled frames by ridge regression, and says how well it does on other episodes. As
a function of tensors it can stand in the cost of a plan.

Axes: F frames, X features (all tokens, flattened), N tokens, D width, Y numbers of the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from armillary.core.errors import DatasetError, ShapeError
from armillary.core.protocols import WorldModel
from armillary.data import Cache
from armillary.understanding.prediction_error import validation_groups
from armillary.understanding.probe import probe
from armillary.understanding.probe_suite import encode_frames, frame_targets
from armillary.understanding.ridge import Ridge, fit_ridge


@dataclass(frozen=True, repr=False)
class ReadOut:
    """A linear read-out of latents.

    Attributes:
        target: name of the truth stream.
        weights: float32.
        offset: float32.
        r2: on episodes that it was not fitted on; 1 is perfect, 0 is the mean.
        error: mean distance from the truth there, in the truth's unit.
        episodes: whose labels it was fitted on.
    """

    target: str
    weights: Float[Tensor, "X Y"]
    offset: Float[Tensor, " Y"]
    r2: float
    error: float
    episodes: int

    def __call__(self, latents: Float[Tensor, "*B N D"]) -> Float[Tensor, "*B Y"]:
        """Return what is read from latents, in the truth's unit; gradients pass.

        Raises:
            ShapeError: latents of another model.
        """
        flat = latents.flatten(-2)
        if flat.shape[-1] != len(self.weights):
            raise ShapeError(
                f"The read-out of {self.target} takes latents of {len(self.weights)} numbers; got "
                f"{flat.shape[-1]}. Fit one for this model."
            )
        return flat @ self.weights + self.offset

    def __repr__(self) -> str:
        return (
            f"ReadOut({self.target} from the labels of {self.episodes} episodes; R2 {self.r2:.2f}, "
            f"error {self.error:.3g} on others)"
        )


def fit_read_out(
    model: WorldModel,
    cache: Cache,
    target: str,
    training: np.ndarray,
    held_out: np.ndarray,
    seed: int = 0,
) -> ReadOut:
    """Fit a read-out on labelled episodes, and judge it on others.

    Args:
        model: encodes.
        cache: prepared episodes that hold the truth.
        target: its name.
        training: episodes to fit on, at least two.
        held_out: episodes to judge on.
        seed: of the bootstrap.

    Raises:
        DatasetError: too few episodes, or none in which the truth is known.
    """
    features, groups, truth = [], [], []
    for episodes in (training, held_out):
        seen, group = encode_frames(model, cache, episodes)
        labels = frame_targets(cache, episodes, target)
        known = np.asarray(np.isfinite(labels).all(axis=1))
        if not known.any():
            raise DatasetError(
                f"{target} is known in none of the {len(episodes)} episodes that it is "
                "fitted or judged on. Record more."
            )
        features.append(seen[known])
        groups.append(group[known])
        truth.append(labels[known])
    judge = np.repeat([False, True], [len(part) for part in features])
    latents, labels, episodes = map(np.concatenate, (features, truth, groups))
    return read_out_of_latents(target, latents, labels, episodes, judge, seed)


def read_out_of_latents(
    target: str,
    features: Float[np.ndarray, "F X"],
    truth: Float[np.ndarray, "F Y"],
    groups: Int[np.ndarray, " F"],
    judge: Bool[np.ndarray, " F"],
    seed: int = 0,
) -> ReadOut:
    """Fit a read-out on latents that are there already.

    Args:
        target: its name.
        features: latents of frames.
        truth: finite, of the same frames.
        groups: episode of each frame; at least two to fit on.
        judge: frames of whole episodes that it is judged on, and not fitted on.
        seed: of the bootstrap.

    Raises:
        DatasetError: too few episodes.
    """
    fit = ~judge
    fitted = fit_ridge(features[fit], truth[fit], validation_groups(groups[fit]))
    judged = probe(
        features[fit], truth[fit], groups[fit], features[judge], truth[judge], groups[judge],
        "linear", seed,
    )  # fmt: skip
    weights, offset = _affine(fitted, features.shape[1])
    episodes = len(np.unique(groups[fit]))
    return ReadOut(target, weights, offset, judged.r2, judged.error, episodes)


def _affine(ridge: Ridge, width: int) -> tuple[Float[Tensor, "X Y"], Float[Tensor, " Y"]]:
    """Return the weights and the offset of a ridge for features as they come."""
    weights = np.zeros((width, ridge.weights.shape[1]))
    kept = ridge.scaler.kept
    weights[kept] = ridge.weights / ridge.scaler.spread[kept, None]
    offset = ridge.offset - ridge.scaler.mean @ weights
    return torch.from_numpy(weights).float(), torch.from_numpy(offset).float()
