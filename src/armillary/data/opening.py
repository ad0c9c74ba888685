"""Opening: everything about a dataset's structure is checked once here, and trusted afterwards."""

from __future__ import annotations

import os
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
OLD_VERSIONS = ("v2.0", "v2.1")  # that ``ingest`` reads


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
    features = checked_features(path, info, frozenset({"chunk_index", "file_index"}))
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
            f"{path}: is LeRobot format {version!r}; v3.0 is needed. {_conversion(version)}"
        )
    return info


def _conversion(version: object) -> str:
    """Return what makes an older dataset readable."""
    if version in OLD_VERSIONS:
        return "`armillary ingest` reads it and writes a dataset of v3.0."
    return "Convert it with the release of LeRobot that wrote it, version by version."


def checked_features(
    path: Path, info: Mapping[str, Any], fields: frozenset[str]
) -> dict[str, dict]:
    """Return the features of a dataset; its rate, its paths and their names are checked, too.

    Args:
        path: its folder.
        info: ``meta/info.json``.
        fields: that a path may have, beside the key of a video.

    Raises:
        DatasetError: one of them cannot be, or a path could leave the folder.
    """
    where = f"{path / layout.INFO}"
    features = info.get("features")
    if not isinstance(features, dict) or not all(_is_feature(f) for f in features.values()):
        raise DatasetError(f"{where}: 'features' must give dtype and shape of each feature.")
    fps = info.get("fps")
    if not isinstance(fps, int | float) or not 0 < fps < 10_000:
        raise DatasetError(f"{where}: 'fps' must be a number above 0, got {fps!r}.")
    layout.checked_template(info.get("data_path"), fields, where)
    videos = [key for key, spec in features.items() if spec["dtype"] == "video"]
    if videos:
        layout.checked_template(info.get("video_path"), fields | {"video_key"}, where)
    for key in videos:
        if not layout.is_inside(key) or "/" in key:
            raise DatasetError(f"{where}: the feature name {key!r} is refused as part of a path.")
    return features


def _is_feature(spec: Any) -> bool:
    if not isinstance(spec, dict) or not isinstance(spec.get("dtype"), str):
        return False
    shape = spec.get("shape")
    if not isinstance(shape, list) or not all(
        isinstance(n, int) and 0 < n < 1 << 20 for n in shape
    ):
        return False
    return spec["dtype"] not in ("video", "image") or len(shape) in (2, 3)


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
