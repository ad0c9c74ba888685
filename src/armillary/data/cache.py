"""Cache: all frames of some episodes at a model's resolution, end to end in memory-mapped arrays.

Axes: F frames of all episodes one after another, E episodes, H W image, A action.
Names: colour cameras by their own name (``rgb`` uint8 [F H W 3]), ``depth`` uint16 millimetres
[F H W] (0 invalid), ``world_from_camera`` float32 [F 4 4], ``proprio`` and truth float32 [F Q],
``points`` float32 [F P F'] metres where a sampling was given (rows of NaN are padding), ``lidar``
float32 [F N] metres (NaN invalid), ``actions`` float32 [F A] (last row of an episode: no
action, zero), ``time_ns`` int64 [F].
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from armillary.core.errors import DatasetError
from armillary.core.files import read_json
from armillary.core.values import Episode, Stream, StreamKind
from armillary.data.depth import to_millimetres
from armillary.data.point_sampling import PointSampling, sampled
from armillary.data.resize import Size, as_size, resized, resized_lens

CACHE_VERSION = 2
Rows = dict[str, np.ndarray]


@dataclass(frozen=True)
class Cache:
    """Prepared episodes.

    Attributes:
        arrays: [F ...] by name; memory maps, or arrays in memory.
        kinds: stream kind by name (without ``actions`` and ``time_ns``).
        starts: first frame of each episode, and the number of frames at the end [E+1].
        episodes: index of each episode in the dataset [E].
        size: rows and columns of the pictures.
        fps: steps per second.
        intrinsics: K of each episode in pixels of ``size`` [E 3 3], or None where unknown.
        about: where it came from: dataset, identity, units, skipped episodes with their reasons.
        path: its folder, or None in memory.
        constants: arrays that belong to derived streams (``data/derived.py``).
    """

    arrays: Mapping[str, np.ndarray]
    kinds: Mapping[str, StreamKind]
    starts: Int64[np.ndarray, " E1"]
    episodes: Int64[np.ndarray, " E"]
    size: Size
    fps: float
    intrinsics: Float32[np.ndarray, "E 3 3"] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.episodes)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.size))
        names = ", ".join(self.arrays)
        return f"Cache({len(self)} episodes, {self.num_frames:,} frames of {size}; {names})"

    @property
    def num_episodes(self) -> int:
        """Number of episodes E."""
        return len(self.episodes)

    @property
    def num_frames(self) -> int:
        """Number of frames F."""
        return int(self.starts[-1])

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each episode [E]."""
        return np.diff(self.starts)

    @property
    def actions(self) -> np.ndarray | None:
        """Actions [F A], or None for plain video."""
        return self.arrays.get("actions")

    @property
    def action_width(self) -> int:
        """Width A of an action; 0 for plain video."""
        return 0 if self.actions is None else self.actions.shape[1]

    @property
    def skipped(self) -> tuple[tuple[int, str], ...]:
        """Episodes that could not be prepared, with the reason."""
        return tuple((int(i), reason) for i, reason in self.about.get("skipped", ()))

    @staticmethod
    def from_episodes(
        episodes: Sequence[Episode],
        size: int | Size,
        fps: float = 0.0,
        points: PointSampling | None = None,
    ) -> Cache:
        """Return a cache in memory.

        Args:
            episodes: with the same streams each.
            size: rows and columns of the pictures, or one side for both.
            fps: steps per second; 0 takes it from the times of the first episode.
            points: how clouds are sampled; None leaves them out.
        """
        if not episodes:
            raise DatasetError("A cache needs at least one episode, none came.")
        shape = as_size(size)
        rows = [episode_rows(episode, shape, points) for episode in episodes]
        missing = [name for part in rows for name in {*rows[0]} ^ {*part}]
        if missing:
            raise DatasetError(f"The episodes differ in their streams: {missing[0]!r}.")
        lenses = [lens_of(episode.streams.values(), shape) for episode in episodes]
        starts = np.concatenate([[0], np.cumsum([len(e) for e in episodes])]).astype(np.int64)
        return Cache(
            arrays={name: np.concatenate([part[name] for part in rows]) for name in rows[0]},
            kinds={n: stream.kind for n, stream in episodes[0].streams.items() if n in rows[0]},
            starts=starts,
            episodes=np.arange(len(episodes), dtype=np.int64),
            size=shape,
            fps=fps or _fps(episodes[0]),
            intrinsics=stacked_lenses(lenses),
        )


def file_of(name: str) -> str:
    """Return the name of an array's file: a stream's own, as far as a file may be called so."""
    return f"{safe_name(name)}.npy"


def safe_name(name: str) -> str:
    """Return a name with all but letters, digits, dots, underscores and hyphens replaced."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)


def open_cache(path: Path) -> Cache:
    """Map a prepared folder into memory.

    Raises:
        DatasetError: a file is missing or shorter than its index says.
    """
    index = read_json(path / "index.json")
    arrays = {}
    for name, bytes_ in index["arrays"].items():
        file = path / file_of(name)
        if not file.is_file() or file.stat().st_size != bytes_:
            raise DatasetError(
                f"{file}: is missing or cut off; delete the folder to prepare again."
            )
        # asarray drops the memmap class, whose indexing costs more than the gather itself.
        arrays[name] = np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
    lenses = index["intrinsics"]
    return Cache(
        arrays=arrays,
        kinds=index["kinds"],
        starts=np.asarray(index["starts"], np.int64),
        episodes=np.asarray(index["episodes"], np.int64),
        size=(int(index["size"][0]), int(index["size"][1])),
        fps=float(index["fps"]),
        intrinsics=None if lenses is None else np.asarray(lenses, np.float32),
        about=index["about"],
        path=path,
    )


def episode_rows(episode: Episode, size: Size, points: PointSampling | None = None) -> Rows:
    """Return all that a cache holds of an episode, by name [T ...], clouds as ``points`` says."""
    rows = low_rows(episode)
    for name, stream in episode.streams.items():
        if stream.kind in ("rgb", "depth", "segmentation"):
            images = stream.values
            if stream.kind == "depth" and images.dtype != np.uint16:
                images = to_millimetres(images)
            rows[name] = np.stack(list(pictures(images, stream.kind, size)))
        elif stream.kind == "points" and points is not None:
            rows[name] = np.stack([sampled(cloud, points) for cloud in stream.values])
    return rows


def low_rows(episode: Episode) -> Rows:
    """Return all but the pictures and clouds."""
    rows: Rows = {"time_ns": episode.time_ns}
    for name, stream in episode.streams.items():
        if stream.kind == "pose":
            rows[name] = stream.values.astype(np.float32)
        elif stream.kind in ("proprio", "truth", "lidar"):
            flat = stream.values.reshape(len(stream.values), -1)
            rows[name] = flat.astype(np.float32)
    if episode.actions is not None:
        end = np.zeros((1, episode.actions.shape[1]), np.float32)
        rows["actions"] = np.concatenate([episode.actions.astype(np.float32), end])
    return rows


def pictures(images: Iterable[np.ndarray], kind: StreamKind, size: Size) -> Iterator[np.ndarray]:
    """Yield pictures at ``size``: rgb uint8 [H W 3], depth uint16 mm [H W], labels uint8 [H W]."""
    for image in images:
        yield resized(image, size, average=kind == "rgb")


def lens_of(streams: Iterable[Stream], size: Size) -> np.ndarray | None:
    """Return K at ``size`` of the first camera that has one (depth before colour), or None."""
    cameras = [s for s in streams if s.intrinsics is not None and s.values.ndim >= 3]
    for stream in sorted(cameras, key=lambda s: s.kind != "depth"):
        if stream.intrinsics is not None:
            before = (stream.values.shape[1], stream.values.shape[2])
            return resized_lens(stream.intrinsics, before, size)
    return None


def stacked_lenses(lenses: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Return [E 3 3], or None unless every episode has one."""
    known = [lens for lens in lenses if lens is not None]
    return np.stack(known).astype(np.float32) if known and len(known) == len(lenses) else None


def _fps(episode: Episode) -> float:
    steps = np.diff(episode.time_ns)
    return 1e9 / float(np.median(steps)) if len(steps) and np.median(steps) > 0 else 1.0
