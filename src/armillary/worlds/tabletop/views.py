"""Views of the tabletop: from where a camera looks, and how far away it holds the whole table.

World frame: origin in the middle of the table top, x right, y away from the usual camera, z up,
metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

TABLE_HALF_M = 0.235
RIM_M = 0.012
FOVY_DEG = 40.0
_BASE_AZIMUTH_DEG = 10.0


@dataclass(frozen=True)
class Camera:
    """Where a camera stands: position and the image's right and up directions, world frame."""

    position_m: tuple[float, float, float]
    right: tuple[float, float, float]
    up: tuple[float, float, float]


@dataclass(frozen=True)
class View:
    """From where the table is looked at.

    Attributes:
        azimuth_rad: how far the camera stands round the table; 0 looks along y, positive is to
            the right.
        elevation_rad: above the table's plane.
        margin: share of the picture that the table fills.
    """

    azimuth_rad: float
    elevation_rad: float
    margin: float


def draw_view(
    rng: np.random.Generator,
    azimuth_deg: tuple[float, float],
    elevation_deg: tuple[float, float],
) -> View:
    """Draw a view; as many numbers are drawn whatever the ranges."""
    azimuth = np.radians(_BASE_AZIMUTH_DEG + rng.uniform(*azimuth_deg))
    elevation = np.radians(rng.uniform(*elevation_deg))
    return View(float(azimuth), float(elevation), rng.uniform(0.9, 0.98))


def frame_camera(view: View, num_turns: int = 1) -> Camera:
    """Return the camera that looks from there and just holds the whole table.

    The distance and the point looked at are found by a few fixed-point steps: centre the picture
    of the table's corners, then move until the widest of them touches the margin.

    Args:
        view: from where.
        num_turns: of the table about its middle, within a quarter, that it holds as well; 1 is
            the table as it stands, more is for a camera that goes round it.
    """
    azimuth, elevation, margin = view.azimuth_rad, view.elevation_rad, view.margin
    back = np.array(
        [
            np.cos(elevation) * np.sin(azimuth),
            -np.cos(elevation) * np.cos(azimuth),
            np.sin(elevation),
        ]
    )
    right = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    up = np.cross(back, right)
    corners = _corners(num_turns)
    half = np.tan(np.radians(FOVY_DEG) / 2)
    position = back
    for _ in range(12):
        seen = corners - position
        deep = -seen @ back
        u, v = seen @ right / deep / half, seen @ up / deep / half
        shift = (u.max() + u.min()) / 2 * right + (v.max() + v.min()) / 2 * up
        reach = max(np.ptp(u), np.ptp(v)) / 2
        distance = float(position @ back)
        position = position + shift * distance * half + back * distance * (reach / margin - 1)
    return Camera(_xyz(position), _xyz(right), _xyz(up))


def _corners(num_turns: int) -> np.ndarray:
    """Return the table's corners [8 x num_turns 3], turned about its middle."""
    edge = TABLE_HALF_M + 2 * RIM_M
    corners = np.array(list(product((-edge, edge), (-edge, edge), (-0.02, 0.02))))
    turned = [corners]
    for turn in range(1, num_turns):
        c, s = np.cos(turn * np.pi / 2 / num_turns), np.sin(turn * np.pi / 2 / num_turns)
        turned.append(corners @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]))
    return np.concatenate(turned)


def _xyz(vector: np.ndarray) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
