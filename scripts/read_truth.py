"""What is read from a model's latent of all recorded truth, joint angles included.

    armillary bench worlds dm_reacher --ways direct direct_search --out out/worlds
    python scripts/read_truth.py out/worlds/dm_reacher/run out/worlds/dm_reacher/recording

``armillary diagnose`` reads places by ridge. This reads every truth stream by a small network. It
learns on the episodes of the training and is judged on those that were held out. Angles are read as
cosine and sine.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from sight_bound import recorded_truth
from words_bound import read_out

from armillary.core.errors import ArmillaryError
from armillary.data import Windows, open_dataset
from armillary.models import load_model
from armillary.recipes.recipe import prepared
from armillary.recipes.splitting import known_split
from armillary.training.encoded_episodes import encode_episodes
from armillary.zoo.finding import find_model


def main() -> None:
    """Encode, learn to read, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder of a training")
    parser.add_argument("data", type=Path, help="its dataset, with recorded truth")
    given = parser.parse_args()
    torch.set_num_threads(1)
    try:
        read(given.run, given.data)
    except ArmillaryError as error:
        parser.exit(2, f"{error}\n")


def read(run: Path, data: Path) -> None:
    """Print R2 and error of each truth, by name."""
    model = load_model(find_model(run))
    cache = prepared(open_dataset(data), model.config)
    streams = tuple(name for name in model.config.streams if name in cache.kinds)
    everything = Windows(cache, np.arange(cache.num_episodes), 1, 1, streams)
    latents = encode_episodes(model, everything).latents
    names, truth = recorded_truth(cache, len(latents))
    split = known_split(find_model(run), cache)
    if split is None:
        raise ArmillaryError(f"{run}: no record says what was held out of {data}.")
    of_episode = np.repeat(np.arange(cache.num_episodes), cache.lengths)
    learned, judged = (np.flatnonzero(np.isin(of_episode, episodes)) for episodes in split)
    order = torch.from_numpy(np.concatenate([learned, judged]))
    sys.stdout.write(f"{run}, {len(split[1])} held-out episodes\n")
    read_out(names, latents[order], truth[order], len(learned))


if __name__ == "__main__":
    main()
