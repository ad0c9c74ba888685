"""Adding a policy: a goal policy for a model that has none, or on another recording."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from armillary.core.errors import ConfigError
from armillary.core.progress import Progress, silent
from armillary.data import open_dataset, split_episodes
from armillary.models import load_model
from armillary.recipes.goal_policy import GoalPolicySummary, add_goal_policy
from armillary.recipes.recipe import Recipe, prepared
from armillary.recipes.splitting import known_split, model_streams, split_anew
from armillary.recipes.time_split import as_trained
from armillary.zoo.finding import find_model


def learn_goal_policy(
    model: str | Path,
    data: str | Path,
    steps: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> GoalPolicySummary:
    """Train a goal policy on a model's latents of a recording, and leave it in the model's folder.

    Args:
        model: model folder, or run folder, on this machine.
        data: folder of a dataset with actions.
        steps: of training; None takes the default, or fewer where little was recorded.
        seed: names weights and samples.
        progress: called while preparing and after each step.

    Raises:
        CheckpointError: not a model.
        ConfigError: steps below 1, or a model that is not in a folder of yours.
        DatasetError: the dataset cannot be read, or lacks a stream that the model sees.
        ShapeError: the dataset's actions are not the model's.
        TrainingError: there are no actions, or episodes are too short for a model step.
        StorageError: the model's folder is not writable.
    """
    if not Path(model).is_dir():
        raise ConfigError(
            f"{model}: is not a folder, and the policy is stored in the model's. Download it first."
        )
    folder = find_model(model)
    cache = prepared(open_dataset(data), load_model(folder).config, progress)
    model_streams(load_model(folder).config, cache)  # do data and model fit?
    cache = as_trained(folder, cache)
    known = known_split(folder, cache)
    split = known or split_episodes(cache.num_episodes, Recipe().held_out, seed)
    found = add_goal_policy(folder, cache, *split, steps, seed, progress)
    return found if known else replace(found, warnings=(split_anew(folder, "policy"),))
