"""Augmentation: the same world, turned, moved and scaled, in every sensor at once.

A change is drawn once for a clip and then applied to all that speaks of places: points, poses,
depth and actions stay true to each other. The world is turned about z only, since gravity is not
to be learned away.

    world_new = scale * turn_z(yaw) @ world_old + shift

Numpy: data preparation; chance is an argument.

Axes: *B any batch axes, P points.
Convention: metres, radians; dtypes and NaN stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from armillary.core.errors import ConfigError


@dataclass(frozen=True)
class Change:
    """One change of the world.

    Attributes:
        yaw_rad: turn about z, counter-clockwise from above.
        scale: factor of all lengths.
        shift_m: added last.

    Raises:
        ConfigError: a scale that is not positive and finite.
    """

    yaw_rad: float = 0.0
    scale: float = 1.0
    shift_m: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ConfigError(f"A change's scale is a positive number, got {self.scale}.")

    def points(self, places_m: Float[np.ndarray, "*B 3"]) -> Float[np.ndarray, "*B 3"]:
        """Return where places of the world are now: points, goals, absolute targets."""
        return self.vectors(places_m) + np.asarray(self.shift_m, places_m.dtype)

    def vectors(self, vectors_m: Float[np.ndarray, "*B 3"]) -> Float[np.ndarray, "*B 3"]:
        """Return displacements and velocities given in the world's axes: no shift."""
        return vectors_m @ (self.scale * self._turn()).T.astype(vectors_m.dtype)

    def lengths(self, lengths_m: Float[np.ndarray, "*B"]) -> Float[np.ndarray, "*B"]:
        """Return depths, ranges, and displacements in a sensor's or body's own axes."""
        return lengths_m * np.asarray(self.scale, lengths_m.dtype)

    def headings(self, heading_rad: Float[np.ndarray, "*B"]) -> Float[np.ndarray, "*B"]:
        """Return angles about z measured in the world, within -pi..pi; rates of turn stay."""
        turned = heading_rad + np.asarray(self.yaw_rad, heading_rad.dtype)
        return np.arctan2(np.sin(turned), np.cos(turned))

    def poses(self, world_from_any: Float[np.ndarray, "*B 4 4"]) -> Float[np.ndarray, "*B 4 4"]:
        """Return poses of cameras, sensors and bodies, which stay rigid: their place is scaled."""
        turn = self._turn().astype(world_from_any.dtype)
        moved = world_from_any.copy()
        moved[..., :3, :3] = turn @ world_from_any[..., :3, :3]
        moved[..., :3, 3] = self.points(world_from_any[..., :3, 3])
        return moved

    def inverse(self) -> Change:
        """Return the change that undoes this one."""
        back = Change(-self.yaw_rad, 1 / self.scale)
        x, y, z = (-back.vectors(np.asarray(self.shift_m))).tolist()
        return Change(back.yaw_rad, back.scale, (x, y, z))

    def _turn(self) -> np.ndarray:
        cosine, sine = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class Changes:
    """How far changes go; each is drawn evenly.

    Attributes:
        yaw_rad: up to so much, to either side.
        scale: up to this factor, or its inverse (even in the logarithm).
        shift_m: up to so much along x, y, z, to either side.

    Raises:
        ConfigError: a range that is negative or not finite, or a scale below one.
    """

    yaw_rad: float = math.pi
    scale: float = 1.1
    shift_m: tuple[float, float, float] = (0.2, 0.2, 0.0)

    def __post_init__(self) -> None:
        far = self.yaw_rad, *self.shift_m
        if not (all(0 <= most < math.inf for most in far) and 1 <= self.scale < math.inf):
            raise ConfigError(
                f"Changes go up to a yaw and shifts of 0 or more and a factor of 1 or more, got "
                f"{self.yaw_rad}, {self.shift_m} and {self.scale}."
            )

    def draw(self, rng: np.random.Generator) -> Change:
        """Draw one change."""
        yaw, size, *shift = rng.uniform(-1, 1, size=5).tolist()
        x, y, z = (part * most for part, most in zip(shift, self.shift_m, strict=True))
        return Change(yaw * self.yaw_rad, self.scale**size, (x, y, z))


def jitter(
    points_m: Float[np.ndarray, "*B 3"], rng: np.random.Generator, sigma_m: float
) -> Float[np.ndarray, "*B 3"]:
    """Return points moved by normal noise in each coordinate, cut at three sigma."""
    noise = rng.standard_normal(points_m.shape).clip(-3, 3)
    return points_m + (sigma_m * noise).astype(points_m.dtype)


def drop_points(
    valid: Bool[np.ndarray, "*B"], rng: np.random.Generator, share: float
) -> Bool[np.ndarray, "*B"]:
    """Return a mask in which each valid point was dropped with a probability.

    Raises:
        ConfigError: a share outside 0..1.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"The share of points to drop is within 0 to 1, got {share}.")
    return valid & (rng.random(valid.shape) >= share)
