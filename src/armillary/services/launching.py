"""Launching: a training is checked here and then runs as a job of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from armillary.core.addresses import is_address
from armillary.data import open_dataset
from armillary.launch import SlurmJob, Submitted, refuse_if_in_use, submit
from armillary.recipes.recipe import checked
from armillary.recipes.recipe_config import Recipe
from armillary.training import check_free, check_settings, check_share

_RESUME = "--resume"
# what a model's shape takes from prepared data
_OF_DATA = ("action_width", "proprio_width", "azimuths_rad", "elevations_rad")


def launch_training(
    recipe: Recipe, data: str, out: Path, words: Sequence[str], asked: SlurmJob
) -> Submitted:
    """Hand a training to Slurm, unless it would be refused there at once.

    Args:
        recipe: what the words train.
        data: dataset folder or address that they name.
        out: run folder that they name.
        words: the command, from ``train`` on. Without ``--resume`` the folder must hold no run.
        asked: what to ask Slurm for.

    Raises:
        ConfigError: a job trains in ``out`` already, ``out`` holds a run, the batch cannot be
            shared among so many processes, or Slurm refuses the job.
        CheckpointError: the run in ``out`` was made with other settings.
        DatasetError: the dataset cannot be read, or lacks what the recipe reads.
        TrainingError: its episodes do not give one batch of clips.
        StorageError: ``out`` is not writable, or its disk is full.
    """
    refuse_if_in_use(out)
    resume = _RESUME in words
    if is_address(data):
        check_free(out, resume)
    else:
        recipe = checked(recipe, open_dataset(data), out, resume)
        check_share(recipe.batch_size, asked.all_processes)
        check_settings(recipe.model, recipe, out, _OF_DATA)
    # every attempt goes on where the one before it was stopped
    return submit(words if resume else [*words, _RESUME], out, asked)
