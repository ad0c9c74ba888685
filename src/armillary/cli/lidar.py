"""Bench lidar: predicted laser sweeps beside the last sweep and the last sweep moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from armillary.cli.again import again
from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command
from armillary.cli.progress import bar


@dataclass(frozen=True, kw_only=True)
class Lidar(Command):
    """Predict laser sweeps of a recorded drive, and compare with simple baselines.

    It trains on some parts of the drive and predicts the others. It needs a rawlog of flat sweeps
    with odometry; scripts/fetch_lidar.py downloads a real one. Takes about five minutes on an idle
    core. Finished parts in the folder are used again.

    e.g. armillary bench lidar out/lidar/loop.rawlog --json
    """

    data: Positional[Path]
    """Rawlog (MRPT) with laser sweeps and odometry."""
    out: Path = Path("out/lidar")
    """Folder for lidar.json and the error of every sweep."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of training. All are reported."""
    steps: int | None = None
    """Training steps of each network. Default: those of the recipe."""
    record: Path | None = None
    """File for a copy of the result with the command."""

    def run(self) -> Outcome:
        """Learn and judge."""
        from armillary.core.files import write_json
        from armillary.experiments.lidar import LidarConfig, predict_sweeps

        config = LidarConfig(seeds=self.seeds)
        if self.steps is not None:
            config = replace(config, learning=replace(config.learning, steps=self.steps))
        with bar("predicting") as progress:
            value = predict_sweeps(
                self.data, self.out, config, progress, again(self, "bench", "lidar")
            )
        if self.record is not None:
            write_json(self.record, value)
        said = value["real_lidar"]
        held = ", ".join(name for name, holds in said["holds"].items() if holds) or "nothing"
        rows = [row for steps, one in said["horizon"].items() for row in _rows(steps, one)]
        return Outcome(value, (f"Better than these baselines at every horizon: {held}.",), rows)


def _rows(steps: str, row: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "steps ahead": steps,
            "beside": name,
            "model": f"{row['model']:.3f} m",
            "baseline": f"{row[name]:.3f} m",
            "95 % interval of the gain": f"{low:.3f} to {high:.3f} m",
            "p (Holm)": f"{row['p_holm'][name]:.2g}",
        }
        for name, (low, high) in row["interval"].items()
    ]
