"""Trunk features: what a frozen trunk sees in a recording, computed once and kept on disk.

A step of training then costs no pass through the trunk. Features are stored after the projection,
as float16: 8 kB a frame. Pictures are not varied, because features belong to pictures as they are.

Axes: F frames, P places, K kept components.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int

from armillary.core.hashing import json_sha256
from armillary.core.progress import Progress, silent
from armillary.core.rng import generator
from armillary.data import Cache
from armillary.data.derived import Derivation, derived
from armillary.models import JEPA, JEPAConfig
from armillary.models.senses import rgb_tokenizer
from armillary.models.trunks import FEATURES, TrunkTokenizer, open_trunk

_SAMPLE = 256  # training pictures that the projection is fitted on
_VERSION = 1
_CONSTANTS = ("mean", "projection", "golden")


def with_trunk_features(
    cache: Cache,
    config: JEPAConfig,
    training: Int[np.ndarray, " E"],
    seed: int,
    progress: Progress = silent,
) -> Cache:
    """Return a cache with the stream of what the model's trunk sees; as it is without a trunk.

    Args:
        cache: prepared for the model.
        config: of the model.
        training: episodes on whose pictures the projection is fitted.
        seed: names those pictures.
        progress: called with frames done and in all.

    Raises:
        CheckpointError: the trunk is not on this machine.
        StorageError: the disk is full or not writable.
    """
    if not config.trunk:
        return cache
    pictures = _sample(cache, training, seed)
    shape = [config.trunk_width, *cache.size, config.encoder.patch]
    key = json_sha256([_VERSION, open_trunk(config.trunk).identity, *shape, pictures.tolist()])
    return derived(cache, FEATURES, key, lambda: _fitted(cache, config, pictures), progress)


def fit_trunk(model: JEPA, cache: Cache, training: Int[np.ndarray, " E"], seed: int) -> None:
    """Set the projection of a model's trunk: that of the kept features, or fitted on pictures.

    Args:
        model: one with a trunk.
        cache: training episodes.
        training: those to learn from.
        seed: names the pictures.
    """
    tokenizer = model.tokenizers["rgb"]
    assert isinstance(tokenizer, TrunkTokenizer)
    tokenizer.trunk()
    if FEATURES in cache.arrays:
        for name in _CONSTANTS:
            values = torch.from_numpy(np.array(cache.constants[f"trunk_{name}"]))
            getattr(tokenizer, name).copy_(values)
    else:
        tokenizer.fit(_pictures(cache, _sample(cache, training, seed)))


def _fitted(cache: Cache, config: JEPAConfig, pictures: Int[np.ndarray, " N"]) -> Derivation:
    tokenizer = rgb_tokenizer(config)
    assert isinstance(tokenizer, TrunkTokenizer)
    tokenizer.fit(_pictures(cache, pictures))

    def rows(first: int, last: int) -> np.ndarray:
        return tokenizer.features(_pictures(cache, np.arange(first, last))).half().numpy()

    constants = {f"trunk_{name}": getattr(tokenizer, name).numpy() for name in _CONSTANTS}
    return Derivation(rows, constants)


def _pictures(cache: Cache, frames: Int[np.ndarray, " N"]) -> torch.Tensor:
    return torch.from_numpy(np.take(cache.arrays["rgb"], frames, axis=0))


def _sample(cache: Cache, training: Int[np.ndarray, " E"], seed: int) -> Int[np.ndarray, " N"]:
    frames = np.concatenate([np.arange(*cache.starts[one : one + 2]) for one in training])
    drawn = generator("trunk.pictures", seed).permutation(len(frames))[:_SAMPLE]
    return np.sort(frames[drawn])
