"""Sensors bench: what depth and points cost beside colour alone.

Training with point maps beside training with colour, in turns; a large cloud cut into patches; and
RGB-D pictures turned into a dataset. What one core does is counted in seconds of the processor, so
a busy machine changes it little.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from armillary.benchmark.machine import provenance
from armillary.benchmark.recording import open_or_record
from armillary.benchmark.threads import threads_of_torch
from armillary.benchmark.timing import medians, rounded, take_turns
from armillary.benchmark.train import OurStep
from armillary.core.files import storage_errors
from armillary.core.progress import Progress, silent
from armillary.core.rng import generator
from armillary.data.ingest import ingest
from armillary.data.sources.source import PICTURES, IngestOptions
from armillary.data.sources.tum import DEPTH_SCALE
from armillary.models import JEPAConfig
from armillary.spatial import patches
from armillary.training import TrainConfig

_FPS = 30


@dataclass(frozen=True)
class SensorsBench:
    """Settings of the sensors bench.

    Attributes:
        repetitions: counted turns of each.
        seconds: how long either training runs per turn.
        points: of the cloud.
        centres: patches that it is cut into.
        near: points of a patch.
        frames: RGB-D pictures of 640 x 480 that are ingested.
        episodes: of the recording that is trained on.
        steps: of each of its episodes.
    """

    repetitions: int = 5
    seconds: float = 4.0
    points: int = 100_000
    centres: int = 64
    near: int = 32
    frames: int = 150
    episodes: int = 40
    steps: int = 150


def bench_sensors(
    out: Path,
    model: JEPAConfig,
    train: TrainConfig,
    settings: SensorsBench = SensorsBench(),
    progress: Progress = silent,
    command: str = "",
) -> dict[str, Any]:
    """Measure training, tokenising and ingest on one thread.

    Args:
        out: folder for the recording and its cache.
        model: shape of the model that sees colour and point maps.
        train: settings of the training.
        settings: how long and how often.
        progress: called after each measurement.
        command: that does the same again, for the result.

    Returns:
        ``frames_per_s.{rgb,rgb_points}`` and ``ratio`` of the second to the first; ``patches_ms``
        of the whole cloud; ``ingest_frames_per_s`` of one core, pictures kept as they are, and
        ``ingest_encoded_frames_per_s``; ``frame_bytes.{kept,encoded}`` on disk;
        ``command``, ``commit``, ``date``, ``machine``, settings, every repetition.

    Raises:
        StorageError: the disk is full or not writable.
    """
    origin = provenance(command, 1)
    dataset = open_or_record(None, out, settings.episodes, settings.steps, progress)
    train = replace(train, threads=1)
    with threads_of_torch(1):
        arms: dict[str, tuple[Any, ...]] = {"rgb": ("rgb",), "rgb_points": ("rgb", "points")}
        measures = {
            name: OurStep(
                replace(model, sensors=sensors), train, dataset, out / "cache", settings.seconds
            ).measure
            for name, sensors in arms.items()
        }
        speeds = take_turns(measures, settings.repetitions, progress)
        cutting = [_patches_s(settings, turn) for turn in range(settings.repetitions)]
    ingesting = _ingesting(settings)
    ingest_s = medians({way: [s for s, _ in turns] for way, turns in ingesting.items()})
    frame_bytes = medians({way: [size for _, size in turns] for way, turns in ingesting.items()})
    middle = medians(speeds)
    return {
        "frames_per_s": rounded(middle),
        "ratio": round(middle["rgb_points"] / middle["rgb"], 3),
        "patches_ms": round(1000 * float(np.median(cutting)), 2),
        "ingest_frames_per_s": round(settings.frames / ingest_s["kept"], 1),
        "ingest_encoded_frames_per_s": round(settings.frames / ingest_s["encoded"], 1),
        "frame_bytes": {way: round(size / settings.frames) for way, size in frame_bytes.items()},
        "repetitions": {
            **speeds,
            "patches_s": cutting,
            **{f"ingest_{way}_s": [s for s, _ in turns] for way, turns in ingesting.items()},
        },
        "settings": asdict(settings),
        **origin,
    }


def _patches_s(settings: SensorsBench, seed: int) -> float:
    cloud = generator("bench.cloud", seed).normal(size=(settings.points, 3)).astype(np.float32)
    return _core_s(lambda: patches(cloud, settings.centres, settings.near))


def _ingesting(settings: SensorsBench) -> dict[str, list[tuple[float, int]]]:
    """Return seconds and bytes of each turn by the way that pictures are stored, in turns."""
    found: dict[str, list[tuple[float, int]]] = {way: [] for way in PICTURES}
    for turn in range(settings.repetitions):
        with TemporaryDirectory() as spare:
            folder = Path(spare) / "tum"
            write_tum(folder, settings.frames, turn)
            for way, turns in found.items():
                turns.append(_ingested(folder, Path(spare) / way, way))
    return found


def _ingested(folder: Path, out: Path, way: str) -> tuple[float, int]:
    """Return seconds of the core, and bytes on disk."""
    seconds = _core_s(lambda: ingest(folder, out, "tum", options=IngestOptions(pictures=way)))
    return seconds, sum(file.stat().st_size for file in out.rglob("*") if file.is_file())


def _core_s(work: Callable[[], object]) -> float:
    """Return the processor's seconds, all threads together."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def write_tum(folder: Path, frames: int, seed: int) -> None:
    """Write a TUM RGB-D sequence of a wavy, speckled wall that a camera glides along.

    Args:
        folder: a new folder.
        frames: pictures of 640 x 480.
        seed: of the speckles.

    Raises:
        StorageError: not writable.
    """
    speckles = generator("bench.speckles", seed).integers(0, 10, (480, 640, 3), dtype=np.uint8)
    lists: dict[str, list[str]] = {"rgb": [], "depth": [], "groundtruth": []}
    with storage_errors(folder):
        for name in ("rgb", "depth"):
            (folder / name).mkdir(parents=True)
        for step in range(frames):
            stamp = f"{step / _FPS:.6f}"
            colour, depth_m = _wall(step, speckles)
            Image.fromarray(colour).save(folder / f"rgb/{stamp}.png", compress_level=1)
            units = (depth_m / DEPTH_SCALE).astype(np.uint16)
            Image.fromarray(units).save(folder / f"depth/{stamp}.png", compress_level=1)
            for name in ("rgb", "depth"):
                lists[name].append(f"{stamp} {name}/{stamp}.png")
            lists["groundtruth"].append(f"{stamp} {step / 100:.4f} 0 0 0 0 0 1")
        for name, lines in lists.items():
            (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
        (folder / "intrinsics.txt").write_text("525 525 319.5 239.5\n")


def _wall(
    step: int, speckles: UInt8[np.ndarray, "H W 3"]
) -> tuple[UInt8[np.ndarray, "H W 3"], Float[np.ndarray, "H W"]]:
    height, width = speckles.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    depth_m = 2 + 0.5 * np.sin((columns + 3 * step) / 60) * np.cos(rows / 80)
    light = (120 + 60 * np.sin((columns + 3 * step) / 60)).astype(np.uint8)
    return np.roll(speckles, -3 * step, axis=1) + light[..., None], depth_m
