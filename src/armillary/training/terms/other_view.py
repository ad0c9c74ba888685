"""Other view: camera 0 predicts the latent of camera 1, given the pose between them.

It asks that the latent says what is there, and not from where it was seen.

Axes: B clips, T steps, Z flattened latent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ConfigError, ShapeError
from armillary.core.values import Batch
from armillary.models import JEPAConfig
from armillary.objectives import agreement_loss
from armillary.spatial import relative
from armillary.training.terms.encoded_clips import EncodedClips
from armillary.training.terms.term import Term, TermConfig, mlp_head

_EVERY = 4  # of a clip's steps every fourth is asked about: neighbours say nearly the same
_POSE_NUMBERS = 12
# Streams of camera 0 and of camera 1 (in a batch ``depth_m`` is camera 0's depth in metres).
_OTHER_CAMERA = {
    "rgb": "rgb_1",
    "depth_m": "depth_1",
    "world_from_camera": "world_from_camera_1",
}
# What rides on camera 0 or on the robot is no view of camera 1.
_NO_CAMERA = ("cloud", "scan", "proprio")


@dataclass(frozen=True)
class OtherViewConfig(TermConfig):
    """Weight of the other view.

    Attributes:
        other_view: disagreement of the latent predicted from camera 0 with that of camera 1 (needs
            two cameras).
    """

    other_view: float = 0.0


class OtherView(Term):
    """Disagreement of the latents of two cameras, each predicting the other.

    Formula: 1 - cos(head(latent of one, pose between), stop-gradient(latent of the other)), mean
    both ways.

    Source: a change of view as an argument of the predictor, as in image world models (2403.00504);
    a head on one side as in BYOL (2006.07733).

    Raises:
        ConfigError: the model has no camera.
    """

    name = "other_view"
    without_latents = "it encodes the clips again, through one camera at a time"

    def __init__(self, model: JEPAConfig, config: OtherViewConfig) -> None:
        super().__init__(model, config)
        if not {*model.sensors} - {*_NO_CAMERA}:
            raise ConfigError(
                f"objective.other_view needs a camera, and the model sees "
                f"{', '.join(model.sensors)}. Set it to 0."
            )
        self.head = mlp_head(model.latent_width + _POSE_NUMBERS, model.latent_width)

    @classmethod
    def streams(cls, model: JEPAConfig) -> tuple[str, ...]:
        """Return both cameras' poses, and what the model sees as camera 1 has it."""
        return ("world_from_camera", *_of_other_camera(model).values())

    def forward(self, clips: EncodedClips) -> Float[Tensor, ""]:
        """Return the disagreement, from camera 0 to camera 1 and back."""
        model, here = clips.model, clips.every(_EVERY)
        kept = {name: False for name in model.config.sensors if name in _NO_CAMERA}
        there = through_other_camera(here, model.config)
        poses = [view.streams["world_from_camera"] for view in (here, there)]
        one, other = (model.encode(view, kept).tokens.flatten(2) for view in (here, there))
        return (
            agreement_loss(self.head(_with_pose(one, poses[0], poses[1])), other)
            + agreement_loss(self.head(_with_pose(other, poses[1], poses[0])), one)
        ) / 2


def through_other_camera(batch: Batch, model: JEPAConfig) -> Batch:
    """Return the clips as camera 1 saw them.

    Raises:
        ShapeError: there is no camera 1 in the batch, or no pose of camera 0.
    """
    other = _of_other_camera(model)
    wanted = {"world_from_camera", *other.values()}
    if missing := sorted(wanted - batch.streams.keys()):
        raise ShapeError(
            f"objective.other_view needs two cameras; the data lack {', '.join(missing)}. Record "
            "with --setting num_cameras=2, or set it to 0."
        )
    seen = {name: batch.streams[stream] for name, stream in other.items()}
    # what was made of camera 0's pictures is not of camera 1's
    own = {n: one for n, one in batch.streams.items() if n not in model.derived_streams}
    return Batch({**own, **seen}, batch.actions, batch.valid)


def _of_other_camera(model: JEPAConfig) -> dict[str, str]:
    """Return the streams of camera 1 that take the place of camera 0's, by the name of those."""
    names = {"world_from_camera", *model.streams}
    return {name: other for name, other in _OTHER_CAMERA.items() if name in names}


def _with_pose(latents: Tensor, world_from_here: Tensor, world_from_there: Tensor) -> Tensor:
    between = relative(world_from_here, world_from_there)[..., :3, :].flatten(-2)
    return torch.cat([latents, between.to(latents.dtype)], -1)
