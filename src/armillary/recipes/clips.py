"""Clips: how a recipe's clips fit the recordings, decided before anything is prepared.

Lengths are in recorded steps (frames). A clip of T model steps with frame skip k spans
(T - 1) k + 1 of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Int

from armillary.core.errors import ConfigError, TrainingError
from armillary.data import split_episodes
from armillary.recipes.recipe_config import Recipe

_FEWEST = 2  # clips of a batch
_MOST_NAMED = 5  # episodes that are too short


def clip_frames(recipe: Recipe) -> int:
    """Return how many recorded steps a training clip spans."""
    return (recipe.clip_length - 1) * recipe.model.frame_skip + 1


def split(
    recipe: Recipe, lengths: Int[np.ndarray, " E"]
) -> tuple[Int[np.ndarray, " F"], Int[np.ndarray, " G"]]:
    """Return the episodes to train on and those held out, of those that hold a clip.

    Raises:
        DatasetError: none does.
    """
    usable = np.flatnonzero(lengths >= clip_frames(recipe))
    training, held_out = split_episodes(len(usable), recipe.held_out, recipe.seed)
    return usable[training], usable[held_out]


def too_short(recipe: Recipe, lengths: Int[np.ndarray, " E"], fps: float) -> str:
    """Say which episodes are shorter than a clip, the first five by number; empty where none is."""
    short = np.flatnonzero(lengths < clip_frames(recipe))
    if not len(short):
        return ""
    clip_s, skip = clip_frames(recipe) / fps, _longest_skip(recipe, int(lengths.min()))
    hint = f" With --model.frame-skip {skip} all are used." if skip else ""
    named = [f"{index} ({lengths[index] / fps:.1f} s)" for index in short[:_MOST_NAMED]]
    more = f" and {len(short) - _MOST_NAMED} more" if len(short) > _MOST_NAMED else ""
    return (
        f"{len(short)} of {len(lengths)} episodes are shorter than a clip of this recipe "
        f"({clip_s:.1f} s) and are left out: {', '.join(named)}{more}.{hint}"
    )


def check_clips(recipe: Recipe, lengths: Int[np.ndarray, " E"], fps: float, where: str) -> None:
    """Refuse recordings that do not give one batch of clips, and say what would work.

    Args:
        recipe: with its frame skip chosen.
        lengths: recorded steps of each episode.
        fps: recorded steps per second.
        where: the dataset, for the sentence.

    Raises:
        TrainingError: there are too few clips.
    """
    count = clip_count(recipe, lengths)
    if count >= recipe.batch_size:
        _check_finetuning(recipe, lengths, where)
        return
    flags = next((said for said, other in _others(recipe, lengths) if _works(other, lengths)), None)
    advice = f"Pass {flags}, or record more." if flags else "Record more or longer episodes."
    needed, step_s = clip_frames(recipe), recipe.model.frame_skip / fps
    clip = f"{needed / fps:.1f} s ({recipe.clip_length} model steps of {step_s:.2g} s)"
    longest = int(lengths.max(initial=0))
    if longest < needed:
        raise TrainingError(
            f"{where}: a clip of this recipe lasts {clip}, the longest of {len(lengths)} episodes "
            f"lasts {longest / fps:.1f} s. {advice}"
        )
    raise TrainingError(
        f"{where}: gives {count} training clips of {clip}, a batch takes {recipe.batch_size}. "
        f"{advice}"
    )


def clip_count(recipe: Recipe, lengths: Int[np.ndarray, " E"]) -> int:
    """Return the number of training clips that episodes of these lengths give."""
    if not (lengths >= clip_frames(recipe)).any():
        return 0
    training, _ = split(recipe, lengths)
    return int((lengths[training] - clip_frames(recipe) + 1).sum())


def _works(recipe: Recipe, lengths: Int[np.ndarray, " E"]) -> bool:
    if clip_count(recipe, lengths) < recipe.batch_size:
        return False
    wanted = recipe.settling.clip_length if recipe.settling.steps else 0
    return wanted <= _longest_clip(recipe, lengths)


def _longest_clip(recipe: Recipe, lengths: Int[np.ndarray, " E"]) -> int:
    """Return the most model steps that a clip of a training episode may have."""
    training, _ = split(recipe, lengths)
    return (int(lengths[training].max()) - 1) // recipe.model.frame_skip + 1


def _check_finetuning(recipe: Recipe, lengths: Int[np.ndarray, " E"], where: str) -> None:
    """Refuse longer clips for the predictor than there are."""
    wanted, most = recipe.settling.clip_length, _longest_clip(recipe, lengths)
    if not recipe.settling.steps or wanted <= most:
        return
    fits = recipe.settling.rollout_steps < most
    advice = f"Pass --finetune.clip-length {most}, or record" if fits else "Record"
    raise TrainingError(
        f"{where}: finetune.clip_length asks for clips of {wanted} model steps, the longest "
        f"training episode has {most}. {advice} longer episodes."
    )


def _others(recipe: Recipe, lengths: Int[np.ndarray, " E"]) -> Iterator[tuple[str, Recipe]]:
    """Yield other settings that need less, the nearest first, each with its flags."""
    for skip in range(recipe.model.frame_skip - 1, 0, -1):
        yield from _changed(recipe, frame_skip=skip)
    for length in range(recipe.clip_length - 1, 1, -1):
        yield from _changed(recipe, frame_skip=1, clip_length=length)
    for skip in (recipe.model.frame_skip, 1):
        for length in range(recipe.clip_length, 1, -1):
            for _, other in _changed(recipe, frame_skip=skip, clip_length=length):
                batch = min(recipe.batch_size, clip_count(other, lengths))
                if batch >= _FEWEST:
                    yield from _changed(recipe, skip, length, batch)


def _changed(
    recipe: Recipe, frame_skip: int, clip_length: int = 0, batch_size: int = 0
) -> Iterator[tuple[str, Recipe]]:
    """Yield the recipe with these settings and their flags, unless they do not go together."""
    length, batch = clip_length or recipe.clip_length, batch_size or recipe.batch_size
    flags = [
        (f"--model.frame-skip {frame_skip}", frame_skip != recipe.model.frame_skip),
        (f"--clip-length {length}", length != recipe.clip_length),
        (f"--batch-size {batch}", batch != recipe.batch_size),
    ]
    try:
        model = replace(recipe.model, frame_skip=frame_skip)
        other = replace(recipe, model=model, clip_length=length, batch_size=batch)
    except ConfigError:
        return
    yield " ".join(flag for flag, differs in flags if differs), other


def _longest_skip(recipe: Recipe, shortest: int) -> int:
    """Return the largest frame skip with which the shortest episode holds a clip; 0 if none."""
    return (shortest - 1) // (recipe.clip_length - 1)
