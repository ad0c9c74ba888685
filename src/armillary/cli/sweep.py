"""Sweep: train with every combination of some settings, and judge the best once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import UseAppendAction

from armillary.cli.again import again
from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command, existing, settings_of
from armillary.cli.progress import bar
from armillary.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Sweep(Command):
    """Train with every combination of some settings, choose the best, and judge it once.

    Combinations are compared on the episodes that their training held out. The number of the best
    is too good, because it was chosen by it. --judged names a recording of other episodes, which
    only the chosen model is measured on.

    Takes as long as its trainings. Finished ones are used again.

    e.g. armillary sweep --data out/tabletop --grid optimizer.lr=1e-3,2e-3 --judged out/other
    """

    data: Path
    """Dataset folder to learn from."""
    grid: UseAppendAction[tuple[str, ...]] = ()
    """A setting of train and its values, e.g. --grid optimizer.lr=1e-3,2e-3."""
    out: Path = Path("out/sweep")
    """Folder for runs and result.json."""
    judged: Path | None = None
    """Dataset folder of other episodes, for the chosen model alone.
    A tenth of them judges, and the others fit read-outs."""
    seeds: tuple[int, ...] = (0,)
    """Training seeds. Combinations are compared by their mean."""
    measure: str = "features_4"
    """Measure of diagnose that decides. features_4: error 4 steps ahead in a frozen
    feature space, as a share of that of copying. Others: features_K, latent_K,
    r2_STREAM, moved_skill_K, false_motion, action_top1, spearman."""
    steps: int | None = None
    """Training steps. Fine-tuning is shortened by the same share. Default: the recipe's."""
    workers: int = 2
    """Number of processes, with one thread each."""
    on: str = ""
    """ray: use actors of Ray in place of processes.
    ray://HOST:PORT: those of a cluster that shares the disk of --data and --out."""

    def run(self) -> Outcome:
        """Train, choose and judge."""
        existing(self.data, "a dataset folder")
        if self.judged is not None:
            existing(self.judged, "a dataset folder")
        grid = {
            name: tuple(settings_of([f"{name}={one}"], "--grid")[name] for one in values)
            for name, values in _values(self.grid).items()
        }
        from armillary.experiments.sweep.run import SweepConfig, run_sweep
        from armillary.recipes import world
        from armillary.recipes.recipe_config import shortened

        recipe = world() if self.steps is None else shortened(world(), self.steps)
        config = SweepConfig(
            self.data,
            grid,
            recipe,
            self.seeds,
            self.measure,
            self.judged,
            self.workers,
            self.on,
        )
        value = run_sweep(self.out, config, bar, again(self, "sweep"))
        return Outcome(value, _lines(value, self.out), _rows(value))


def _values(pairs: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, values = pair.partition("=")
        if not (name and equals and values) or name in found:
            raise ConfigError(f"--grid takes NAME=VALUE,VALUE, each name once; got {pair!r}.")
        found[name] = values.split(",")
    return found


def _lines(value: Mapping[str, Any], out: Path) -> tuple[str, ...]:
    settings = value["combinations"][value["chosen"]]["settings"]
    said = " ".join(f"--{name} {one}" for name, one in settings.items())
    failed = f", of which {value['failed']} failed" if value["failed"] else ""
    judged = "not judged on other episodes, so its number is too good (--judged)"
    if value["judged"] is not None:
        numbers = [row[value["measure"]] for row in value["judged"].values()]
        judged = f"on other episodes: {', '.join(f'{one:.3f}' for one in numbers)}, by seed"
    return (
        f"{value['attempts']} trainings{failed}; all rows in {out}",
        f"chosen by {value['measure']}: {said}; {judged}",
    )


def _rows(value: Mapping[str, Any]) -> list[dict[str, str]]:
    more = value["larger_is_better"]
    rows = []
    for name, one in value["combinations"].items():
        mean = one["mean"]
        shown = "failed" if mean is None else f"{mean.get(value['measure'], float('nan')):.3f}"
        rows.append(
            {
                **{setting: str(given) for setting, given in one["settings"].items()},
                f"{value['measure']} ({'larger' if more else 'smaller'} is better)": shown,
                "chosen": "yes" if name == value["chosen"] else "",
            }
        )
    return rows
