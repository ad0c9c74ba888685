"""Surprise of a world model, and expectation: how large it usually is after one pair of pictures.

Surprise is the error of the predicted latent, whitened by the errors in possible clips of the
training split (``objectives/whitening.py``). A latent moves much in some directions and little in
others, and a plain squared error would hear only the loud ones.

Something that comes in from the border surprises every model, and is possible; what comes out from
behind a screen surprises none that remembers. A read-out on possible clips of the training split
learns how large surprise is for a pair of latents (before and after), whatever was before them,
and another by how much it usually is off; what a clip shows beyond that is what its context makes
surprising. Quadruplets need none of it, as there all of that cancels; single clips do.

AUROC on DEV (60 quadruplets a concept, one model): 0.63 without, 0.76 with the first read-out, 0.78
with both.

Axes: B clips, T steps, Z flattened latent. Values at index t belong to step t+1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from armillary.core.rng import generator
from armillary.core.values import Batch, Latent
from armillary.models import JEPA
from armillary.objectives.whitening import Whitening, fit_whitening
from armillary.understanding.mlp import BATCH, MLP, fit_mlp
from armillary.worlds.stage import paint
from armillary.worlds.stage.appearance import TRAIN
from armillary.worlds.stage.plays import draw_scene

_BATCH, _STEPS = 32, 3000
_NORMAL = 512  # possible scenes whose errors are normal
_PASSES = 32  # over the data at most, so that few scenes are not learned by heart
_LEAST = 1e-3  # surprise below this is nothing
_LEAST_OFF = 0.05  # of a log: nothing is known better than to 5 %


@dataclass(frozen=True)
class Expectation:
    """Fitted read-outs from a pair of latents.

    Attributes:
        usual: log surprise.
        spread: log of by how much that is off.
    """

    usual: MLP
    spread: MLP

    def beyond(
        self, surprise: Float[np.ndarray, "B steps"], latents: Float[np.ndarray, "B T Z"]
    ) -> Float[np.ndarray, "B steps"]:
        """Return log surprise minus what is usual, in units of how far off that usually is.

        Args:
            surprise: of steps 1 to T-1.
            latents: of all steps.
        """
        pairs = _pairs(latents).reshape(-1, 2 * latents.shape[2])
        usual = self.usual.predict(pairs).reshape(surprise.shape)
        spread = np.exp(self.spread.predict(pairs)).clip(_LEAST_OFF).reshape(surprise.shape)
        return ((np.log(surprise + _LEAST) - usual) / spread).astype(np.float32)


def fit_normal(model: JEPA, scenes: int = _NORMAL, seed: int = 0) -> Whitening:
    """Measure a model's errors on possible scenes of the training split.

    Args:
        model: of pictures of the occluder world.
        scenes: how many.
        seed: names them.
    """
    clips = (errors(model, seen) for seen in _possible(model, "normal", scenes, seed))
    return fit_whitening(np.concatenate([one.reshape(-1, one.shape[2]) for one in clips]))


def fit_expectation(
    model: JEPA, normal: Whitening, scenes: int = 3200, seed: int = 0
) -> Expectation:
    """Fit it on possible scenes of the training split.

    Args:
        model: of pictures of the occluder world.
        normal: its errors there.
        scenes: how many.
        seed: names them.
    """
    surprise, pairs = [], []
    for seen in _possible(model, "expectation", scenes, seed):
        surprise.append(squared_error(errors(model, seen), normal).ravel())
        pairs.append(_pairs(seen.tokens.flatten(2).numpy()).reshape(surprise[-1].size, -1))
    # how far off it is shows in scenes that it was not fitted on
    apart = -(-3 * len(pairs) // 4)
    fitted, others = (
        (np.concatenate(pairs[part]), np.log(np.concatenate(surprise[part]) + _LEAST)[:, None])
        for part in (slice(0, apart), slice(apart if apart < len(pairs) else 0, None))
    )
    steps = [min(_STEPS, -(-_PASSES * len(part) // BATCH)) for _, part in (fitted, others)]
    usual = fit_mlp(fitted[0], fitted[1].astype(np.float64), seed, steps[0])
    off = np.abs(others[1] - usual.predict(others[0])) + _LEAST_OFF
    return Expectation(usual, fit_mlp(others[0], np.log(off), seed, steps[1]))


def _possible(model: JEPA, purpose: str, scenes: int, seed: int) -> Iterator[Latent]:
    """Yield a model's latents of possible scenes of the training split."""
    for begin in range(0, scenes, _BATCH):
        drawn = [
            draw_scene(TRAIN, generator(purpose, seed, index))
            for index in range(begin, min(begin + _BATCH, scenes))
        ]
        frames = np.stack([paint(scene) for scene in drawn])
        pans = np.stack([scene.pans() for scene in drawn]).astype(np.float32)
        yield look(model, frames, pans)


@torch.no_grad()
def look(model: JEPA, frames: np.ndarray, pans: np.ndarray) -> Latent:
    """Return the latents of clips [B T H W 3] under camera moves [B T-1 2]."""
    takes = model.config.action_width > 0
    actions = torch.from_numpy(np.ascontiguousarray(pans)) if takes else None
    valid = torch.ones(frames.shape[:2], dtype=torch.bool)
    pictures = torch.from_numpy(np.ascontiguousarray(frames))
    return model.encode(Batch({"rgb": pictures}, actions, valid))


@torch.no_grad()
def errors(model: JEPA, seen: Latent) -> Float[np.ndarray, "B steps Z"]:
    """Return the latent of each step minus its prediction from all steps before."""
    return (seen.tokens[:, 1:] - model.foresee_each(seen)).flatten(2).float().numpy()


def squared_error(
    wrong: Float[np.ndarray, "B steps Z"], normal: Whitening | None
) -> Float[np.ndarray, "B steps"]:
    """Return the mean square of each step's error; whitened, it is about 1 in possible clips."""
    if normal is None:
        return np.square(wrong).mean(axis=2)
    clips, steps, width = wrong.shape
    return normal.score(wrong.reshape(-1, width)).reshape(clips, steps).astype(np.float32)


def _pairs(latents: np.ndarray) -> np.ndarray:
    return np.concatenate([latents[:, :-1], latents[:, 1:]], axis=2)
