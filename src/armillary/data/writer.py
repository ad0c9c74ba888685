"""Writer: episodes into a LeRobotDataset v3, one at a time, from any number of processes.

An episode is complete when its sidecar (a small JSON with the hashes of its files) exists; that is
written last. Nothing of an episode depends on another one until ``finalize``, which numbers the
rows through, writes ``meta/`` from the complete episodes alone, and hashes everything.

Axes: T time, A action, Q width of a vector, H W image, P points, F features of a point, N beams.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from armillary.core.errors import ConfigError, DatasetError
from armillary.core.files import read_json, storage_errors, write_json
from armillary.core.hashing import canonical_json, file_sha256
from armillary.core.values import Episode, Stream, StreamKind
from armillary.data import layout
from armillary.data.clouds import Clouds, Passed, write_clouds
from armillary.data.depth import to_millimetres
from armillary.data.finalize import finalize
from armillary.data.statistics import FrameCounter, column_stats
from armillary.data.stills import Still, StillForm, write_stills
from armillary.data.tables import read_table, rows_sha256, vectors, write_table
from armillary.data.video import CODECS, encode, pixel_format, rate

CAMERAS = ("rgb", "depth", "segmentation")


@dataclass(frozen=True)
class Frames:
    """One camera's pictures, one after another, so that nobody has to hold all of them.

    Attributes:
        kind: ``rgb``, ``depth`` or ``segmentation``.
        images: rgb uint8 [H W 3], depth uint16 millimetres [H W] (0 invalid), labels uint8 [H W].
        intrinsics: 3x3 K in pixels, where known.
        form: of the images if they are stills, which are kept as they are.
    """

    kind: StreamKind
    images: Iterable[np.ndarray | Still]
    unit: str = ""
    frame: str = ""
    intrinsics: np.ndarray | None = None
    form: StillForm | None = None


@dataclass
class _Passed:
    """What is learned about frames while they pass by on their way to the encoder."""

    counter: FrameCounter = field(default_factory=FrameCounter)
    shape: tuple[int, ...] = ()

    def watch(self, images: Iterable[Any]) -> Iterator[Any]:
        for image in images:
            self.shape = image.shape
            self.counter.add(image)
            yield image


class DatasetWriter:
    """Writes episodes below a folder; several processes may write different episodes at once.

    Args:
        path: the dataset's folder; made if missing, continued if it was begun with equal settings.
        fps: steps per second.
        robot_type: LeRobot's name for what acts (a world's name).
        task: what is done in episodes without a task of their own, in words, for LeRobot's table.
        about: JSON values that say how the dataset is made (world, settings, seed); kept beside it.

    Raises:
        ConfigError: the folder was begun with other settings, or holds something else.
        StorageError: the folder cannot be written.
    """

    def __init__(
        self,
        path: Path | str,
        fps: float | int,
        robot_type: str = "",
        task: str = "",
        about: Mapping[str, Any] | None = None,
    ) -> None:
        if not 0 < fps < 10_000 or not rate(fps):
            raise ConfigError(f"A dataset needs 0.001 to 10,000 frames per second, got fps={fps}.")
        self.path = Path(path)
        self.fps = int(fps) if float(fps).is_integer() else float(fps)
        settings = {"fps": self.fps, "robot_type": robot_type, "task": task}
        self.about = {**settings, "about": dict(about or {})}
        _begin(self.path, self.about)

    def finished(self) -> set[int]:
        """Return the indices of the complete episodes."""
        files = (self.path / layout.SIDECAR_FOLDER).glob("chunk-*/episode-*.json")
        found = (re.fullmatch(r"episode-(\d{6,})\.json", file.name) for file in files)
        return {int(match[1]) for match in found if match}

    def has(self, index: int) -> bool:
        """Return whether an episode is complete."""
        return (self.path / layout.sidecar_file(index)).is_file()

    def write(self, index: int, episode: Episode) -> None:
        """Write one episode; when this returns it is complete on disk.

        Raises:
            DatasetError: its streams, times and actions do not fit together or are not numbers.
            StorageError: the disk is full or not writable; the episode then counts as not written.
        """
        large = {n: s for n, s in episode.streams.items() if s.kind in (*CAMERAS, "points")}
        others = {name: s for name, s in episode.streams.items() if name not in large}
        frames = {n: _clouds(n, s) if s.kind == "points" else _frames(s) for n, s in large.items()}
        rest = replace(episode, streams=others)
        for name, stream in episode.streams.items():
            _check_length(index, name, len(stream.values), len(episode))
        self.write_frames(index, frames, lambda: rest)

    def write_frames(
        self, index: int, frames: Mapping[str, Frames | Clouds], rest: Callable[[], Episode]
    ) -> None:
        """Write one episode whose pictures and clouds come one by one.

        Args:
            index: number of the episode.
            frames: cameras and sensors of points by stream name.
            rest: gives times, actions and all other streams; called after the last picture.

        Raises:
            DatasetError: streams, times and actions do not fit together or are not numbers.
            StorageError: the disk is full or not writable; the episode then counts as not written.
        """
        cameras = {name: f for name, f in frames.items() if isinstance(f, Frames)}
        clouds = {name: f for name, f in frames.items() if isinstance(f, Clouds)}
        with storage_errors(self.path):
            (self.path / layout.sidecar_file(index)).unlink(missing_ok=True)
        passed = {name: self._write_video(index, name, camera) for name, camera in cameras.items()}
        steps, seen = self._write_clouds(index, clouds)
        episode = rest()
        _check(index, episode)
        counts = {name: count for name, (_, count, _) in passed.items()} | dict.fromkeys(
            seen, steps
        )
        for name, count in counts.items():
            _check_length(index, name, count, len(episode))
        points = {name: _described_cloud(clouds[name], seen[name]) for name in clouds}
        self._write_rows(index, cameras, points, episode, passed)

    def finalize(self) -> None:
        """Write ``meta/`` from the complete episodes and hash everything; may be called again.

        Raises:
            DatasetError: no episode is complete, one is missing, or they do not fit together.
        """
        finalize(self.path, self.finished(), self.about)

    def _write_video(self, index: int, name: str, camera: Frames) -> tuple[dict, int, dict]:
        key = layout.feature_key(name, camera.kind)
        passed = _Passed()
        path = self.path / layout.video_file(index, key)
        images, form = passed.watch(camera.images), camera.form
        if form is not None:
            count = write_stills(path, images, self.fps)
            pixels, codec = form.pixels, form.codec
        else:
            count = encode(path, images, self.fps, camera.kind)
            pixels, codec = pixel_format(camera.kind, passed.shape), CODECS[camera.kind]
        unit = form.metres_per_unit if form is not None else 0.0
        spec = layout.camera_spec(camera.kind, passed.shape, self.fps, pixels, codec, unit)
        return spec, count, passed.counter.stats()

    def _write_clouds(
        self, index: int, clouds: Mapping[str, Clouds]
    ) -> tuple[int, dict[str, Passed]]:
        return write_clouds(self.path / layout.points_file(index), clouds) if clouds else (0, {})

    def _write_rows(
        self,
        index: int,
        frames: Mapping[str, Frames],
        points: Mapping[str, dict],
        episode: Episode,
        passed: Mapping[str, tuple[dict, int, dict]],
    ) -> None:
        columns = _columns(index, episode, self.fps)
        data, steps = self.path / layout.data_file(index), self.path / layout.steps_file(index)
        write_table(data, {name: vectors(values) for name, values in columns.items()})
        write_table(steps, _steps(episode))
        keys = {name: layout.feature_key(name, frames[name].kind) for name in frames}
        features = {keys[name]: passed[name][0] for name in frames} | _specs(columns)
        stats = {keys[name]: passed[name][2] for name in frames}
        stats |= {name: column_stats(values) for name, values in columns.items()}
        files = [layout.steps_file(index), *(layout.video_file(index, k) for k in keys.values())]
        if points:
            files.append(layout.points_file(index))
        if beams := _beams(episode):
            write_table(self.path / layout.beams_file(index), beams)
            files.append(layout.beams_file(index))
        sidecar = {
            "episode": index,
            "length": len(episode),
            "source": episode.source,
            "license": episode.license,
            "streams": {**_described(frames), **points, **_described(episode.streams)},
            "rows_sha256": rows_sha256(read_table(data)),
            "files": {name: file_sha256(self.path / name) for name in files},
            "features": features,
            "stats": stats,
        } | ({"task": episode.task} if episode.task else {})
        write_json(self.path / layout.sidecar_file(index), sidecar)


def _begin(path: Path, about: dict) -> None:
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    file = path / layout.ABOUT
    if not file.exists():
        if any(entry for entry in path.iterdir() if not entry.name.startswith(".")):
            _refuse_foreign(path)
        write_json(file, about)
    elif canonical_json(before := read_json(file)) != canonical_json(about):
        changed = sorted(k for k in {*before, *about} if before.get(k) != about.get(k))
        raise ConfigError(
            f"{path}: was begun with other settings ({', '.join(changed)} differ); repeat those "
            "settings to continue it, or choose another folder with --out."
        )


def _refuse_foreign(path: Path) -> None:
    # Another process may have begun the same dataset a moment ago: its folders are ours.
    if (
        not all(entry.name in ("meta", "data", "videos") for entry in path.iterdir())
        or (path / layout.INFO).exists()
    ):
        raise ConfigError(
            f"{path}: holds other files; choose an empty or new folder with --out for a dataset."
        )


def _frames(stream: Stream) -> Frames:
    values = stream.values
    images: Iterable[np.ndarray] = values
    if stream.kind == "depth" and values.dtype != np.uint16:
        images = (to_millimetres(image) for image in values)
    return Frames(stream.kind, images, stream.unit, stream.frame, stream.intrinsics)


def _clouds(name: str, stream: Stream) -> Clouds:
    values = stream.values
    if values.ndim != 3 or values.shape[2] < 3:
        raise DatasetError(f"{name!r}: points are [T P F], x y z first; got {list(values.shape)}.")
    columns = stream.columns or ("x", "y", "z")
    return Clouds(values, columns, stream.unit, stream.frame)


def _described_cloud(clouds: Clouds, passed: Passed) -> dict:
    return {
        "kind": "points",
        "unit": clouds.unit,
        "frame": clouds.frame,
        "intrinsics": None,
        "columns": list(clouds.columns),
        "most": passed.most,
        "points": passed.points,
    }


def _check(index: int, episode: Episode) -> None:
    for name, stream in episode.streams.items():
        _check_length(index, name, len(stream.values), len(episode))
        if stream.kind == "lidar":
            _check_lidar(index, name, stream)
        if stream.kind in ("proprio", "pose"):
            _check_finite(index, f"{name!r}", stream.values)
    if np.any(np.diff(episode.time_ns) < 0):
        raise DatasetError(f"Episode {index}: its times run backwards; they must ascend.")
    actions = episode.actions
    if actions is None:
        return
    _check_length(index, "actions", len(actions) + 1, len(episode))
    _check_finite(index, "the action", actions)


def _check_finite(index: int, what: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        step = int(np.argwhere(~np.isfinite(values))[0][0])
        raise DatasetError(f"Episode {index}: {what} of step {step} is NaN or infinite.")


def _check_lidar(index: int, name: str, stream: Stream) -> None:
    values, beams = stream.values, stream.beams_rad
    if values.ndim != 2 or (beams is not None and len(beams) != values.shape[1]):
        raise DatasetError(
            f"Episode {index}: {name!r} must be ranges [T N] with N beams; got "
            f"{list(values.shape)} and {'no' if beams is None else len(beams)} beams."
        )


def _check_length(index: int, name: str, length: int, want: int) -> None:
    if length != want:
        raise DatasetError(f"Episode {index}: {name!r} has {length} steps, the times have {want}.")


def _columns(index: int, episode: Episode, fps: float | int) -> dict[str, np.ndarray]:
    """Return the episode's rows; ``finalize`` numbers ``index`` and ``task_index`` through."""
    steps = len(episode)
    columns = {}
    for name, stream in episode.streams.items():
        if stream.kind in ("proprio", "truth", "lidar"):
            key = layout.feature_key(name, stream.kind)
            flat = _flat(stream.values)
            columns[key] = (
                np.where(np.isinf(flat), np.nan, flat) if stream.kind == "lidar" else flat
            )
    if episode.actions is not None:
        # LeRobot has one action per step; the last has no outcome and is zero here, not read back.
        last = np.zeros((1, episode.actions.shape[1]), np.float32)
        columns[layout.ACTION] = np.concatenate([episode.actions.astype(np.float32), last])
    count = np.arange(steps, dtype=np.int64)
    columns["timestamp"] = (count / fps).astype(np.float32)
    columns["frame_index"] = count
    columns["episode_index"] = np.full(steps, index, np.int64)
    columns["index"] = count
    columns["task_index"] = np.zeros(steps, np.int64)
    return columns


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1).astype(np.float32)


def _specs(columns: Mapping[str, np.ndarray]) -> dict[str, dict]:
    free = {k: v for k, v in columns.items() if k not in layout.BOOKKEEPING}
    vectors_ = {name: layout.vector_spec(values.shape[1]) for name, values in free.items()}
    return vectors_ | layout.bookkeeping_specs()


def _steps(episode: Episode) -> dict[str, pa.Array]:
    columns = {"time_ns": vectors(episode.time_ns)}
    for name, stream in episode.streams.items():
        if stream.kind == "pose":
            columns[name] = vectors(
                stream.values.reshape(len(stream.values), 16).astype(np.float64)
            )
    return columns


def _beams(episode: Episode) -> dict[str, pa.Array]:
    """Return the directions of each fan of beams as one row: azimuth and elevation in turn."""
    fans = {name: s.beams_rad for name, s in episode.streams.items() if s.kind == "lidar"}
    return {
        name: vectors(beams.astype(np.float64).reshape(1, -1))
        for name, beams in fans.items()
        if beams is not None
    }


def _described(streams: Mapping[str, Any]) -> dict[str, dict]:
    return {
        name: {
            "kind": stream.kind,
            "unit": stream.unit,
            "frame": stream.frame,
            "intrinsics": None if stream.intrinsics is None else stream.intrinsics.tolist(),
        }
        | ({"beams": stream.beams_rad is not None} if stream.kind == "lidar" else {})
        for name, stream in streams.items()
    }
