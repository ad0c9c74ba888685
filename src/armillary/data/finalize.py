"""Finalize: complete episodes become one LeRobotDataset v3 with a manifest of hashes.

Everything here is computed from the complete episodes alone, so it gives the same bytes whoever
wrote them and in whatever order, and may be repeated after more episodes were written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from armillary.core.errors import DatasetError
from armillary.core.files import read_json, write_json
from armillary.core.hashing import canonical_json, file_sha256
from armillary.data import layout
from armillary.data.statistics import column_stats, merged
from armillary.data.tables import (
    array,
    pandas_index_metadata,
    read_table,
    rows_sha256,
    vectors,
    write_table,
)

MANIFEST_FORMAT = "armillary-manifest/1"


def finalize(path: Path, finished: set[int], about: dict[str, Any]) -> None:
    """Number the rows through, write ``meta/`` and the manifest.

    Args:
        path: the dataset's folder.
        finished: indices of the complete episodes.
        about: ``fps``, ``robot_type``, ``task`` and how the dataset was made.

    Raises:
        DatasetError: no episode is complete, one in between is missing or damaged, or their
            features differ.
    """
    count = _contiguous(path, finished)
    sidecars = [read_json(path / layout.sidecar_file(index)) for index in range(count)]
    _check_features(path, sidecars)
    starts = np.concatenate([[0], np.cumsum([s["length"] for s in sidecars])]).tolist()
    tasks = _tasks(sidecars, about["task"])
    for sidecar, start in zip(sidecars, starts, strict=False):
        number = tasks.index(_task(sidecar, about["task"]))
        _number_rows(path, sidecar, start, number)
        if number:  # the sidecars count tasks from 0 in each episode
            numbers = np.full(sidecar["length"], number, np.int64)
            sidecar["stats"]["task_index"] = column_stats(numbers)
    _remove_leftovers(path, sidecars)
    write_json(path / layout.INFO, _info(sidecars, about, len(tasks)))
    write_json(path / layout.STATS, _stats(sidecars, starts))
    _write_tasks(path, tasks)
    _write_episodes(path, sidecars, starts, about)
    write_json(path / layout.MANIFEST, _manifest(path, sidecars))


def _contiguous(path: Path, finished: set[int]) -> int:
    if not finished:
        raise DatasetError(
            f"{path}: no episode is complete; there is nothing to make a dataset of."
        )
    missing = sorted(set(range(max(finished) + 1)) - finished)
    if missing:
        raise DatasetError(
            f"{path}: episode {missing[0]} is not complete ({len(missing)} missing of "
            f"{max(finished) + 1}); write it before the dataset is finished."
        )
    return len(finished)


def _check_features(path: Path, sidecars: Sequence[dict]) -> None:
    first = canonical_json(sidecars[0]["features"])
    for sidecar in sidecars:
        if canonical_json(sidecar["features"]) != first:
            keys = {*sidecar["features"], *sidecars[0]["features"]}
            odd = [
                k
                for k in sorted(keys)
                if sidecar["features"].get(k) != sidecars[0]["features"].get(k)
            ]
            raise DatasetError(
                f"{path}: episode {sidecar['episode']} differs from episode 0 in {odd[0]!r}; all "
                "episodes of a dataset have the same streams and sizes."
            )
        _check_clouds(path, sidecar, sidecars[0])


def _check_clouds(path: Path, sidecar: dict, first: dict) -> None:
    """Points are no feature of LeRobot's, so they are compared here."""
    found, want = _cloud_columns(sidecar), _cloud_columns(first)
    if found != want:
        raise DatasetError(
            f"{path}: episode {sidecar['episode']} has the points {found}, episode 0 has {want}; "
            "all episodes of a dataset have the same."
        )


def _cloud_columns(sidecar: dict) -> dict[str, str]:
    streams = sidecar["streams"].items()
    return {name: " ".join(s["columns"]) for name, s in streams if s["kind"] == "points"}


def _task(sidecar: dict, otherwise: str) -> str:
    """Return what is done in an episode; empty where nothing says it, for LeRobot needs a text."""
    return sidecar.get("task", "") or otherwise


def _tasks(sidecars: Sequence[dict], otherwise: str) -> list[str]:
    """Return the tasks of all episodes, each once, in the order in which they first come."""
    return [*dict.fromkeys(_task(sidecar, otherwise) for sidecar in sidecars)]


def _number_rows(path: Path, sidecar: dict, start: int, task: int) -> None:
    file = path / layout.data_file(sidecar["episode"])
    table = read_table(file)
    if rows_sha256(table) != sidecar["rows_sha256"]:
        raise DatasetError(
            f"{path}: episode {sidecar['episode']}: {layout.data_file(sidecar['episode'])} is "
            "damaged; delete its sidecar and write it again."
        )
    if array(table, "index")[0] != start or array(table, "task_index")[0] != task:
        numbers = np.arange(start, start + table.num_rows, dtype=np.int64)
        tasks = np.full(table.num_rows, task, np.int64)
        columns = {name: table.column(name).combine_chunks() for name in table.column_names}
        write_table(file, {**columns, "index": vectors(numbers), "task_index": vectors(tasks)})


def _episode_files(sidecar: dict) -> list[str]:
    index = sidecar["episode"]
    return sorted([*sidecar["files"], layout.data_file(index), layout.sidecar_file(index)])


def _remove_leftovers(path: Path, sidecars: Sequence[dict]) -> None:
    """Remove what killed writers left: parts, and files of episodes that were never completed."""
    wanted = {path / name for sidecar in sidecars for name in _episode_files(sidecar)}
    for folder in ("data", "videos", "meta/armillary"):
        for file in (path / folder).rglob("*"):
            part = file.name.startswith(".") and file.name.endswith(".part")
            orphan = file.suffix in (".mp4", ".parquet") and file not in wanted
            if file.is_file() and (part or orphan):
                file.unlink()


def _info(sidecars: Sequence[dict], about: dict, tasks: int) -> dict:
    episodes = len(sidecars)
    return {
        "codebase_version": layout.VERSION,
        "robot_type": about["robot_type"] or "armillary",
        "total_episodes": episodes,
        "total_frames": sum(s["length"] for s in sidecars),
        "total_tasks": tasks,
        "chunks_size": layout.CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": about["fps"],
        "splits": {"train": f"0:{episodes}"},
        "data_path": layout.DATA,
        "video_path": layout.VIDEO,
        "features": sidecars[0]["features"],
    }


def _stats(sidecars: Sequence[dict], starts: Sequence[int]) -> dict:
    stats = {key: merged([s["stats"][key] for s in sidecars]) for key in sidecars[0]["stats"]}
    last = starts[-1] - 1
    # The sidecars count "index" from 0 in each episode: here it is known in closed form.
    spread = float(np.sqrt(((last + 1) ** 2 - 1) / 12))
    values = {"min": [0.0], "max": [float(last)], "mean": [last / 2], "std": [spread]}
    return {**stats, "index": {**values, "count": [last + 1]}}


def _write_tasks(path: Path, tasks: Sequence[str]) -> None:
    index = "__index_level_0__"
    columns = {"task_index": pa.array(range(len(tasks)), pa.int64()), index: pa.array(tasks)}
    write_table(path / layout.TASKS, columns, pandas_index_metadata(index, "task_index"))


def _write_episodes(
    path: Path, sidecars: Sequence[dict], starts: Sequence[int], about: dict
) -> None:
    cameras = [k for k, spec in sidecars[0]["features"].items() if spec["dtype"] == "video"]
    index = np.arange(len(sidecars), dtype=np.int64)
    length = np.array([s["length"] for s in sidecars], np.int64)
    place = {
        "chunk_index": vectors(index // layout.CHUNK),
        "file_index": vectors(index % layout.CHUNK),
    }
    columns: dict[str, pa.Array] = {"episode_index": vectors(index)}
    tasks = [[_task(sidecar, about["task"])] for sidecar in sidecars]
    columns["tasks"] = pa.array(tasks, pa.list_(pa.string()))
    columns["length"] = vectors(length)
    columns |= {f"data/{name}": values for name, values in place.items()}
    columns["dataset_from_index"] = vectors(np.array(starts[:-1], np.int64))
    columns["dataset_to_index"] = vectors(np.array(starts[1:], np.int64))
    for key in cameras:
        columns |= {f"videos/{key}/{name}": values for name, values in place.items()}
        columns[f"videos/{key}/from_timestamp"] = vectors(np.zeros(len(index)))
        columns[f"videos/{key}/to_timestamp"] = vectors(length / about["fps"])
    columns |= dict(_episode_stats(sidecars))
    zeros = vectors(np.zeros(len(index), np.int64))
    columns |= {"meta/episodes/chunk_index": zeros, "meta/episodes/file_index": zeros}
    write_table(path / layout.EPISODES, columns)


def _episode_stats(sidecars: Sequence[dict]) -> Iterator[tuple[str, pa.Array]]:
    for key, parts in sidecars[0]["stats"].items():
        for part in parts:
            yield f"stats/{key}/{part}", pa.array([s["stats"][key][part] for s in sidecars])


def _manifest(path: Path, sidecars: Sequence[dict]) -> dict:
    shared = (layout.INFO, layout.STATS, layout.TASKS, layout.EPISODES, layout.ABOUT)
    return {
        "format": MANIFEST_FORMAT,
        "episodes": [
            {
                "episode": sidecar["episode"],
                "files": {name: file_sha256(path / name) for name in _episode_files(sidecar)}
                | sidecar["files"],  # as they were when written, not as they are now
            }
            for sidecar in sidecars
        ],
        "shared": {name: file_sha256(path / name) for name in shared},
    }
