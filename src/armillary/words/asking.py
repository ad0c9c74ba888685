"""Asking: a language model is asked about the steps of a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from armillary.core.progress import Progress, silent
from armillary.data import Dataset, open_dataset
from armillary.words.endpoint import Endpoint, ask_pairs
from armillary.words.experience import Experience, stacked
from armillary.words.pairs import draw_pairs


def ask_about(
    data: Path | str | Dataset,
    endpoint: Endpoint,
    out: Path,
    pairs: int,
    seed: int,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Ask which next states are possible, in a recording of the tabletop.

    Args:
        data: the recording, or its folder.
        endpoint: who is asked.
        out: folder of the answers.
        pairs: questions of each kind.
        seed: of their draw; with that of a study they are the same pairs.
        progress: called after each question.

    Returns:
        As ``ask_pairs``.

    Raises:
        DatasetError: the recording lacks states, or its episodes differ in length.
    """
    truth = _states(open_dataset(data))
    return ask_pairs(endpoint, draw_pairs(truth, pairs, seed), truth, out, progress)


def _states(dataset: Dataset) -> Experience:
    """Return recorded states and actions without a look at pictures."""
    episodes = [dataset.read_low(index) for index in range(len(dataset))]
    arrays = {
        name: [one.streams[name].values for one in episodes if name in one.streams]
        for name in ("pusher_xy", "object_xy")
    }
    actions = [one.actions for one in episodes if one.actions is not None]
    return stacked(arrays["pusher_xy"], arrays["object_xy"], actions, len(episodes))
