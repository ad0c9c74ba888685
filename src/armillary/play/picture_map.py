"""Picture map: where a place of the world lies on the picture, and the reverse.

A place x, y on a plane and its pixel are joined by a homography. It comes from the camera where its
pose and lens are recorded. Else it is found from pictures: what moves in them is the thing whose
place is recorded, if an affine map explains the middle of what moves nearly without a rest.

Axes: F frames, H W image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from armillary.data import Cache

_CHANGED = 30.0  # sum of three channels, of 255 each
_LEAST_FRAMES, _LEAST_PIXELS = 20, 3
_ROUNDS, _KEPT = 3, 0.85  # of a fit that leaves out what fits worst
_LEAST_R2 = 0.97
_STANDS_M = 1e-4


@dataclass(frozen=True)
class PictureMap:
    """A homography between a plane of the world and the picture.

    Attributes:
        pixels_from_plane: [3 3], to pixels (column, row) of a picture ``size`` wide and high.
        size: rows and columns, pixels.
        source: "camera" or "motion".
    """

    pixels_from_plane: Float[np.ndarray, "3 3"]
    size: tuple[int, int]
    source: str

    def shares(self, places: Float[np.ndarray, "*B 2"]) -> Float[np.ndarray, "*B 2"]:
        """Return where places lie, as shares of the picture's width and height from its corner."""
        pixels = _mapped(self.pixels_from_plane, places)
        return (pixels + 0.5) / np.array(self.size[::-1])

    def place(self, share: Float[np.ndarray, " 2"]) -> Float[np.ndarray, " 2"]:
        """Return the place that lies at a share of the picture's width and height."""
        pixel = np.asarray(share, np.float64) * np.array(self.size[::-1]) - 0.5
        return _mapped(np.linalg.inv(self.pixels_from_plane), pixel)


def by_camera(cache: Cache) -> PictureMap | None:
    """Return the map of the plane z = 0, or None where no standing camera is known."""
    poses = cache.arrays.get("world_from_camera")
    if poses is None or cache.intrinsics is None:
        return None
    if np.abs(poses - poses[:1]).max() > _STANDS_M:
        return None
    camera_from_world = np.linalg.inv(np.asarray(poses[0], np.float64))
    lens = np.asarray(cache.intrinsics[0], np.float64)
    return PictureMap(lens @ camera_from_world[:3][:, [0, 1, 3]], cache.size, "camera")


def by_motion(
    pictures: UInt8[np.ndarray, "F H W 3"], places: Float[np.ndarray, "F 2"]
) -> PictureMap | None:
    """Return the affine map that explains what moves, or None where none does.

    Args:
        pictures: by a camera that stands still.
        places: of one thing.
    """
    middles = _middles(pictures)
    known = np.isfinite(middles).all(1) & np.isfinite(places).all(1)
    if known.sum() < _LEAST_FRAMES:
        return None
    inputs = np.concatenate([places[known], np.ones((int(known.sum()), 1))], 1)
    wanted, kept = middles[known], np.arange(int(known.sum()))
    for _ in range(_ROUNDS):
        rest = np.linalg.norm(inputs @ _fit(inputs[kept], wanted[kept]) - wanted, axis=1)
        kept = np.argsort(rest, kind="stable")[: max(_LEAST_FRAMES, int(_KEPT * len(rest)))]
    weights = _fit(inputs[kept], wanted[kept])
    spread = wanted[kept].var(0)
    error = ((inputs[kept] @ weights - wanted[kept]) ** 2).mean(0)
    if (spread < 1.0).any() or (1 - error / spread < _LEAST_R2).any():
        return None
    matrix = np.eye(3)
    matrix[:2] = weights.T
    return PictureMap(matrix, pictures.shape[1:3], "motion")


def _fit(inputs: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(inputs, wanted, rcond=None)[0]


def _middles(pictures: UInt8[np.ndarray, "F H W 3"]) -> Float[np.ndarray, "F 2"]:
    """Return the middle (column, row) of what differs from the usual picture; NaN for nothing."""
    usual = np.median(pictures, axis=0)
    found = np.full((len(pictures), 2), np.nan)
    for frame, picture in enumerate(pictures):
        rows, columns = np.nonzero(np.abs(picture - usual).sum(-1) > _CHANGED)
        if len(rows) >= _LEAST_PIXELS:
            found[frame] = columns.mean(), rows.mean()
    return found


def _mapped(matrix: np.ndarray, places: np.ndarray) -> np.ndarray:
    ones = np.ones((*places.shape[:-1], 1))
    found = np.concatenate([places, ones], -1) @ matrix.T
    return found[..., :2] / found[..., 2:]
