"""Encoded episodes: the latents of a recording, and the actions between them.

Episodes may be encoded more than once, each time as other colours, another light or worse depth
would show them. Whether that helps a goal policy is not sure: where depth has holes it reached 95
of 100 goals and 91 without, with other colours besides 93 and 95 (``scripts/new_appearance.py``).

Axes: F frames, K frames with an action, Z flattened latent, A action of a model step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from armillary.core.errors import TrainingError
from armillary.core.rng import generator
from armillary.core.values import Batch
from armillary.data import Windows
from armillary.models import JEPA
from armillary.training.augment import AugmentConfig, augment

_ENCODED_AT_ONCE = 512


@dataclass(frozen=True)
class EncodedEpisodes:
    """Recorded latents and what led from one to the next, end to end.

    Attributes:
        latents: [F Z]; frames of one model step distance are ``skip`` rows apart.
        actions: [F A] of the model step that starts at a frame; rows without one are not used.
        begin: [F], first row of the frame's episode.
        end: [F], last row of the frame's episode.
        skip: rows per model step.
    """

    latents: Float[Tensor, "F Z"]
    actions: Float[Tensor, "F A"]
    begin: Int64[Tensor, " F"]
    end: Int64[Tensor, " F"]
    skip: int = 1

    def __post_init__(self) -> None:
        if not len(self.starts):
            raise TrainingError(
                f"No episode lasts {self.skip + 1} steps, so there is no action to learn from; "
                "record longer episodes."
            )

    @cached_property
    def starts(self) -> Int64[Tensor, " K"]:
        """Rows from which a model step was taken."""
        rows = torch.arange(len(self.latents))
        return rows[rows + self.skip <= self.end]


@dataclass(frozen=True)
class Appearances:
    """How else recorded episodes are seen.

    Attributes:
        varied: how an episode is varied; all of it alike, so goals look as what led to them.
        times: how often each episode is varied.
        seed: names what is drawn.
    """

    varied: AugmentConfig
    times: int
    seed: int = 0


@torch.no_grad()
def encode_episodes(
    model: JEPA, windows: Windows, appearances: Appearances | None = None
) -> EncodedEpisodes:
    """Return the latents of whole episodes, each frame encoded once, and once for every appearance.

    Args:
        model: encodes.
        windows: of length 1, with the streams that the model sees.
        appearances: how else the episodes are seen; they follow as episodes of their own.

    Raises:
        TrainingError: the recording has no actions.
    """
    cache, skip = windows.cache, model.config.frame_skip
    if cache.actions is None or not model.config.action_width:
        raise TrainingError(
            "To learn how to act needs actions, and this model or dataset has none. Record a "
            "world, or ingest a dataset with actions."
        )
    first = windows.locate(np.arange(len(windows)))[1]
    lengths = cache.lengths[windows.episodes]
    ends = np.cumsum(lengths)
    own = np.minimum(first[:, None] + np.arange(skip), len(cache.actions) - 1)
    once = EncodedEpisodes(
        latents=_latents(model, windows),
        actions=torch.from_numpy(cache.actions[own].reshape(len(first), -1)),
        begin=torch.from_numpy(np.repeat(ends - lengths, lengths)),
        end=torch.from_numpy(np.repeat(ends - 1, lengths)),
        skip=skip,
    )
    if appearances is None:
        return once
    seen = [
        _varied_latents(model, windows, ends, appearances, time)
        for time in range(appearances.times)
    ]
    rows = len(once.latents) * torch.arange(len(seen) + 1).repeat_interleave(len(once.latents))
    return EncodedEpisodes(
        latents=torch.cat([once.latents, *seen]),
        actions=once.actions.repeat(len(seen) + 1, 1),
        begin=once.begin.repeat(len(seen) + 1) + rows,
        end=once.end.repeat(len(seen) + 1) + rows,
        skip=skip,
    )


def _latents(model: JEPA, windows: Windows) -> Float[Tensor, "F Z"]:
    parts = np.array_split(np.arange(len(windows)), -(-len(windows) // _ENCODED_AT_ONCE))
    return torch.cat([model.encode(windows.gather(rows)).tokens.flatten(1) for rows in parts])


def _varied_latents(
    model: JEPA, windows: Windows, ends: np.ndarray, appearances: Appearances, time: int
) -> Float[Tensor, "F Z"]:
    """Return the latents of the episodes in one other appearance each.

    What a long episode has beyond the frames that are encoded at once gets one of its own.
    """
    parts = []
    for number, rows in enumerate(np.split(np.arange(len(windows)), ends[:-1])):
        for first in range(0, len(rows), _ENCODED_AT_ONCE):
            frames = windows.gather(rows[first : first + _ENCODED_AT_ONCE])
            rng = generator("encoded looks", appearances.seed, time, number, first)
            clip = augment(_as_one_clip(frames), appearances.varied, rng, model.config.frame_skip)
            parts.append(model.encode(clip).tokens[0].flatten(1))
    return torch.cat(parts)


def _as_one_clip(frames: Batch) -> Batch:
    """Return clips of one frame each as one clip of all of them, without actions."""
    streams = {name: values.transpose(0, 1) for name, values in frames.streams.items()}
    return Batch(streams, None, frames.valid.transpose(0, 1))


def check_finite(encoded: EncodedEpisodes) -> None:
    """Refuse what nothing can be learned from, rather than leave a policy that says nothing.

    Raises:
        TrainingError: a latent or an action that is used is not a finite number.
    """
    for name, values in (
        ("latents", encoded.latents),
        ("actions", encoded.actions[encoded.starts]),
    ):
        if wrong := int((~values.isfinite()).any(1).sum()):
            raise TrainingError(
                f"The {name} of {wrong:,} of {len(values):,} recorded frames are not finite. "
                "Look for NaN in the dataset."
            )
