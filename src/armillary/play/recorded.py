"""Recorded: what a recording gives of a step beside colour.

Pictures, poses and ranges lie in the cache that the model reads. Clouds are read from the dataset
when they are shown, a few steps at a time, so that a long recording fills no memory.

Axes: P points, F features of a point.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float32

from armillary.core.values import Observation
from armillary.data import Cache, Dataset, PointSampling
from armillary.data.depth import to_metres
from armillary.data.layout import first_of_kind
from armillary.data.point_sampling import sampled
from armillary.play.sensors import COLOUR, DEPTH, MOST_POINTS, POINTS, Sensors

_BLOCK, _BLOCKS = 32, 4  # steps that are read at once, and how many such parts are remembered


class RecordedClouds:
    """The clouds of the episodes of a cache, as they were recorded.

    Args:
        dataset: holds them.
        name: of their stream.
        cache: names the episodes.
    """

    def __init__(self, dataset: Dataset, name: str, cache: Cache) -> None:
        self._dataset, self._name, self._cache = dataset, name, cache
        self._block = lru_cache(_BLOCKS)(self._read)

    def at(self, row: int) -> Float32[np.ndarray, "P F"]:
        """Return the cloud of a row of the cache, at most ``MOST_POINTS``.

        Raises:
            DatasetError: its file is damaged or missing.
        """
        position = int(np.searchsorted(self._cache.starts, row, "right")) - 1
        block, place = divmod(row - int(self._cache.starts[position]), _BLOCK)
        return self._block(position, block)[place]

    def _read(self, position: int, block: int) -> list[np.ndarray]:
        length = int(self._cache.lengths[position])
        steps = range(block * _BLOCK, min((block + 1) * _BLOCK, length))
        found = self._dataset.points(int(self._cache.episodes[position]), self._name, list(steps))
        few = (sampled(cloud, PointSampling(MOST_POINTS)) for cloud in found)
        return [cloud[np.isfinite(cloud[:, :3]).all(1)] for cloud in few]


def recorded_sensors(
    cache: Cache, dataset: Dataset, episode: int
) -> tuple[Sensors, RecordedClouds | None]:
    """Return what an episode gives beside colour, and its clouds where there are any.

    Args:
        cache: holds the episode.
        dataset: that it is of.
        episode: its number.

    Raises:
        DatasetError: a file is damaged.
    """
    depth, lidar = depth_stream(cache), first_of_kind(cache.kinds, "lidar")
    name = next(iter(dataset.clouds), None)
    columns: tuple[str, ...] = ()
    beams, frame, clouds = None, "", None
    if name is not None:
        clouds, columns = RecordedClouds(dataset, name, cache), dataset.columns(name)
        frame = str(dataset.sidecar(episode)["streams"][name]["frame"])
    elif lidar is not None:
        beams = dataset.read_low(episode).streams[lidar].beams_rad
    lens = depth is not None and cache.intrinsics is not None
    names = [COLOUR]
    names += [DEPTH] if depth is not None else []
    names += [POINTS] if clouds is not None or lens or beams is not None else []
    aligned = depth is None or _beside(depth) == first_of_kind(cache.kinds)
    return Sensors(tuple(names), beams, columns, frame, aligned), clouds


def row_of(cache: Cache, row: int) -> Observation:
    """Return what a cache holds of one frame beside colour, under the names of an observation."""
    depth, lidar = depth_stream(cache), first_of_kind(cache.kinds, "lidar")
    streams: dict[str, np.ndarray] = {}
    if depth is not None:
        streams["depth"] = to_metres(np.asarray(cache.arrays[depth][row]))
        streams |= _pose(cache, depth.replace("depth", "world_from_camera", 1), row, "camera")
        if cache.intrinsics is not None:
            position = int(np.searchsorted(cache.starts, row, "right")) - 1
            streams["intrinsics"] = np.asarray(cache.intrinsics[position], np.float64)
    if lidar is not None:
        streams["lidar"] = np.asarray(cache.arrays[lidar][row])
        streams |= _pose(cache, lidar.replace("lidar", "world_from_lidar", 1), row, "lidar")
    return Observation(streams)


def depth_stream(cache: Cache) -> str | None:
    """Return the depth camera beside the first colour camera; else the first one, or None."""
    colour = first_of_kind(cache.kinds)
    beside = [n for n, kind in cache.kinds.items() if kind == "depth" and _beside(n) == colour]
    return beside[0] if beside else first_of_kind(cache.kinds, "depth")


def _beside(depth: str) -> str:
    """Return what the colour camera is called that looks where a depth camera does."""
    return depth.replace("depth", "rgb", 1)


def _pose(cache: Cache, name: str, row: int, sensor: str) -> dict[str, Any]:
    if cache.kinds.get(name) != "pose":
        return {}
    return {f"world_from_{sensor}": np.asarray(cache.arrays[name][row], np.float64)}
