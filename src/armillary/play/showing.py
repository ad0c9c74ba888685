"""Showing: depth as a picture, points to be turned, and the scales that all of a scene share.

Both sides are measurements. The real side is of the present step. The imagined side is of the one
kept step whose state is nearest: a mean of two depths would be a distance where nothing is.

Axes: H W image, P points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int16, UInt8

from armillary.core.values import Observation
from armillary.play.sensors import DEPTH, POINTS, Cloud, Sensors, cloud_of
from armillary.play.sources import Source
from armillary.report.images import depth_picture, depth_range
from armillary.report.sprites import Framing, framing, on_dark

_SCALED_BY = 24  # kept steps that tell the scales
_RAMP = 17  # colours of the legend
_COLOURS = "viridis"
_FROM_ABOVE = (-0.6, 0.0, 1.0)
_MARGIN = 1.15  # of a view over all points
_DOT = 0.02  # half the side of a point at most, of the view's reach
_ARROW = 0.15  # of the view's reach
_MOST_INT16 = 32767


@dataclass(frozen=True)
class Points:
    """Points to be sent.

    Attributes:
        xyz: from the middle of the scene's view, in units of ``scale_m``.
        rgb: of each.
        scale_m: metres.
        sensor: where a sensor among them is, and a place ahead of it, metres from the middle;
            empty where there is none.
    """

    xyz: Int16[np.ndarray, "P 3"]
    rgb: UInt8[np.ndarray, "P 3"]
    scale_m: float
    sensor: tuple[tuple[float, ...], ...]


# A picture with a fourth channel shows what is invalid through it, and is sent without loss.
Shown = UInt8[np.ndarray, "H W 3"] | UInt8[np.ndarray, "H W 4"] | Points


@dataclass(frozen=True)
class Scale:
    """What colours mean in a scene, and from where its points are looked at.

    Attributes:
        near_m: shown in the first colour of the legend, as is what is nearer; of heights, the
            highest.
        far_m: shown in the last one, as is what is farther; of heights, the lowest.
        colours: what the colours of points are: "colour", "distance" or "height"; "depth".
        framing: of points; None for depth.
        eye: direction from the middle of the points to where one looks from at first: where a
            camera is, or above points that lie around their sensor.
        amid: whether points lie around their sensor.
    """

    near_m: float
    far_m: float
    colours: str
    framing: Framing | None = None
    eye: tuple[float, float, float] = _FROM_ABOVE
    amid: bool = False


class Showing:
    """What a scene shows beside colour.

    Args:
        source: has begun the scene.
        pictures: its kept pictures.
    """

    def __init__(self, source: Source, pictures: UInt8[np.ndarray, "F H W 3"]) -> None:
        self._source, self._pictures = source, pictures
        self._scales: dict[str, Scale] = {}

    def views(
        self, sensor: str, kept: int, present: UInt8[np.ndarray, "H W 3"]
    ) -> tuple[Shown, Shown, dict[str, Any]]:
        """Return the imagined and the real side, and facts for the page.

        Facts: ``range_m`` (of the legend), ``colours``; of points also ``reach``, ``dot`` and
        ``eye``, as ``player.js`` has them.

        Args:
            sensor: depth or points.
            kept: number of the kept step whose state is nearest.
            present: real picture.

        Raises:
            DatasetError: a file of a recording is damaged.
            WorldError: the world raised.
        """
        if sensor not in self._scales:
            self._scales[sensor] = self._scale(sensor)
        scale, sensors = self._scales[sensor], self._source.sensors
        there, here = self._source.sense(kept), self._source.sense(None)
        facts: dict[str, Any] = {
            "range_m": [round(scale.near_m, 4), round(scale.far_m, 4)],
            "colours": scale.colours,
        }
        if scale.framing is None:
            return _as_depth(there, scale), _as_depth(here, scale), facts
        facts |= {
            "reach": round(scale.framing.reach_m, 5),
            "dot": round(scale.framing.dot_m, 6),
            "eye": [round(value, 4) for value in scale.eye],
        }
        clouds = (
            cloud_of(there, sensors, self._pictures[kept]),
            cloud_of(here, sensors, present),
        )
        imagined, real = (_as_points(cloud, scale) for cloud in clouds)
        return imagined, real, facts

    def _scale(self, sensor: str) -> Scale:
        """Return the scale of a scene, by kept steps from all over it."""
        count = len(self._pictures)
        steps = np.unique(np.linspace(0, count - 1, _SCALED_BY).round().astype(int)).tolist()
        if sensor == DEPTH:
            depths = tuple(self._source.sense(step).streams["depth"] for step in steps)
            near, far = depth_range(depths) or (0.0, 1.0)
            return Scale(near, far, "depth")
        return _scale_of_clouds([self._cloud(step, self._source.sensors) for step in steps])

    def _cloud(self, step: int, sensors: Sensors) -> Cloud:
        return cloud_of(self._source.sense(step), sensors, self._pictures[step])


def ramps() -> dict[str, list[list[int]]]:
    """Return the colours of the legends, from the first to the last, RGB of 255."""
    shares = np.linspace(1, 0, _RAMP)
    depth = depth_picture(1 + np.linspace(0, 1, _RAMP)[None], 1.0, 2.0, _COLOURS)[0, :, :3]
    return {DEPTH: depth.tolist(), POINTS: on_dark(shares).tolist()}


def _scale_of_clouds(clouds: list[Cloud]) -> Scale:
    first = clouds[0]
    shades = np.concatenate([cloud.shade_m for cloud in clouds])
    low, high = np.quantile(shades, [0.02, 0.98]).tolist() if len(shades) else (0.0, 1.0)
    # what is near is bright, and so is what is high
    near, far = (high, low) if first.shade == "height" else (low, high)
    colours = "colour" if first.rgb is not None else first.shade
    view = framing([cloud.xyz_m for cloud in clouds])
    places = [cloud.sensor_m for cloud in clouds if cloud.sensor_m is not None]
    if places:
        x, y, z = (np.mean(places, axis=0) - view.middle).tolist()
        if np.hypot(np.hypot(x, y), z) > view.reach_m:
            dot = max(view.dot_m, float(np.median([cloud.dot_m for cloud in clouds])))
            return Scale(near, far, colours, replace(view, dot_m=dot), (x, y, z))
    return Scale(near, far, colours, _around(clouds, view), _FROM_ABOVE, amid=bool(places))


def _around(clouds: list[Cloud], view: Framing) -> Framing:
    """Return a view over all points, since none of them is mere background of the others."""
    every = np.concatenate([cloud.xyz_m for cloud in clouds])
    if not len(every):
        return view
    low, high = np.quantile(every, [0.01, 0.99], axis=0)
    reach = max(_MARGIN * float((high - low).max()) / 2, 1e-6)
    return Framing((low + high) / 2, reach, min(view.dot_m, _DOT * reach))


def _as_depth(seen: Observation, scale: Scale) -> UInt8[np.ndarray, "H W 4"]:
    return depth_picture(seen.streams["depth"], scale.near_m, scale.far_m, _COLOURS)


def _as_points(cloud: Cloud, scale: Scale) -> Points:
    assert scale.framing is not None
    middle = scale.framing.middle
    offsets = cloud.xyz_m - middle
    scale_m = max(float(np.abs(offsets).max(initial=0.0)) / _MOST_INT16, 1e-9)
    rgb = cloud.rgb
    if rgb is None:
        span = scale.far_m - scale.near_m
        rgb = on_dark((scale.far_m - cloud.shade_m) / (span if span else 1.0))
    sensor: tuple[tuple[float, ...], ...] = ()
    if scale.amid and cloud.sensor_m is not None:
        start, arrow = cloud.sensor_m - middle, _ARROW * scale.framing.reach_m * cloud.ahead
        sensor = tuple(tuple(end.round(4).tolist()) for end in (start, start + arrow))
    return Points(np.rint(offsets / scale_m).astype(np.int16), rgb, scale_m, sensor)
