"""Learner: a model with what it needs only while it learns, and the loss terms of a batch.

Axes: B clips, T steps, Z flattened latent, R = T-K starts, K steps ahead, A action width.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.core.errors import ConfigError, ShapeError
from armillary.core.rng import key, torch_generator
from armillary.core.values import Batch
from armillary.models import JEPA
from armillary.models.seeding import seeded
from armillary.objectives import (
    BIRD_VIEW_KINDS,
    GLIMPSE_HUES,
    bird_view,
    bird_view_loss,
    decaying_weights,
    glimpse_loss,
    glimpses,
    inverse_dynamics_loss,
    motion_variance_covariance,
    picture_view,
    rollout_loss,
    sigreg,
    smoothness,
    variance_covariance,
)
from armillary.spatial import points_from_depth, transform_points
from armillary.training.clean import clean
from armillary.training.config import ObjectiveConfig
from armillary.training.foresight import came_after_each, foreseen_from_each
from armillary.training.other_sight import CrossModal, OtherView
from armillary.training.processes import Processes
from armillary.training.sensor_dropout import draw_kept

_INVERSE_HIDDEN = 128
_PICTURE_HIDDEN = 256
# Of a clip's frames every eighth is drawn from above, at every second pixel: what stands moves
# slowly, and the view is then a small part of the step instead of a third.
_BIRD_STEP = 8
_BIRD_PIXEL = 2


class Learner(nn.Module):
    """Computes the named loss terms of a batch of clips.

    Args:
        model: the model that learns.
        objective: which terms count, and their settings.
        seed: names the weights of the heads and the random directions of SIGReg.
        processes: where this one stands among those that share a batch; None stands alone.
    """

    def __init__(
        self,
        model: JEPA,
        objective: ObjectiveConfig,
        seed: int,
        processes: Processes | None = None,
    ) -> None:
        super().__init__()
        self.model, self.objective, self.seed = model, objective, seed
        self.processes = processes or Processes(0, 1, torch.device("cpu"))
        if "inverse_dynamics" in objective.weights and not model.config.action_width:
            raise ConfigError(
                "objective.inverse_dynamics needs actions, and the model takes none "
                "(model.action_width is 0). Set it to 0."
            )
        if objective.sensor_dropout and not model.config.optional_sensors:
            raise ConfigError(
                "objective.sensor_dropout needs model.optional_sensors, which is empty. Set it to "
                "0 or name the sensors that may be missing."
            )
        with seeded(key("learner", seed) >> 65):
            self._make_heads(model, objective)

    def _make_heads(self, model: JEPA, objective: ObjectiveConfig) -> None:
        width, action_width = model.config.latent_width, model.config.action_width
        if "inverse_dynamics" in objective.weights:
            self.inverse = nn.Sequential(
                nn.Linear(2 * width, _INVERSE_HIDDEN),
                nn.GELU(approximate="tanh"),
                nn.Linear(_INVERSE_HIDDEN, action_width),
            )
        if "bird_view" in objective.weights:
            # linear: where things stand shall be read from the latent without further thought
            self.bird = nn.Linear(width, BIRD_VIEW_KINDS * objective.bird_view_cells**2)
        if "picture_view" in objective.weights:
            # not linear: what a wall with a door looks like is no sum of where each of them is, and
            # a linear head blurs it (two_rooms: the door was 2.3 px off in the latent)
            self.picture = _head(width, BIRD_VIEW_KINDS * objective.bird_view_cells**2)
        if "glimpse" in objective.weights:
            hues = GLIMPSE_HUES + objective.glimpse_grey
            self.glimpse = _head(width, hues * objective.glimpse_pixels**2)
        if "cross_modal" in objective.weights:
            self.cross_modal = CrossModal(model.config)
        if "other_view" in objective.weights:
            self.other_view = OtherView(model.config)

    def forward(
        self, batch: Batch, step: int
    ) -> tuple[dict[str, Float[Tensor, ""]], Float[Tensor, "B T Z"]]:
        """Return the loss terms by name, and the latents for the diagnosis.

        Args:
            batch: clips.
            step: optimizer step, names this step's random directions.
        """
        latents = self.model.encode(batch, self._kept(batch, step)).tokens.flatten(2)
        actions = self._actions(batch, latents)
        weights = self.objective.weights
        terms = {"rollout": self._rollout(latents, actions)}
        if "sigreg" in weights:
            terms["sigreg"] = self._sigreg(latents, step)
        if "variance" in weights or "covariance" in weights:
            pair = variance_covariance(latents.flatten(0, 1))
            terms |= _named(pair, weights, "variance", "covariance")
        if "motion_variance" in weights or "motion_covariance" in weights:
            moving = latents[..., : self._moving_width()]
            pair = motion_variance_covariance(moving, self.objective.motion_margin)
            terms |= _named(pair, weights, "motion_variance", "motion_covariance")
        if "inverse_dynamics" in weights:
            neighbours = torch.cat([latents[:, :-1], latents[:, 1:]], -1)
            terms["inverse_dynamics"] = inverse_dynamics_loss(self.inverse(neighbours), actions)
        if "smoothness" in weights:
            terms["smoothness"] = smoothness(latents)
        views = {
            "bird_view": self._bird_view,
            "picture_view": self._picture_view,
            "glimpse": self._glimpse,
        }
        terms |= {name: view(batch, latents) for name, view in views.items() if name in weights}
        if "cross_modal" in weights:
            rng = torch_generator("cross_modal", self.seed, step)
            terms["cross_modal"] = self.cross_modal(self.model, batch, rng)
        if "other_view" in weights:
            terms["other_view"] = self.other_view(self.model, batch)
        return {name: terms[name] for name in weights}, latents

    def _kept(self, batch: Batch, step: int) -> dict[str, Tensor] | None:
        if not self.objective.sensor_dropout:
            return None
        rng = torch_generator("sensor_dropout", self.seed, step)
        share, clips = self.objective.sensor_dropout, len(batch.valid) * self.processes.count
        # drawn for the clips of all processes, so that a clip's lot is the same in any of them
        kept = draw_kept(self.model.config, share, clips, rng)
        own = torch.from_numpy(self.processes.share(np.arange(clips)))
        return {name: used[own].to(batch.valid.device) for name, used in kept.items()}

    def _moving_width(self) -> int:
        encoder = self.model.config.encoder
        return max(1, round(self.objective.motion_share * encoder.tokens)) * encoder.width

    def _bird_view(self, batch: Batch, latents: Tensor) -> Tensor:
        """Compare what the head reads from latents with what stands where, seen from above."""
        guessed = self.bird(latents[:, ::_BIRD_STEP].flatten(0, 1))
        with torch.no_grad(), torch.autocast(latents.device.type, enabled=False):
            shares = self._from_above(batch)
        return bird_view_loss(guessed, shares, self.objective.bird_view_cells)

    def _picture_view(self, batch: Batch, latents: Tensor) -> Tensor:
        """Compare what the head reads from latents with what stands out where in the picture."""
        every = self.objective.picture_view_every
        guessed = self.picture(latents[:, ::every].flatten(0, 1))
        with torch.no_grad(), torch.autocast(latents.device.type, enabled=False):
            rgb = clean(batch, "rgb")[:, ::every, ::_BIRD_PIXEL, ::_BIRD_PIXEL]
            shares = picture_view(rgb.flatten(0, 1).float() / 255, self.objective.bird_view_cells)
        return bird_view_loss(guessed, shares, self.objective.bird_view_cells)

    def _glimpse(self, batch: Batch, latents: Tensor) -> Tensor:
        """Compare what the head reads from latents with what things look like in the picture."""
        every = self.objective.picture_view_every
        guessed = self.glimpse(latents[:, ::every].flatten(0, 1))
        with torch.no_grad(), torch.autocast(latents.device.type, enabled=False):
            rgb = clean(batch, "rgb")[:, ::every].flatten(0, 1).float() / 255
            came = glimpses(rgb, self.objective.glimpse_pixels, self.objective.glimpse_grey)
        return glimpse_loss(guessed, came)

    def _from_above(self, batch: Batch) -> Tensor:
        streams = {
            name: clean(batch, name)[:, ::_BIRD_STEP].flatten(0, 1)
            for name in ("rgb", "depth_m", "intrinsics", "world_from_camera")
        }
        pixels = slice(None, None, _BIRD_PIXEL)
        depth_m, rgb = streams["depth_m"][:, pixels, pixels], streams["rgb"][:, pixels, pixels]
        # every second pixel is kept, so pixel (u, v) is now (u/2, v/2), with no shift of centres
        fewer = streams["intrinsics"].new_tensor([1 / _BIRD_PIXEL, 1 / _BIRD_PIXEL, 1.0])
        lens = streams["intrinsics"] * fewer[:, None]
        camera = points_from_depth(depth_m, lens).flatten(1, 2)
        world = transform_points(streams["world_from_camera"], camera)
        colours = rgb.flatten(1, 2).float() / 255
        scene = self.model.normalizer.scene(world)
        valid = (depth_m > 0).flatten(1)
        return bird_view(scene, colours, valid, self.objective.bird_view_cells)

    def _actions(self, batch: Batch, latents: Tensor) -> Tensor:
        if self.model.config.action_width:
            if batch.actions is None:
                raise ShapeError(
                    f"The model takes {self.model.config.action_width} action numbers, and the "
                    "data have none. Set model.action_width to 0 to train on plain video."
                )
            return self.model.normalizer.actions(batch.actions)
        return latents.new_zeros(len(latents), latents.shape[1] - 1, 0)

    def _rollout(self, latents: Tensor, actions: Tensor) -> Tensor:
        steps_ahead = self.objective.rollout_steps
        foreseen = foreseen_from_each(self.model, latents, actions, steps_ahead)
        weights = decaying_weights(steps_ahead, self.objective.rollout_decay)
        return rollout_loss(foreseen, came_after_each(latents, steps_ahead), weights)

    def _sigreg(self, latents: Tensor, step: int) -> Tensor:
        rng = torch_generator("sigreg", self.seed, step)
        return sigreg(latents.flatten(0, 1), self.objective.sigreg_directions, rng)


def _head(width: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(width, _PICTURE_HIDDEN),
        nn.GELU(approximate="tanh"),
        nn.Linear(_PICTURE_HIDDEN, outputs),
    )


def _named(
    pair: tuple[Tensor, Tensor], weights: dict[str, float], *names: str
) -> dict[str, Tensor]:
    return {name: term for name, term in zip(names, pair, strict=True) if name in weights}
