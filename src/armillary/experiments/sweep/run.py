"""Sweep: the recipe with every combination of some settings; the best is chosen and judged once.

Combinations are compared by what ``diagnose`` measures on the episodes that their training held
out. Whoever chooses by a number makes it too good. So the chosen one, and it alone, is diagnosed on
a dataset that nothing was chosen on, where there is one. Every training is an attempt, those that
failed included, and the result tells them all.

    COMBINATION/SEED        one run each, with row.json; written last, and used again
    result.json             attempts, means over seeds, the chosen one, and how it was judged
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from armillary.benchmark.machine import provenance
from armillary.core.changing import changed
from armillary.core.claiming import claim
from armillary.core.errors import ConfigError, TrainingError
from armillary.core.files import read_json, write_json
from armillary.core.hashing import json_sha256
from armillary.core.on_ray import ray_address, run_on_ray
from armillary.core.processes import map_in_processes
from armillary.core.progress import Bars, Progress, no_bars
from armillary.data import open_dataset
from armillary.experiments.ablation.run import measures
from armillary.models.config import config_values
from armillary.recipes.recipe import Recipe, prepared, train_recipe
from armillary.recipes.world import adapted, world
from armillary.services.diagnose.diagnosing import diagnose_model

MOST = 1000  # trainings; more is a slip of the hand
MEASURE = "features_4"  # in a space that the model was not trained on, so that collapse cannot win
_LARGER = ("r2_", "moved_skill_", "action_top1", "spearman")
_SMALLER = ("features_", "latent_", "false_motion")
_FAILED = "failed"


@dataclass(frozen=True)
class SweepConfig:
    """What is tried.

    Attributes:
        data: folder of the dataset to learn from.
        grid: values by dotted name of a setting; every combination is tried.
        recipe: what the settings change.
        seeds: of training, each with every combination.
        measure: by which the best is chosen: a key of ``measures``.
        judged: folder of a dataset for the chosen one alone; None for none.
        workers: processes or actors, each with one thread; results do not depend on it.
        on: ``ray`` or ``ray://HOST:PORT`` for actors of Ray in place of processes.
    """

    data: Path
    grid: Mapping[str, Sequence[Any]]
    recipe: Recipe = field(default_factory=world)
    seeds: tuple[int, ...] = (0,)
    measure: str = MEASURE
    judged: Path | None = None
    workers: int = 2
    on: str = ""

    def __post_init__(self) -> None:
        if not self.grid or not all(self.grid.values()):
            raise ConfigError("A sweep needs at least one setting, and a value for each.")
        if not self.seeds or len({*self.seeds}) < len(self.seeds):
            raise ConfigError(f"A sweep needs seeds, each once; got {self.seeds}.")
        if not self.measure.startswith((*_LARGER, *_SMALLER)):  # not after hours of training
            raise ConfigError(
                f"No measure {self.measure!r}; they are features_K, latent_K, r2_STREAM, "
                "moved_skill_K, false_motion, action_top1 and spearman."
            )
        if self.workers < 1:
            raise ConfigError(f"workers must be at least 1; got {self.workers}.")
        if self.judged is not None and self.judged.resolve() == self.data.resolve():
            raise ConfigError(
                f"{self.judged}: is what is learned from, so it cannot judge what was chosen on "
                "it. Record other episodes, e.g. with another --seed."
            )
        count = len(self.seeds) * len(self.combinations)
        if count > MOST:
            raise ConfigError(f"This sweep has {count:,} trainings; the most are {MOST:,}.")
        for settings in self.combinations.values():
            changed(self.recipe, settings)  # what cannot be is refused before the first training

    @property
    def combinations(self) -> dict[str, dict[str, Any]]:
        """Settings of each combination by its name, a hash of them."""
        chosen = product(*self.grid.values())
        settings = [dict(zip(self.grid, values, strict=True)) for values in chosen]
        return {json_sha256(one)[:12]: one for one in settings}


def run_sweep(
    out: Path, config: SweepConfig, bars: Bars = no_bars, command: str = ""
) -> dict[str, Any]:
    """Train and diagnose every combination with every seed, choose one, and judge it.

    Args:
        out: folder; what is finished there is used again.
        config: what is tried.
        bars: makes a progress bar for a stage.
        command: that does the same again, for the result.

    Returns:
        ``combinations.NAME.{settings,seeds.SEED,mean}`` with what ``measures`` returns, or
        ``failed`` and the sentence; ``attempts`` (trainings) and ``failed`` (of them); ``measure``,
        ``larger_is_better``; ``chosen``, a NAME; ``judged`` by seed, what ``measures`` returns of
        the other dataset, or None; ``recipe_sha256``, ``command``, ``commit``, ``date``,
        ``machine``.

    Raises:
        ConfigError: a setting cannot be, the measure is unknown, or ``out`` holds runs of other
            settings or data.
        DatasetError: a dataset cannot be read, or has nothing that a model can see.
        TrainingError: every training failed.
        StorageError: ``out`` is not writable.
    """
    address = ray_address(config.on) if config.on else None
    out, data = out.absolute(), open_dataset(config.data)  # whole paths, for actors elsewhere
    config = replace(config, data=config.data.absolute())
    combinations = config.combinations
    for settings in combinations.values():  # before several trainings want the same at once
        with bars("preparing") as progress:
            prepared(data, adapted(changed(config.recipe, settings), data).model, progress)
    tasks = [(name, seed) for name in combinations for seed in config.seeds]
    learn = _Learn(out, config)
    with bars("training") as progress:
        if config.on:
            rows = dict(
                _reported(run_on_ray(address, learn, tasks, config.workers), tasks, progress)
            )
        else:
            rows = dict(map_in_processes(learn, tasks, config.workers, progress))
    found = {
        name: _combined(settings, {seed: rows[name, seed] for seed in config.seeds})
        for name, settings in combinations.items()
    }
    chosen = best(found, config.measure)
    result = {
        "combinations": found,
        "attempts": len(tasks),
        "failed": sum(_FAILED in row for row in rows.values()),
        "measure": config.measure,
        "larger_is_better": larger_is_better(config.measure),
        "chosen": chosen,
        "judged": None,
        "seeds": list(config.seeds),
        "recipe_sha256": json_sha256(config_values(config.recipe)),
        **provenance(command, 1),
    }
    if config.judged is not None:
        with bars("judging") as progress:
            result["judged"] = _judged(out / chosen, config, progress)
    write_json(out / "result.json", result)
    return result


def best(found: Mapping[str, Mapping[str, Any]], measure: str) -> str:
    """Return the name of the combination with the best mean; the first of equals.

    Args:
        found: ``mean`` by name of a combination; None where a training failed.
        measure: by which.

    Raises:
        TrainingError: every combination had a training that failed.
        ConfigError: none has the measure.
    """
    means = {name: one["mean"] for name, one in found.items() if one["mean"] is not None}
    if not means:
        sentence = next(
            row[_FAILED]
            for one in found.values()
            for row in one["seeds"].values()
            if _FAILED in row
        )
        raise TrainingError(f"In every combination a training failed. The first: {sentence}")
    values = {name: mean[measure] for name, mean in means.items() if measure in mean}
    if not values:
        known = sorted({name for mean in means.values() for name in mean})
        raise ConfigError(f"No measure {measure!r} here; there are {', '.join(known)}.")
    return (max if larger_is_better(measure) else min)(values, key=lambda name: values[name])


def larger_is_better(measure: str) -> bool:
    """Return whether more of a measure is better; else it is an error."""
    return measure.startswith(_LARGER)


def _combined(settings: Mapping[str, Any], rows: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the rows of a combination and their mean; None where one failed."""
    mean = None
    if not any(_FAILED in row for row in rows.values()):
        first, *others = rows.values()
        shared = [name for name in first if all(name in other for other in others)]
        mean = {name: float(np.mean([row[name] for row in rows.values()])) for name in shared}
    seeds = {str(seed): dict(row) for seed, row in rows.items()}
    return {"settings": dict(settings), "seeds": seeds, "mean": mean}


def _judged(runs: Path, config: SweepConfig, progress: Progress) -> dict[str, dict[str, float]]:
    assert config.judged is not None
    found = {}
    for place, seed in enumerate(config.seeds):
        found[str(seed)] = measures(diagnose_model(runs / str(seed), config.judged))
        progress(place + 1, len(config.seeds))
    return found


_Row = tuple[tuple[str, int], dict[str, Any]]


def _reported(
    rows: Iterator[_Row], tasks: Sequence[tuple[str, int]], progress: Progress
) -> Iterator[_Row]:
    for done, row in enumerate(rows, 1):
        progress(done, len(tasks))
        yield row


@dataclass(frozen=True)
class _Learn:
    """Trains and diagnoses one combination with one seed, in any process."""

    out: Path
    config: SweepConfig

    def __call__(self) -> Callable[[tuple[str, int]], _Row]:
        return self._row

    def _row(self, task: tuple[str, int]) -> _Row:
        name, seed = task
        config, run = self.config, self.out / name / str(seed)
        recipe = changed(config.recipe, config.combinations[name])
        recipe = replace(recipe, seed=seed, threads=1)
        begun, done = (run / "run.json").is_file(), run / "row.json"
        identity = open_dataset(config.data).identity()
        claim(run / "settings.json", [config_values(recipe), identity], "a run", begun)
        if not done.is_file():
            write_json(done, self._learned(recipe, run, begun))
        return task, read_json(done)

    def _learned(self, recipe: Recipe, run: Path, begun: bool) -> dict[str, Any]:
        try:
            if not (run / "model").is_dir():
                train_recipe(
                    recipe, self.config.data, run, resume=begun, diagnosed=False, acting=False
                )
        except TrainingError as error:  # it diverged: an attempt like any other
            return {_FAILED: str(error)}
        return measures(diagnose_model(run, self.config.data))
