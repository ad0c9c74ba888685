r"""What could be seen at best: train the recipe's encoder on recorded truth, and judge read-outs.

    armillary record gym:shimmy:dm_control/reacher-easy-v0 --out out/reacher --steps 100
    python scripts/sight_bound.py out/reacher
    python scripts/sight_bound.py out/reacher --set model.encoder.stem=patches

A linear head on the latent reads all recorded truth. Encoder and head are trained on it, with the
recipe's shifts of the picture, on 85 % of the episodes. The others judge. A model that is trained
without labels and reads less has an objective that asks for less. Angles are read as cosine and
sine. This is a diagnosis of the architecture, and no number of a model that anybody uses.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from armillary.core.changing import changed
from armillary.core.rng import generator
from armillary.data import Cache, Windows, open_dataset
from armillary.models.jepa import untrained
from armillary.recipes.recipe import fitted, needed_streams, prepared
from armillary.recipes.world import adapted, world
from armillary.training import fit_scales
from armillary.training.augment import augment

LEARNED = 0.85  # of the episodes
BATCH = 256
TURN = 4.0  # a joint that goes farther, in radians, is read as cosine and sine


def main() -> int:
    """Train, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a dataset with recorded truth")
    parser.add_argument("--updates", type=int, default=800)
    parser.add_argument("--episodes", type=int, default=400, help="the first ones are used")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], help="settings of the recipe, NAME=VALUE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    dataset = open_dataset(given.data)
    recipe = adapted(changed(world(), dict(one.split("=") for one in given.set)), dataset)
    cache = prepared(dataset, recipe.model)
    recipe = fitted(recipe, cache)
    count = min(len(cache.lengths), given.episodes)
    learned = int(LEARNED * count)
    rows, cut = (int(cache.lengths[:episodes].sum()) for episodes in (count, learned))
    names, truth = recorded_truth(cache, rows)
    centre, spread = truth[:cut].mean(0), truth[:cut].std(0)
    windows = Windows(cache, np.arange(count), 1, 1, needed_streams(recipe, cache))
    model = untrained(recipe.model, given.seed)
    fit_scales(model, windows, given.seed)
    head = nn.Linear(recipe.model.latent_width, truth.shape[1])
    weights = [*model.tokenizers.parameters(), *model.encoder.parameters(), *head.parameters()]
    rate = recipe.optimizer.lr
    optimizer = torch.optim.AdamW(weights, rate, weight_decay=recipe.optimizer.weight_decay)
    rng = generator("sight bound", given.seed)
    for update in range(given.updates):
        for group in optimizer.param_groups:
            warm = min(1.0, (update + 1) / 50)
            group["lr"] = rate * warm * (1 + np.cos(np.pi * update / given.updates)) / 2
        chosen = rng.integers(0, cut, BATCH)
        batch = augment(windows.gather(chosen), recipe.augment, rng, recipe.model.frame_skip)
        wrong = head(model.encode(batch).tokens.flatten(1)) - (truth[chosen] - centre) / spread
        optimizer.zero_grad()
        wrong.square().mean().backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        if (update + 1) % 100 == 0:
            sys.stderr.write(f"{update + 1} of {given.updates} updates\n")
    with torch.no_grad():
        parts = np.array_split(np.arange(cut, rows), -(-(rows - cut) // 512))
        read = torch.cat([head(model.encode(windows.gather(r)).tokens.flatten(1)) for r in parts])
    judge(names, read * spread + centre, truth[cut:rows])
    return 0


def recorded_truth(cache: Cache, rows: int) -> tuple[list[str], Tensor]:
    """Return what is recorded of the first rows [rows X], with the name of each column."""
    names, columns = [], []
    for stream in (name for name, kind in cache.kinds.items() if kind == "truth"):
        values = np.asarray(cache.arrays[stream][:rows], np.float64).reshape(rows, -1)
        for index, column in enumerate(values.T):
            if np.std(column) < 1e-3:
                continue  # it never moves
            angle = stream.endswith("angle") or (stream == "qpos" and np.ptp(column) > TURN)
            for what in (np.cos, np.sin) if angle else (np.asarray,):
                names.append(f"{stream}[{index}]")
                columns.append(what(column))
    return names, torch.from_numpy(np.stack(columns, 1)).float()


def judge(names: list[str], read: Tensor, truth: Tensor) -> None:
    """Print R2 and the root mean square error of what was read, by name."""
    for name in dict.fromkeys(names):
        some = [index for index, other in enumerate(names) if other == name]
        wrong = (read[:, some] - truth[:, some]).square().sum(1).mean()
        apart = (truth[:, some] - truth[:, some].mean(0)).square().sum(1).mean()
        sys.stdout.write(f"{name}: R2 {1 - wrong / apart:.3f}, error {wrong.sqrt():.3g}\n")


if __name__ == "__main__":
    raise SystemExit(main())
