"""Time split: a recording that is one episode, as two, so that its end can be held out.

Many logs are one long recording. Held out by episode, nothing would be left to judge on.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from armillary.core.errors import TrainingError
from armillary.core.files import read_json
from armillary.data import Cache
from armillary.recipes.clips import check_clips, clip_frames
from armillary.recipes.recipe_config import Recipe

RUN_DATA = "data.json"  # of a run: what it was trained on
HELD_OUT_FROM = "held_out_from"  # in it: the first frame of the only episode that was held out
_SHARE = 0.2  # of the only episode
_LEAST_STEPS = 40  # model steps that are held out: two blocks, which intervals draw


def in_two(cache: Cache, cut: int) -> Cache:
    """Return a cache of one episode as two episodes, before and from frame ``cut``."""
    lens = cache.intrinsics
    return replace(
        cache,
        starts=np.array([0, cut, cache.num_frames], np.int64),
        episodes=np.repeat(cache.episodes[:1], 2),
        intrinsics=None if lens is None else np.repeat(lens[:1], 2, axis=0),
    )


def is_in_two(cache: Cache) -> bool:
    """Tell whether a cache is one episode as two."""
    return cache.num_episodes == 2 and cache.episodes[0] == cache.episodes[1]


def cut_in_two(recipe: Recipe, cache: Cache) -> Cache:
    """Return a cache whose only episode is in two; the same cache where that cannot be.

    It cannot be where there are several episodes, where nothing is to be held out, and where either
    part would be too short.

    Args:
        recipe: that is to be trained.
        cache: prepared episodes.
    """
    skip = recipe.model.frame_skip
    if cache.num_episodes != 1 or not recipe.held_out:
        return cache
    steps = round(cache.num_frames / skip * max(_SHARE, recipe.held_out))
    cut = (cache.num_frames // skip - steps) * skip
    if steps < _LEAST_STEPS or cache.num_frames - cut < clip_frames(recipe) or cut <= 0:
        return cache
    try:
        check_clips(recipe, np.array([cut]), cache.fps, "")
    except TrainingError:
        return cache
    return in_two(cache, cut)


def split_said(cache: Cache) -> str:
    """Say that the only episode was split in time; empty where it was not."""
    if not is_in_two(cache):
        return ""
    seconds = int(cache.lengths[1]) / cache.fps
    return (
        f"The only episode is split in time: its last {seconds:.0f} s are held out. "
        "--held-out 0 trains on all of it."
    )


def as_trained(model: Path, cache: Cache) -> Cache:
    """Return a recording in two where the run of a model has held out its end.

    Args:
        model: its folder, in the folder of the run.
        cache: the recording.
    """
    known = known_data(model, cache)
    cut = known.get(HELD_OUT_FROM)
    if cache.num_episodes != 1 or not isinstance(cut, int) or not 0 < cut < cache.num_frames:
        return cache
    return in_two(cache, cut)


def known_data(model: Path, cache: Cache) -> dict[str, Any]:
    """Return what the run of a model says of this recording; empty where it says nothing.

    Args:
        model: its folder, in the folder of the run.
        cache: the recording; one that was moved is known by its content, one that was added to by
            its folder.
    """
    file = model.parent / RUN_DATA
    known = read_json(file) if file.is_file() else {}
    if not isinstance(known, dict) or not any(
        cache.about.get(name) and known.get(name) == cache.about[name]
        for name in ("identity", "dataset")
    ):
        return {}
    return known
