"""Other sight: the latent of one way to see, guessed from another way to see the same moment.

    cross_modal   one half of the sensors guesses what the other half gives
    other_view    camera 0 guesses what camera 1 gives, told the pose between them

Either asks that the latent says what is there, and not how it was sensed.

Axes: B clips, T steps, Z flattened latent.
Source: cross-modal, Concerto (2510.23607); a change of view as an argument of the predictor, as in
image world models (2403.00504).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.core.errors import ConfigError, ShapeError
from armillary.core.values import Batch
from armillary.models import JEPA, JEPAConfig
from armillary.objectives import agreement_loss
from armillary.spatial import relative
from armillary.training.sensor_dropout import halves, seeing

_HIDDEN = 256
_EVERY = 4  # of a clip's steps every fourth is asked about: neighbours say nearly the same
_POSE_NUMBERS = 12
# Streams of camera 0 and of camera 1 (in a batch ``depth_m`` is camera 0's depth in metres).
OTHER_CAMERA = {
    "rgb": "rgb_1",
    "depth_m": "depth_1",
    "world_from_camera": "world_from_camera_1",
}
# What rides on camera 0 or on the robot is no view of camera 1.
_NO_CAMERA = ("cloud", "scan", "proprio")


class CrossModal(nn.Module):
    """Halves of the sensors that guess each other's latent.

    Args:
        config: of the model.

    Raises:
        ConfigError: the model sees with a single sensor; its camera's pose is none.
    """

    def __init__(self, config: JEPAConfig) -> None:
        super().__init__()
        if len(eyes := seeing(config)) < 2:
            raise ConfigError(
                "objective.cross_modal needs two sensors or more, and the model has "
                f"{''.join(eyes) or 'none'}. Set it to 0, or add to model.sensors."
            )
        self.guess = _head(config.latent_width, config.latent_width)

    def forward(self, model: JEPA, batch: Batch, rng: torch.Generator) -> Float[Tensor, ""]:
        """Return the disagreement, both ways, of this step's halves.

        Args:
            model: that learns.
            batch: clips with all sensors.
            rng: draws the halves.
        """
        seen = _thinned(batch)
        one, other = (
            model.encode(seen, kept).tokens.flatten(2) for kept in halves(model.config, rng)
        )
        return (agreement_loss(self.guess(one), other) + agreement_loss(self.guess(other), one)) / 2


class OtherView(nn.Module):
    """A camera that guesses another camera's latent.

    Args:
        config: of the model.

    Raises:
        ConfigError: the model has no camera.
    """

    def __init__(self, config: JEPAConfig) -> None:
        super().__init__()
        if not {*config.sensors} - {*_NO_CAMERA}:
            raise ConfigError(
                f"objective.other_view needs a camera, and the model sees "
                f"{', '.join(config.sensors)}. Set it to 0."
            )
        self.guess = _head(config.latent_width + _POSE_NUMBERS, config.latent_width)

    def forward(self, model: JEPA, batch: Batch) -> Float[Tensor, ""]:
        """Return the disagreement, from camera 0 to camera 1 and back."""
        seen = _thinned(batch)
        kept = {name: False for name in model.config.sensors if name in _NO_CAMERA}
        here, there = seen, through_other_camera(seen, model.config)
        poses = [view.streams["world_from_camera"] for view in (here, there)]
        one, other = (model.encode(view, kept).tokens.flatten(2) for view in (here, there))
        return (
            agreement_loss(self.guess(_told(one, poses[0], poses[1])), other)
            + agreement_loss(self.guess(_told(other, poses[1], poses[0])), one)
        ) / 2


def through_other_camera(batch: Batch, config: JEPAConfig) -> Batch:
    """Return the clips as camera 1 saw them.

    Raises:
        ShapeError: there is no camera 1 in the batch.
    """
    names = {"world_from_camera", *config.streams} & OTHER_CAMERA.keys()
    if missing := sorted(
        OTHER_CAMERA[name] for name in names if OTHER_CAMERA[name] not in batch.streams
    ):
        raise ShapeError(
            f"objective.other_view needs two cameras; the data lack {', '.join(missing)}. Record "
            "with --setting num_cameras=2, or set it to 0."
        )
    seen = {name: batch.streams[OTHER_CAMERA[name]] for name in names}
    return Batch({**batch.streams, **seen}, batch.actions, batch.valid)


def _told(latents: Tensor, world_from_here: Tensor, world_from_there: Tensor) -> Tensor:
    between = relative(world_from_here, world_from_there)[..., :3, :].flatten(-2)
    return torch.cat([latents, between.to(latents.dtype)], -1)


def _thinned(batch: Batch) -> Batch:
    streams = {name: values[:, ::_EVERY] for name, values in batch.streams.items()}
    return Batch(streams, None, batch.valid[:, ::_EVERY])


def _head(before: int, after: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(before, _HIDDEN), nn.GELU(approximate="tanh"), nn.Linear(_HIDDEN, after)
    )
