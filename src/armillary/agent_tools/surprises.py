"""Surprises: where a model's predictions fail in a stretch of an episode.

What is usual comes from other episodes of the same dataset, of which a bounded sample is taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from armillary.agent_tools.excerpts import excerpt
from armillary.agent_tools.library import Pair
from armillary.core.errors import DatasetError
from armillary.core.values import Batch
from armillary.report import top_moments
from armillary.services.asking import normal_clips, normal_pictures, unusual_events
from armillary.understanding import calibrate, surprise
from armillary.understanding.unusual import MEANING

_MOST_EVENTS = 20


def surprise_facts(pair: Pair, episode: int, steps: range) -> dict[str, Any]:
    """Return the peaks of surprise with their times, and what rules find in the pictures.

    Args:
        pair: model and dataset.
        episode: number of the episode.
        steps: recorded steps, of more than one model step.

    Raises:
        DatasetError: the dataset has no other episode.
    """
    others = pair.sample.others(episode)
    if not len(others):
        raise DatasetError(
            f"The dataset {pair.name!r} has one episode, and others are needed to say what is "
            "usual."
        )
    clip = pair.batch(pair.cache([excerpt(pair.dataset, episode, steps, pair.config)]))
    usual = calibrate(pair.network, normal_clips(pair.sample.cache, others, pair.stride))
    trace = surprise(pair.network, usual, clip)
    values, copied = trace.values[0], trace.copy_last[0]
    begin_s = steps[0] / pair.dataset.fps
    peaks = [
        {
            "step": steps[0] + one * pair.stride,
            "time_s": begin_s + one * pair.step_s,
            "surprise": float(values[one - 1]),
            "surprise_of_no_change": float(copied[one - 1]),
        }
        for one in sorted(top_moments(values))
    ]
    return {
        "judged_steps": [steps[0], steps[-1]],
        "usual": 1.0,
        "median": float(np.median(values)),
        "peaks": peaks,
        "calibrated_on_episodes": len(others),
        "events": _events(pair, clip, others, begin_s),
    }


def _events(
    pair: Pair, clip: Batch, others: np.ndarray, begin_s: float
) -> list[dict[str, Any]] | None:
    """Return what rules find in the pictures; None where there are none, or too few usual ones."""
    pictures = normal_pictures(pair.sample.cache, others, pair.stride)
    found = unusual_events(clip, pictures, pair.step_s).get("events") if pictures else None
    if found is None:
        return None
    return [
        {
            "from_s": begin_s + one.begin_s,
            "to_s": begin_s + one.end_s,
            "what": MEANING[one.measure],
            "times_the_threshold": one.score,
        }
        for one in found[:_MOST_EVENTS]
    ]
