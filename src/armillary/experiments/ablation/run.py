"""Ablation: the recipe ``world`` with one part left out at a time, over datasets and seeds.

What a part is worth depends on the recording, so every dataset has rows of its own. Each variant is
compared with the whole recipe on the same dataset with the same seed, and thus on the same held-out
episodes. No variant acts: judged is what ``diagnose`` measures.

    DATASET/SEED/PART       one run each, with row.json; written last, and used again
    result.json             rows, and differences from the whole recipe
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from armillary.benchmark.machine import provenance
from armillary.core.changing import changed
from armillary.core.claiming import claim
from armillary.core.errors import ConfigError, unknown_name
from armillary.core.files import read_json, write_json
from armillary.core.hashing import json_sha256
from armillary.core.processes import map_in_processes
from armillary.core.progress import Bars, no_bars
from armillary.data import open_dataset
from armillary.models.config import config_values
from armillary.recipes.recipe import Recipe, prepared, train_recipe
from armillary.recipes.world import adapted, world
from armillary.services.diagnose.diagnosing import diagnose_model

WHOLE = "whole"


@dataclass(frozen=True)
class Part:
    """A part of the recipe.

    Attributes:
        said: the same in words.
        without: settings that leave it out, by dotted name.
    """

    said: str
    without: Mapping[str, Any] = field(default_factory=dict)


PARTS: dict[str, Part] = {
    WHOLE: Part("nothing"),
    "rollout": Part("prediction, in the first stage", {"objective.rollout": 0.0}),
    "rollout_steps": Part(
        "prediction more than one step ahead",
        {"objective.rollout_steps": 1, "finetune.rollout_steps": 1},
    ),
    "variance_covariance": Part(
        "variance and covariance over the batch",
        {"objective.variance": 0.0, "objective.covariance": 0.0},
    ),
    "motion": Part(
        "variance and covariance within clips",
        {"objective.motion_variance": 0.0, "objective.motion_covariance": 0.0},
    ),
    "spread": Part(
        "variance and covariance, both",
        {
            "objective.variance": 0.0,
            "objective.covariance": 0.0,
            "objective.motion_variance": 0.0,
            "objective.motion_covariance": 0.0,
        },
    ),
    "inverse_dynamics": Part("inverse dynamics", {"objective.inverse_dynamics": 0.0}),
    "visual_words": Part("visual words", {"objective.visual_words": 0.0}),
    "reconstruction": Part("reconstruction", {"objective.reconstruction": 0.0}),
    "colours": Part("whitened colours", {"model.encoder.colours": "fixed"}),
    "shift": Part("shifted pictures", {"augment.shift_px": 0}),
    "finetune": Part("fine-tuning of the predictor", {"finetune.steps": 0}),
    "forget": Part("clips that begin with an empty memory", {"finetune.forget": 0.0}),
    "lively": Part("lively clips in the fine-tuning", {"finetune.lively": 0.0}),
}


@dataclass(frozen=True)
class AblationConfig:
    """How much of everything.

    Attributes:
        datasets: folders by name.
        recipe: the whole.
        parts: keys of ``PARTS`` beside the whole.
        seeds: of training.
        workers: processes, each with one thread; results do not depend on it.
    """

    datasets: Mapping[str, Path]
    recipe: Recipe = field(default_factory=world)
    parts: tuple[str, ...] = tuple(name for name in PARTS if name != WHOLE)
    seeds: tuple[int, ...] = (0, 1)
    workers: int = 2

    def __post_init__(self) -> None:
        for name in self.parts:
            if name not in PARTS:
                raise unknown_name("part", name, PARTS)
        if not self.datasets or not self.seeds or len({*self.seeds}) < len(self.seeds):
            raise ConfigError(
                "An ablation needs at least one dataset, and seeds, each once; got "
                f"{len(self.datasets)} datasets and the seeds {self.seeds}."
            )
        if self.workers < 1:
            raise ConfigError(f"workers must be at least 1; got {self.workers}.")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all variants, the whole recipe first."""
        return (WHOLE, *dict.fromkeys(name for name in self.parts if name != WHOLE))


def run_ablation(
    out: Path, config: AblationConfig, bars: Bars = no_bars, command: str = ""
) -> dict[str, Any]:
    """Train and diagnose every variant on every dataset with every seed.

    Args:
        out: folder; what is finished there is used again.
        config: how much of everything.
        bars: makes a progress bar for a stage.
        command: that does the same again, for the result.

    Returns:
        ``parts.NAME.{said,datasets.DATASET.seeds.SEED}`` with what ``measures`` returns;
        ``parts.NAME.datasets.DATASET.{mean,minus_whole}``, means over seeds by measure; ``seeds``,
        ``steps``, ``recipe_sha256``, and ``command``, ``commit``, ``date``, ``machine``.

    Raises:
        ConfigError: ``out`` holds runs of other settings or data.
        DatasetError: a dataset cannot be read, or has nothing that a model can see.
        TrainingError: a dataset is too small.
        StorageError: ``out`` is not writable.
    """
    steps = {}
    for name, path in config.datasets.items():
        dataset = open_dataset(path)
        whole = adapted(config.recipe, dataset)
        steps[name] = {"model": whole.steps, "settling": whole.settling.steps}
        # once, before several trainings want the same at the same time
        with bars("preparing") as progress:
            prepared(dataset, whole.model, progress)
    tasks = [
        (data, seed, name)
        for data in config.datasets
        for seed in config.seeds
        for name in config.names
    ]
    with bars("training") as progress:
        rows = map_in_processes(_Learn(out, config), tasks, config.workers, progress)
    result = {
        "parts": compared(dict(zip(tasks, rows, strict=True))),
        "seeds": list(config.seeds),
        "steps": steps,
        "recipe_sha256": json_sha256(config_values(config.recipe)),
        **provenance(command, 1),
    }
    write_json(out / "result.json", result)
    return result


def measures(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a diagnosis by which variants are compared; what it lacks is left out.

    Args:
        record: of ``diagnose_model``.

    Returns:
        ``r2_STREAM``: how well a place is read from the latent. ``moved_skill_K``: skill on moved
        things over K model steps. ``false_motion``: drift of resting things, in the stream's unit.
        ``SPACE_K``: squared prediction error over that of copying the last step.
        ``action_top1``: how often the true action ranks first. ``spearman``: of latent distance
        with steps to go.
    """
    found = {f"r2_{name}": one["r2"] for name, one in record["read_out"].items()}
    moved = record["moved"]
    found |= {f"moved_skill_{steps}": skill for steps, skill in moved["skill"].items()}
    found["false_motion"] = moved["false_motion"]
    for row in record["prediction"]:
        if row["model"] is not None and row["copy_last"]:
            found[f"{row['space']}_{row['steps']}"] = row["model"] / row["copy_last"]
    found["action_top1"] = record["action_rank"]["top1"]
    found["spearman"] = record["progress"]["spearman"]
    return {name: value for name, value in found.items() if value is not None}


def compared(
    rows: Mapping[tuple[str, int, str], Mapping[str, float]],
) -> dict[str, dict[str, Any]]:
    """Return the rows by part and dataset, their means, and the mean differences from the whole.

    Args:
        rows: measures by dataset, seed and part, the whole among them.
    """
    parts: dict[str, dict[str, Any]] = {}
    for (data, seed, name), row in rows.items():
        part = parts.setdefault(name, {"said": PARTS[name].said, "datasets": {}})
        part["datasets"].setdefault(data, {"seeds": {}})["seeds"][str(seed)] = dict(row)
    for part in parts.values():
        for data, one in part["datasets"].items():
            whole = parts[WHOLE]["datasets"][data]["seeds"]
            apart = [_minus(row, whole[seed]) for seed, row in one["seeds"].items()]
            one["mean"] = _mean([*one["seeds"].values()])
            one["minus_whole"] = _mean(apart)
    return parts


def _minus(row: Mapping[str, float], whole: Mapping[str, float]) -> dict[str, float]:
    return {name: value - whole[name] for name, value in row.items() if name in whole}


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each measure that all rows have."""
    shared = [name for name in rows[0] if all(name in row for row in rows)]
    return {name: float(np.mean([row[name] for row in rows])) for name in shared}


@dataclass(frozen=True)
class _Learn:
    """Trains and diagnoses one variant in any process."""

    out: Path
    config: AblationConfig

    def __call__(self) -> Callable[[tuple[str, int, str]], dict[str, float]]:
        return self._row

    def _row(self, task: tuple[str, int, str]) -> dict[str, float]:
        data, seed, name = task
        folder, run = self.config.datasets[data], self.out / data / str(seed) / name
        recipe = changed(replace(self.config.recipe, seed=seed, threads=1), PARTS[name].without)
        begun, done = (run / "run.json").is_file(), run / "row.json"
        claim(
            run / "settings.json",
            [config_values(recipe), open_dataset(folder).identity()],
            "a run",
            begun,
        )
        if not done.is_file():
            if not (run / "model").is_dir():
                train_recipe(recipe, folder, run, resume=begun, diagnosed=False, acting=False)
            write_json(done, measures(diagnose_model(run, folder)))
        return read_json(done)
