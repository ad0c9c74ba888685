"""Minutes to knowledge: how long a recipe trains until its model knows enough.

Each length is a training of its own, because the learning rate of a longer one is still high at
that step. Fine-tuning of the predictor is shortened in proportion, and its time counts. Every
model is judged by the diagnosis on the same held-out episodes. The first length that knows all is
the last.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from armillary.benchmark.recording import open_or_record
from armillary.core.cores import core_count
from armillary.core.files import read_json, write_json
from armillary.core.hashing import json_sha256
from armillary.core.progress import Bars, no_bars
from armillary.experiments.demo.config import DemoConfig
from armillary.models.config import config_values
from armillary.recipes.recipe import train_recipe
from armillary.recipes.recipe_config import Recipe, shortened
from armillary.recipes.world import adapted
from armillary.services.diagnose.diagnosing import diagnose_model

_ROW = "knowledge.json"
_AHEAD = "4"  # model steps


@dataclass(frozen=True)
class MinutesTo:
    """Settings of the measurement.

    Attributes:
        steps: lengths of the trainings, in optimizer steps, in rising order.
        threads: threads of a training, or all cores where there are fewer.
        object_r2: R2 of the object's place that counts as known.
        skill: skill on moved objects, four model steps ahead, that counts as known.
        episodes: of the recording that is made when none is given; the demo's.
        episode_steps: steps of each.
    """

    steps: tuple[int, ...] = (175, 350, 700, 1400, 2100)
    threads: int = 2
    object_r2: float = 0.9
    skill: float = 0.4
    episodes: int = DemoConfig.episodes
    episode_steps: int = DemoConfig.steps


def minutes_to_knowledge(
    out: Path,
    recipe: Recipe,
    data: Path | None = None,
    settings: MinutesTo = MinutesTo(),
    bars: Bars = no_bars,
) -> dict[str, Any]:
    """Train a recipe for several lengths and return the minutes until the model knows enough.

    A length that is done is not done again. One that was begun is done anew, so that its time is
    that of one attempt.

    Args:
        out: folder of the trainings, one folder for each length.
        recipe: what is trained; its lengths are replaced.
        data: a dataset with recorded places; the tabletop is recorded if None.
        settings: how long, and what counts as known.
        bars: makes a progress bar for each stage.

    Returns:
        ``object_r2_X`` and ``skill_Y``: minutes of the first length that reaches it, None if none
        does; ``reasons``: why for each None; ``curve``: one row for each length, whose ``object``
        is the place that rests most.

    Raises:
        DatasetError: the dataset cannot be read, or its episodes are too short or too few.
        StorageError: ``out`` is not writable.
    """
    with bars("recording") as progress:
        dataset = open_or_record(data, out, settings.episodes, settings.episode_steps, progress)
    curve = []
    for steps in settings.steps:
        threads = min(settings.threads, core_count())
        shorter = replace(shortened(adapted(recipe, dataset), steps), threads=threads)
        of = json_sha256([config_values(shorter), dataset.identity()])
        curve.append(_row(out / f"{steps}_steps", shorter, dataset.path, of, bars))
        if _knows(curve[-1], settings):
            break
    return _summary(curve, settings)


def _row(run: Path, recipe: Recipe, data: Path, of: str, bars: Bars) -> dict[str, Any]:
    """Return the numbers of one length, and keep them in its folder."""
    if (run / _ROW).is_file() and (done := read_json(run / _ROW))["of"] == of:
        return done
    shutil.rmtree(run, ignore_errors=True)
    summary = train_recipe(recipe, data, run, bars=bars, diagnosed=False, acting=False)
    row = {
        "steps": recipe.steps,
        "settling_steps": recipe.settling.steps,
        "minutes": summary.seconds / 60,
        "threads": recipe.threads,
        "frames_per_s": summary.frames_per_s,
        **judged(diagnose_model(run, data, bars=bars)),
        "of": of,
    }
    write_json(run / _ROW, row)
    return row


def judged(diagnosis: dict[str, Any]) -> dict[str, Any]:
    """Return what a length's model knows; Spearman is of latent distance with true distances."""
    moved, followed = diagnosis["moved"], diagnosis["progress"]
    read = diagnosis["read_out"].get(moved["stream"], {})
    intervals = {
        "object_r2": read.get("intervals", {}).get("r2"),
        "skill": moved.get("intervals", {}).get(_AHEAD, {}).get("model"),
    }
    return {
        "object": moved["stream"],
        "object_r2": read.get("r2"),
        "skill": moved["skill"].get(_AHEAD),
        "intervals": intervals,
        "read_out": {name: one["r2"] for name, one in diagnosis["read_out"].items()},
        "spearman": {
            "steps to go": followed["spearman"],
            **{name: one["spearman"] for name, one in followed.get("places", {}).items()},
        },
        "moved_n": moved.get("n"),
        "judged_on": diagnosis["n"]["judged_on"],
    }


def _knows(row: dict[str, Any], settings: MinutesTo) -> bool:
    """Tell whether a model knows all that is asked for, so that no longer training is needed."""
    found = (row["object_r2"], settings.object_r2), (row["skill"], settings.skill)
    return all(value is not None and value >= bar for value, bar in found)


def _summary(curve: Sequence[dict[str, Any]], settings: MinutesTo) -> dict[str, Any]:
    minutes: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for what, bar in (("object_r2", settings.object_r2), ("skill", settings.skill)):
        measured = [row for row in curve if row[what] is not None]
        name = f"{what}_{bar:g}"
        minutes[name] = next((row["minutes"] for row in measured if row[what] >= bar), None)
        if not measured:
            reasons[name] = "not measured: too few windows show a recorded place moving"
        elif minutes[name] is None:
            best = max(measured, key=lambda row: row[what])
            reasons[name] = f"never; the best is {best[what]:.2f}, at {best['steps']} steps"
    return {**minutes, "reasons": reasons, "curve": list(curve)}
