"""Train a recipe on a dataset that stays where it is: episodes come and go through a pool on disk.

The same as ``train_recipe`` but for where clips come from (``data/streamed.py``). What needs clips
in any order uses the first block of episodes and those that are held out: the scales, the
fine-tuning of the predictor, the goal policy and the diagnosis.

Under ``torchrun`` each process streams its own share of the other episodes into a folder of its own
in the pool. The leading one prepares what all use.
"""

from __future__ import annotations

import shutil
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from armillary.core.alone import alone_in
from armillary.core.errors import ConfigError, StorageError
from armillary.core.files import claimed_folder
from armillary.core.progress import Bars, no_bars
from armillary.data import Cache, Windows
from armillary.data.remote import open_remote
from armillary.data.shares import Share
from armillary.data.streamed import Blocks, Pool, StreamedWindows, bytes_below, drop_folder
from armillary.recipes.clips import check_clips, clip_frames, split, too_short
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
from armillary.training.processes import check_share, leads, planned_processes, planned_rank

POOL = "pool"  # folder of a run, while it is trained
_SOURCE, _EPISODES, _LOCK = "source", "episodes", "lock"
_PROCESS = "process-"  # folder of each of several processes, by its number
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
    goes on with its first block. Several processes share the pool; ``out`` must be on a disk that
    all of them see.

    Args:
        recipe: what to train.
        address: of the dataset, for ``fsspec``.
        out: folder of the run.
        resume: go on from the newest checkpoint in ``out``; with the same pool and the same number
            of processes.
        bars: makes a progress bar for each stage.
        pool_gb: most gigabytes of the dataset on disk, prepared or not, of all processes together.
        diagnosed: as in ``train_recipe``.
        acting: as in ``train_recipe``.
        compute: as in ``train_recipe``.

    Raises:
        ConfigError: an unknown address, a pool that is too small, ``out`` holds a run already,
            a batch or a dataset that so many processes cannot share, or a trunk.
        MissingExtraError: a package for this kind of address is not installed.
        DatasetError: the dataset cannot be read, or lacks what the recipe reads.
        TrainingError: its episodes do not give one batch of clips.
        StorageError: it cannot be reached, or ``out`` is not writable.
    """
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
    # the leading process alone takes the lock; the others write in folders that nobody else does
    alone = alone_in(out / POOL, "training", _LOCK) if leads() else nullcontext()
    with claimed_folder(out), alone:
        try:
            found = _streamed(
                recipe, address, out, resume, bars, pool_gb, diagnosed, acting, compute
            )
        except BaseException:
            if not (out / "run.json").exists():  # refused before it began
                _clear(out / POOL)
            raise
        if leads():
            for index in (out / POOL / _EPISODES).glob("*/index.json"):
                drop_folder(index.parent)
        _clear(out / POOL)
    return found


def _clear(home: Path) -> None:
    """Delete the pool: the leading process all of it, another its own folder."""
    if leads():
        shutil.rmtree(home, ignore_errors=True)
        return
    shutil.rmtree(_own(home), ignore_errors=True)
    with suppress(OSError):  # others are still there, or none is
        home.rmdir()


def _own(home: Path) -> Path:
    """Return the folder in the pool where this process alone writes."""
    return home / f"{_PROCESS}{planned_rank()}" if planned_processes() > 1 else home


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
    home, share = out / POOL, Share(planned_rank(), planned_processes())
    _drop_leftovers(home)
    dataset = open_remote(address, _own(home) / _SOURCE)
    asked, recipe = recipe, with_fan(adapted(recipe, dataset), dataset)
    check_cameras(recipe, dataset.cameras)
    check_streams(recipe, {*dataset.streams, "intrinsics"})
    check_clips(recipe, dataset.lengths, dataset.fps, address)
    check_share(recipe.batch_size, share.count)
    share = replace(share, batch_size=recipe.batch_size)
    size, points = recipe.model.encoder.image_size, point_sampling(recipe.model)
    pool = Pool(dataset, size, points, home / _EPISODES, int(pool_gb * _GB))
    training, held_out = split(recipe, dataset.lengths)
    span = clip_frames(recipe) - 1
    blocks = pool.blocks(training, held_out, recipe.seed, share.count, span)
    base = _base(pool, blocks, bars)
    pool = _own_pool(pool, base, share)
    recipe = fitted(recipe, base)
    first, judging = (
        np.flatnonzero(np.isin(base.episodes, some))
        for some in (blocks.training[0], blocks.held_out)
    )
    streams = needed_streams(recipe, base)
    clip = recipe.clip_length, recipe.model.frame_skip
    windows = StreamedWindows(pool, blocks, base, *clip, streams, recipe.seed, share)
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
    if leads():
        note_data(out, base, training, held_out)
    failed = after_training(base, first, judging, recipe, out, bars, diagnosed, acting)
    short = too_short(recipe, dataset.lengths, dataset.fps)
    return with_said(summary, (short, fewer_steps(asked, recipe), failed))


def _drop_leftovers(home: Path) -> None:
    """Delete what a killed attempt left, but for the first block, which is used again."""
    shutil.rmtree(_own(home) / _SOURCE, ignore_errors=True)
    count = planned_processes()
    if count > 1:
        shutil.rmtree(_own(home) / _EPISODES, ignore_errors=True)
    if leads():
        numbered = {f"{_PROCESS}{rank}" for rank in range(count if count > 1 else 0)}
        for folder in home.glob(f"{_PROCESS}*"):
            if folder.name not in numbered:
                shutil.rmtree(folder, ignore_errors=True)


def _base(pool: Pool, blocks: Blocks, bars: Bars) -> Cache:
    """Return the first block and the held-out episodes; the leading process prepares them."""
    episodes = [*blocks.training[0], *blocks.held_out]
    with bars("preparing") as progress:
        if not leads():
            return pool.awaited(episodes)
        _check_disk(pool)
        # other processes may not have deleted yet what was left to them
        left = sum(map(bytes_below, pool.folder.parent.glob(f"{_PROCESS}*/{_EPISODES}")))
        base = replace(pool, most_bytes=pool.most_bytes - left).prepared(episodes, progress)
    pool.keep_only(base)
    return base


def _own_pool(pool: Pool, base: Cache, share: Share) -> Pool:
    """Return this process's part of the pool, beside the first block."""
    if share.count == 1:
        return pool
    assert base.path is not None
    room = (pool.most_bytes - bytes_below(base.path)) // share.count
    return replace(pool, folder=_own(pool.folder.parent) / _EPISODES, most_bytes=room)


def _check_disk(pool: Pool) -> None:
    """Refuse a pool that the disk has no room for, unless the dataset is smaller than it."""
    home = pool.folder.parent
    free = shutil.disk_usage(home).free + bytes_below(home)
    if pool.most_bytes > free and pool.everything_bytes() > free:
        raise StorageError(
            f"{home}: the pool may take {pool.most_bytes / _GB:.1f} GB, and the disk has "
            f"{free / _GB:.1f} GB left for it. Give --pool-gb less, or an --out with more room."
        )
