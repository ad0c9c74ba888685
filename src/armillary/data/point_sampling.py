"""Point sampling: a fixed number of points a step, so that clips of clouds can be gathered.

Deterministic: the same cloud gives the same points, wherever and whenever it is prepared.

Axes: P points, F features of a point (x y z first).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from armillary.core.errors import ConfigError
from armillary.data.clouds import stripped

MAX_COUNT = 1 << 20
_FARTHEST = 2.0**40  # voxels from the origin at most, so that their numbers stay whole in float64


@dataclass(frozen=True)
class PointSampling:
    """How many points of a cloud are kept, and which.

    Attributes:
        count: points of every step; a smaller cloud is filled with rows of NaN.
        voxel_m: side of the cubes of which each keeps its first point, so that what is near does
            not crowd out what is far; 0 keeps all. After that points are taken at equal strides.

    Raises:
        ConfigError: a count below 1 or above a million, or a negative side.
    """

    count: int
    voxel_m: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_COUNT or not 0 <= self.voxel_m < float("inf"):
            raise ConfigError(
                f"Points are sampled with a count of 1 to {MAX_COUNT} and a voxel side of 0 m or "
                f"more, got {self.count} and {self.voxel_m}."
            )


def sampled(cloud: np.ndarray, sampling: PointSampling) -> Float32[np.ndarray, "count F"]:
    """Return ``sampling.count`` points of a cloud [P F], in the order in which they come in it."""
    points = stripped(cloud)
    if sampling.voxel_m > 0 and len(points):
        points = points[_first_of_each_voxel(points[:, :3], sampling.voxel_m)]
    if len(points) > sampling.count:
        points = points[np.arange(sampling.count) * len(points) // sampling.count]
    kept = np.full((sampling.count, cloud.shape[1]), np.nan, np.float32)
    kept[: len(points)] = points
    return kept


def _first_of_each_voxel(xyz_m: np.ndarray, voxel_m: float) -> Int64[np.ndarray, " K"]:
    place = np.floor(xyz_m.astype(np.float64) / voxel_m).clip(-_FARTHEST, _FARTHEST)
    _, first = np.unique(place.astype(np.int64), axis=0, return_index=True)
    return np.sort(first)
