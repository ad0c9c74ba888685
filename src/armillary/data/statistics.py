"""Statistics: the minimum, maximum, mean and spread that LeRobot keeps in ``meta/stats.json``.

Colour is counted in 0..1 per channel with shape [C 1 1], as LeRobot does; depth in its millimetres.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from armillary.data.stills import Still

Stats = dict[str, list]
FRAME_STEP = 10  # pictures vary slowly: every tenth frame is counted, as an estimate


class FrameCounter:
    """Gathers the statistics of frames that pass by one at a time."""

    def __init__(self) -> None:
        self._seen = 0
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]] = []

    def add(self, image: np.ndarray | Still) -> None:
        """Count one frame, [H W 3] or [H W]; a still is decoded only if it is counted."""
        if self._seen % FRAME_STEP == 0:
            image = np.asarray(image)
            channels = image.reshape(-1, image.shape[2] if image.ndim == 3 else 1).T
            scale = 255.0 if image.ndim == 3 else 1.0
            parts = zip(*(_moments(channel, scale) for channel in channels), strict=True)
            low, high, total, squares = (np.array(part) for part in parts)
            moments = (low, high, total, squares, channels.shape[1])
            self._parts.append(moments)
        self._seen += 1

    def stats(self) -> Stats:
        """Return min, max, mean, std with shape [C 1 1], and the number of frames counted."""
        low, high, total, squares, count = (list(part) for part in zip(*self._parts, strict=True))
        mean = np.sum(total, 0) / np.sum(count)
        spread = np.sqrt(np.maximum(np.sum(squares, 0) / np.sum(count) - mean**2, 0))
        values = {"min": np.min(low, 0), "max": np.max(high, 0), "mean": mean, "std": spread}
        nested = {name: v[:, None, None].tolist() for name, v in values.items()}
        return {**nested, "count": [len(self._parts)]}


def _moments(values: np.ndarray, scale: float) -> tuple[float, float, float, float]:
    """Return minimum, maximum, sum and sum of squares of whole numbers over a scale.

    Counting how often each number comes is exact, and faster than making floats of them.
    """
    counts = np.bincount(values)
    numbers = np.flatnonzero(counts)
    often, level = counts[numbers], numbers / scale
    return level[0], level[-1], float(often @ level), float(often @ level**2)


def column_stats(values: np.ndarray) -> Stats:
    """Return the statistics of one column [T] or [T Q]; NaN and inf are left out, 0 if all are."""
    rows = np.ma.masked_invalid(values.reshape(len(values), -1).astype(np.float64))
    parts = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    plain = {name: np.ma.filled(part, 0.0).tolist() for name, part in parts.items()}
    return {**plain, "count": [len(rows)]}


def merged(parts: Sequence[dict[str, Any]]) -> Stats:
    """Return the statistics of all episodes together, exactly as if counted at once."""
    count = np.array([part["count"][0] for part in parts], np.float64)
    mean = np.array([part["mean"] for part in parts])
    spread = np.array([part["std"] for part in parts])
    weight = (count / count.sum()).reshape(-1, *[1] * (mean.ndim - 1))
    total = (weight * mean).sum(0)
    variance = (weight * (spread**2 + (mean - total) ** 2)).sum(0)
    values = {
        "min": np.min([part["min"] for part in parts], 0),
        "max": np.max([part["max"] for part in parts], 0),
        "mean": total,
        "std": np.sqrt(variance),
    }
    return {**{name: v.tolist() for name, v in values.items()}, "count": [int(count.sum())]}
