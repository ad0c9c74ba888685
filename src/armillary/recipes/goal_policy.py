"""Goal policy: train one on a model's latents, at the end of a training.

Episodes that were held out while the model was trained judge its policy, too, and teach it nothing.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from armillary.core.errors import ArmillaryError, TrainingError
from armillary.core.files import write_json
from armillary.core.progress import Bars, Progress, no_bars, silent
from armillary.core.rng import generator
from armillary.data import Cache, Windows
from armillary.models import JEPA, load_model
from armillary.models.goal_policy_file import POLICY_FILE, save_goal_policy
from armillary.recipes.recipe_config import Recipe, recorded_names
from armillary.training.augment import AugmentConfig
from armillary.training.encoded_episodes import Appearances, EncodedEpisodes, encode_episodes
from armillary.training.goal_policy import (
    GoalPolicyTraining,
    fit_goal_policy,
    judge_goal_policy,
)
from armillary.training.loop import threads
from armillary.training.processes import leads

SUMMARY = "policy.json"
# Each recorded step is a sample this often. Without noise on the latents and with 40 passes, the
# likelihood of held-out actions had fallen again on 300 episodes of PointMaze.
_PASSES = 20
_LEAST_STEPS = 100
_MOST_BYTES = 1 << 29  # of latents that are held in memory
_APPEARANCES = 3  # further appearances of each episode, where the recipe varies what is seen


@dataclass(frozen=True)
class GoalPolicySummary:
    """Summary of the training of a goal policy.

    Attributes:
        file: the policy, in the model's folder.
        seconds: encoding and training.
        r2: share of the variance of held-out actions that it explains, one model step from the
            goal; None where no episode is held out.
        warnings: what keeps these numbers from being what they seem, one sentence each.
    """

    file: Path
    seconds: float
    r2: float | None
    warnings: tuple[str, ...] = ()


def learn_to_act(
    cache: Cache,
    training: Int[np.ndarray, " E"],
    held_out: Int[np.ndarray, " F"],
    recipe: Recipe,
    out: Path,
    bars: Bars = no_bars,
) -> str:
    """Train a goal policy for the model of a run, unless it has one or nobody acted.

    What goes wrong here does not cost the training: it is returned as a sentence.
    """
    folder = out / "model"
    if not leads() or not cache.action_width or (folder / POLICY_FILE).is_file():
        return ""
    if not folder.is_dir():
        return ""
    if not long_enough(cache, training, load_model(folder).config.frame_skip):
        return ""
    try:
        with bars("learning to act") as progress, threads(recipe.threads):
            varied = policy_appearances(recipe)
            add_goal_policy(
                folder, cache, training, held_out, None, recipe.seed, progress, varied=varied
            )
    except (ArmillaryError, RuntimeError, MemoryError) as error:
        return (
            f"The model has no goal policy: {str(error) or type(error).__name__} Train one with: "
            f"armillary policy {out} DATASET"
        )
    return ""


def policy_appearances(recipe: Recipe) -> AugmentConfig | None:
    """Return how episodes are varied that the policy learns from; None for as recorded alone.

    They are varied where the predictor's clips are (``FinetuneConfig.varied``): colours, light and
    depth. Nothing is mirrored, turned or moved, so the recorded actions still lead to the goals.
    """
    changes = recipe.augment
    varied = AugmentConfig(colour=changes.colour, world=changes.world.with_places_as_they_are())
    return varied if recipe.settling.varied and varied != AugmentConfig() else None


def add_goal_policy(
    folder: Path,
    cache: Cache,
    training: Int[np.ndarray, " E"],
    held_out: Int[np.ndarray, " F"],
    steps: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
    varied: AugmentConfig | None = None,
) -> GoalPolicySummary:
    """Train a goal policy on prepared episodes, and leave it in the model's folder.

    In the folder of a run, the summary is written to ``policy.json``.

    Args:
        folder: of the model.
        cache: prepared for the model.
        training: episodes to learn from.
        held_out: episodes to judge it on; may be none.
        steps: of training; None takes the default, or fewer where little was recorded.
        seed: names weights and samples.
        progress: called after each step.
        varied: how episodes are varied that it learns from, besides as recorded.

    Raises:
        TrainingError: there are no actions, or episodes are too short for a model step.
        StorageError: the model's folder is not writable.
    """
    began = time.perf_counter()
    model = load_model(folder)
    if not long_enough(cache, training, model.config.frame_skip):
        raise TrainingError(
            "A goal policy needs episodes of more than one model step, "
            f"{model.config.frame_skip + 1} recorded steps. Record longer ones."
        )
    appearances = None if varied is None else Appearances(varied, _APPEARANCES, seed)
    encoded = encoded_some(model, cache, training, seed, appearances)
    config = GoalPolicyTraining(seed=seed)
    wanted = _PASSES * len(encoded.latents) // config.batch_size
    usual = min(config.steps, max(wanted, _LEAST_STEPS))
    config = replace(config, steps=usual if steps is None else steps)
    policy = fit_goal_policy(encoded, config, progress)
    judged = None
    if long_enough(cache, held_out, model.config.frame_skip):
        judged = judge_goal_policy(policy, encoded_some(model, cache, held_out, seed), seed)
    file = save_goal_policy(policy, folder)
    seconds = time.perf_counter() - began
    found = GoalPolicySummary(file, seconds, judged)
    if (folder.parent / "run.json").is_file():
        facts = {"file": f"{folder.name}/{POLICY_FILE}", "steps": config.steps}
        write_json(folder.parent / SUMMARY, asdict(found) | facts)
    return found


def long_enough(cache: Cache, episodes: Int[np.ndarray, " E"], skip: int) -> bool:
    """Tell whether one of these episodes has a whole model step of actions."""
    return bool(len(episodes)) and int(cache.lengths[episodes].max()) > skip


def encoded_some(
    model: JEPA,
    cache: Cache,
    episodes: Int[np.ndarray, " E"],
    seed: int,
    appearances: Appearances | None = None,
) -> EncodedEpisodes:
    """Return the latents of episodes, or of as many of them, drawn at random, as memory holds.

    Args:
        model: encodes.
        cache: prepared for the model.
        episodes: which.
        seed: names what is drawn.
        appearances: how else the episodes are seen.

    Raises:
        TrainingError: there are no actions, or episodes are too short for a model step.
    """
    streams = tuple(recorded_names(model.config.streams))
    streams += tuple(name for name in model.config.derived_streams if name in cache.arrays)
    most = _MOST_BYTES // (4 * model.config.latent_width)
    most //= 1 if appearances is None else 1 + appearances.times
    order = generator("goal policy episodes", seed).permutation(episodes)
    kept = int(np.searchsorted(np.cumsum(cache.lengths[order]), most, "right"))
    some = np.sort(order[: max(kept, 1)])
    return encode_episodes(model, Windows(cache, some, 1, 1, streams), appearances)
