"""Clips for the peers: windows of armillary's cache, normalised as their own scripts do.

Pictures with ImageNet's mean and spread, actions with mean and standard deviation of the training
episodes (one per dimension of the world's action, repeated over the frame skip).

Axes: B windows, T frames, H W image, A action of the world, F recorded steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from armillary.benchmark.ground.settings import FRAME_SKIP, HISTORY
from armillary.core.errors import DatasetError
from armillary.data import Cache, Windows, epoch_order

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LEAST_STD = 1e-6


@dataclass(frozen=True)
class ActionScale:
    """Mean and spread of the recorded actions, in the world's units.

    It has the two methods that their policy wants of a normaliser.

    Attributes:
        mean: [A].
        std: [A].
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Return actions [... A] in standard deviations."""
        return ((x - np.array(self.mean)) / np.array(self.std)).astype(np.float32)

    def inverse_transform(self, x: np.ndarray) -> np.ndarray:
        """Return actions [... A] in the world's units."""
        return x * np.array(self.std) + np.array(self.mean)

    @classmethod
    def of(cls, cache: Cache, episodes: Int[np.ndarray, " E"]) -> ActionScale:
        """Return the scale of some episodes; the row after an episode's last action is left out.

        Raises:
            DatasetError: the recording has no actions.
        """
        if cache.actions is None:
            raise DatasetError("The recording has no actions; a world that is acted in is needed.")
        spans = zip(cache.starts[episodes], cache.starts[np.asarray(episodes) + 1], strict=True)
        rows = np.concatenate([cache.actions[begin : end - 1] for begin, end in spans])
        std = np.maximum(rows.std(axis=0, dtype=np.float64), _LEAST_STD)
        mean = rows.mean(axis=0, dtype=np.float64)
        return cls(tuple(map(float, mean)), tuple(map(float, std)))

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> ActionScale:
        """Return the scale that was written as JSON."""
        return cls(tuple(map(float, value["mean"])), tuple(map(float, value["std"])))


class PeerClips:
    """Shuffled training batches of a peer.

    Args:
        cache: prepared episodes at the peer's picture size.
        episodes: positions in the cache to train on.
        batch_size: B.
        seed: names the order.

    Raises:
        DatasetError: no actions, or no episode of 16 steps.
    """

    length = HISTORY + 1

    def __init__(
        self, cache: Cache, episodes: Int[np.ndarray, " E"], batch_size: int, seed: int
    ) -> None:
        self.scale = ActionScale.of(cache, episodes)
        self.windows = Windows(cache, episodes, self.length, FRAME_SKIP, ("rgb",))
        self.batch_size, self._seed = min(batch_size, len(self.windows)), seed

    @property
    def action_width(self) -> int:
        """A of the world."""
        return len(self.scale.mean)

    def batch(self, step: int) -> tuple[Float[Tensor, "B T 3 H W"], Float[Tensor, "B gaps skip_A"]]:
        """Return normalised pictures and blocks of actions of an update, numbered from 0.

        An epoch visits every window once; what does not fill a batch is left for the next order.
        """
        epoch, place = divmod(step, len(self.windows) // self.batch_size)
        order = epoch_order(len(self.windows), self._seed, epoch)
        chosen = order[place * self.batch_size : (place + 1) * self.batch_size]
        batch = self.windows.gather(chosen)
        assert batch.actions is not None
        skip_mean = torch.tensor(self.scale.mean * FRAME_SKIP, dtype=torch.float32)
        skip_std = torch.tensor(self.scale.std * FRAME_SKIP, dtype=torch.float32)
        return normalised(batch.streams["rgb"]), (batch.actions - skip_mean) / skip_std


def normalised(pictures: UInt8[Tensor, "B T H W 3"]) -> Float[Tensor, "B T 3 H W"]:
    """Return pictures with ImageNet's mean and spread, channels first."""
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    values = pictures.float().div_(255).sub_(mean).div_(std)
    return values.permute(0, 1, 4, 2, 3).contiguous()
