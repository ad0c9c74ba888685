"""Expectation: how surprised a model usually is when it sees one picture follow another.

Something that comes in from the border surprises every model, and is possible; what comes out from
behind a screen surprises none that remembers. A read-out on possible clips of the training split
learns how large surprise is for a pair of latents (before and after), whatever came before them;
what a clip shows beyond that is what its context makes surprising. Quadruplets need none of it, as
there all of that cancels; single clips do.

Axes: B clips, T steps, Z flattened latent. Values at index t belong to step t+1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from armillary.comprehension.mlp import BATCH, MLP, fit_mlp
from armillary.core.rng import generator
from armillary.core.values import Batch, Latent
from armillary.models import JEPA
from armillary.worlds.stage import paint
from armillary.worlds.stage.appearance import TRAIN
from armillary.worlds.stage.plays import draw_scene

_BATCH, _STEPS = 32, 3000
_PASSES = 32  # over the data at most, so that few scenes are not learned by heart
_LEAST = 1e-3  # surprise below this is nothing


@dataclass(frozen=True)
class Expectation:
    """A fitted read-out of log surprise from a pair of latents."""

    network: MLP

    def beyond(
        self, surprise: Float[np.ndarray, "B steps"], latents: Float[np.ndarray, "B T Z"]
    ) -> Float[np.ndarray, "B steps"]:
        """Return log surprise minus what is usual.

        Args:
            surprise: of steps 1 to T-1.
            latents: of all steps.
        """
        usual = self.network.predict(_pairs(latents).reshape(-1, 2 * latents.shape[2]))
        return (np.log(surprise + _LEAST) - usual.reshape(surprise.shape)).astype(np.float32)


def fit_expectation(model: JEPA, scenes: int = 1600, seed: int = 0) -> Expectation:
    """Fit it on possible scenes of the training split.

    Args:
        model: of pictures of the stage.
        scenes: how many.
        seed: names them.
    """
    surprise, pairs = [], []
    for begin in range(0, scenes, _BATCH):
        drawn = [
            draw_scene(TRAIN, generator("expectation", seed, index))
            for index in range(begin, min(begin + _BATCH, scenes))
        ]
        frames = np.stack([paint(scene) for scene in drawn])
        pans = np.stack([scene.pans() for scene in drawn]).astype(np.float32)
        seen = look(model, frames, pans)
        surprise.append(squared_error(model, seen).ravel())
        pairs.append(_pairs(seen.tokens.flatten(2).numpy()).reshape(surprise[-1].size, -1))
    logs = np.log(np.concatenate(surprise) + _LEAST)[:, None].astype(np.float64)
    steps = min(_STEPS, -(-_PASSES * len(logs) // BATCH))
    return Expectation(fit_mlp(np.concatenate(pairs), logs, seed, steps))


@torch.no_grad()
def look(model: JEPA, frames: np.ndarray, pans: np.ndarray) -> Latent:
    """Return the latents of clips [B T H W 3] under camera moves [B T-1 2]."""
    takes = model.config.action_width > 0
    actions = torch.from_numpy(np.ascontiguousarray(pans)) if takes else None
    valid = torch.ones(frames.shape[:2], dtype=torch.bool)
    pictures = torch.from_numpy(np.ascontiguousarray(frames))
    return model.encode(Batch({"rgb": pictures}, actions, valid))


@torch.no_grad()
def squared_error(model: JEPA, seen: Latent) -> Float[np.ndarray, "B steps"]:
    """Return the mean squared error of what the model foresaw of each step, over the latent."""
    foreseen = model.foresee_each(seen)
    return (seen.tokens[:, 1:] - foreseen).square().mean(dim=(2, 3)).float().numpy()


def _pairs(latents: np.ndarray) -> np.ndarray:
    return np.concatenate([latents[:, :-1], latents[:, 1:]], axis=2)
