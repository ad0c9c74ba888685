"""Spatial: what depth, points and poses improve, and what they cost."""

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
    """Compare six sensor variants on the tabletop, from known and new views.

    The variants are colour; colour and pose; colour and depth; colour and points, in the camera
    frame or the world frame; and points alone. Then one model with all sensors is tested with
    subsets of them. Takes hours. Finished parts in the folder are used again.

    e.g. armillary bench spatial --out out/spatial --json
    """

    out: Path = Path("out/spatial")
    """Folder for the recordings, runs, records and spatial.json."""
    record: Path | None = None
    """File for a copy of the result with the command."""
    lidar: Path | None = None
    """Result of `armillary bench lidar` to include as real_lidar."""
    variants: tuple[str, ...] = ()
    """Sensor variants. Default: all six."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds."""
    variants_only: bool = False
    """Leave out the model with all sensors."""
    episodes: int = 100
    """Evaluation episodes per run and shift."""
    steps: int | None = None
    """Training steps of each variant. Default: those of the recipe.
    The model with all sensors takes four times as many."""
    recorded: int = 2000
    """Episodes to train on, the same for all variants."""
    workers: int = 2
    """Number of processes, with one thread each."""

    def run(self) -> Outcome:
        """Train and evaluate."""
        from armillary.core.files import write_json
        from armillary.experiments.spatial.run import VariantsConfig, run_spatial_variants
        from armillary.recipes.recipe_config import shortened

        usual = VariantsConfig()
        base = usual.base if self.steps is None else shortened(usual.base, self.steps)
        config = replace(
            usual,
            variants=self.variants or usual.variants,
            seeds=self.seeds,
            fused_seeds=() if self.variants_only else self.seeds[:1],
            base=base,
            goals=self.episodes,
            episodes=self.recorded,
            workers=self.workers,
        )
        real = {} if self.lidar is None else {"real_lidar": _real_lidar(self.lidar)}
        command = again(self, "bench", "spatial")
        value = {**run_spatial_variants(self.out, config, bar, command), **real}
        if self.record is not None:
            write_json(self.record, value)
        rows = [_shown(name, row) for name, row in value["arms"].items()]
        said = (
            f"Records in {self.out}.",
            "Goals reached in %, and error of the object position in cm.",
            "hidden: error in cm after ten steps without a view.",
        )
        return Outcome(value, said, rows)


@dataclass(frozen=True, kw_only=True)
class Sensors(Command):
    """Measure the speed of depth: training with point maps, large clouds, ingest.

    e.g. armillary bench sensors --json
    """

    out: Path = Path("out/bench")
    """Folder of the measurement. A recording in it is used again."""
    recipe: str = "world"
    """Recipe to measure, with and without points."""

    def run(self) -> Outcome:
        """Measure."""
        from armillary.benchmark import bench_sensors
        from armillary.cli.train import adapted_recipe

        recipe = adapted_recipe(self.recipe, None)
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
        raise FormatError(
            f"{path}: a result of `armillary bench lidar` was expected; it has no real_lidar."
        )
    return value["real_lidar"]


def _shown(name: str, row: Mapping[str, Any]) -> dict[str, str]:
    shifts = row["seeds"][0]
    return {
        "sensors": name,
        **{_heading(shift): _mean(row["seeds"], shift) for shift in shifts},
        "hidden": f"{100 * row['hidden_position_m_10']:.1f}",
    }


def _heading(shift: str) -> str:
    """Return a short name, so that a whole row fits into a terminal."""
    return {"in_distribution": "usual", "appearance": "appearance"}.get(shift, shift)


def _mean(seeds: list[Mapping[str, Any]], shift: str) -> str:
    solved = sum(seed[shift]["success"] for seed in seeds) / len(seeds)
    error = sum(seed[shift]["position_error_cm"] for seed in seeds) / len(seeds)
    return f"{100 * solved:.0f} {error:.1f}"
