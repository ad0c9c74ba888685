"""Splitting: which episodes of a recording a model was trained on, and which were held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Int

from armillary.core.errors import ShapeError
from armillary.data import Cache
from armillary.models import JEPAConfig
from armillary.recipes.recipe import Recipe, fitted, needed_streams
from armillary.recipes.time_split import HELD_OUT_FROM, RUN_DATA, is_in_two, known_data


def known_split(
    model: Path, cache: Cache
) -> tuple[Int[np.ndarray, " E"], Int[np.ndarray, " F"]] | None:
    """Return the episodes that a model was trained on, and those that were held out meanwhile.

    A recording that was moved is known by its content, one that was added to by its folder; what
    was added, and episodes that were too short, are in neither. Nothing may be held out. A model
    without its run, or one trained on another recording, has no say: None.

    Args:
        model: its folder, in the folder of the run.
        cache: the recording, as ``as_trained`` returns it.
    """
    known = known_data(model, cache)
    if is_in_two(cache):
        return np.zeros(1, np.int64), np.ones(1, np.int64)
    training, held_out = (
        np.flatnonzero(np.isin(cache.episodes, known.get(name, ())))
        for name in ("training_episodes", "held_out_episodes")
    )
    if known.get(HELD_OUT_FROM):  # the end of a training episode, which is not whole here
        held_out = held_out[:0]
    return (training, held_out) if len(training) else None


def split_anew(model: Path, what: str) -> str:
    """Return the warning that what judges a head may have taught its model."""
    return (
        f"{model.parent / RUN_DATA}: does not tell how this recording was split for the model, so "
        "episodes were held out anew; where the model was trained on it, it may have learned from "
        f"those that judge its {what}."
    )


def model_streams(config: JEPAConfig, cache: Cache) -> tuple[str, ...]:
    """Return the streams that a model sees, after checking that data and model fit."""
    recipe = Recipe(model=config)
    width = fitted(recipe, cache).model.action_width
    if width not in (0, config.action_width):
        raise ShapeError(
            f"The model takes {config.action_width} action numbers per model step, and the data "
            f"have {width}. Use recordings of the world that it was trained in."
        )
    return needed_streams(recipe, cache)
