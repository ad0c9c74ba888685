"""Seeing: observations as a model's latents. The policy and its guard see in the same way.

Axes: T looks, N tokens, D latent width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.protocols import WorldModel
from armillary.core.values import Batch, Latent, Observation
from armillary.data import batch_from_observations


@runtime_checkable
class SceneModel(WorldModel, Protocol):
    """A world model that may see several looks at one scene together."""

    def encode_scene(self, batch: Batch) -> Latent:
        """Return the latent of every step of clips whose steps look at one scene."""
        ...


def encode_observation(
    model: WorldModel, observation: Observation, image_size: int | None
) -> Float[Tensor, "1 1 N D"]:
    """Return the latent of one observation.

    Args:
        model: encodes.
        observation: with the streams that the model needs.
        image_size: pictures are brought to this size, pixels; None leaves them as they come.
    """
    # no_grad, not inference_mode: the gradient planner differentiates through what comes out.
    with torch.no_grad():
        batch = batch_from_observations([observation], size=image_size)
        return model.encode(batch).tokens


def encode_looks(
    model: SceneModel, looks: Sequence[Observation], image_size: int | None
) -> Float[Tensor, "1 T N D"]:
    """Return the latents of looks at one scene, which may tell each other what they lack.

    Args:
        model: encodes.
        looks: T of them, as for ``encode_observation``.
        image_size: the same.
    """
    with torch.no_grad():
        return model.encode_scene(batch_from_observations(looks, size=image_size)).tokens
