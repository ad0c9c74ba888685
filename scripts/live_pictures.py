r"""How far a recorded picture is from the one that acting sees, and the latents of both.

    python scripts/live_pictures.py dm_reacher tabletop_reach push_t
    python scripts/live_pictures.py dm_reacher --worlds out/worlds

A model learns from pictures that a codec has stored, and acts on others. For each environment of
``bench worlds``, one episode is encoded as 4:2:0 with crf 16, as until 2026-12-01, and as today.
With ``--worlds``, the folder of ``bench worlds``, recorded episodes are lived again. The latents of
what is seen then are compared with those of what was recorded.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from jaxtyping import Float, UInt8

from armillary.core.errors import ArmillaryError
from armillary.data import Windows, open_dataset, video
from armillary.evaluation.seeing import encode_observation
from armillary.evaluation.worlds import WorldFactory
from armillary.experiments.worlds.run import ENVIRONMENTS
from armillary.models import load_model
from armillary.recipes.recipe import prepared
from armillary.recipes.recipe_config import recorded_names
from armillary.training.encoded_episodes import encode_episodes
from armillary.worlds.policies import POLICIES
from armillary.worlds.recording import episode_seed, record_episode
from armillary.zoo.finding import find_model

STEPS = 46  # of the episode that is encoded; FetchReach's have 50
MOVES = 8.0  # levels: a pixel whose spread over the episode is larger is one of what moves
EPISODES = 5  # lived again
SPREAD = 50  # episodes that say how far latents are spread
BEFORE = {"pixel_format": lambda kind, shape: "yuv420p", "_CRF_SMALL": "16"}


def main() -> int:
    """Print a line for each environment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=sorted(ENVIRONMENTS))
    parser.add_argument("--worlds", type=Path, help="a folder of bench worlds, seed 0")
    given = parser.parse_args()
    torch.set_num_threads(1)
    try:
        for name in given.names:
            compare(name, given.worlds)
    except ArmillaryError as error:
        parser.exit(2, f"{error}\n")
    return 0


def compare(name: str, worlds: Path | None) -> None:
    """Print the line of an environment."""
    environment = ENVIRONMENTS[name]
    place: Any = WorldFactory(environment.world, environment.settings)()
    seen = record_episode(place, POLICIES["explore"], 0, STEPS, seed=3)
    pictures = seen.streams["rgb"].values
    with mock.patch.multiple(video, **BEFORE):
        before = stored(pictures)
    said = f"{name}: 4:2:0 {before}, today {stored(pictures)}"
    if worlds is not None:
        said += f"; latents {latents_apart(place, worlds / name):.2f} of their spread"
    sys.stdout.write(said + "\n")
    place.close()


def stored(pictures: UInt8[np.ndarray, "T H W 3"]) -> str:
    """Return size and mean error, in levels of 255, of the pixels of what moves."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pictures.mp4"
        video.encode(file, pictures, 20, "rgb")
        with video.VideoReader(file) as reader:
            back = np.stack(list(reader.read(range(len(pictures)))))
        size = file.stat().st_size
    moving = pictures.astype(float).std(0).max(-1) > MOVES
    wrong = np.abs(back.astype(float) - pictures)[:, moving].mean()
    return f"{wrong:.1f} levels, {size / 1000:.0f} kB"


@torch.no_grad()
def latents_apart(place: Any, folder: Path) -> float:
    """Return the distance of live latents from recorded ones, by number, over their spread."""
    model = load_model(find_model(folder / "run")).eval()
    cache = prepared(open_dataset(folder / "recording"), model.config)
    streams = tuple(recorded_names(model.config.streams))
    count = cache.num_episodes

    def latents(episodes: int) -> Float[torch.Tensor, "F Z"]:
        some = np.arange(0, count, max(count // episodes, 1))
        return encode_episodes(model, Windows(cache, some, 1, 1, streams)).latents

    actions, live = np.asarray(cache.actions), []
    for episode in range(0, count, max(count // EPISODES, 1)):
        seen = place.reset(episode_seed(0, episode))
        for step in range(int(cache.lengths[episode])):
            live.append(encode_observation(model, seen, model.config.encoder.image_size).flatten())
            if step + 1 < cache.lengths[episode]:
                seen = place.step(actions[cache.starts[episode] + step])
    apart = (torch.stack(live) - latents(EPISODES)).square().mean(0).sqrt()
    return float((apart / latents(SPREAD).std(0)).mean())


if __name__ == "__main__":
    raise SystemExit(main())
