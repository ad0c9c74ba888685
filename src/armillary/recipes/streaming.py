"""Train a recipe on a dataset that stays where it is: episodes come and go through a pool on disk.

The same as ``train_recipe`` but for where clips come from (``data/streamed.py``). What needs clips
in any order uses the first block of episodes and those that are held out: the scales, the
fine-tuning of the predictor, the goal policy and the diagnosis.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from armillary.core.alone import alone_in
from armillary.core.errors import ConfigError, StorageError
from armillary.core.files import claimed_folder
from armillary.core.progress import Bars, no_bars
from armillary.data import Windows
from armillary.data.remote import open_remote
from armillary.data.streamed import Pool, StreamedWindows, drop_folder
from armillary.recipes.clips import check_clips, split, too_short
from armillary.recipes.recipe import (
    after_training,
    check_cameras,
    check_streams,
    fewer_steps,
    fitted,
    needed_streams,
    note_data,
    point_sampling,
    with_fan,
    with_said,
)
from armillary.recipes.recipe_config import Recipe
from armillary.recipes.world import adapted
from armillary.training import ComputeConfig, TrainSummary, check_free, train
from armillary.training.processes import planned_processes

POOL = "pool"  # folder of a run, while it is trained
_SOURCE, _EPISODES, _LOCK = "source", "episodes", "lock"
_GB, _MOST_GB = 10**9, 10**9


def stream_recipe(
    recipe: Recipe,
    address: str,
    out: Path,
    resume: bool = False,
    bars: Bars = no_bars,
    pool_gb: float = 4.0,
    diagnosed: bool = True,
    acting: bool = True,
    compute: ComputeConfig | None = None,
) -> TrainSummary:
    """Train a recipe on a dataset behind an address; no more than a pool of it is ever on disk.

    The pool is in ``out`` and is deleted when the run is done. A run that is killed leaves it, and
    goes on with its first block.

    Args:
        recipe: what to train.
        address: of the dataset, for ``fsspec``.
        out: folder of the run.
        resume: go on from the newest checkpoint in ``out``; with the same pool.
        bars: makes a progress bar for each stage.
        pool_gb: most gigabytes of the dataset on disk, prepared or not.
        diagnosed: as in ``train_recipe``.
        acting: as in ``train_recipe``.
        compute: as in ``train_recipe``.

    Raises:
        ConfigError: an unknown address, a pool that is too small, ``out`` holds a run already,
            several processes, or a trunk.
        MissingExtraError: a package for this kind of address is not installed.
        DatasetError: the dataset cannot be read, or lacks what the recipe reads.
        TrainingError: its episodes do not give one batch of clips.
        StorageError: it cannot be reached, or ``out`` is not writable.
    """
    if planned_processes() > 1:
        raise ConfigError(
            "Streaming runs in one process so far. Copy the dataset here, or leave torchrun out."
        )
    if recipe.model.trunk:
        raise ConfigError(
            "A trunk sees a dataset once, before the training, so it must lie on a disk. Copy the "
            "dataset here, or leave model.trunk out."
        )
    if not 0 < pool_gb < _MOST_GB:
        raise ConfigError(
            f"The pool must be above 0 GB and below {_MOST_GB:,} GB, got {pool_gb:g}."
        )
    check_free(out, resume)
    with claimed_folder(out), alone_in(out / POOL, "training", _LOCK):
        try:
            found = _streamed(
                recipe, address, out, resume, bars, pool_gb, diagnosed, acting, compute
            )
        except BaseException:
            if not (out / "run.json").exists():  # refused before it began
                shutil.rmtree(out / POOL, ignore_errors=True)
            raise
        for index in (out / POOL / _EPISODES).glob("*/index.json"):
            drop_folder(index.parent)
        shutil.rmtree(out / POOL, ignore_errors=True)
    return found


def _streamed(
    recipe: Recipe,
    address: str,
    out: Path,
    resume: bool,
    bars: Bars,
    pool_gb: float,
    diagnosed: bool,
    acting: bool,
    compute: ComputeConfig | None,
) -> TrainSummary:
    folder = out / POOL
    shutil.rmtree(folder / _SOURCE, ignore_errors=True)
    dataset = open_remote(address, folder / _SOURCE)
    asked, recipe = recipe, with_fan(adapted(recipe, dataset), dataset)
    check_cameras(recipe, dataset.cameras)
    check_streams(recipe, {*dataset.streams, "intrinsics"})
    check_clips(recipe, dataset.lengths, dataset.fps, address)
    size, points = recipe.model.encoder.image_size, point_sampling(recipe.model)
    pool = Pool(dataset, size, points, folder / _EPISODES, int(pool_gb * _GB))
    _check_disk(pool)
    training, held_out = split(recipe, dataset.lengths)
    blocks = pool.blocks(training, held_out, recipe.seed)
    with bars("preparing") as progress:
        base = pool.prepared([*blocks.training[0], *blocks.held_out], progress)
    pool.keep_only(base)
    recipe = fitted(recipe, base)
    first, judging = (
        np.flatnonzero(np.isin(base.episodes, some))
        for some in (blocks.training[0], blocks.held_out)
    )
    streams = needed_streams(recipe, base)
    clip = recipe.clip_length, recipe.model.frame_skip
    windows = StreamedWindows(pool, blocks, base, *clip, streams, recipe.seed)
    judged = Windows(base, judging, *clip, streams) if len(judging) else None
    try:
        with bars("training") as progress:
            summary = train(
                recipe.model,
                recipe,
                windows,
                judged,
                out,
                resume,
                recipe.tracker,
                progress,
                compute,
            )
    finally:
        windows.close()
    note_data(out, base, training, held_out)
    failed = after_training(base, first, judging, recipe, out, bars, diagnosed, acting)
    short = too_short(recipe, dataset.lengths, dataset.fps)
    return with_said(summary, (short, fewer_steps(asked, recipe), failed))


def _check_disk(pool: Pool) -> None:
    """Refuse a pool that the disk has no room for, unless the dataset is smaller than it."""
    home = pool.folder.parent
    held = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    free = shutil.disk_usage(home).free + held
    if pool.most_bytes > free and pool.everything_bytes() > free:
        raise StorageError(
            f"{home}: the pool may take {pool.most_bytes / _GB:.1f} GB, and the disk has "
            f"{free / _GB:.1f} GB left for it. Give --pool-gb less, or an --out with more room."
        )
