"""Train a recipe on a dataset: check, prepare, split by episode, learn.

A recipe is a function that returns a complete ``Recipe``; its fields are the flags of
``armillary train``. What only the data know is filled in when training starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from armillary.core.errors import ConfigError, DatasetError
from armillary.core.files import claimed_folder, write_json
from armillary.core.progress import Bars, Progress, no_bars, silent
from armillary.data import Cache, Dataset, Windows, open_dataset, prepare
from armillary.data.point_sampling import PointSampling
from armillary.models import JEPAConfig
from armillary.models.config import STREAMS_OF
from armillary.recipes.clips import check_clips, split, too_short
from armillary.recipes.diagnosis_record import diagnose_run
from armillary.recipes.goal_policy import learn_to_act
from armillary.recipes.recipe_config import Recipe, recorded_names
from armillary.recipes.time_split import (
    HELD_OUT_FROM,
    RUN_DATA,
    cut_in_two,
    is_in_two,
    split_said,
)
from armillary.recipes.world import adapted, world
from armillary.training import TERMS, ComputeConfig, TrainSummary, check_free, train
from armillary.training.augment import mirrored_actions
from armillary.training.processes import leads
from armillary.training.trunk_features import with_trunk_features


def train_recipe(
    recipe: Recipe,
    data: str | Path | Dataset,
    out: Path,
    resume: bool = False,
    bars: Bars = no_bars,
    diagnosed: bool = True,
    acting: bool = True,
    compute: ComputeConfig | None = None,
) -> TrainSummary:
    """Train a recipe on a dataset: check it, prepare it, split it by episode, learn, diagnose.

    What can be refused is refused before anything is prepared, and leaves nothing in ``out``.

    Args:
        recipe: what to train.
        data: a dataset, or its folder.
        out: folder of the run.
        resume: go on from the newest checkpoint in ``out``.
        bars: makes a progress bar for each stage: preparing, training, diagnosing.
        diagnosed: whether ``diagnose.json`` is written to ``out``, which takes seconds.
        acting: whether a goal policy is trained after the model, where actions are recorded.
        compute: how the model's training is computed; None for the usual way.

    Raises:
        DatasetError: the dataset cannot be read, or lacks a stream that the model sees or a loss
            term reads.
        TrainingError: its episodes do not give one batch of clips.
        ConfigError: ``out`` holds a run already.
        StorageError: ``out`` is not writable.
    """
    dataset = open_dataset(data)
    asked, recipe = recipe, checked(recipe, dataset, out, resume)
    with claimed_folder(out):
        with bars("preparing") as progress:
            cache = prepared(dataset, recipe.model, progress)
        recipe = fitted(with_fan(recipe, dataset), cache)
        lengths, cache = cache.lengths, cut_in_two(recipe, cache)
        training, held_out = split_of(recipe, cache)
        with bars("training") as progress:
            summary = train_on(cache, training, held_out, recipe, out, resume, progress, compute)
    failed = after_training(cache, training, held_out, recipe, out, bars, diagnosed, acting)
    short = too_short(recipe, lengths, dataset.fps)
    cameras = unseen_cameras(recipe, cache.kinds)
    said = (split_said(cache), short, cameras, fewer_steps(asked, recipe), failed)
    return with_said(summary, said)


def split_of(recipe: Recipe, cache: Cache) -> tuple[Int[np.ndarray, " E"], Int[np.ndarray, " F"]]:
    """Return the episodes of a cache to train on and those held out; of one in two, its end."""
    if is_in_two(cache):
        return np.zeros(1, np.int64), np.ones(1, np.int64)
    return split(recipe, cache.lengths)


def checked(recipe: Recipe, dataset: Dataset, out: Path, resume: bool) -> Recipe:
    """Return a recipe adapted to a dataset, or refuse it before anything is prepared.

    Args:
        recipe: what is to be trained.
        dataset: on which.
        out: folder of the run.
        resume: whether to go on from the newest checkpoint in ``out``.

    Raises:
        DatasetError: the dataset lacks a stream that the model sees or a loss term reads.
        TrainingError: its episodes do not give one batch of clips.
        ConfigError: ``out`` holds a run already.
    """
    recipe = adapted(recipe, dataset)
    # whether lenses are known shows when the dataset is prepared
    check_cameras(recipe, dataset.cameras)
    check_streams(recipe, {*dataset.streams, "intrinsics"})
    check_clips(recipe, dataset.lengths, dataset.fps, str(dataset.path))
    check_free(out, resume)
    return recipe


def after_training(
    cache: Cache,
    training: Int[np.ndarray, " E"],
    held_out: Int[np.ndarray, " F"],
    recipe: Recipe,
    out: Path,
    bars: Bars = no_bars,
    diagnosed: bool = True,
    acting: bool = True,
) -> str:
    """Train the goal policy of a run and diagnose its model, as asked for.

    Args:
        cache: prepared episodes.
        training: those to learn from.
        held_out: those that judge.
        recipe: fitted to the data.
        out: folder of the run.
        bars: makes a progress bar for each stage.
        diagnosed: as in ``train_recipe``.
        acting: as in ``train_recipe``.

    Returns:
        Why there is no goal policy, where it failed.
    """
    cache = with_trunk_features(cache, recipe.model, training, recipe.seed)
    failed = learn_to_act(cache, training, held_out, recipe, out, bars) if acting else ""
    if diagnosed and leads():
        with bars("diagnosing"):
            diagnose_run(out, cache, training, held_out, needed_streams(recipe, cache))
    return failed


def with_said(summary: TrainSummary, sentences: tuple[str, ...]) -> TrainSummary:
    """Return a summary with more warnings; empty ones are left out."""
    said = tuple(one for one in sentences if one)
    return replace(summary, warnings=(*said, *summary.warnings)) if said else summary


def fewer_steps(asked: Recipe, found: Recipe) -> str:
    """Say that fewer steps were taken than somebody asked for; empty where nobody did."""
    usual = world()
    pairs = (
        ("--passes", asked.steps, found.steps, usual.steps),
        ("--finetune.passes", asked.settling.steps, found.settling.steps, usual.settling.steps),
    )
    cut = [one for one in pairs if one[1] > one[2] and one[1] != one[3]]
    if not cut:
        return ""
    steps = " and ".join(f"{found:,} of {asked:,}" for _, asked, found, _ in cut)
    flags = " ".join(f"{flag} 0" for flag, *_ in cut)
    return (
        f"{steps} steps were taken: more would see each recorded step too often. {flags} takes "
        "them all."
    )


def prepared(dataset: Dataset, model: JEPAConfig, progress: Progress = silent) -> Cache:
    """Return a dataset as a model sees it: pictures of its size, and clouds if it sees clouds.

    Args:
        dataset: what to prepare.
        model: shape of the model.
        progress: called while preparing.

    Raises:
        DatasetError: an episode is damaged.
        StorageError: the disk is full or not writable.
    """
    clouds = point_sampling(model)
    return prepare(dataset, model.encoder.image_size, points=clouds, progress=progress)


def point_sampling(model: JEPAConfig) -> PointSampling | None:
    """Return how many points of a cloud a model sees; None if it sees no clouds."""
    return PointSampling(model.cloud_points) if "cloud" in model.sensors else None


def train_on(
    cache: Cache,
    training: Int[np.ndarray, " E"],
    held_out: Int[np.ndarray, " F"],
    recipe: Recipe,
    out: Path,
    resume: bool = False,
    progress: Progress = silent,
    compute: ComputeConfig | None = None,
) -> TrainSummary:
    """Train a fitted recipe on chosen episodes of a cache, and write down which they were."""
    cache = with_trunk_features(cache, recipe.model, training, recipe.seed, progress)
    length, stride = recipe.clip_length, recipe.model.frame_skip
    streams = needed_streams(recipe, cache)
    windows = Windows(cache, training, length, stride, streams)
    judged = Windows(cache, held_out, length, stride, streams) if len(held_out) else None
    tracker = recipe.tracker
    summary = train(recipe.model, recipe, windows, judged, out, resume, tracker, progress, compute)
    if leads():
        note_data(out, cache, cache.episodes[training], cache.episodes[held_out])
    return summary


def note_data(
    out: Path,
    cache: Cache,
    training: Int[np.ndarray, " E"],
    held_out: Int[np.ndarray, " F"],
) -> None:
    """Write down which episodes of a dataset a run was trained on.

    Args:
        out: folder of the run.
        cache: of the dataset.
        training: numbers of episodes in the dataset.
        held_out: numbers of those that were held out.
    """
    write_json(
        out / RUN_DATA,
        {
            "dataset": str(cache.about.get("dataset", "")),
            "identity": str(cache.about.get("identity", "")),
            "training_episodes": np.asarray(training).tolist(),
            "held_out_episodes": np.asarray(held_out).tolist(),
            **({HELD_OUT_FROM: int(cache.starts[1])} if is_in_two(cache) else {}),
        },
    )


def fitted(recipe: Recipe, cache: Cache) -> Recipe:
    """Return the recipe with the widths that the data have.

    Raises:
        DatasetError: the data lack a stream that the model sees or a loss term reads.
        ConfigError: they lack actions that a loss needs, or that the mirror names, or pictures
            would be shifted by a whole picture.
    """
    check_cameras(recipe, cache.kinds)
    check_streams(recipe, _recorded(cache))
    if recipe.augment.shift_px >= min(cache.size):
        raise ConfigError(
            f"augment.shift_px must be below the pictures' {min(cache.size)} px, got "
            f"{recipe.augment.shift_px}."
        )
    action_width = cache.action_width * recipe.model.frame_skip
    needing = [name for name in recipe.objective.weights if TERMS[name].needs_actions]
    if not action_width and needing:
        raise ConfigError(
            f"The dataset has no actions, and objective.{needing[0]} needs them. "
            f"Record them, or pass {_without(needing[0])}."
        )
    if action_width and recipe.augment.mirror:
        # before anything is written: does the mirror know these actions?
        mirrored_actions(torch.zeros(1, cache.action_width), recipe.augment, 1)
    proprio = cache.arrays["proprio"].shape[1] if "proprio" in recipe.model.sensors else 0
    model = replace(recipe.model, action_width=action_width, proprio_width=proprio)
    return replace(recipe, model=model)


def check_streams(recipe: Recipe, present: set[str]) -> None:
    """Check that data have what a recipe reads.

    Args:
        recipe: whose model and losses read.
        present: names of what is recorded.

    Raises:
        DatasetError: a stream is missing that the model or one of its loss terms needs.
    """
    model = recipe.model
    for sensor in model.sensors:
        if missing := _missing(STREAMS_OF[sensor], present):
            usable = [name for name in STREAMS_OF if not _missing(STREAMS_OF[name], present)]
            there = f", or pass --model.sensors with some of {', '.join(usable)}" if usable else ""
            raise DatasetError(
                f"The recipe's model sees {sensor!r}, for which the dataset lacks "
                f"{', '.join(missing)}. Record them{there}."
            )
    for name in recipe.objective.weights:
        if missing := _missing(TERMS[name].streams(model), present):
            raise DatasetError(
                f"objective.{name} reads {', '.join(missing)}, which the dataset lacks. Record "
                f"them, or pass {_without(name)}."
            )


def check_cameras(recipe: Recipe, kinds: Mapping[str, str]) -> None:
    """Check that the further cameras that a recipe's model sees are colour cameras of the data.

    Args:
        recipe: whose model sees them.
        kinds: of what is recorded, by name.

    Raises:
        DatasetError: one is not.
    """
    there = _further_cameras(kinds)
    if wrong := [name for name in recipe.model.cameras if name not in there]:
        other = f"it has {', '.join(there)}" if there else "it has no other than rgb"
        raise DatasetError(
            f"model.cameras names {wrong[0]!r}, which is no further colour camera of the dataset: "
            f"{other}."
        )


def unseen_cameras(recipe: Recipe, kinds: Mapping[str, str]) -> str:
    """Say which colour cameras the model does not see; empty where it sees all, or no colour.

    Args:
        recipe: adapted to the data.
        kinds: of what is recorded, by name.
    """
    there = _further_cameras(kinds)
    unseen = [name for name in there if name not in recipe.model.cameras]
    if "rgb" not in recipe.model.sensors or not unseen or recipe.model.trunk:
        return ""
    return (
        f"The model does not see the colour camera{'s' if len(unseen) > 1 else ''} "
        f"{', '.join(unseen)}. --model.cameras {' '.join(there)} adds "
        f"{'them' if len(unseen) > 1 else 'it'}; a step of training then takes longer."
    )


def _further_cameras(kinds: Mapping[str, str]) -> list[str]:
    return [name for name, kind in kinds.items() if kind == "rgb" and name != "rgb"]


def _missing(streams: tuple[str, ...], present: set[str]) -> list[str]:
    wanted = recorded_names(streams)
    return [name for name in wanted if name not in present]


def _without(term: str) -> str:
    """Return the flag that turns a loss term off."""
    return f"--objective.{term.replace('_', '-')} 0"


def with_fan(recipe: Recipe, dataset: Dataset) -> Recipe:
    """Return the recipe with the directions of the dataset's beams, where its model sees a scan.

    Raises:
        DatasetError: the dataset does not say where its beams point.
    """
    model = recipe.model
    if "scan" not in model.sensors or model.azimuths_rad:
        return recipe
    stream = dataset.read_low(0).streams.get("lidar")
    if stream is None or stream.beams_rad is None:
        raise DatasetError(
            f"{dataset.path}: has no lidar whose beams are known; pass --model.azimuths-rad or "
            "leave 'scan' out of --model.sensors."
        )
    azimuths, elevations = (tuple(column.tolist()) for column in stream.beams_rad.T)
    return replace(recipe, model=replace(model, azimuths_rad=azimuths, elevations_rad=elevations))


def needed_streams(recipe: Recipe, cache: Cache) -> tuple[str, ...]:
    """Return the names of the cache's streams that a recipe's model and losses read."""
    model, present = recipe.model, _recorded(cache)
    names = recorded_names(model.streams)
    for term in (TERMS[name] for name in recipe.objective.weights):
        names += recorded_names(term.streams(model))
        optional = recorded_names(term.optional_streams(model))
        names += [name for name in optional if name in present]
    names += [name for name in model.derived_streams if name in present]
    return tuple(dict.fromkeys(names))


def _recorded(cache: Cache) -> set[str]:
    """Return the names of a cache's streams; lenses are known or not."""
    return {*cache.kinds} | ({"intrinsics"} if cache.intrinsics is not None else set())
