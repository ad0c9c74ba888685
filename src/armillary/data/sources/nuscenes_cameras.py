"""nuScenes cameras: pictures beside the sweeps, with the lenses and poses of the JSON tables.

    samples/CAM_FRONT/LOG__CAM_FRONT__MICROSECONDS.jpg    and the same below sweeps/

The steps are the sweeps, whose time is the end of a turn. A camera takes its picture while the
laser passes the middle of its view, so up to one turn (50 ms) earlier. It has 12 pictures in 20
turns, so some sweeps have none of their own. The picture nearest to a sweep is taken, with the pose
of the car at the time of the picture.

Convention: pictures are pinholes, K has pixel centres at integers as the development kit draws
them; OpenCV cameras. The world is the frame of the first sweep.

Axes: T steps.

Source: schema of nuScenes (github.com/nutonomy/nuscenes-devkit); for the times "Data collection"
of nuscenes.org, as its issue 1004 quotes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from armillary.core.errors import FormatError
from armillary.core.values import Stream
from armillary.data.sources.nuscenes_tables import Tables
from armillary.data.sources.picture_files import colour_camera, first_size
from armillary.data.sources.recording import Camera, Recording, Sweeps
from armillary.data.sources.source import IngestOptions
from armillary.data.sources.stamps import matched

# The first one is ``rgb``, which a model sees.
CAMERAS = (
    "CAM_FRONT", "CAM_FRONT_LEFT", "CAM_FRONT_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_BACK_RIGHT"
)  # fmt: skip
_NEAR_S = 0.05  # one turn of the laser: a picture of a keyframe is not farther from its sweep
_NAME = re.compile(r"(?P<log>.+)__(?:LIDAR_TOP|CAM_[A-Z_]+)__(?P<micros>[1-8][0-9]{15})\..+")

# By camera and log: the time of each picture in nanoseconds, and its file, ascending.
Pictures = Mapping[str, Mapping[str, list[tuple[int, Path]]]]


def find_pictures(tables: Tables) -> Pictures:
    """Return the pictures beside the tables that these name; cameras without one are left out."""
    found: dict[str, dict[str, list[tuple[int, Path]]]] = {}
    for channel in CAMERAS:
        folders = [tables.folder.parent / part / channel for part in ("samples", "sweeps")]
        files = [file for f in folders if f.is_dir() for file in f.iterdir()]
        for file in sorted(files):
            name = _NAME.fullmatch(file.name)
            if name is not None and file.name in tables.of_file:
                of_log = found.setdefault(channel, {}).setdefault(name["log"], [])
                of_log.append((int(name["micros"]) * 1000, file))
    return {
        channel: {log: sorted(pictures) for log, pictures in of_log.items()}
        for channel, of_log in found.items()
    }


def named_streams(pictures: Pictures) -> list[str]:
    """Say which camera became which stream."""
    told = ", ".join(f"{_stream(n)} is {channel}" for n, channel in enumerate(pictures))
    return [f"cameras: {told}"]


def seen_beside(
    sweeps: Sequence[Path],
    name: str,
    clouds: Mapping[str, Sweeps],
    tables: Tables,
    pictures: Pictures,
    options: IngestOptions,
) -> Recording:
    """Return the recording of a scene: its sweeps, and the pictures nearest to them.

    Args:
        sweeps: files of the scene, ascending in time; the tables name all of them.
        name: of the recording.
        clouds: reads the sweeps.
        tables: poses and lenses.
        pictures: of all cameras that are read.
        options: what was chosen.

    Raises:
        FormatError: a sweep without a time in its name, a damaged row, or a camera without a
            picture near a sweep of the scene.
    """
    log, time_ns = _times(sweeps)
    lidar = tables.map_from_sensor(sweeps)
    if lidar is None:
        raise FormatError(f"{name}: {tables.folder} does not name all of its sweeps.")
    world_from_map = np.linalg.inv(lidar[0])
    usable = np.ones(len(time_ns), bool)
    # its poses come first: its motion is the action
    others = {"world_from_lidar": Stream("pose", world_from_map @ lidar, "m", "world")}
    cameras = dict[str, Camera]()
    for number, (channel, of_log) in enumerate(pictures.items()):
        stamps_ns = np.array([at for at, _ in of_log.get(log, [])], np.int64)
        tolerance_s = max(options.tolerance_s, _NEAR_S)
        where = f"{name}, {channel}"
        index = matched(time_ns, stamps_ns, tolerance_s, "pictures", where, "sweep")
        paths = [of_log[log][at][1] if at >= 0 else None for at in index]
        usable &= index >= 0
        stream = _stream(number)
        cameras[stream] = _camera(paths, tables)
        poses = world_from_map @ _poses(paths, tables, where)
        others[stream.replace("rgb", "world_from_camera")] = Stream("pose", poses, "m", "world")
    return Recording(name, time_ns, usable, cameras, others, clouds=clouds)


def _stream(number: int) -> str:
    return f"rgb_{number}" if number else "rgb"


def _times(sweeps: Sequence[Path]) -> tuple[str, Int64[np.ndarray, " T"]]:
    """Return the log of sweeps and their times in nanoseconds."""
    names = [_NAME.fullmatch(file.name) for file in sweeps]
    found = [name for name in names if name is not None]
    if len(found) < len(names):
        odd = sweeps[names.index(None)]
        raise FormatError(
            f"{odd}: the name does not tell when it was taken, so no picture can be found for it; "
            "a name such as LOG__LIDAR_TOP__1532402927647951.pcd.bin was expected."
        )
    return found[0]["log"], np.array([int(name["micros"]) * 1000 for name in found], np.int64)


def _camera(paths: Sequence[Path | None], tables: Tables) -> Camera:
    """Return a camera of files, whose lens may change from log to log."""
    known = [tables.lens(path) if path is not None else None for path in paths]
    first, size = next(lens for lens in known if lens is not None), first_size(paths)
    where = f"{tables.folder}: a picture"
    return colour_camera(paths, [(lens or first).at(size, where) for lens in known])


def _poses(
    paths: Sequence[Path | None], tables: Tables, where: str
) -> Float64[np.ndarray, "T 4 4"]:
    """Return map_from_camera at each picture; the map's origin where there is none."""
    poses = np.tile(np.eye(4), (len(paths), 1, 1))
    there = [step for step, path in enumerate(paths) if path is not None]
    found = tables.map_from_sensor([path for path in paths if path is not None])
    if found is None:
        raise FormatError(f"{where}: {tables.folder} does not name all of its pictures.")
    poses[there] = found
    return poses
