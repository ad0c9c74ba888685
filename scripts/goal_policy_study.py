"""Goal policy study: train one with other settings beside a run's model, and judge it by distance.

    python scripts/goal_policy_study.py RUN DATASET OUT --hidden 512 --lr 0.001 --steps 3000

It prints one line of JSON: for goals of each distance in model steps, the share of the variance of
held-out actions that the policy explains, and the negative log likelihood. OUT holds the model with
the new policy, for ``armillary act OUT WORLD``. It made the table in docs/concepts/planning.md.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from armillary.core.errors import ArmillaryError, ConfigError
from armillary.core.rng import generator
from armillary.data import Windows, open_dataset
from armillary.models import load_model
from armillary.models.goal_policy import GoalPolicy
from armillary.models.goal_policy_file import save_goal_policy
from armillary.recipes.recipe import prepared
from armillary.recipes.recipe_config import recorded_names
from armillary.recipes.splitting import known_split
from armillary.training.encoded_episodes import EncodedEpisodes, encode_episodes
from armillary.training.goal_policy import GoalPolicyTraining, fit_goal_policy, hindsight
from armillary.training.loop import threads
from armillary.zoo.finding import find_model

_DISTANCES = (1, 2, 5, 12, 25, 50)  # model steps: from one of them to below the next
_SAMPLES = 20_000


@torch.no_grad()
def judged(policy: GoalPolicy, encoded: EncodedEpisodes, farthest: int) -> list[dict[str, float]]:
    """Return R2 and negative log likelihood of actions by distance of the goal."""
    samples = hindsight(encoded, _SAMPLES, farthest, generator("goal policy study", 0))
    actions = (encoded.actions[samples.here] - policy.action_mean) / policy.action_std
    mean, log_std = policy(
        encoded.latents[samples.here], encoded.latents[samples.goal], samples.steps
    )
    rows = []
    for low, high in itertools.pairwise(_DISTANCES):
        chosen = (samples.steps >= low) & (samples.steps < high)
        if chosen.sum() < 2:
            continue
        error = actions[chosen] - mean[chosen]
        spread = (actions[chosen] - actions[chosen].mean(0)).square().mean()
        surprise = 0.5 * (error * (-log_std[chosen]).exp()).square() + log_std[chosen]
        rows.append(
            {
                "from": low,
                "below": high,
                "n": int(chosen.sum()),
                "r2": float(1 - error.square().mean() / spread),
                "nll": float(surprise.sum(-1).mean()),
            }
        )
    return rows


def main(
    run: Annotated[Path, tyro.conf.Positional],
    dataset: Annotated[Path, tyro.conf.Positional],
    out: Annotated[Path, tyro.conf.Positional],
    training: Annotated[GoalPolicyTraining, tyro.conf.arg(name="")],
) -> None:
    """Train a goal policy with other settings.

    Args:
        run: a finished run; its model stays as it is.
        dataset: that it was trained on.
        out: new folder, of the same model with the new policy.
        training: settings.

    Raises:
        ConfigError: ``out`` holds a model, or nothing says which episodes were held out.
    """
    if (out / "model").exists():
        raise ConfigError(f"{out}: holds a model already. Choose another folder.")
    folder = find_model(run)
    model = load_model(folder)
    cache = prepared(open_dataset(dataset), model.config)
    streams = tuple(recorded_names(model.config.streams))
    split = known_split(folder, cache)
    if split is None:
        raise ConfigError(f"{run}: no record says what was held out of {dataset}.")
    learned, held_out = (
        encode_episodes(model, Windows(cache, np.sort(part), 1, 1, streams)) for part in split
    )
    with threads(1):
        began = time.perf_counter()
        policy = fit_goal_policy(learned, training)
        seconds = time.perf_counter() - began
    shutil.copytree(folder, out / "model")
    save_goal_policy(policy, out / "model")
    found = {
        "training": asdict(training),
        "seconds": round(seconds, 1),
        "learned": judged(policy, learned, training.farthest),
        "held_out": judged(policy, held_out, training.farthest),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except ArmillaryError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
