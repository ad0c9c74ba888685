"""Dataset: a LeRobotDataset v3 on disk, ours or anybody's, read episode by episode.

    dataset[3], dataset[-1], dataset[:5], or a loop over it: episodes with all their pictures

Axes: T time, A action, H W image. Files of foreign datasets may hold many episodes; then an
episode is a stretch of rows, and a stretch of seconds in each video.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, SupportsIndex, overload

import numpy as np
import pyarrow as pa

from armillary.core.display import html_of
from armillary.core.errors import DatasetError, FormatError, MissingEpisodeError
from armillary.core.files import read_json
from armillary.core.hashing import file_sha256, json_sha256
from armillary.core.values import Episode, Stream, StreamKind
from armillary.data import layout
from armillary.data.clouds import padded, read_clouds
from armillary.data.depth import to_metres
from armillary.data.foreign import image_frames, license_of, rows_columns, to_depth_mm
from armillary.data.sidecar import checked_sidecar
from armillary.data.stills import StillsReader
from armillary.data.tables import array, read_table
from armillary.data.video import STILL_CODECS, VideoReader, nearest_frames

MAX_EPISODE_BYTES = 8 << 30  # what ``read`` may hold in memory; ``prepare`` has no such limit
CAMERAS = ("rgb", "depth", "segmentation")


@dataclass(frozen=True)
class Dataset:
    """An opened dataset. Opening checked its structure; ``verify`` checks its bytes.

    Attributes:
        path: its folder.
        info: ``meta/info.json``.
        lengths: steps of each episode [E].
        places: the columns of ``meta/episodes`` by name, each [E].
        names: stream name and kind by LeRobot feature.
    """

    path: Path
    info: Mapping[str, Any]
    lengths: np.ndarray
    places: Mapping[str, np.ndarray]
    names: Mapping[str, tuple[str, StreamKind]]
    _shelf: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Episode: ...
    @overload
    def __getitem__(self, index: slice) -> list[Episode]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Episode | list[Episode]:
        if isinstance(index, slice):
            return [self.read(number) for number in range(len(self))[index]]
        number = operator.index(index)
        return self.read(number + len(self) if -len(self) <= number < 0 else number)

    def __iter__(self) -> Iterator[Episode]:
        return (self.read(number) for number in range(len(self)))

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        steps, names = int(self.lengths.sum()), ", ".join(self.streams)
        return f"Dataset({str(self.path)!r}: {len(self)} episodes, {steps:,} steps; {names})"

    def _repr_html_(self) -> str | None:
        return html_of(self)

    @property
    def num_episodes(self) -> int:
        """Number of episodes."""
        return len(self.lengths)

    @property
    def fps(self) -> float:
        """Steps per second."""
        return float(self.info["fps"])

    @property
    def features(self) -> Mapping[str, Any]:
        """LeRobot's features by key."""
        return self.info["features"]

    @property
    def has_actions(self) -> bool:
        """Whether the episodes have actions."""
        return layout.ACTION in self.features

    @property
    def is_ours(self) -> bool:
        """Whether armillary wrote it, with manifest, poses and units."""
        return (self.path / layout.MANIFEST).is_file()

    @property
    def streams(self) -> dict[str, StreamKind]:
        """Kind of every stream by name."""
        kinds = dict(self.names.values())
        if self.is_ours and len(self):
            sidecar = self.sidecar(0)["streams"]
            kinds |= {name: spec["kind"] for name, spec in sidecar.items()}
        return kinds

    @property
    def cameras(self) -> dict[str, StreamKind]:
        """Kind of the streams that are pictures, by name."""
        return {name: kind for name, kind in self.names.values() if kind in CAMERAS}

    @property
    def clouds(self) -> tuple[str, ...]:
        """Names of the streams that are point clouds."""
        return tuple(name for name, kind in self.streams.items() if kind == "points")

    @property
    def place(self) -> str:
        """Where it is, so that it is known again: its folder."""
        return str(self.path.resolve())

    @property
    def checked_when_read(self) -> bool:
        """Whether files are held against the manifest as they are read; else ``verify`` does."""
        return False

    def identity(self) -> str:
        """Return a hash that changes when the dataset does.

        For our own it is the manifest's; for a foreign one it is made of ``info.json`` and the
        names, sizes and times of all files, since hashing all videos would take minutes.
        """
        if self.is_ours:
            return file_sha256(self.path / layout.MANIFEST)
        files = sorted(file for file in self.path.rglob("*") if file.is_file())
        stats = [(str(f.relative_to(self.path)), f.stat()) for f in files]
        rows = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
        return json_sha256([file_sha256(self.path / layout.INFO), rows])

    def read(self, index: int) -> Episode:
        """Return one episode with all its pictures and clouds.

        Raises:
            DatasetError: there is no such episode, it is damaged, larger than memory should hold,
                or its actions are not numbers.
        """
        episode = self.read_low(index)
        streams = dict(episode.streams)
        for name, kind in self.cameras.items():
            images = self._stacked(index, name, len(episode))
            values = to_metres(images) if kind == "depth" else images
            streams[name] = replace(self.camera(index, name), values=values)
        for name in self.clouds:
            streams[name] = self._padded(index, name)
        return replace(episode, streams=streams)

    def read_low(self, index: int) -> Episode:
        """Return one episode without its pictures and clouds: times, actions, poses, vectors.

        Raises:
            DatasetError: there is no such episode, it is damaged, or its actions are not numbers.
        """
        self.check_index(index)
        with self._naming(index):
            table = self._rows(index)
            streams = self._vectors(index, table) | self._poses(index)
            streams |= self._beams(index, streams)
            sidecar = self.sidecar(index) if self.is_ours else {}
        return Episode(
            streams=streams,
            time_ns=self._times(index, table),
            actions=self._actions(index, table),
            source=sidecar.get("source", f"{self.path.name}/{index}"),
            license=sidecar.get("license", "" if self.is_ours else license_of(self.path)),
            task=sidecar.get("task", ""),
        )

    def camera(self, index: int, name: str) -> Stream:
        """Return what is known about a camera of an episode; its values are empty."""
        spec = self._described(index).get(name, {})
        lens = spec.get("intrinsics")
        kind = self.cameras[name]
        unit, frame = ("m", "camera") if kind == "depth" else ("", "camera")
        return Stream(
            kind=kind,
            values=np.empty(0),
            unit=spec.get("unit", unit),
            frame=spec.get("frame", frame),
            intrinsics=None if lens is None else np.asarray(lens, np.float64),
        )

    def frames(
        self, index: int, name: str, steps: Sequence[int] | None = None
    ) -> Iterator[np.ndarray]:
        """Yield the pictures of one camera as they are on disk, one at a time.

        rgb uint8 [H W 3], depth uint16 millimetres [H W] (0 invalid), segmentation uint8 [H W].

        Args:
            index: number of the episode.
            name: of the camera's stream.
            steps: which pictures, ascending; None yields all.

        Raises:
            DatasetError: a file is damaged or missing; names the episode.
        """
        self.check_index(index)
        key = next(key for key, named in self.names.items() if named[0] == name)
        with self._naming(index):
            if self.features[key]["dtype"] == "image":
                column = self._rows(index).column(key)
                chosen = column if steps is None else column.take(pa.array(steps))
                yield from image_frames(chosen, self.names[key][1])
            else:
                yield from self._decoded(index, key, steps)

    def points(
        self, index: int, name: str, steps: Sequence[int] | None = None
    ) -> Iterator[np.ndarray]:
        """Yield the clouds of one stream, one at a time: float32 [P F] metres, no padding.

        Args:
            index: number of the episode.
            name: of the stream, one of ``clouds``.
            steps: which clouds, ascending; None yields all.

        Raises:
            DatasetError: there is no such stream, or the file is damaged or missing.
        """
        self.check_index(index)
        if name not in self.clouds:
            raise DatasetError(f"{self.path}: has no points {name!r}; it has {list(self.clouds)}.")
        with self._naming(index):
            columns = self._described(index)[name]["columns"]
            yield from read_clouds(self.path / layout.points_file(index), name, columns, steps)

    def columns(self, name: str) -> tuple[str, ...]:
        """Return the names of a cloud's features, x y z first."""
        return tuple(self.sidecar(0)["streams"][name]["columns"])

    def picture_size(self, name: str) -> tuple[int, int]:
        """Return rows and columns of a camera's pictures on disk."""
        key = next(key for key, named in self.names.items() if named[0] == name)
        rows, columns = rows_columns(self.features[key])
        return rows, columns

    def sidecar(self, index: int) -> dict:
        """Return what armillary knows about an episode beyond LeRobot's columns.

        Raises:
            FormatError: it is missing or not JSON.
            DatasetError: it is something else.
        """
        file = self.path / layout.sidecar_file(index)
        return checked_sidecar(read_json(file), str(file))

    def files(self, index: int) -> list[str]:
        """Return the files that an episode lies in, relative to the dataset."""
        keys = [key for key, spec in self.features.items() if spec["dtype"] == "video"]
        return [self._file("data", index), *(self._file(f"videos/{key}", index) for key in keys)]

    def companions(self, index: int) -> list[str]:
        """Return the files that armillary keeps beside an episode, relative to the dataset."""
        if not self.is_ours:
            return []
        if "clouds" not in self._shelf:  # the first sidecar is read once, not for each episode
            first = (self.path / layout.sidecar_file(0)).is_file()
            self._shelf["clouds"] = bool(first and self.clouds)
        places = [layout.steps_file, layout.sidecar_file]
        places += [layout.points_file] if self._shelf["clouds"] else []
        return [place(index) for place in places]

    def check_index(self, index: int) -> None:
        """Raise unless there is such an episode."""
        if not 0 <= index < len(self):
            raise MissingEpisodeError(
                f"{self.path}: there is no episode {index}; it has {len(self)}."
            )

    def _naming(self, index: int) -> _Naming:
        return _Naming(self.path, index)

    def _file(self, what: str, index: int) -> str:
        chunk = int(self.places[f"{what}/chunk_index"][index])
        file = int(self.places[f"{what}/file_index"][index])
        template = self.info["data_path" if what == "data" else "video_path"]
        return template.format(
            chunk_index=chunk, file_index=file, video_key=what.removeprefix("videos/")
        )

    def _rows(self, index: int) -> pa.Table:
        file = self._file("data", index)
        if self._shelf.get("file") != file:
            self._shelf.update(file=file, table=read_table(self.path / file))
        table = self._shelf["table"]
        rows = np.flatnonzero(array(table, "episode_index") == index)
        if len(rows) != self.lengths[index]:
            raise FormatError(f"{file} has {len(rows)} rows of it, {self.lengths[index]} wanted.")
        return table.take(pa.array(rows))

    def _vectors(self, index: int, table: pa.Table) -> dict[str, Stream]:
        described = self._described(index)
        streams = {}
        for key, (name, kind) in self.names.items():
            if kind in ("proprio", "truth", "lidar"):
                values = numbers(table, key).astype(np.float32)
                self._check_width(index, key, values.shape[1])
                if kind == "proprio":
                    self._check_finite(index, f"{name!r}", values)
                spec = described.get(name, {})
                streams[name] = Stream(kind, values, spec.get("unit", ""), spec.get("frame", ""))
        return streams

    def _poses(self, index: int) -> dict[str, Stream]:
        poses = {n: s for n, s in self._described(index).items() if s["kind"] == "pose"}
        if not poses:
            return {}
        table = read_table(self.path / layout.steps_file(index), list(poses))
        found = {}
        for name, spec in poses.items():
            matrices = array(table, name).reshape(-1, 4, 4)
            self._check_finite(index, f"{name!r}", matrices)
            found[name] = Stream("pose", matrices, spec["unit"], spec["frame"])
        return found

    def _beams(self, index: int, streams: Mapping[str, Stream]) -> dict[str, Stream]:
        """Return the LiDAR streams whose beams are known, with them."""
        known = [name for name, spec in self._described(index).items() if spec.get("beams") is True]
        known = [name for name in known if name in streams]
        if not known:
            return {}
        table = read_table(self.path / layout.beams_file(index), known)
        return {
            name: replace(streams[name], beams_rad=array(table, name).reshape(-1, 2))
            for name in known
        }

    def _padded(self, index: int, name: str) -> Stream:
        spec = self._described(index)[name]
        values = padded(list(self.points(index, name)), len(spec["columns"]), MAX_EPISODE_BYTES)
        return Stream("points", values, spec["unit"], spec["frame"], columns=tuple(spec["columns"]))

    def _times(self, index: int, table: pa.Table) -> np.ndarray:
        if self.is_ours:
            with self._naming(index):
                steps = read_table(self.path / layout.steps_file(index), ["time_ns"])
                return array(steps, "time_ns").astype(np.int64)
        return np.rint(np.arange(table.num_rows) * 1e9 / self.fps).astype(np.int64)

    def _actions(self, index: int, table: pa.Table) -> np.ndarray | None:
        if not self.has_actions:
            return None
        with self._naming(index):
            actions = numbers(table, layout.ACTION)[:-1]
        self._check_width(index, layout.ACTION, actions.shape[1])
        self._check_finite(index, "the action", actions)
        return actions.astype(np.float32)

    def _check_width(self, index: int, key: str, width: int) -> None:
        promised = int(np.prod(self.features[key]["shape"]))
        if width != promised:
            raise DatasetError(
                f"{self.path}: episode {index}: {key!r} has {width} numbers a step, its dataset "
                f"promises {promised}; remove the episode or repair it."
            )

    def _check_finite(self, index: int, what: str, values: np.ndarray) -> None:
        if not np.isfinite(values).all():
            step = int(np.argwhere(~np.isfinite(values))[0][0])
            raise DatasetError(
                f"{self.path}: episode {index}: {what} of step {step} is NaN or infinite; "
                "remove the episode or repair it."
            )

    def _described(self, index: int) -> Mapping[str, Any]:
        return self.sidecar(index)["streams"] if self.is_ours else {}

    def _stacked(self, index: int, name: str, length: int) -> np.ndarray:
        key = next(key for key, named in self.names.items() if named[0] == name)
        size = length * int(np.prod(self.features[key]["shape"])) * 2
        if size > MAX_EPISODE_BYTES:
            raise DatasetError(
                f"{self.path}: episode {index} would fill {size >> 30} GiB of memory. Read it in "
                "parts with Dataset.frames, or ingest it again with a smaller --max-side."
            )
        return np.stack(list(self.frames(index, name)))

    def _decoded(self, index: int, key: str, steps: Sequence[int] | None) -> Iterator[np.ndarray]:
        kind = self.names[key][1]
        chosen = np.arange(int(self.lengths[index])) if steps is None else np.asarray(steps)
        video = self._opened(key, index)
        start_s = float(self.places[f"videos/{key}/from_timestamp"][index])
        wanted_s = start_s + chosen / self.fps
        for image in video.read(nearest_frames(video, wanted_s, self.fps)):
            yield to_depth_mm(image, self.features[key]) if kind == "depth" else image

    def _opened(self, key: str, index: int) -> VideoReader:
        """Return the open file of a camera; the last one of each camera is kept open."""
        path = self.path / self._file(f"videos/{key}", index)
        if key not in self._shelf or self._shelf[key].path != path:
            codec = (self.features[key].get("info") or {}).get("video.codec")
            reader = StillsReader if self.is_ours and codec in STILL_CODECS else VideoReader
            self._shelf[key] = reader(path, self.names[key][1])
        return self._shelf[key]


def numbers(table: pa.Table, name: str) -> np.ndarray:
    """Return a column as [T Q], one number a row as [T 1].

    Args:
        table: rows of an episode.
        name: of the column.

    Raises:
        FormatError: it is missing, or holds something else than numbers and truth values.
    """
    values = array(table, name).reshape(table.num_rows, -1)
    if values.dtype.kind not in "fiub":
        raise FormatError(f"{name!r} holds no numbers.")
    return values


class _Naming:
    """Puts the name of the episode in front of what is wrong with one of its files."""

    def __init__(self, path: Path, index: int) -> None:
        self.path, self.index = path, index

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FormatError):
            sentence = str(error).removeprefix(f"{self.path}/")
            raise DatasetError(f"{self.path}: episode {self.index}: {sentence}") from error
