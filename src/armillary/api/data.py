"""Data for the API: record a simulated world, take in recordings, open and prepare datasets."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from armillary.api import html  # noqa: F401 - from now on notebooks draw datasets and episodes
from armillary.api.progress import progress_of
from armillary.core.errors import DatasetError, unknown_name
from armillary.core.progress import Progress
from armillary.data import Cache, Dataset, IngestOptions
from armillary.data import ingest as ingest_source
from armillary.data import open_dataset as open_folder
from armillary.data import prepare as prepare_dataset
from armillary.worlds import record as record_world

AnyPath = str | os.PathLike[str]


def record(
    world: str,
    out: AnyPath,
    *,
    episodes: int = 100,
    steps: int = 100,
    policy: str = "explore",
    sensors: Sequence[str] = (),
    image_size: int = 64,
    workers: int = 1,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    on: str = "",
    progress: bool | Progress | None = None,
) -> Dataset:
    """Record episodes of a simulated world into a dataset.

        data = arm.record("tabletop", "out/table", episodes=200, steps=12)

    Args:
        world: its name (tabletop, two_rooms, yard), or gym:module:Env-v0 for one that renders.
        out: dataset folder to write; it must not exist.
        episodes: how many.
        steps: T of each episode: T observations and the T-1 actions between them.
        policy: who acts: explore (the world's own way), smooth, random or expert.
        sensors: streams to keep, e.g. ``("rgb", "depth", "pose")``; empty for the world's own.
        image_size: rows and columns of the pictures, pixels.
        workers: processes; what is written does not depend on it. A script that asks for more than
            one must call this below ``if __name__ == "__main__":``.
        seed: of the recording.
        settings: of the world, e.g. ``{"split": "held_out"}``.
        resume: go on with a recording that was interrupted.
        on: ``ray`` or ``ray://HOST:PORT`` for actors of Ray, on this machine or on a cluster that
            shares the disk of ``out``.
        progress: True or False turns the bar on or off; None shows it where somebody watches; a
            function is called with units done and in all.

    Returns:
        The dataset. ``data[3]`` is an episode, ``len(data)`` their number.

    Raises:
        ConfigError: an argument that cannot be, or ``out`` holds something and not ``resume``.
        WorldError: the world raised; finished episodes are kept.
        StorageError: the disk is full or not writable.
    """
    with progress_of("recording", progress) as bar:
        found = record_world(
            world,
            Path(out),
            episodes=episodes,
            steps=steps,
            policy=policy,
            sensors=tuple(sensors) or None,
            workers=workers,
            seed=seed,
            settings={"image_size": image_size, **(settings or {})},
            resume=resume,
            progress=bar,
            on=on,
        )
    return open_folder(found.out)


def ingest(
    source: AnyPath,
    out: AnyPath,
    *,
    format: str = "auto",
    progress: bool | Progress | None = None,
    **options: Any,
) -> Dataset:
    """Turn videos, depth, point clouds, poses, robots' logs or LeRobot into a dataset.

        data = arm.ingest("videos", "out/mine", fps=10)

    Args:
        source: a file, a folder of files, or a folder that a format lays out.
        out: dataset folder to write.
        format: ``auto``, or a name such as video, lerobot, tum, ros, kitti, ply.
        progress: as for ``record``.
        options: fields of ``armillary.data.IngestOptions``, e.g. ``fps`` (steps per second),
            ``max_side`` (pixels), ``license``, ``replace``.

    Returns:
        The dataset. One Python warning names what could not be read, with its reason, and which
        videos were letterboxed or cropped.

    Raises:
        FormatError: nothing there, or nothing usable.
        ConfigError: an unknown format or option, or ``out`` is in use.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    known = [field.name for field in fields(IngestOptions)]
    for name in options:
        if name not in known:
            raise unknown_name("option of ingest", name, known)
    # a whole number will do where a float is declared
    hints = get_type_hints(IngestOptions)
    floats = [name for name in options if float in (hints[name], *get_args(hints[name]))]
    options |= {name: float(options[name]) for name in floats if type(options[name]) is int}
    with progress_of("ingesting", progress) as bar:
        summary = ingest_source(Path(source), Path(out), format, bar, IngestOptions(**options))
    lines = [
        f"{word} {path}: {reason.removeprefix(f'{path}: ')}"
        for word, found in (("skipped", summary.skipped), ("left out of", summary.left_out))
        for path, reason in found
    ]
    reshaped = ("letterboxed", "cropped")
    lines += [f"{path}: {what}" for path, what in summary.files if any(r in what for r in reshaped)]
    if lines:
        warnings.warn("\n".join(lines), stacklevel=2)
    return open_folder(summary.out)


def open_dataset(data: AnyPath | Dataset | Cache) -> Dataset:
    """Open a dataset: one of armillary's or any LeRobotDataset v3.

        for episode in arm.open_dataset("out/table"): ...

    Args:
        data: its folder; a dataset is returned as it is, a cache as what it was prepared from.

    Returns:
        The dataset. ``data[3]`` is an episode with all its pictures in memory: colour uint8
        [T H W 3], depth in metres [T H W], poses ``world_from_camera`` [T 4 4], actions [T-1 A].

    Raises:
        DatasetError: it is not a v3 dataset, was never finished, or files are missing.
    """
    if isinstance(data, Cache):
        source = data.about.get("dataset")
        if not source:
            raise DatasetError("The cache was made in memory and has no dataset; pass a dataset.")
        return open_folder(source)
    return open_folder(data)


def prepare(
    data: AnyPath | Dataset,
    size: int | tuple[int, int],
    *,
    progress: bool | Progress | None = None,
    cache_root: AnyPath | None = None,
) -> Cache:
    """Decode a dataset once at a model's resolution; the next call only opens what is there.

    ``train`` and ``probe`` do this themselves. Call it to read the arrays on your own.

    Args:
        data: a dataset or its folder.
        size: rows and columns of the pictures in pixels, or one side for both.
        progress: as for ``record``.
        cache_root: folder of all caches; else ``ARMILLARY_CACHE``, or ``~/.cache/armillary``.

    Returns:
        The cache: ``arrays`` by name with the frames of all episodes end to end, e.g. ``rgb`` uint8
        [F H W 3], ``depth`` uint16 millimetres [F H W], ``actions`` float32 [F A].

    Raises:
        DatasetError: an episode is damaged; it is named.
        StorageError: the disk is full or not writable.
    """
    root = None if cache_root is None else Path(cache_root)
    with progress_of("preparing", progress) as bar:
        return prepare_dataset(open_folder(data), size, cache_root=root, progress=bar)
