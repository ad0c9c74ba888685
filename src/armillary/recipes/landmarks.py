"""Landmarks: let a model act towards goals that are farther than those of its training."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from armillary.core.errors import ConfigError, TrainingError
from armillary.core.progress import Progress, silent
from armillary.data import open_dataset, split_episodes
from armillary.models import load_model
from armillary.models.goal_policy_file import POLICY_FILE
from armillary.models.landmarks import save_landmarks
from armillary.recipes.goal_policy import encoded_some, long_enough
from armillary.recipes.recipe import Recipe, prepared
from armillary.recipes.splitting import known_split, model_streams, split_anew
from armillary.recipes.time_split import as_trained
from armillary.training.goal_policy import GoalPolicyTraining
from armillary.training.landmarks import fit_landmarks, known_share
from armillary.zoo.finding import find_model

# Of the ways of held-out episodes; OGBench's large maze has 0.93. Where things lie elsewhere in
# other episodes, ways between two places need not be there.
LEAST_KNOWN = 0.9


@dataclass(frozen=True)
class LandmarksSummary:
    """What was found.

    Attributes:
        file: the landmarks, in the model's folder.
        seconds: encoding and finding.
        landmarks: how many.
        ways: between them.
        far: model steps; nine in ten goals of the policy's training are nearer. Goals that are
            farther than half of it get sub-goals.
        known: share of the ways of held-out episodes that are known.
        warnings: what keeps these numbers from being what they seem, one sentence each.
    """

    file: Path
    seconds: float
    landmarks: int
    ways: int
    far: float
    known: float
    warnings: tuple[str, ...] = ()


def learn_landmarks(
    model: str | Path, data: str | Path, seed: int = 0, progress: Progress = silent
) -> LandmarksSummary:
    """Find landmarks in a recording, and leave them beside a model's goal policy.

    From then on the model acts with sub-goals. To act without them again, remove the file.

    Args:
        model: model folder, or run folder, on this machine.
        data: folder of a dataset with actions.
        seed: names what is drawn.
        progress: called while preparing and after each landmark.

    Raises:
        CheckpointError: not a model.
        ConfigError: a model that is not in a folder of yours, or has no goal policy.
        DatasetError: the dataset cannot be read, or lacks a stream that the model sees.
        ShapeError: the dataset's actions are not the model's.
        TrainingError: episodes are too short, none is held out, or fewer than ``LEAST_KNOWN`` of
            the ways of held-out episodes are known.
        StorageError: the model's folder is not writable.
    """
    began = time.perf_counter()
    if not Path(model).is_dir():
        raise ConfigError(
            f"{model}: is not a folder, and landmarks are stored in the model's. Download it first."
        )
    folder = find_model(model)
    if not (folder / POLICY_FILE).is_file():
        raise ConfigError(
            f"{folder}: has no goal policy that could go from landmark to landmark. Train one "
            f"with: armillary policy {folder} DATASET"
        )
    opened = load_model(folder)
    cache = prepared(open_dataset(data), opened.config, progress)
    model_streams(opened.config, cache)  # do data and model fit?
    cache = as_trained(folder, cache)
    known_before = known_split(folder, cache)
    split = known_before or split_episodes(cache.num_episodes, Recipe().held_out, seed)
    for name, episodes in zip(("recorded", "held-out"), split, strict=True):
        if not long_enough(cache, episodes, opened.config.frame_skip):
            raise TrainingError(
                f"No {name} episode has more than one model step, "
                f"{opened.config.frame_skip + 1} recorded steps. Record more and longer ones."
            )
    training, held_out = (encoded_some(opened, cache, one, seed) for one in split)
    found = fit_landmarks(training, GoalPolicyTraining().farthest, seed, progress)
    known = known_share(found, held_out)
    if np.isnan(known):
        raise TrainingError(
            f"{data}: no held-out episode goes from one of the {len(found.latents):,} landmarks to "
            "another, so nothing tells whether the ways between them are there in other episodes. "
            "Record more and longer episodes. Nothing was written."
        )
    if known < LEAST_KNOWN:
        raise TrainingError(
            f"{data}: only {known:.0%} of the ways in held-out episodes are known from the others, "
            f"and {LEAST_KNOWN:.0%} are needed. What lies between two places seems to differ from "
            "episode to episode, so sub-goals would mislead. Nothing was written."
        )
    file = save_landmarks(found, folder)
    warnings = () if known_before else (split_anew(folder, "landmarks"),)
    seconds = time.perf_counter() - began
    count = len(found.latents), len(found.steps)
    return LandmarksSummary(file, seconds, *count, found.far, known, warnings)
