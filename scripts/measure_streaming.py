"""Measure what streaming costs, and the memory that a long video takes: results/streaming.json.

    python scripts/measure_streaming.py OUT [--hours 10] [--steps 200] [--parts ...] [--record FILE]

Two parts:

- A synthetic video of some hours is encoded, ingested and prepared, each in a process of its own.
  The record has the peak memory of the last two.
- The same recording of the tabletop is trained on from its folder, and through the pool behind a
  file system that answers each call 50 ms late. The rates are of the steps after the first sixty,
  in turns, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem

from armillary.benchmark.machine import provenance
from armillary.core.files import read_json, write_json
from armillary.data import open_dataset
from armillary.data.prepare import frame_bytes
from armillary.data.remote import open_remote
from armillary.recipes.recipe import train_recipe
from armillary.recipes.recipe_config import shortened
from armillary.recipes.streaming import POOL, stream_recipe
from armillary.recipes.world import adapted, world
from armillary.worlds import record

LATENCY_S, WARM, TURNS = 0.05, 60, 2
FPS, SIDE = 10, (120, 160)
EPISODES, STEPS, BLOCKS = 400, 24, 8
_INGEST = "import sys; from armillary.cli.main import main; assert main(sys.argv[1:]) == 0"
_PREPARE = (
    "import sys; from armillary.data import open_dataset, prepare; "
    "prepare(open_dataset(sys.argv[1]), 64, sys.argv[2])"
)
_PEAK = (
    "; import resource as r; "
    "print(max(r.getrusage(who).ru_maxrss for who in (r.RUSAGE_SELF, r.RUSAGE_CHILDREN)))"
)


class Slow(LocalFileSystem):
    """A folder whose every answer comes late."""

    protocol = "slow"

    def find(self, path: str, *args: Any, **more: Any) -> Any:
        """List, late."""
        time.sleep(LATENCY_S)
        return super().find(path, *args, **more)

    def get_file(self, *args: Any, **more: Any) -> None:
        """Fetch, late."""
        time.sleep(LATENCY_S)
        super().get_file(*args, **more)


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


def rates(out: Path, steps: int) -> dict[str, Any]:
    """Return frames per second of training from a folder and through the pool, in turns."""
    fsspec.register_implementation("slow", Slow, clobber=True)
    data = out / "tabletop"
    record("tabletop", data, EPISODES, STEPS, seed=0, resume=data.exists())
    recipe = adapted(shortened(world(), steps), open_dataset(data))
    recipe = replace(recipe, settling=replace(recipe.settling, steps=0))
    there = open_remote(f"slow://{data}", out / "probe")
    pixels = frame_bytes(there, recipe.model.encoder.image_size)
    source = max(map(there.episode_bytes, range(len(there))))
    pool = (4 * pixels * int(there.lengths.sum()) // BLOCKS + source) / 1e9
    found: dict[str, list[float]] = {"folder": [], "streamed": []}
    most = 0
    for turn in range(TURNS):
        clock = _Clock(recipe.batch_size * recipe.clip_length)
        run = out / f"folder_{turn}"
        train_recipe(recipe, data, run, bars=clock.bars, diagnosed=False, acting=False)
        found["folder"].append(clock.rate())
        run = out / f"streamed_{turn}"
        clock = _Clock(recipe.batch_size * recipe.clip_length, run / POOL)
        stream_recipe(
            recipe,
            f"slow://{data}",
            run,
            bars=clock.bars,
            pool_gb=pool,
            diagnosed=False,
            acting=False,
        )
        found["streamed"].append(clock.rate())
        most = max(most, clock.most)
    ratio = [one / other for one, other in zip(found["streamed"], found["folder"], strict=True)]
    return {
        "frames_per_s": found,
        "streamed_over_folder": ratio,
        "latency_s": LATENCY_S,
        "episodes": EPISODES,
        "steps": steps,
        "blocks": BLOCKS,
        "pool_bytes": int(pool * 1e9),
        "most_bytes_on_disk": most,
    }


class _Clock:
    """Notes when each step of a training ended, and how large the pool was."""

    def __init__(self, frames: int, pool: Path | None = None) -> None:
        self.frames, self.pool, self.times, self.most = frames, pool, [], 0

    def bars(self, stage: str) -> Any:
        """Return the bar of a stage."""

        @contextmanager
        def bar() -> Iterator[Callable[..., None]]:
            yield (lambda *told: self._note()) if stage == "training" else (lambda *told: None)

        return bar()

    def _note(self) -> None:
        self.times.append(time.perf_counter())
        if self.pool is not None and len(self.times) % 10 == 0:
            files = [f for f in self.pool.rglob("*") if f.suffix in (".npy", ".mp4", ".parquet")]
            sizes = [f.stat().st_size for f in files if f.exists() and "meta" not in f.parts]
            self.most = max(self.most, sum(sizes))

    def rate(self) -> float:
        """Return frames per second after the first steps."""
        return self.frames * (len(self.times) - 1 - WARM) / (self.times[-1] - self.times[WARM])


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--parts", nargs="+", default=["long_video", "training"])
    parser.add_argument("--record", type=Path, default=Path("results/streaming.json"))
    chosen = parser.parse_args()
    value = read_json(chosen.record) if chosen.record.is_file() else {}
    if "training" in chosen.parts:  # first: the machine is quiet then
        value["training"] = rates(chosen.out, chosen.steps)
    if "long_video" in chosen.parts:
        value["long_video"] = long_video(chosen.out / "long", chosen.hours)
    value |= provenance(" ".join(["python", *sys.argv]), 0)
    write_json(chosen.record, value)
    sys.stdout.write(f"{value}\n")


if __name__ == "__main__":
    main()
