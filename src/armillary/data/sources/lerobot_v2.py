"""LeRobot datasets of version 2.0 and 2.1: each episode has files of its own.

An episode has one parquet file, and one video of each camera whose pictures are not in the parquet
file. ``meta/info.json`` says where they lie. ``meta/episodes.jsonl`` says how long each episode is
and what is done in it, and ``meta/tasks.jsonl`` has the tasks by number. The statistics
(``meta/stats.json`` of 2.0, ``meta/episodes_stats.jsonl`` of 2.1) are not read, because those of
the new dataset are computed from what is written.

Convention: the action of a row leads to the next row, so the last one is left out. The picture of
row n is the frame nearest to n / fps seconds of the episode's video.

Axes: T rows (steps), H W image.

Source: huggingface/lerobot 0.3.3, ``datasets/utils.py`` and ``datasets/lerobot_dataset.py``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from armillary.core.errors import DatasetError, FormatError
from armillary.core.files import MAX_JSON_BYTES, read_json
from armillary.core.values import Episode
from armillary.data import layout
from armillary.data.dataset import Dataset, numbers
from armillary.data.opening import MAX_EPISODES, OLD_VERSIONS, checked_features
from armillary.data.sources.counted_steps import MAX_STEPS
from armillary.data.tables import opened_parquet
from armillary.data.video import VideoReader

_EPISODES = "meta/episodes.jsonl"
_TASKS = "meta/tasks.jsonl"
_FIELDS = frozenset({"episode_chunk", "episode_index"})
_MAX_TASKS = 1_000_000


@dataclass(frozen=True, repr=False)
class OldDataset(Dataset):
    """An opened dataset of version 2.0 or 2.1; files of episodes are looked for when they are read.

    Attributes:
        texts: what is done in each episode, by its number, where the table of episodes says it.
        tasks: what is done, by number of the task.
    """

    texts: Mapping[int, str] = field(default_factory=dict)
    tasks: Mapping[int, str] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Never: armillary writes version 3."""
        return False

    def read_low(self, index: int) -> Episode:
        """Return one episode without its pictures: times, actions, vectors and its task.

        Args:
            index: number of the episode.

        Raises:
            DatasetError: there is no such episode, a file of it is missing or damaged, its length
                or times are not those that are promised, or its actions are not numbers.
        """
        self.check_index(index)
        with self._naming(index):
            for file in self.files(index):
                if not (self.path / file).is_file():
                    raise FormatError(f"{file} is missing; fetch it again.")
            task = self._task(index)
        return replace(super().read_low(index), task=task)

    def frames(
        self, index: int, name: str, steps: Sequence[int] | None = None
    ) -> Iterator[np.ndarray]:
        """Yield the pictures of one camera, one at a time, as ``Dataset.frames`` does.

        Args:
            index: number of the episode.
            name: of the camera's stream.
            steps: which pictures, ascending; None yields all.

        Raises:
            DatasetError: a file is damaged or too short, or its pictures have another size than
                ``info.json`` promises.
        """
        want = self.picture_size(name)
        for image in super().frames(index, name, steps):
            if image.shape[:2] != want:
                raise DatasetError(
                    f"{self.path}: episode {index}: the pictures of {name!r} are "
                    f"{list(image.shape[:2])}, {layout.INFO} promises {list(want)}."
                )
            yield image

    def after_the_end(self, index: int) -> list[str]:
        """Return what the videos of an episode hold after its last row, in words.

        Args:
            index: number of the episode, which was read before.

        Raises:
            DatasetError: a video is damaged.
        """
        found = []
        last_s = (float(self.lengths[index]) - 0.5) / self.fps
        for key, (name, _) in self.names.items():
            if self.features[key]["dtype"] == "video":
                with self._naming(index):
                    more = int((self._opened(key, index).times_s > last_s).sum())
                if more:
                    found.append(
                        f"episode {index}: {more} frames of {name!r} after its last row, "
                        f"{self.lengths[index]}"
                    )
        return found

    def _file(self, what: str, index: int) -> str:
        chunk = index // int(self.info["chunks_size"])
        template = self.info["data_path" if what == "data" else "video_path"]
        return template.format(
            episode_chunk=chunk, episode_index=index, video_key=what.removeprefix("videos/")
        )

    def _rows(self, index: int) -> pa.Table:
        file = self._file("data", index)
        if self._shelf.get("file") != file:
            length = int(self.lengths[index])
            with opened_parquet(self.path / file) as opened:
                rows = opened.metadata.num_rows
                if rows != length:
                    raise FormatError(f"{file} has {rows} rows, {_EPISODES} promises {length}.")
                table = opened.read()
            self._check_rows(index, file, table)
            self._shelf.update(file=file, table=table)
        return self._shelf["table"]

    def _check_rows(self, index: int, file: str, table: pa.Table) -> None:
        """Refuse rows of another episode, or out of order: pictures are found by their number.

        Each of the columns may be missing: not all programs that write version 2 write all.
        """
        steps = np.arange(table.num_rows)
        found = {
            name: numbers(table, name)[:, 0]
            for name in ("episode_index", "frame_index", "timestamp")
            if name in table.column_names
        }
        if (found.get("episode_index", np.array(index)) != index).any():
            raise FormatError(f"{file} has rows of another episode.")
        if (found.get("frame_index", steps) != steps).any():
            raise FormatError(f"{file} has rows that are missing or out of order (frame_index).")
        times_s = found.get("timestamp", steps / self.fps)
        on_time = np.abs(times_s - steps / self.fps) < 0.5 / self.fps  # not where it is NaN
        if not on_time.all():
            raise FormatError(
                f"{file} has times that are not those of {self.fps:g} steps/s, first at step "
                f"{int(on_time.argmin())}."
            )

    def _opened(self, key: str, index: int) -> VideoReader:
        path = self.path / self._file(f"videos/{key}", index)
        if key in self._shelf and self._shelf[key].path != path:
            self._shelf.pop(key).close()
        return super()._opened(key, index)

    def _task(self, index: int) -> str:
        """Return the task that the table of episodes names, or else those of the rows."""
        if index in self.texts:
            return self.texts[index]
        table = self._rows(index)
        if "task_index" not in table.column_names:
            return ""
        told = dict.fromkeys(numbers(table, "task_index")[:, 0].tolist())
        lost = [number for number in told if number not in self.tasks]
        if lost and self.tasks:
            raise FormatError(f"its task {lost[0]} is not in {_TASKS}.")
        return " / ".join(self.tasks[number] for number in told if number in self.tasks)


def is_old(path: Path) -> bool:
    """Say whether a dataset's ``info.json`` is of version 2.0 or 2.1.

    Args:
        path: the dataset's folder.
    """
    try:
        info = read_json(path / layout.INFO)
    except FormatError:
        return False
    return isinstance(info, dict) and info.get("codebase_version") in OLD_VERSIONS


def open_old(path: Path) -> OldDataset:
    """Open a dataset of version 2.0 or 2.1 and check what its ``meta`` says.

    Args:
        path: its folder (the one with ``meta/info.json``).

    Returns:
        The dataset. Whether the files of an episode are there is known when it is read.

    Raises:
        FormatError: there is no ``info.json``, or it is no JSON.
        DatasetError: ``meta`` is incomplete or damaged, its parts do not fit together, or a path
            could leave the folder.
    """
    info = read_json(path / layout.INFO)
    features = checked_features(path, info, _FIELDS)
    _check_paths(path, info, features)
    table = path / _EPISODES
    episodes = {}
    for line, each in _lines(table, MAX_EPISODES):
        episodes[_whole(table, line, each, "episode_index")] = each
    lengths = [_length(path, number, each) for number, each in sorted(episodes.items())]
    _check_counts(path, info, episodes, lengths)
    texts = {number: _texts(path, number, each) for number, each in episodes.items()}
    tasks = {}
    if (path / _TASKS).is_file():  # no number needs it where the episodes name their tasks
        for n, each in _lines(path / _TASKS, _MAX_TASKS):
            tasks[_whole(path / _TASKS, n, each, "task_index")] = _text(str(each.get("task") or ""))
    places = {
        f"videos/{key}/from_timestamp": np.zeros(len(lengths))
        for key, spec in features.items() if spec["dtype"] == "video"
    }  # fmt: skip
    return OldDataset(
        path,
        info,
        np.array(lengths, np.int64),
        places,
        layout.stream_names(features),
        texts={number: text for number, text in texts.items() if text},
        tasks=tasks,
    )


def _check_paths(path: Path, info: Mapping[str, Any], features: Mapping[str, dict]) -> None:
    """Refuse paths that would be the same for two episodes, or for two cameras."""
    where = path / layout.INFO
    size = info.get("chunks_size")
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= MAX_EPISODES:
        raise DatasetError(f"{where}: 'chunks_size' must be a number of episodes, got {size!r}.")
    videos = [key for key, spec in features.items() if spec["dtype"] == "video"]
    wanted = {"data_path": ["{episode_index"]}
    if videos:
        wanted["video_path"] = ["{episode_index", "{video_key"]
    for name, parts in wanted.items():
        lost = [part for part in parts if part not in info[name]]
        if lost:
            raise DatasetError(f"{where}: {name!r} must have {lost[0]}}}, got {info[name]!r}.")


def _length(path: Path, number: int, episode: Mapping[str, Any]) -> int:
    length = episode.get("length")
    if not isinstance(length, int) or isinstance(length, bool) or not 1 <= length <= MAX_STEPS:
        raise DatasetError(
            f"{path}: episode {number}: its 'length' in {_EPISODES} is {length!r}; 1 to "
            f"{MAX_STEPS:,} steps can be read."
        )
    return length


def _check_counts(
    path: Path, info: Mapping[str, Any], named: Collection[int], lengths: Sequence[int]
) -> None:
    promised, frames, found = info.get("total_episodes"), info.get("total_frames"), len(named)
    if found == 0:
        raise DatasetError(f"{path}: holds no episode.")
    if promised != found or min(named) != 0 or max(named) != found - 1:
        missing = next(number for number in range(found + 1) if number not in named)
        raise DatasetError(
            f"{path}: {layout.INFO} promises {promised} episodes, {_EPISODES} has {found}, and no "
            f"episode {missing}; the dataset is incomplete."
        )
    if frames != sum(lengths):
        raise DatasetError(
            f"{path}: {layout.INFO} promises {frames} frames, the episodes of {_EPISODES} have "
            f"{sum(lengths)}; the dataset is incomplete."
        )


def _texts(path: Path, number: int, episode: Mapping[str, Any]) -> str:
    tasks = episode.get("tasks") or []
    tasks = [tasks] if isinstance(tasks, str) else tasks
    if not isinstance(tasks, list) or not all(isinstance(task, str) for task in tasks):
        raise DatasetError(f"{path}: episode {number}: its 'tasks' in {_EPISODES} are no texts.")
    return _text(" / ".join(tasks))


def _text(value: str) -> str:
    """Return a text that can be stored: JSON can hold half of a pair of surrogates."""
    return value.encode("utf-8", "replace").decode()


def _lines(file: Path, most: int) -> list[tuple[int, dict[str, Any]]]:
    """Return the objects of a file with one JSON object a line, with the number of the line."""
    if not file.is_file():
        raise DatasetError(f"{file}: there is no such file; a LeRobot dataset of v2 has it.")
    if file.stat().st_size > MAX_JSON_BYTES:
        raise DatasetError(f"{file}: larger than {MAX_JSON_BYTES >> 20} MiB; refused as JSON.")
    found: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(file.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{file}: line {number} is not valid JSON ({error}).") from error
        if not isinstance(value, dict) or len(found) >= most:
            raise DatasetError(
                f"{file}: line {number} is no object, or there are more than {most:,}."
            )
        found.append((number, value))
    return found


def _whole(file: Path, line: int, value: Mapping[str, Any], name: str) -> int:
    number = value.get(name)
    if not isinstance(number, int) or isinstance(number, bool):
        raise DatasetError(f"{file}: line {line}: {name!r} must be a whole number, got {number!r}.")
    return number
