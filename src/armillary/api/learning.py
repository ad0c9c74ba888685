"""Learning for the API: train a recipe, load a model, upload one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from armillary.api.data import AnyPath, open_dataset
from armillary.api.progress import progress_of
from armillary.api.results import Run
from armillary.core.addresses import is_address
from armillary.core.changing import changed
from armillary.core.errors import unknown_recipe
from armillary.core.progress import Progress
from armillary.data import Cache, Dataset
from armillary.models import JEPA, save_model
from armillary.recipes import RECIPES, Recipe, train_recipe
from armillary.recipes.streaming import stream_recipe
from armillary.zoo.finding import find_model, loaded
from armillary.zoo.uploading import upload_model


def train(
    recipe: str | Recipe,
    data: AnyPath | Dataset | Cache,
    out: AnyPath,
    *,
    resume: bool = False,
    pool_gb: float = 4.0,
    progress: bool | Progress | None = None,
    **changes: Any,
) -> Run:
    """Train a model on a dataset.

        run = arm.train("world", data, "out/run", steps=150, optimizer={"lr": 3e-4})

    Args:
        recipe: its name (``world``), or a ``Recipe``.
        data: a dataset, its folder, or its fsspec address (``s3://...``), which is streamed.
        out: run folder to write: model, checkpoints, log.
        resume: go on where an interrupted run stopped; the weights end up the same to the bit.
        pool_gb: most gigabytes on disk of what is streamed.
        progress: as for ``record``.
        changes: fields of the recipe to change, e.g. ``steps`` (optimizer steps), ``batch_size``
            (clips), ``clip_length`` (model steps); those of a part as a mapping.

    Returns:
        The run: its folder, its model, its log.

    Raises:
        DatasetError: the dataset cannot be read, or lacks a stream that the model sees.
        ConfigError: an unknown recipe or field, or ``out`` holds a run already.
        TrainingError: too few clips for a batch, or the loss is not a number.
        StorageError: ``out`` is not writable.
    """
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise unknown_recipe(recipe)
        recipe = RECIPES[recipe]()
    recipe = changed(recipe, _dotted(changes))

    def bars(stage: str) -> Any:
        return progress_of(stage, progress)

    if is_address(data):
        summary = stream_recipe(recipe, str(data), Path(out), resume, bars, pool_gb)
    else:
        summary = train_recipe(recipe, open_dataset(data), Path(out), resume, bars)
    for sentence in summary.warnings:
        warnings.warn(sentence, stacklevel=2)
    return Run(out, summary)


def load_model(model: AnyPath | Run | JEPA, *, trainable: bool = False) -> JEPA:
    """Load a model, ready for evaluation; nothing in its folder is executed.

    Its weights take no gradients unless ``trainable``: ``encode`` and ``rollout`` then keep no
    graph, and plans that ask for a gradient still get theirs.

    Args:
        model: a run, a run folder, a model folder, or a Hub repository id such as ``user/name``;
            a loaded model is returned as it is.
        trainable: let the weights take gradients.

    Returns:
        The model: ``encode`` makes latents [B T N D] of clips, ``rollout`` predicts latents
        [B S L N D] of S plans with L actions each.

    Raises:
        CheckpointError: no model is there, or its tensors are not those of its configuration.
    """
    if isinstance(model, JEPA) and not trainable:
        return model
    return loaded(model).requires_grad_(trainable)


def push_to_hub(
    model: AnyPath | Run | JEPA,
    repo_id: str,
    *,
    private: bool = False,
    commit_message: str = "Upload a world model of armillary",
) -> str:
    """Upload a model to the Hugging Face Hub; ``load_model`` with the same name loads it again.

        arm.push_to_hub(run, "user/name")
        model = arm.load_model("user/name")

    Only the files of a model folder are uploaded, in one commit: configuration, weights and
    normalizer, and where they are there, the goal policy and the card ``README.md``. Checkpoints,
    logs and data of a run stay here.

    Args:
        model: a run, a run folder, a model folder, or a model, which has no goal policy.
        repo_id: ``owner/name``. The repository is made where there is none.
        private: whether a new repository is private. One that exists stays as it is.
        commit_message: of the commit.

    Returns:
        The address of the repository.

    Raises:
        CheckpointError: not a complete model, or its folder holds a pickle.
        ConfigError: ``repo_id`` is not ``owner/name``, or no token of the Hub was found.
        StorageError: the Hub refuses, or cannot be reached.
    """
    if not isinstance(model, JEPA):
        return upload_model(find_model(model), repo_id, private, commit_message)
    with TemporaryDirectory() as folder:
        save_model(model, Path(folder) / "model")
        return upload_model(Path(folder) / "model", repo_id, private, commit_message)


def _dotted(changes: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return nested changes as one mapping by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in changes.items():
        inside = isinstance(value, Mapping)
        flat |= _dotted(value, f"{before}{name}.") if inside else {f"{before}{name}": value}
    return flat
