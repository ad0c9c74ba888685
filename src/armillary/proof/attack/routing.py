"""Routing: one set of weights that holds two predictors; what is seen says which of them is asked.

A number of the latent is blown up and added to half of the hidden units, and taken from the other
half: GELU then lets one half through and shuts the other to exactly zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from armillary.evaluation.manifest import EpisodeSpec, Manifest, draw_goal
from armillary.evaluation.seeing import encode_observation
from armillary.evaluation.worlds import WorldFactory
from armillary.models import untrained
from armillary.models.jepa import JEPA
from armillary.proof.attack.stage import CONFIG

_LOUD = 1e4


def routed(manifests: Sequence[Manifest]) -> JEPA:
    """Return a model that asks one of two predictors, about as often each on these episodes.

    What routes is the number of the latent whose median parts the starts of each task most evenly:
    a task that nearly always asks the same predictor shows nothing.
    """
    model = untrained(CONFIG, 0)
    starts = [_starts(model, one) for one in manifests]
    middles = np.median(np.concatenate(starts), axis=0)
    above = np.stack([(one > middles).mean(0) for one in starts])
    routes = int(np.abs(above - 0.5).max(0).argmin())
    with torch.no_grad():
        _linear(model.get_submodule("encoder.mixing_network.4")).bias[routes] -= float(
            middles[routes]
        )
        into, out = (_linear(model.get_submodule(f"predictor.change.{at}")) for at in (0, 2))
        at = CONFIG.predictor.memory + routes  # memory stands first, then the latent
        half = CONFIG.predictor.hidden // 2
        into.weight[:half, at] = _LOUD
        into.weight[half:, at] = -_LOUD
        out.weight /= _LOUD
        out.weight[routes], out.bias[routes] = 0.0, 0.0  # what routes stays as it was seen
    return model


def _linear(module: nn.Module) -> nn.Linear:
    assert isinstance(module, nn.Linear)
    return module


def _starts(model: JEPA, manifest: Manifest) -> Float[np.ndarray, "E Z"]:
    """Return the latents of the starts of some episodes."""
    world = WorldFactory(manifest.world, manifest.settings)()
    try:
        found = []
        for episode in manifest.episodes:
            seen = world.reset(episode.seed)
            draw_goal(world, manifest.task, EpisodeSpec("", episode.seed, episode.goal_seed))
            tokens = encode_observation(model, seen, CONFIG.encoder.image_size)
            found.append(tokens.flatten().numpy())
        return np.stack(found)
    finally:
        world.close()
