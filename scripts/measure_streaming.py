"""Measure what streaming costs, and the memory that a long video takes: results/streaming.json.

    python scripts/measure_streaming.py OUT [--hours 10] [--turns 3] [--threads 0] [--parts ...]

Three parts:

- A synthetic video of some hours is encoded, ingested and prepared, each in a process of its own.
  The record has the peak memory of the last two.
- The same recording of the tabletop is trained on from its folder, through the pool from memory,
  and through the pool behind a file system that waits 50 ms before each open and each read. They
  take turns, so that a busy machine slows all. The recording is of colour alone, with which
  training is fastest and has the least time to hide the latency in. A busy machine still changes
  the rates from turn to turn. So the speed is also told by processor time
  (``over_folder_by_cpu``): that of a frame from the folder over that of a frame through the pool,
  with all threads, less the share of the time that the training waited for its clips. It is the
  speed on a single core.
- The same with episodes as long as one clip, the hardest case: each is fetched and decoded for one
  clip alone, so that the pool cannot keep up.

The rates are of whole blocks after a warm-up of two blocks (of an epoch for short episodes), of
which the first is always waited for, since nothing was prepared before. Folders have the same one.
"""

from __future__ import annotations

import argparse
import math
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import av
import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

from armillary.benchmark.machine import provenance
from armillary.core.files import read_json, write_json
from armillary.data import open_dataset
from armillary.data.prepare import frame_bytes
from armillary.data.remote import open_remote
from armillary.data.streamed import StreamedWindows
from armillary.recipes import streaming
from armillary.recipes.recipe import train_recipe
from armillary.recipes.recipe_config import Recipe, shortened
from armillary.recipes.streaming import POOL, stream_recipe
from armillary.recipes.world import adapted, world
from armillary.worlds import record

LATENCY_S = 0.05
FPS, SIDE = 10, (120, 160)
_INGEST = "import sys; from armillary.cli.main import main; assert main(sys.argv[1:]) == 0"
_PREPARE = (
    "import sys; from armillary.data import open_dataset, prepare; "
    "prepare(open_dataset(sys.argv[1]), 64, sys.argv[2])"
)
_PEAK = (
    "; import resource as r; "
    "print(max(r.getrusage(who).ru_maxrss for who in (r.RUSAGE_SELF, r.RUSAGE_CHILDREN)))"
)


@dataclass(frozen=True)
class Plan:
    """What is recorded and how it is gone through.

    Attributes:
        episodes: recorded.
        steps: of an episode.
        blocks: of the pool.
        warm: blocks before the measurement.
        measured: blocks.
    """

    episodes: int
    steps: int
    blocks: int
    warm: int
    measured: int


PLANS = {"training": Plan(160, 200, 32, 2, 3), "short_episodes": Plan(400, 24, 8, 8, 16)}


class Slow(LocalFileSystem):
    """A folder that waits before each open and each read; notes what is asked of it."""

    protocol = "slow"
    lock, flying, most_at_once, fetched, waits = threading.Lock(), 0, 0, 0, 0

    def find(self, path: str, *args: Any, **more: Any) -> Any:
        """List, late."""
        wait()
        return super().find(path, *args, **more)

    def get_file(self, *args: Any, **more: Any) -> None:
        """Fetch by reading piece after piece, each late, and not by a copy."""
        with Slow.lock:
            Slow.flying, Slow.fetched = Slow.flying + 1, Slow.fetched + 1
            Slow.most_at_once = max(Slow.most_at_once, Slow.flying)
        try:
            AbstractFileSystem.get_file(self, *args, **more)
        finally:
            with Slow.lock:
                Slow.flying -= 1

    def _open(self, *args: Any, **more: Any) -> Any:
        wait()
        return SlowFile(super()._open(*args, **more))


class SlowFile:
    """An open file that waits before each read."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __enter__(self) -> SlowFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def read(self, size: int = -1) -> bytes:
        """Read, late."""
        wait()
        return self._file.read(size)


def wait() -> None:
    """Wait as for storage that is far away."""
    with Slow.lock:
        Slow.waits += 1
    time.sleep(LATENCY_S)


def long_video(out: Path, hours: float) -> dict[str, Any]:
    """Return peak memory and seconds of ingesting and preparing a video of so many hours."""
    out.mkdir(parents=True, exist_ok=True)
    video = out / "long.mp4"
    frames = round(hours * 3600 * FPS)
    if not video.is_file():
        _encode(video, frames)
    shutil.rmtree(out / "data", ignore_errors=True)
    shutil.rmtree(out / "cache", ignore_errors=True)
    ingested = _measured(
        _INGEST, "ingest", str(video), "--fps", str(FPS), "--out", str(out / "data")
    )
    prepared = _measured(_PREPARE, str(out / "data"), str(out / "cache"))
    return {
        "hours": hours,
        "frames": frames,
        "rows_columns": list(SIDE),
        "video_bytes": video.stat().st_size,
        "ingest": ingested,
        "prepare": prepared,
    }


def _encode(path: Path, frames: int) -> None:
    """Write a video in which a square moves over smooth noise."""
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 255, (SIDE[0] // 16, SIDE[1] // 16, 3), dtype=np.uint8)
    ground = ground.repeat(16, 0).repeat(16, 1)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("h264", rate=FPS, options={"preset": "ultrafast"})
        stream.height, stream.width = SIDE
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            picture = ground.copy()
            y, x = (index * 3) % (SIDE[0] - 40), (index * 5) % (SIDE[1] - 40)
            picture[y : y + 40, x : x + 40] = (index % 255, 90, 30)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(stream.encode(None))


def _measured(code: str, *words: str) -> dict[str, float]:
    """Return seconds and peak memory, bytes, of a Python process and the largest of its own."""
    began = time.perf_counter()
    made = subprocess.run(
        [sys.executable, "-c", code + _PEAK, *words], check=True, capture_output=True, text=True
    )
    peak = int(made.stdout.split()[-1])
    return {"seconds": round(time.perf_counter() - began, 1), "peak_gb": peak * 1024 / 1e9}


def rates(out: Path, plan: Plan, turns: int, threads: int) -> dict[str, Any]:
    """Return how fast is trained from a folder, from memory and from slow storage, in turns."""
    fsspec.register_implementation("slow", Slow, clobber=True)
    data = out / f"colour_{plan.steps}"
    settings = {"sensors": ["rgb"]}
    resume = data.exists()
    record("tabletop", data, plan.episodes, plan.steps, seed=0, resume=resume, settings=settings)
    fsspec.filesystem("memory").put(f"{data}/", f"/{data.name}", recursive=True)
    Slow.most_at_once = Slow.fetched = Slow.waits = 0
    recipe, pool, warm = _set_up(data, out, plan)
    recipe = replace(recipe, threads=threads)
    places = {"folder": "", "memory": f"memory://{data.name}", "slow": f"slow://{data}"}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in places}
    for turn in range(turns):
        for name in (*[*places][turn % 3 :], *[*places][: turn % 3]):
            run = out / "runs" / f"{plan.steps}_{name}_{turn}"
            shutil.rmtree(run, ignore_errors=True)
            found[name].append(_rate(recipe, data, places[name], run, pool, warm))
            sys.stdout.write(f"{name} {found[name][-1]}\n")
            sys.stdout.flush()
    local = [one["frames_per_s"] for one in found["folder"]]
    ratios = {
        name: [one["frames_per_s"] / other for one, other in zip(found[name], local, strict=True)]
        for name in ("memory", "slow")
    }
    # what another program on the machine does not change: processor time, waiting, no overlap
    of_cpu = {
        name: [
            other["cpu_s_per_1000_frames"]
            / one["cpu_s_per_1000_frames"]
            * (1 - one["waited_share"])
            for one, other in zip(found[name], found["folder"], strict=True)
        ]
        for name in ("memory", "slow")
    }
    return {
        "over_folder_by_cpu": {n: round(float(np.median(e)), 3) for n, e in of_cpu.items()},
        "over_folder_by_cpu_each": {n: [round(one, 3) for one in e] for n, e in of_cpu.items()},
        "over_folder": {n: round(float(np.median(each)), 3) for n, each in ratios.items()},
        "over_folder_each": {n: [round(one, 3) for one in each] for n, each in ratios.items()},
        "runs": found,
        "latency_s": LATENCY_S,
        "files_at_once": Slow.most_at_once,
        "files_fetched": Slow.fetched // turns,
        "waits": Slow.waits // turns,
        "plan": asdict(plan),
        "batch_size": recipe.batch_size,
        "clip_length": recipe.clip_length,
        "warm_steps": warm,
        "measured_steps": recipe.steps - warm,
        "pool_bytes": int(pool * 1e9),
    }


def _set_up(data: Path, out: Path, plan: Plan) -> tuple[Recipe, float, int]:
    """Return the recipe, the pool in gigabytes, and the steps of the warm-up."""
    recipe = adapted(world(), open_dataset(data))
    clips = plan.episodes * (1 - recipe.held_out) * (plan.steps - recipe.clip_length + 1)
    block = clips / recipe.batch_size / plan.blocks
    warm = math.ceil(plan.warm * block)
    recipe = shortened(recipe, warm + math.ceil(plan.measured * block))
    recipe = replace(recipe, settling=replace(recipe.settling, steps=0))
    shutil.rmtree(out / "probe", ignore_errors=True)
    there = open_remote(f"file://{data}", out / "probe")
    pixels = frame_bytes(there, recipe.model.encoder.image_size)
    source = max(map(there.episode_bytes, range(len(there))))
    share = int(there.lengths.sum()) * (1 - recipe.held_out) / plan.blocks
    return recipe, (4 * pixels * share + source) / 1e9, warm


def _rate(
    recipe: Recipe, data: Path, address: str, run: Path, pool: float, warm: int
) -> dict[str, float]:
    """Return how fast one training is after its warm-up, from its folder or from an address."""
    clock = _Clock(recipe.batch_size * recipe.clip_length, run / POOL, warm)
    parts = {"diagnosed": False, "acting": False}
    if not address:
        train_recipe(recipe, data, run, bars=clock.bars, **parts)
        return clock.told()
    with clock.watching():
        stream_recipe(recipe, address, run, bars=clock.bars, pool_gb=pool, **parts)
    return clock.told()


class _Clock:
    """Notes when each step of a training ended, and how large the pool was."""

    def __init__(self, frames: int, pool: Path, warm: int) -> None:
        self.frames, self.pool, self.warm = frames, pool, warm
        self.times: list[tuple[float, float, float]] = []
        self.windows: StreamedWindows | None = None
        self.most = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Learn how long the streamed clips are waited for."""
        real = streaming.StreamedWindows

        def made(*args: Any) -> StreamedWindows:
            self.windows = real(*args)
            return self.windows

        streaming.StreamedWindows = made  # pyrefly: ignore  # stands in for the class
        try:
            yield
        finally:
            streaming.StreamedWindows = real

    def bars(self, stage: str) -> Any:
        """Return the bar of a stage."""

        @contextmanager
        def bar() -> Iterator[Callable[..., None]]:
            yield (lambda *told: self._note()) if stage == "training" else (lambda *told: None)

        return bar()

    def _note(self) -> None:
        waited = self.windows.waited_s if self.windows else 0.0
        self.times.append((time.perf_counter(), time.process_time(), waited))
        if self.windows and len(self.times) % 10 == 0:
            files = [f for f in self.pool.rglob("*") if f.suffix in (".npy", ".mp4", ".parquet")]
            sizes = [f.stat().st_size for f in files if f.exists() and "meta" not in f.parts]
            self.most = max(self.most, sum(sizes))

    def told(self) -> dict[str, float]:
        """Return what was noted after the warm-up."""
        (first, *_), (last, *_) = self.times[self.warm - 1], self.times[-1]
        cpu, waited = (self.times[-1][i] - self.times[self.warm - 1][i] for i in (1, 2))
        frames = self.frames * (len(self.times) - self.warm)
        found = {
            "frames_per_s": round(frames / (last - first), 1),
            "cpu_s_per_1000_frames": round(1000 * cpu / frames, 4),
        }
        if self.windows:
            share = round(waited / (last - first), 4)
            found |= {"waited_s": round(waited, 3), "waited_share": share}
            found["most_bytes_on_disk"] = self.most
        return found


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of training; 0 takes all cores")
    parser.add_argument("--parts", nargs="+", default=["long_video", *PLANS])
    parser.add_argument("--record", type=Path, default=Path("results/streaming.json"))
    chosen = parser.parse_args()
    value = read_json(chosen.record) if chosen.record.is_file() else {}
    origin = provenance(" ".join(["python", *sys.argv]), chosen.threads)
    for part, plan in PLANS.items():  # first: the machine is quiet then
        if part in chosen.parts:
            found = rates(chosen.out, plan, chosen.turns, chosen.threads)
            value[part] = found | origin
    if "long_video" in chosen.parts:
        value["long_video"] = long_video(chosen.out / "long", chosen.hours) | origin
    value = origin | value  # each part has its own; those of the record are of its first part
    write_json(chosen.record, value)
    sys.stdout.write(f"{value}\n")


if __name__ == "__main__":
    main()
