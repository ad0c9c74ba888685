"""Rerun files: sensors, poses and numbers over time, for the Rerun viewer (extra ``rerun``).

    world/CAMERA        where a camera stands; below it its pictures, each with its lens
    world/POINTS        points and laser sweeps, in the world where their pose is known
    NAME                numbers, one line each

Timelines: ``step`` counts, ``time`` is seconds from the first step. The world is z up; cameras have
OpenCV's axes. Rerun's own conventions differ from ours in nothing but names.

Source: https://rerun.io, entities and archetypes of version 0.41.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from armillary.core.files import replacing
from armillary.core.optional import require

_WHY = "write files for the Rerun viewer"
_JPEG_QUALITY = 90  # a file for eyes; a picture takes a tenth of its bytes
_POINT_M = 0.004


@contextmanager
def rerun_file(path: Path, name: str) -> Iterator[RerunFile]:
    """Yield a file to log to; it is there complete or not at all.

    Args:
        path: the file, usually ``.rrd``.
        name: of the recording, as the viewer shows it.

    Raises:
        MissingExtraError: Rerun is not installed.
        StorageError: the file cannot be written.
    """
    rerun = require("rerun", "rerun", _WHY)
    with replacing(path) as beside:
        stream = rerun.RecordingStream("armillary", recording_id=name)
        # An episode is held in memory and written by us: on a full disk Rerun's own writer waits
        # for ever, and what is read in pieces has a table of contents for each of them.
        encoded = stream.binary_stream()
        file = RerunFile(rerun, stream)
        try:
            yield file
            stream.send_blueprint(file.arranged())
        finally:  # a stream that nobody reads is waited for, for ever, where something went wrong
            data = encoded.read()
        beside.write_bytes(data or b"")


class RerunFile:
    """A file that is being written, by ``rerun_file``.

    Args:
        rerun: the module.
        stream: what it logs to.
    """

    def __init__(self, rerun: ModuleType, stream: Any) -> None:
        self._rr, self._stream = rerun, stream
        self._pictures: dict[str, None] = {}  # entities, in order of arrival
        self._lines: dict[str, None] = {}
        stream.log("world", rerun.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)

    def arranged(self) -> Any:
        """Return how the viewer shows it at first: the world, pictures and lines side by side."""
        views = require("rerun.blueprint", "rerun", _WHY)
        pictures = [views.Spatial2DView(origin=one, name=one) for one in self._pictures]
        lines = [views.TimeSeriesView(origin=one, name=one) for one in self._lines]
        columns = [views.Spatial3DView(origin="world", name="world")]
        columns += [views.Grid(*pictures, grid_columns=1 + len(pictures) // 4)] if pictures else []
        columns += [views.Vertical(*lines)] if lines else []
        layout = views.Horizontal(*columns, column_shares=[3, 2, 2][: len(columns)])
        return views.Blueprint(layout, collapse_panels=True)

    def at(self, step: int, time_s: float) -> None:
        """Say when what is logged next was."""
        self._stream.set_time("step", sequence=step)
        self._stream.set_time("time", duration=time_s)

    def pose(self, entity: str, world_from_it: Float[np.ndarray, "4 4"]) -> None:
        """Log where something stands in what it lies in."""
        turn, place = world_from_it[:3, :3], world_from_it[:3, 3]
        self._stream.log(entity, self._rr.Transform3D(mat3x3=turn, translation=place))

    def lens(self, entity: str, intrinsics: Float[np.ndarray, "3 3"], size: Sequence[int]) -> None:
        """Log a camera's intrinsics for pictures of rows and columns ``size``; they stay."""
        axes = self._rr.ViewCoordinates.RDF
        lens = self._rr.Pinhole(
            image_from_camera=intrinsics,
            resolution=[size[1], size[0]],
            camera_xyz=axes,
            image_plane_distance=0.1,
        )
        self._stream.log(entity, lens, static=True)

    def colour(self, entity: str, rgb: UInt8[np.ndarray, "H W 3"], *, stays: bool = False) -> None:
        """Log a colour picture; one that ``stays`` is of no time."""
        self._pictures[entity] = None
        picture = self._rr.Image(rgb).compress(jpeg_quality=_JPEG_QUALITY)
        self._stream.log(entity, picture, static=stays)

    def depth(self, entity: str, depth_mm: np.ndarray, *, stays: bool = False) -> None:
        """Log depth, uint16 millimetres [H W], 0 where invalid."""
        self._pictures[entity] = None
        self._stream.log(entity, self._rr.DepthImage(depth_mm, meter=1000.0), static=stays)

    def classes(self, entity: str, labels: UInt8[np.ndarray, "H W"]) -> None:
        """Log which class each pixel is of."""
        self._pictures[entity] = None
        self._stream.log(entity, self._rr.SegmentationImage(labels))

    def points(
        self,
        entity: str,
        places_m: Float[np.ndarray, "P 3"],
        colours: Float[np.ndarray, "P 3"] | None = None,
    ) -> None:
        """Log points; those with NaN are left out.

        Args:
            entity: where.
            places_m: x y z.
            colours: r g b from 0 to 1; None for the viewer's own.
        """
        known = np.isfinite(places_m).all(1)
        shown: Any = None if colours is None else np.rint(colours[known] * 255).astype(np.uint8)
        points = self._rr.Points3D(places_m[known], colors=shown, radii=_POINT_M)
        self._stream.log(entity, points)

    def numbers(self, entity: str, values: Sequence[float] | np.ndarray) -> None:
        """Log numbers, each a line over time; what is not finite leaves a gap."""
        self._lines[entity.split("/")[0]] = None
        self._stream.log(entity, self._rr.Scalars(np.asarray(values, np.float64).reshape(-1)))

    def table(self, entity: str, values: Float[np.ndarray, "N M"], axes: tuple[str, str]) -> None:
        """Log a table of numbers."""
        self._stream.log(entity, self._rr.Tensor(values, dim_names=axes))

    def say(self, entity: str, text: str) -> None:
        """Log text that stays."""
        self._stream.log(entity, self._rr.TextDocument(text), static=True)
