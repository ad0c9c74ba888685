"""Beams of a LiDAR: a fixed fan of directions, and what a real one adds to its ranges.

Axes: N beams.
Convention: the LiDAR's frame, x ahead, y left, z up; azimuth from x towards y, elevation from the
xy plane towards z; metres, NaN without a return.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Float32, Float64


def planar(num_beams: int, field_rad: float) -> Float64[np.ndarray, "N 2"]:
    """Return azimuth and elevation of a planar scanner's beams, azimuth ascending.

    A full turn is cut into equal parts with a beam in the middle of each; a smaller field has a
    beam at both of its ends.
    """
    half = field_rad / 2
    if field_rad >= 2 * math.pi - 1e-9:
        azimuth = (np.arange(num_beams) + 0.5) * (field_rad / num_beams) - half
    else:
        azimuth = np.linspace(-half, half, num_beams)
    return np.stack([azimuth, np.zeros(num_beams)], axis=-1)


def fan(
    beams: tuple[int, int], azimuth_rad: tuple[float, float], elevation_rad: tuple[float, float]
) -> Float64[np.ndarray, "N 2"]:
    """Return rows x columns of beams as a picture is read: from high to low, from left to right.

    Args:
        beams: rows and columns.
        azimuth_rad: lowest and highest; each beam looks along the middle of its part.
        elevation_rad: lowest and highest.
    """
    rows, columns = beams
    down = (np.arange(rows) + 0.5) / rows
    across = (np.arange(columns) + 0.5) / columns
    elevation = elevation_rad[1] - down * (elevation_rad[1] - elevation_rad[0])
    azimuth = azimuth_rad[1] - across * (azimuth_rad[1] - azimuth_rad[0])
    grid = np.meshgrid(elevation, azimuth, indexing="ij")
    return np.stack([grid[1].ravel(), grid[0].ravel()], axis=-1)


def beam_directions(beams_rad: Float[np.ndarray, "N 2"]) -> Float64[np.ndarray, "N 3"]:
    """Return the unit vector of each beam."""
    azimuth, elevation = beams_rad.astype(np.float64).T
    flat = np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], axis=-1)


def as_scanned(
    range_m: Float[np.ndarray, " N"],
    rng: np.random.Generator,
    noise_m: float,
    dropout: float,
) -> Float32[np.ndarray, " N"]:
    """Return ranges with Gaussian noise (cut at three sigma), some of them lost.

    Args:
        range_m: the truth; what is at or below zero with its noise is lost.
        rng: chance; as much is drawn whatever the other arguments.
        noise_m: sigma.
        dropout: chance of each beam to be lost.
    """
    noise = rng.standard_normal(len(range_m)).clip(-3, 3)
    lost = rng.uniform(size=len(range_m)) < dropout
    noisy = range_m + noise_m * noise
    return np.where(lost | ~(noisy > 0), np.nan, noisy).astype(np.float32)
