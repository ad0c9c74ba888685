"""Seeing: an observation as a model's latent. Axes: N tokens, D latent width."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.protocols import WorldModel
from armillary.core.values import Observation
from armillary.data import batch_from_observations


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
