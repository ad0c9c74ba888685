"""Spatial: the commands that ask what depth, points and poses buy, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from armillary.cli.again import again
from armillary.cli.outcome import Outcome, facts
from armillary.cli.parse import Command
from armillary.cli.progress import bar


@dataclass(frozen=True, kw_only=True)
class Spatial(Command):
    """Train six ways to see the tabletop, equal in all else, and let them reach from new views.

    Colour; with pose; with depth; with points in the camera's frame, or in the world; points alone.
    Then one model of all sensors is asked to do with some of them. Takes hours; what is finished in
    the folder is used again.

    e.g. armillary bench spatial --out out/spatial --json
    """

    out: Path = Path("out/spatial")
    """Folder for the recordings, the runs, the records and spatial.json."""
    record: Path | None = None
    """File that gets a copy of the result, with the command."""
    lidar: Path | None = None
    """Record of `armillary bench lidar`, which the result then holds too, as real_lidar."""
    arms: tuple[str, ...] = ()
    """Which ways to see; else all six."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of training."""
    arms_only: bool = False
    """Leave out the model of all sensors."""
    episodes: int = 100
    """Evaluation episodes of each run in each shift."""
    steps: int | None = None
    """Training steps of each arm; else the recipe's. The model of all sensors takes four times
    as many."""
    recorded: int = 2000
    """Episodes that all learn from."""
    workers: int = 2
    """Processes, of one thread each."""

    def run(self) -> Outcome:
        """Train and evaluate."""
        from armillary.core.files import write_json
        from armillary.recipes.spatial_arms import ArmsConfig, run_spatial_arms

        usual = ArmsConfig()
        steps = usual.base.steps if self.steps is None else self.steps
        config = replace(
            usual,
            arms=self.arms or usual.arms,
            seeds=self.seeds,
            fused_seeds=() if self.arms_only else self.seeds[:1],
            base=replace(usual.base, steps=steps),
            act=replace(usual.act, episodes=self.episodes),
            episodes=self.recorded,
            workers=self.workers,
        )
        real = {} if self.lidar is None else {"real_lidar": _real_lidar(self.lidar)}
        command = again(self, "bench", "spatial")
        value = {**run_spatial_arms(self.out, config, bar, command), **real}
        if self.record is not None:
            write_json(self.record, value)
        rows = [_shown(name, row) for name, row in value["arms"].items()]
        said = (
            f"Records in {self.out}.",
            "Goals reached in %, error of the object's place in cm; hidden: ten steps unseen.",
        )
        return Outcome(value, said, rows)


@dataclass(frozen=True, kw_only=True)
class Sensors(Command):
    """Measure what depth costs: training with point maps beside colour, large clouds, ingest.

    e.g. armillary bench sensors --json
    """

    out: Path = Path("out/bench")
    """Folder for what the measurement writes; a recording there is used again."""
    recipe: str = "tabletop"
    """Recipe whose step is measured, with and without points."""

    def run(self) -> Outcome:
        """Measure."""
        from armillary.benchmark import bench_sensors
        from armillary.cli.train import find_recipe

        recipe = find_recipe(self.recipe)
        with bar("measuring") as progress:
            value = bench_sensors(
                self.out,
                recipe.model,
                recipe,
                progress=progress,
                command=again(self, "bench", "sensors"),
            )
        return Outcome(value, facts(value))


def _real_lidar(path: Path) -> Any:
    """Return what a record of `armillary bench lidar` says; asked for before hours of work."""
    from armillary.core.errors import FormatError
    from armillary.core.files import read_json

    value = read_json(path)
    if not isinstance(value, Mapping) or "real_lidar" not in value:
        raise FormatError(f"{path}: is no record of `armillary bench lidar` (no real_lidar in it).")
    return value["real_lidar"]


def _shown(name: str, row: Mapping[str, Any]) -> dict[str, str]:
    shifts = row["seeds"][0]
    return {
        "sees": name,
        **{_heading(shift): _mean(row["seeds"], shift) for shift in shifts},
        "hidden": f"{100 * row['hidden_position_m_10']:.1f}",
    }


def _heading(shift: str) -> str:
    """Return a short name, so that a whole row fits into a terminal."""
    return {"in_distribution": "usual", "appearance": "looks"}.get(shift, shift)


def _mean(seeds: list[Mapping[str, Any]], shift: str) -> str:
    solved = sum(seed[shift]["success"] for seed in seeds) / len(seeds)
    error = sum(seed[shift]["position_error_cm"] for seed in seeds) / len(seeds)
    return f"{100 * solved:.0f} {error:.1f}"
