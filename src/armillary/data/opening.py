"""Opening: everything about a dataset's structure is checked once here, and trusted afterwards."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from armillary.core.errors import DatasetError, FormatError
from armillary.core.files import read_json
from armillary.data import layout
from armillary.data.dataset import Dataset
from armillary.data.tables import array, read_table

MAX_EPISODES = 10_000_000


def open_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Open a LeRobotDataset v3 and check its structure: version, counts, paths, missing files.

    Args:
        path: its folder (the one with ``meta/info.json``); an opened dataset is returned as it is.

    Raises:
        DatasetError: it is not a v3 dataset, was never finished, or files are missing.
    """
    if isinstance(path, Dataset):
        return path
    return checked_dataset(Path(path), lambda name: (Path(path) / name).is_file())


def checked_dataset(path: Path, exists: Callable[[str], bool]) -> Dataset:
    """Return the dataset in a folder that may lack the files of its episodes so far.

    Args:
        path: its folder, with ``meta``.
        exists: whether there is a file of this name, relative to the folder.

    Raises:
        DatasetError: as ``open_dataset``.
    """
    info = _info(path)
    features = _features(path, info)
    places = _places(path, features)
    dataset = Dataset(path, info, places["length"], places, layout.stream_names(features))
    if exists(layout.ABOUT) and not dataset.is_ours:
        raise DatasetError(
            f"{path}: {layout.MANIFEST} is missing, without which its poses, clouds and units are "
            "not read; fetch it again, or repeat the command that wrote the dataset."
        )
    _check_counts(dataset)
    _check_files(dataset, exists)
    return dataset


def _info(path: Path) -> dict:
    if not path.is_dir():
        raise DatasetError(f"{path}: there is no such folder; a dataset folder was expected.")
    if not (path / layout.INFO).is_file():
        begun = (path / layout.ABOUT).is_file()
        hint = (
            "it was begun but never finished; repeat the command that wrote it"
            if begun
            else ("it is not a LeRobot v3 dataset; videos become one with `armillary ingest`")
        )
        raise DatasetError(f"{path}: has no {layout.INFO}: {hint}.")
    try:
        info = read_json(path / layout.INFO)
    except FormatError as error:
        raise DatasetError(str(error)) from error
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if not str(version).startswith("v3."):
        raise DatasetError(
            f"{path}: is LeRobot format {version!r}; v3.0 is needed. {_conversion(path, version)}"
        )
    return info


def _conversion(path: Path, version: object) -> str:
    """Return what converts an older dataset; the commands are those of lerobot 0.6.1 and 0.3.3."""
    where = path.resolve()
    if version == "v2.1":
        return (
            "LeRobot converts it in place, and keeps the old one beside it: pip install "
            "'lerobot[dataset]>=0.6', then python -m lerobot.scripts.convert_dataset_v21_to_v30 "
            f"--repo-id local/{shlex.quote(where.name)} --root {shlex.quote(str(where))} "
            "--push-to-hub false"
        )
    if version == "v2.0":
        return (
            "LeRobot converts it in two steps: first to v2.1, on the Hugging Face Hub alone, by "
            "lerobot 0.3.3: python -m lerobot.datasets.v21.convert_dataset_v20_to_v21 --repo-id "
            "USER/NAME; then pass the v2.1 folder here for the second command."
        )
    return "Convert it with the release of LeRobot that wrote it, version by version."


def _features(path: Path, info: Mapping[str, Any]) -> dict[str, dict]:
    where = f"{path / layout.INFO}"
    features = info.get("features")
    if not isinstance(features, dict) or not all(_is_feature(f) for f in features.values()):
        raise DatasetError(f"{where}: 'features' must give dtype and shape of each feature.")
    fps = info.get("fps")
    if not isinstance(fps, int | float) or not 0 < fps < 10_000:
        raise DatasetError(f"{where}: 'fps' must be a number above 0, got {fps!r}.")
    layout.checked_template(info.get("data_path"), frozenset({"chunk_index", "file_index"}), where)
    videos = [key for key, spec in features.items() if spec["dtype"] == "video"]
    if videos:
        fields = frozenset({"chunk_index", "file_index", "video_key"})
        layout.checked_template(info.get("video_path"), fields, where)
    for key in videos:
        if not layout.is_inside(key) or "/" in key:
            raise DatasetError(f"{where}: the feature name {key!r} is refused as part of a path.")
    return features


def _is_feature(spec: Any) -> bool:
    if not isinstance(spec, dict) or not isinstance(spec.get("dtype"), str):
        return False
    shape = spec.get("shape")
    return isinstance(shape, list) and all(isinstance(n, int) and 0 < n < 1 << 20 for n in shape)


def _places(path: Path, features: Mapping[str, dict]) -> dict[str, np.ndarray]:
    names = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    for key, spec in features.items():
        if spec["dtype"] == "video":
            names += [f"videos/{key}/{n}" for n in ("chunk_index", "file_index", "from_timestamp")]
    files = sorted((path / layout.EPISODES_FOLDER).glob("*/*.parquet"))
    if not files:
        raise DatasetError(f"{path}: has no episode table in {layout.EPISODES_FOLDER}.")
    try:
        table = pa.concat_tables([read_table(file, names) for file in files])
        places = {name: array(table, name) for name in names}
    except (FormatError, pa.ArrowException) as error:
        raise DatasetError(f"{path}: its episode table is unusable: {error}") from error
    order = np.argsort(places["episode_index"], kind="stable")
    return {name: values[order] for name, values in places.items()}


def _check_counts(dataset: Dataset) -> None:
    count, frames = dataset.info.get("total_episodes"), dataset.info.get("total_frames")
    found = len(dataset)
    numbered = np.array_equal(dataset.places["episode_index"], np.arange(found))
    if count != found or not numbered or found > MAX_EPISODES:
        raise DatasetError(
            f"{dataset.path}: {layout.INFO} promises {count} episodes, its episode table has "
            f"{found}; the dataset is incomplete."
        )
    if found == 0:
        raise DatasetError(f"{dataset.path}: holds no episode.")
    if frames != dataset.lengths.sum() or dataset.lengths.min() < 1:
        raise DatasetError(
            f"{dataset.path}: {layout.INFO} promises {frames} frames, its episodes have "
            f"{dataset.lengths.sum()}; the dataset is incomplete."
        )


def _check_files(dataset: Dataset, exists: Callable[[str], bool]) -> None:
    seen: set[str] = set()
    for index in range(len(dataset)):
        for file in [*dataset.files(index), *dataset.companions(index)]:
            if file not in seen and not exists(file):
                raise DatasetError(
                    f"{dataset.path}: episode {index}: {file} is missing; fetch or record it again."
                )
            seen.add(file)
