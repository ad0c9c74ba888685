"""Normaliser: the scales that a model was trained with, kept beside its weights.

Fitted once on the training split, saved with the model, never refitted at evaluation.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

_LEAST_SPREAD = 1e-6
# Colours that are not whitened: about -2 to 2 over the range of a byte.
_MIDDLE, _SPREAD = 127.5, 64.0
# Of the covariance of colours: share of the mean variance that is added along each axis, so that
# noise is not blown up where pictures are nearly grey; and levels squared, where they are uniform.
_FLOOR, _LEAST_VARIANCE = 0.03, 1.0


class Normalizer(nn.Module):
    """Brings actions, proprioception, colours and points to unit scale.

    Args:
        action_width: A, width of one model step's action (frame skip included); 0 for video.
        proprio_width: Q; 0 without proprioception.
        camera: whether depth is also scaled in the camera's own frame.
        scan: whether ranges are scaled.
        whitened: whether colours have scales of the recording, and not fixed ones.
    """

    action_mean: Tensor
    action_std: Tensor
    proprio_mean: Tensor
    proprio_std: Tensor
    point_mean_m: Tensor
    point_scale_m: Tensor
    point_reach_m: Tensor
    camera_mean_m: Tensor
    camera_scale_m: Tensor
    scan_scale_m: Tensor
    colour_mean: Tensor
    colour_whitening: Tensor

    def __init__(
        self,
        action_width: int,
        proprio_width: int,
        camera: bool = False,
        scan: bool = False,
        whitened: bool = False,
    ) -> None:
        super().__init__()
        for name, width in (("action", action_width), ("proprio", proprio_width)):
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_std", torch.ones(width))
        self.register_buffer("point_mean_m", torch.zeros(3))
        self.register_buffer("point_scale_m", torch.ones(()))
        self.register_buffer("point_reach_m", torch.ones(3))
        if camera:
            self.register_buffer("camera_mean_m", torch.zeros(3))
            self.register_buffer("camera_scale_m", torch.ones(()))
        if scan:
            self.register_buffer("scan_scale_m", torch.ones(()))
        # fixed ones are no part of the model's file
        self.register_buffer("colour_mean", torch.full((3,), _MIDDLE), persistent=whitened)
        self.register_buffer("colour_whitening", torch.eye(3) / _SPREAD, persistent=whitened)

    def scene(self, points_m: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3"]:
        """Return points in scene coordinates: x, y in about -1..1, height 1 for what is tallest."""
        return (points_m - self.point_mean_m) / self.point_reach_m

    def actions(self, actions: Float[Tensor, "*B A"]) -> Float[Tensor, "*B A"]:
        """Return actions with zero mean and unit spread over the training split."""
        return (actions - self.action_mean) / self.action_std

    def proprio(self, proprio: Float[Tensor, "*B Q"]) -> Float[Tensor, "*B Q"]:
        """Return proprioception with zero mean and unit spread over the training split."""
        return (proprio - self.proprio_mean) / self.proprio_std

    @torch.no_grad()
    def fit(
        self,
        actions: Float[Tensor, "F A"] | None = None,
        proprio: Float[Tensor, "S Q"] | None = None,
        points_m: Float[Tensor, "P 3"] | None = None,
        focus_m: Float[Tensor, "P2 3"] | None = None,
    ) -> None:
        """Set the scales from training samples.

        Args:
            actions: actions of one model step, in the world's units.
            proprio: proprioception, in its units.
            points_m: world points of valid depth pixels, in metres.
            focus_m: those in the middle of the pictures, where the scene is that the camera was
                pointed at; ``points_m`` if None.
        """
        for name, values in (("action", actions), ("proprio", proprio)):
            if values is not None and values.numel():
                getattr(self, f"{name}_mean").copy_(values.mean(0))
                spread = values.std(0, correction=0)
                # what never varied has no scale of its own: a mirror or a robot may vary it later
                getattr(self, f"{name}_std").copy_(spread.where(spread > _LEAST_SPREAD, 1.0))
        if points_m is not None and points_m.numel():
            self._fit_points(points_m, points_m if focus_m is None else focus_m)

    @torch.no_grad()
    def fit_sensors(
        self, camera_m: Float[Tensor, "P 3"] | None, ranges_m: Float[Tensor, " N"] | None
    ) -> None:
        """Set the scales of sensors in their own frames, from training samples.

        Args:
            camera_m: points of valid depth pixels in the camera's frame, in metres.
            ranges_m: of beams that came back.
        """
        if camera_m is not None and camera_m.numel():
            self.camera_mean_m.copy_(camera_m.median(0).values)
            centred = camera_m - self.camera_mean_m
            self.camera_scale_m.copy_(centred.abs().mean().clamp_min(1e-6))
        if ranges_m is not None and ranges_m.numel():
            self.scan_scale_m.copy_(ranges_m.mean().clamp_min(1e-6))

    @torch.no_grad()
    def fit_colours(self, pixels: UInt8[Tensor, "P 3"]) -> None:
        """Set the scales of colours, so that they have mean 0 and unit covariance.

        A thing that differs little from its surround, or in hue alone, is then as plain as one
        that differs in brightness, whatever light the recording was made in.

        Args:
            pixels: red, green and blue of training pictures.

        Source: ZCA whitening, Bell and Sejnowski 1997; the floor is that of visual words.
        """
        if not len(pixels):
            return
        colours = pixels.double()
        mean = colours.mean(0)
        centred = colours - mean
        covariance = centred.T @ centred / len(centred)
        floor = _FLOOR * covariance.trace() / 3 + _LEAST_VARIANCE
        values, axes = torch.linalg.eigh(covariance)
        self.colour_mean.copy_(mean)
        # rounding can take a variance of zero below it
        whitening = axes * (values.clamp_min(0) + floor).rsqrt() @ axes.T
        self.colour_whitening.copy_(whitening)

    def _fit_points(self, points_m: Float[Tensor, "P 3"], focus_m: Float[Tensor, "P2 3"]) -> None:
        """Centre on the surface that the cameras look at; reach over what stands on it."""
        # Not the median of all points: a table may cover less of a picture than the floor around
        # it, and what is called ground then lies a leg's length too deep (seen: 2 of 3 recordings
        # were right by luck).
        self.point_mean_m.copy_(focus_m.median(0).values)
        centred = points_m - self.point_mean_m
        self.point_scale_m.copy_(centred.abs().mean().clamp_min(1e-6))
        # what lies more than a tenth of the scene below the surface is ground around it
        above = centred[centred[:, 2] > -0.1 * self.point_scale_m]
        ranked = above.abs().sort(0).values
        last = len(ranked) - 1
        reach = ranked[round(0.99 * last)]
        reach[2] = ranked[round(0.995 * last), 2]
        self.point_reach_m.copy_(reach.clamp_min(1e-3))
