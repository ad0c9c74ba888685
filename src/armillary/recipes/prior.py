"""Prior: train a model with a goal prior, or add one to a model that is there, in minutes.

What was held out while the model was trained judges its prior, too, and teaches it nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from armillary.core.errors import ShapeError, TrainingError
from armillary.core.files import read_json
from armillary.core.progress import Bars, Progress, no_bars, silent
from armillary.data import Cache, Windows, open_dataset, split_episodes
from armillary.models import JEPAConfig, load_model, save_prior
from armillary.models.prior_file import PRIOR_FILE
from armillary.recipes.claiming import claim
from armillary.recipes.finding import find_model
from armillary.recipes.recipe import (
    RUN_DATA,
    Recipe,
    fitted,
    needed_streams,
    prepared,
    train_recipe,
)
from armillary.training.prior import PriorConfig, fit_prior, judge_prior
from armillary.training.trails import trails_of


@dataclass(frozen=True)
class PriorSummary:
    """What came of it.

    Attributes:
        file: the prior, in the model's folder.
        seconds: encoding and training.
        order: as in ``judge_prior``, on held-out episodes; None where none are held out.
        action_nats: likewise.
        warnings: what keeps these numbers from being what they seem, one sentence each.
    """

    file: Path
    seconds: float
    order: float | None
    action_nats: float | None
    warnings: tuple[str, ...] = ()


def add_prior(
    model: str | Path,
    data: Path,
    config: PriorConfig | None = None,
    progress: Progress = silent,
) -> PriorSummary:
    """Train a goal prior on a model's latents of a recording and leave it in the model's folder.

    Args:
        model: model folder, or run folder.
        data: folder of a dataset with actions.
        config: settings; None takes the defaults.
        progress: called while preparing and after each step.

    Raises:
        CheckpointError: not a model.
        DatasetError: the dataset cannot be read, or lacks a stream that the model sees.
        ShapeError: the dataset's actions are not the model's.
        TrainingError: the dataset has no actions.
        StorageError: the model's folder is not writable.
    """
    began, config = time.perf_counter(), config or PriorConfig()
    folder = find_model(model)
    network = load_model(folder)
    cache = prepared(open_dataset(data), network.config, progress)
    streams = model_streams(network.config, cache)
    _check_length(cache, network.config.frame_skip)
    known = known_split(folder, cache)
    training, held_out = known or split_episodes(cache.num_episodes, Recipe().held_out, config.seed)
    trails = trails_of(network, Windows(cache, training, 1, 1, streams))
    prior = fit_prior(trails, config, progress)
    judged: dict[str, float] = {}
    if len(held_out):
        judged_on = trails_of(network, Windows(cache, held_out, 1, 1, streams))
        judged = judge_prior(prior, judged_on, within=config.goals.within)
    file = save_prior(prior, folder)
    seconds = time.perf_counter() - began
    warnings = () if known or not judged else (split_anew(folder, "prior"),)
    return PriorSummary(file, seconds, judged.get("order"), judged.get("action_nats"), warnings)


def train_with_prior(
    recipe: Recipe,
    config: PriorConfig,
    data: Path,
    run: Path,
    recorded: Sequence[int],
    bars: Bars = no_bars,
) -> None:
    """Train a model and its goal prior in ``run``; what is there already is kept.

    Args:
        recipe: of the model.
        config: of the prior.
        data: folder of the recording.
        run: folder of the run.
        recorded: what else tells one run from another: episodes, steps and seed of the recording.
        bars: makes a progress bar for a stage.

    Raises:
        ConfigError: ``run`` holds a model of other settings.
        ArmillaryError: as ``train_recipe`` and ``add_prior``.
    """
    settings = [asdict(recipe), asdict(config), *recorded]
    claim(run / "settings.json", settings, "a model", made=(run / "run.json").is_file())
    if not (run / "model").is_dir():
        train_recipe(
            recipe, data, run, (run / "run.json").is_file(), bars, diagnosed=False, acting=False
        )
    if not (run / "model" / PRIOR_FILE).is_file():
        with bars("learning the way") as progress:
            add_prior(run, data, config, progress)


def known_split(
    model: Path, cache: Cache
) -> tuple[Int[np.ndarray, " E"], Int[np.ndarray, " F"]] | None:
    """Return the episodes that a model was trained on, and those that were held out meanwhile.

    A recording that was moved is known by its content, one that was added to by its folder; what
    was added, and episodes that were too short, are in neither. Nothing may be held out. A model
    without its run, or one trained on another recording, has no say: None.

    Args:
        model: its folder, in the folder of the run.
        cache: the recording.
    """
    file = model.parent / RUN_DATA
    known = read_json(file) if file.is_file() else {}
    if not isinstance(known, dict) or not any(
        cache.about.get(name) and known.get(name) == cache.about[name]
        for name in ("identity", "dataset")
    ):
        return None
    training, held_out = (
        np.flatnonzero(np.isin(cache.episodes, known.get(name, ())))
        for name in ("training_episodes", "held_out_episodes")
    )
    return (training, held_out) if len(training) else None


def split_anew(model: Path, what: str) -> str:
    """Return the warning that what judges a head may have taught its model."""
    return (
        f"{model.parent / RUN_DATA}: does not tell how this recording was split for the model, so "
        "episodes were held out anew; where the model was trained on it, it may have learned from "
        f"those that judge its {what}."
    )


def _check_length(cache: Cache, skip: int) -> None:
    """Refuse a recording in which no goal is more than one model step away.

    Raises:
        TrainingError: it is one.
    """
    longest = int(np.max(cache.lengths))
    if longest <= 2 * skip:
        raise TrainingError(
            f"A goal prior needs episodes of more than {2 * skip} steps (two model steps); the "
            f"longest here has {longest}. Record longer ones."
        )


def model_streams(config: JEPAConfig, cache: Cache) -> tuple[str, ...]:
    """Return the streams that a model sees, after checking that data and model fit."""
    recipe = Recipe(model=config)
    width = fitted(recipe, cache).model.action_width
    if width not in (0, config.action_width):
        raise ShapeError(
            f"The model takes {config.action_width} action numbers per model step, and the data "
            f"have {width}. Use recordings of the world that it was trained in."
        )
    return needed_streams(recipe, cache)
