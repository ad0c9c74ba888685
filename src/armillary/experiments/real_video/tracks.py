"""Tracks: positions of body parts that SLEAP found in a video, in body lengths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from armillary.core.errors import DatasetError, FormatError

_PLACE, _ENDS = "thorax", ("head", "abdomen")


@dataclass(frozen=True)
class Tracks:
    """Where animals are in every frame.

    Attributes:
        positions: of the thorax of each animal [F P 2], x to the right and y down, in body lengths.
        body_px: the body length in pixels of the video: the median distance of head and abdomen.
    """

    positions: Float[np.ndarray, "F P 2"]
    body_px: float


def read_tracks(path: Path, frames: int) -> Tracks:
    """Read SLEAP's analysis file. Gaps are filled by linear interpolation in time.

    Args:
        path: HDF5 with ``tracks`` [P 2 N F] in pixels and ``node_names`` [N].
        frames: that the video has.

    Raises:
        FormatError: h5py is not installed, or the file has another layout.
        DatasetError: it is of a video with another number of frames.
    """
    try:
        import h5py
    except ImportError as error:
        raise FormatError(f"{path}: reading it needs h5py; run: pip install h5py") from error
    try:
        with h5py.File(path) as file:
            tracks = np.asarray(file["tracks"], np.float64)
            nodes = [name.decode() for name in file["node_names"][:]]
            place, head, abdomen = (tracks[:, :, nodes.index(name)] for name in (_PLACE, *_ENDS))
    except (OSError, KeyError, ValueError) as error:
        raise FormatError(f"{path}: is not an analysis file of SLEAP: {error}") from error
    if tracks.shape[3] != frames:
        raise DatasetError(
            f"{path}: has positions for {tracks.shape[3]} frames, and the video has {frames}."
        )
    body_px = float(np.nanmedian(np.linalg.norm(head - abdomen, axis=1)))
    return Tracks(_filled(place.transpose(2, 0, 1)) / body_px, body_px)


def _filled(values: Float[np.ndarray, "F P 2"]) -> Float[np.ndarray, "F P 2"]:
    time, columns = np.arange(len(values)), values.reshape(len(values), -1).copy()
    for column in columns.T:
        known = np.isfinite(column)
        column[~known] = np.interp(time[~known], time[known], column[known])
    return columns.reshape(values.shape)
