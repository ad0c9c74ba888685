"""Learn: record a world, or take in what was recorded elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command
from armillary.cli.progress import bar


@dataclass(frozen=True, kw_only=True)
class Record(Command):
    """Record episodes of a simulated world into a dataset. An interrupted recording goes on.

    e.g. armillary record tabletop --episodes 100 --out out/tabletop
    """

    world: Positional[str]
    """Name of the world (tabletop, two_rooms), or gym:module:Env-v0 for any that renders."""
    out: Path
    """Dataset folder to write."""
    episodes: int = 100
    """How many episodes."""
    steps: int = 100
    """Steps per episode."""
    policy: str = "explore"
    """Who acts: explore (scripted, sees the simulator) or random."""
    sensors: str = ""
    """Streams to keep, separated by commas, e.g. rgb,depth; empty keeps all."""
    workers: int = 2
    """Processes; the bytes written do not depend on it."""
    seed: int = 0
    """Seed of the episodes."""

    def run(self) -> Outcome:
        """Record."""
        from armillary.worlds import record

        sensors = tuple(name for name in self.sensors.split(",") if name) or None
        with bar("recording") as progress:
            summary = record(
                self.world,
                self.out,
                episodes=self.episodes,
                steps=self.steps,
                policy=self.policy,
                sensors=sensors,
                workers=self.workers,
                seed=self.seed,
                progress=progress,
            )
        return Outcome({"summary": summary}, (f"recorded {self.out}",))


@dataclass(frozen=True, kw_only=True)
class Ingest(Command):
    """Turn a folder of video files, or an existing LeRobot v3 dataset, into a dataset.

    e.g. armillary ingest ~/videos --out out/mine
    """

    source: Positional[Path]
    """A video file, a folder of them, or a LeRobot v3 dataset."""
    out: Path
    """Dataset folder to write."""
    format: str = "auto"
    """auto, videos or lerobot."""

    def run(self) -> Outcome:
        """Ingest; files that could not be read are named and counted."""
        from armillary.data import ingest

        with bar("ingesting") as progress:
            summary = ingest(self.source, self.out, fmt=self.format, progress=progress)
        value = {
            "out": summary.out,
            "written": summary.written,
            "frames": summary.frames,
            "skipped": [{"path": path, "reason": why} for path, why in summary.skipped],
        }
        said = f"{summary.written} episodes, {summary.frames} frames written to {summary.out}"
        skipped = tuple(f"skipped {path}: {why}" for path, why in summary.skipped)
        return Outcome(value, (*skipped, f"{said}; {len(skipped)} files skipped"))
