"""Advice on a dataset of videos: can ``armillary train world`` learn from it?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from armillary.core.errors import TrainingError
from armillary.data import open_dataset
from armillary.recipes.clips import check_clips, clip_frames
from armillary.recipes.world import adapted, world

_NAMED = 20  # files in one sentence


def video_advice(data: Path) -> list[str]:
    """Say whether ``armillary train world`` can learn from a dataset of videos, and what to do.

    Args:
        data: folder of the dataset.
    """
    dataset = open_dataset(data)
    recipe = adapted(world(), dataset)
    short = np.flatnonzero(dataset.lengths < clip_frames(recipe))
    lines = []
    if len(short):
        names = [f"{dataset.read_low(int(index)).source}" for index in short[:_NAMED]]
        more = f" and {len(short) - _NAMED} more" if len(short) > _NAMED else ""
        clip_s = clip_frames(recipe) / dataset.fps
        lines.append(
            f"too short for a clip of armillary train world ({clip_s:.1f} s): "
            f"{', '.join(names)}{more}"
        )
    try:
        check_clips(recipe, dataset.lengths, dataset.fps, str(data))
    except TrainingError as error:
        lines.append(f"armillary train world would refuse: {error}")
    return lines
