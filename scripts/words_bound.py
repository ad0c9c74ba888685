r"""What visual words ask for: what their target says of recorded truth, before and in an encoder.

    python scripts/words_bound.py out/worlds/push_t/recording
    python scripts/words_bound.py out/worlds/push_t/recording --patch 3 --words 32
    python scripts/words_bound.py out/worlds/push_t/recording --patch 3 --words 32 --updates 3500

Without ``--updates``, a small network reads truth from the target of the picture's words. What it
cannot read, the loss does not ask for. With ``--updates``, the recipe's encoder is trained on that
target alone, and truth is read from its latent. ``--patch 3`` takes 3 x 3 pixels for a word where
the recipe takes one. A diagnosis of the loss, and no number of a model that anybody uses.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from sight_bound import judge, recorded_truth
from torch import Tensor, nn

from armillary.core.rng import generator
from armillary.core.values import Batch
from armillary.data import Windows, open_dataset
from armillary.models.jepa import untrained
from armillary.objectives.visual_words import (
    Vocabulary,
    standing_out,
    unexplained,
    word_map,
    word_map_loss,
    word_target,
)
from armillary.recipes.recipe import fitted, needed_streams, prepared
from armillary.recipes.recipe_config import Recipe
from armillary.recipes.world import adapted, world
from armillary.training import fit_scales
from armillary.training.augment import augment

LEARNED = 0.85  # of the frames that are looked at, or of the episodes
CELLS, SURROUND = 8, 0.2  # as the term and visual words have them
FRAMES, WIDEST = 6000, 256  # looked at without an encoder; directions of the target that are read
READ_UPDATES = 1500


class Words:
    """Makes the target of pictures; the words are learned from the first ones.

    Args:
        patch: pixels a side of a word.
        count: words.
    """

    def __init__(self, patch: int, count: int) -> None:
        self.patch, self.vocabulary = patch, Vocabulary(patch**2 * 3, count)

    @torch.no_grad()
    def maps(self, pictures: Tensor) -> Tensor:
        """Return maps of words [F C] of uint8 pictures [F H W 3]."""
        seen = pictures.float() / 255
        places, features, weights = standing_out(seen)
        if self.patch > 1:
            features = neighbourhoods(seen, self.patch)
        if not self.vocabulary.fitted:
            self.vocabulary.fit(features, weights)
        return word_map(places, self.vocabulary(features) * weights[..., None], CELLS)


def neighbourhoods(pictures: Tensor, side: int) -> Tensor:
    """Return, around each pixel at half size, how side x side pixels differ from their surround."""
    near = functional.avg_pool2d(pictures.permute(0, 3, 1, 2), 2)
    box = 2 * max(1, round(SURROUND * min(near.shape[2:]) / 2)) + 1
    usual = functional.avg_pool2d(near, box, 1, box // 2, count_include_pad=False)
    edged = functional.pad(near - usual, [side // 2] * 4, mode="replicate")
    return functional.unfold(edged, side).mT


def main() -> int:
    """Make the target, or train an encoder on it, and print what can be read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a dataset of pictures with recorded truth")
    parser.add_argument("--patch", type=int, default=1, help="pixels a side of a word; odd")
    parser.add_argument("--words", type=int, default=16)
    parser.add_argument("--updates", type=int, default=0, help="of an encoder; 0 for none")
    parser.add_argument("--episodes", type=int, default=1000, help="the first ones are used")
    given = parser.parse_args()
    torch.set_num_threads(1)
    dataset = open_dataset(given.data)
    recipe = adapted(world(), dataset)
    cache = prepared(dataset, recipe.model)
    recipe = fitted(recipe, cache)
    count = min(len(cache.lengths), given.episodes)
    rows = int(cache.lengths[:count].sum())
    names, truth = recorded_truth(cache, rows)
    words = Words(given.patch, given.words)
    windows = Windows(cache, np.arange(count), 1, 1, needed_streams(recipe, cache))
    if given.updates:
        cut = int(cache.lengths[: int(LEARNED * count)].sum())
        latents = learned(recipe, windows, words, given.updates, cut, rows)
        read_out(names, latents, truth, cut)
        return 0
    chosen = np.sort(generator("words bound", 0).permutation(rows)[:FRAMES])
    parts = np.array_split(chosen, -(-len(chosen) // 512))
    maps = torch.cat([words.maps(pictures_of(windows.gather(part))) for part in parts])
    target = word_target(maps, CELLS)
    cut = int(LEARNED * len(chosen))
    order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0))
    target = target[order]
    _, _, axes = torch.pca_lowrank(target[:cut], min(WIDEST, target.shape[1]))
    read_out(names, target @ axes, truth[chosen][order], cut)
    return 0


def pictures_of(batch: Batch) -> Tensor:
    """Return the pictures of windows of one step [F H W 3]."""
    return batch.streams["rgb"].flatten(0, 1)


def learned(
    recipe: Recipe, windows: Windows, words: Words, updates: int, cut: int, rows: int
) -> Tensor:
    """Return the latents of all rows, of an encoder trained on the target of the first ``cut``."""
    model = untrained(recipe.model, 0)
    fit_scales(model, windows, 0)
    outputs = len(words.vocabulary.words) * (CELLS**2 + 2)
    head = nn.Linear(recipe.model.latent_width, outputs)
    weights = [*model.tokenizers.parameters(), *model.encoder.parameters(), *head.parameters()]
    rate, decay = recipe.optimizer.lr, recipe.optimizer.weight_decay
    optimizer = torch.optim.AdamW(weights, rate, weight_decay=decay)
    rng = generator("words bound training", 0)
    for update in range(updates):
        for group in optimizer.param_groups:
            warm = min(1.0, (update + 1) / 50)
            group["lr"] = rate * warm * (1 + np.cos(np.pi * update / updates)) / 2
        size = 512 if update == 0 else 64  # the first batch gives the words
        batch = windows.gather(rng.integers(0, cut, size))
        batch = augment(batch, recipe.augment, rng, recipe.model.frame_skip)
        predicted = head(model.encode(batch).tokens.flatten(1))
        loss = word_map_loss(predicted, words.maps(pictures_of(batch)), CELLS)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        if (update + 1) % 100 == 0:
            sys.stderr.write(
                f"{update + 1} of {updates} updates, loss {float(loss.detach()):.3f}\n"
            )
    with torch.no_grad():
        held = windows.gather(rng.integers(cut, rows, 1024))
        guess = head(model.encode(held).tokens.flatten(1))
        wanted = word_target(words.maps(pictures_of(held)), CELLS)
        sys.stdout.write(f"not explained of held-out targets: {unexplained(guess, wanted):.3f}\n")
        parts = np.array_split(np.arange(rows), -(-rows // 512))
        return torch.cat([model.encode(windows.gather(p)).tokens.flatten(1) for p in parts])


def read_out(names: list[str], seen: Tensor, truth: Tensor, cut: int) -> None:
    """Print what a small network, trained on the first ``cut`` rows, reads in the others."""
    spread = seen[:cut].std(0)
    inputs = (seen - seen[:cut].mean(0)) / spread.clamp(min=1e-3 * float(spread.max()))
    centre, scale = truth[:cut].mean(0), truth[:cut].std(0)
    width = 256
    net = nn.Sequential(
        nn.Linear(inputs.shape[1], width), nn.GELU(), nn.Linear(width, width), nn.GELU()
    ).append(nn.Linear(width, truth.shape[1]))
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.1)
    rng = torch.Generator().manual_seed(0)
    for update in range(READ_UPDATES):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (1 + np.cos(np.pi * update / READ_UPDATES)) / 2
        some = torch.randint(0, cut, (256,), generator=rng)
        loss = (net(inputs[some]) - (truth[some] - centre) / scale).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        judge(names, net(inputs[cut:]) * scale + centre, truth[cut:])


if __name__ == "__main__":
    raise SystemExit(main())
