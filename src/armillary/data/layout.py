"""Layout: where things lie in a LeRobotDataset v3, and what they are called there.

One episode has its own parquet file and its own video files (chunk = i // 1000, file = i % 1000),
so episodes are independent: any number of writers, any order, the same bytes. What v3 cannot carry
lies in ``meta/armillary/``, where LeRobot's reader does not look.

Source: huggingface/lerobot 0.4.4, ``datasets/utils.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from string import Formatter
from typing import Any

from armillary.core.errors import DatasetError
from armillary.core.values import StreamKind

VERSION = "v3.0"
CHUNK = 1000
INFO = "meta/info.json"
STATS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
EPISODES_FOLDER = "meta/episodes"
EPISODES = f"{EPISODES_FOLDER}/chunk-000/file-000.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
ABOUT = "meta/armillary/dataset.json"
MANIFEST = "meta/armillary/manifest.json"
POINTS = "meta/armillary/points/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
BEAMS = "meta/armillary/beams/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
SIDECAR_FOLDER = "meta/armillary/episodes"
_STEPS = "meta/armillary/steps/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"

ACTION = "action"
STATE = "observation.state"
IMAGES = "observation.images."
METRES_PER_UNIT = "video.metres_per_unit"  # of depth that keeps its own unit; ours
LIDAR = "observation.lidar"
TRUTH = "truth."
BOOKKEEPING: Mapping[str, str] = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}


def data_file(index: int) -> str:
    """Return where the rows of an episode lie."""
    return DATA.format(chunk_index=index // CHUNK, file_index=index % CHUNK)


def video_file(index: int, key: str) -> str:
    """Return where the frames of an episode's camera lie."""
    return VIDEO.format(video_key=key, chunk_index=index // CHUNK, file_index=index % CHUNK)


def steps_file(index: int) -> str:
    """Return where the times and poses of an episode lie."""
    return _STEPS.format(chunk_index=index // CHUNK, file_index=index % CHUNK)


def points_file(index: int) -> str:
    """Return where the point clouds of an episode lie."""
    return POINTS.format(chunk_index=index // CHUNK, file_index=index % CHUNK)


def beams_file(index: int) -> str:
    """Return where the directions of an episode's LiDAR beams lie."""
    return BEAMS.format(chunk_index=index // CHUNK, file_index=index % CHUNK)


def sidecar_file(index: int) -> str:
    """Return the file whose existence says that an episode is complete; written last."""
    return f"{SIDECAR_FOLDER}/chunk-{index // CHUNK:03d}/episode-{index:06d}.json"


def feature_key(name: str, kind: StreamKind) -> str:
    """Return the LeRobot feature that holds a stream (poses and points lie beside: none)."""
    if kind in ("rgb", "depth", "segmentation"):
        return IMAGES + name
    if kind == "lidar":
        return LIDAR if name == "lidar" else f"{LIDAR}.{name}"
    if kind == "truth":
        return TRUTH + name
    return STATE if name == "proprio" else f"observation.{name}"


def stream_names(features: Mapping[str, Any]) -> dict[str, tuple[str, StreamKind]]:
    """Return stream name and kind of every feature that is a stream, by feature key.

    The first colour camera is ``rgb`` (or the one that is called so), the first depth camera is
    ``depth``; other cameras keep the last part of their key.
    """
    kinds = {key: kind for key, spec in features.items() if (kind := _kind(key, spec)) is not None}
    names = {key: _plain_name(key) for key in kinds}
    for kind in ("rgb", "depth"):
        cameras = [key for key in kinds if kinds[key] == kind]
        if cameras and kind not in (names[key] for key in cameras):
            names[cameras[0]] = kind
    taken = list(names.values())
    return {
        key: (name if taken.count(name) == 1 else key, kinds[key]) for key, name in names.items()
    }


def camera_spec(
    kind: StreamKind,
    shape: tuple[int, ...],
    fps: float | int,
    pixels: str,
    codec: str,
    metres_per_unit: float = 0.0,
) -> dict:
    """Return the feature entry of a camera as LeRobot writes it.

    Args:
        kind: ``rgb``, ``depth`` or ``segmentation``.
        shape: of a picture.
        fps: frames per second.
        pixels: FFmpeg's name of the pixel format.
        codec: FFmpeg's name.
        metres_per_unit: of depth that keeps its own unit; 0 where it is millimetres.
    """
    channels = 3 if kind == "rgb" else 1
    info = {
        "video.height": shape[0],
        "video.width": shape[1],
        "video.codec": codec,
        "video.pix_fmt": pixels,
        "video.is_depth_map": kind == "depth",
        "video.fps": fps,
        "video.channels": channels,
        "has_audio": False,
    }
    if metres_per_unit:
        info[METRES_PER_UNIT] = metres_per_unit
    names = ["height", "width", "channels"]
    spec = {"dtype": "video", "shape": [*shape[:2], channels], "names": names, "info": info}
    return {**spec, "is_depth_map": True} if kind == "depth" else spec


def vector_spec(width: int) -> dict:
    """Return the feature entry of a float32 vector."""
    return {"dtype": "float32", "shape": [width], "names": None}


def bookkeeping_specs() -> dict[str, dict]:
    """Return the feature entries that every LeRobot dataset has."""
    return {k: {"dtype": d, "shape": [1], "names": None} for k, d in BOOKKEEPING.items()}


def checked_template(template: Any, fields: frozenset[str], where: str) -> str:
    """Return a path template that can only lead below the dataset's folder.

    Raises:
        DatasetError: it is not text, leaves the folder, or asks for anything but ``fields``.
    """
    if not isinstance(template, str):
        raise DatasetError(f"{where}: a path template is missing or not text, got {template!r}.")
    try:
        parts = [each for each in Formatter().parse(template) if each[1] is not None]
    except ValueError as error:
        raise DatasetError(f"{where}: {template!r} is not a path template ({error}).") from error
    # a key is text, which the form of a number does not fit
    forms = {field: "" if field == "video_key" else r"\d{0,2}d?" for field in fields}
    plain = all(
        field in forms and not conversion and re.fullmatch(forms[field], spec or "")
        for _, field, spec, conversion in parts
    )
    if not plain or not is_inside(template):
        raise DatasetError(
            f"{where}: the path template {template!r} is refused; it must stay inside the dataset "
            f"and use only {sorted(fields)}."
        )
    return template


def is_inside(relative: str) -> bool:
    """Say whether a path stays below the folder that it is relative to."""
    path = PurePosixPath(relative)
    if not path.parts or path.is_absolute() or PureWindowsPath(relative).drive:
        return False
    return ".." not in path.parts and not {"\\", "\0"} & set(relative)


def _kind(key: str, spec: Mapping[str, Any]) -> StreamKind | None:
    if spec.get("dtype") in ("video", "image"):
        info = spec.get("info") or spec.get("video_info") or {}
        depth_flags = (
            spec.get("is_depth_map"),
            info.get("is_depth_map"),
            info.get("video.is_depth_map"),
        )
        if any(depth_flags):
            return "depth"
        lossless = info.get("video.codec") == "ffv1" and info.get("video.channels") == 1
        return "segmentation" if lossless else "rgb"
    if not str(spec.get("dtype")).startswith(("float", "int", "bool")) or key in BOOKKEEPING:
        return None
    if key.startswith(TRUTH):
        return "truth"
    if key == LIDAR or key.startswith(f"{LIDAR}."):
        return "lidar"
    return "proprio" if key.startswith("observation.") else None


def _plain_name(key: str) -> str:
    if key == STATE:
        return "proprio"
    if key.startswith(TRUTH):
        return key.removeprefix(TRUTH)
    if key.startswith(("observation.images.", "observation.image")):
        return key.rsplit(".", 1)[-1]
    return key.removeprefix(f"{LIDAR}.").removeprefix("observation.")


def first_of_kind(kinds: Mapping[str, StreamKind], kind: StreamKind = "rgb") -> str | None:
    """Return the stream that is called by its kind, or else the first of that kind, or None.

    Args:
        kinds: kind of each stream by its name, e.g. ``Dataset.cameras`` or ``Cache.kinds``.
        kind: which is wanted.
    """
    names = [name for name, each in kinds.items() if each == kind]
    return kind if kind in names else next(iter(names), None)
