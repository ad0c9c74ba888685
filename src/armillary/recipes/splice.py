"""Splice: more scenes from one camera that stands still, by putting clips into each other.

A rectangle of a clip, at every step of it, shows another clip of the batch instead: what walked
there walks here now. A few minutes of video hold few independent scenes, and a network that sees
each only as a whole learns them by heart; spliced, it meets their parts in ever new company. Half
of the clips also run backwards.

Axes: B clips, T steps, H W image.
Source: VideoMix, Yun et al. 2020 (2012.03457), here without labels.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.core.rng import generator
from armillary.core.values import Batch
from armillary.data import Cache, Windows


class SplicedWindows(Windows):
    """Windows of colour pictures whose clips are spliced when they are gathered.

    What is drawn depends on the seed and on the numbers of the gathered windows alone, so that a
    resumed run sees the same clips.

    Args:
        cache: prepared videos of cameras that stand still, without actions.
        episodes: positions in the cache.
        length: T.
        stride: frames from step to step.
        rectangles: how often each clip is spliced; 0 leaves clips as they are.
        seed: names the draws.

    Raises:
        ConfigError: the videos come with actions, which a splice would contradict.
    """

    def __init__(
        self,
        cache: Cache,
        episodes: Int[np.ndarray, " E"],
        length: int,
        stride: int,
        rectangles: int,
        seed: int,
    ) -> None:
        super().__init__(cache, episodes, length, stride, ("rgb",))
        if cache.action_width:
            raise ConfigError("Spliced clips need plain video; this recording has actions.")
        self.rectangles, self.seed = rectangles, seed

    def gather(self, index: Int[np.ndarray, " B"]) -> Batch:
        """Return the windows with these numbers, spliced with each other."""
        plain = super().gather(index)
        if not self.rectangles:
            return plain
        rng = generator("splice", self.seed, *index.tolist())
        rgb = plain.streams["rgb"]
        for _ in range(self.rectangles):
            other = torch.from_numpy(rng.permutation(len(rgb)))
            rgb = splice(rgb, rgb[other], _rectangles(rgb, rng))
        backwards = torch.from_numpy(rng.random(len(rgb)) < 0.5)
        rgb = torch.where(backwards[:, None, None, None, None], rgb.flip(1), rgb)
        return Batch({"rgb": rgb}, None, plain.valid)


def splice(
    rgb: UInt8[Tensor, "B T H W 3"],
    other: UInt8[Tensor, "B T H W 3"],
    where: Bool[Tensor, "B H W"],
) -> UInt8[Tensor, "B T H W 3"]:
    """Return clips that show ``other`` where they are told to, at every step."""
    return torch.where(where[:, None, :, :, None], other, rgb)


def _rectangles(rgb: Tensor, rng: np.random.Generator) -> Bool[Tensor, "B H W"]:
    """Draw one rectangle a clip, a quarter to three quarters of each side, cut at the border."""
    inside = [_stretch(len(rgb), side, rng) for side in rgb.shape[2:4]]
    return inside[0][:, :, None] & inside[1][:, None, :]


def _stretch(count: int, side: int, rng: np.random.Generator) -> Bool[Tensor, "B S"]:
    long = rng.integers(side // 4, 3 * side // 4 + 1, (count, 1))
    first = rng.integers(-(side // 4), 3 * side // 4, (count, 1))
    place = np.arange(side)
    return torch.from_numpy((place >= first) & (place < first + long))
