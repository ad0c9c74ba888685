"""Seeing: observations as a model's latents, each alone or those of a scene together.

A guard sees each alone, also beside a policy that sees together: what is usual is measured so, too.

Axes: T looks, N tokens, D latent width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.core.protocols import SceneModel, WorldModel
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


def encode_looks(
    model: WorldModel, looks: Sequence[Observation], image_size: int | None
) -> Float[Tensor, "1 T N D"]:
    """Return the latents of looks at one scene, which may tell each other what they lack.

    Args:
        model: encodes.
        looks: T of them, as for ``encode_observation``.
        image_size: the same.

    Raises:
        ConfigError: as ``scene_model``.
    """
    with torch.no_grad():
        batch = batch_from_observations(looks, size=image_size)
        return scene_model(model).encode_scene(batch).tokens


def scene_model(model: WorldModel) -> SceneModel:
    """Return the model as one that may see several looks together.

    Raises:
        ConfigError: it cannot.
    """
    if not isinstance(model, SceneModel):
        raise ConfigError(
            f"together needs a model with encode_scene, which {type(model).__name__} lacks."
        )
    return model
