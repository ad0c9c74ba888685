"""Drawing: what was predicted, by recorded pictures. A latent has no picture of its own.

So the recorded step whose latent is nearest is shown, with how far it is. It comes from the same
episode, where the scene, the light and the camera are the same.

Axes: F frames, X numbers of a latent (all tokens, flattened), L predictions, H W image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from armillary.agent_tools.excerpts import excerpt
from armillary.agent_tools.library import Pair
from armillary.agent_tools.pictures import MOST_COLUMNS, png, strip
from armillary.agent_tools.rollouts import Surroundings
from armillary.data.layout import first_of_kind
from armillary.report import spread_steps
from armillary.understanding.probe_suite import encode_frames

_MOST_FRAMES = 256
Drawn = tuple[tuple[bytes, ...], dict[str, Any]]  # PNG files, and what they show


@dataclass(frozen=True)
class Album:
    """Recorded steps with their latents.

    Attributes:
        latents: [F X].
        pictures: colour, of the model's size [F H W 3].
        steps: episode and recorded step of each.
    """

    latents: Float[Tensor, "F X"]
    pictures: UInt8[np.ndarray, "F H W 3"]
    steps: tuple[tuple[int, int], ...]

    def nearest(
        self, latents: Float[Tensor, "L X"]
    ) -> tuple[list[np.ndarray], list[dict[str, Any]]]:
        """Return the picture nearest to each latent, and what it is."""
        apart = torch.cdist(latents, self.latents) / latents.shape[1] ** 0.5
        distances, places = apart.min(dim=1)
        said = [
            {"episode": self.steps[place][0], "step": self.steps[place][1], "distance": distance}
            for place, distance in zip(places.tolist(), distances.tolist(), strict=True)
        ]
        return [self.pictures[place] for place in places.tolist()], said

    def at(self, episode: int, step: int) -> np.ndarray:
        """Return the picture of a step that is in the album."""
        return self.pictures[self.steps.index((episode, step))]


def album_of(pair: Pair, episode: int, step: int) -> Album | None:
    """Return at most 256 recorded steps around a step, or None without colour pictures.

    Args:
        pair: model and dataset.
        episode: number of the episode.
        step: recorded step, which must be there.
    """
    begin = max(0, step - _MOST_FRAMES // 2)
    rows = range(begin, min(int(pair.dataset.lengths[episode]), begin + _MOST_FRAMES))
    cache = pair.cache([excerpt(pair.dataset, episode, rows, pair.config)])
    camera = first_of_kind(cache.kinds)
    if camera is None:
        return None
    latents, _ = encode_frames(pair.network, cache, np.zeros(1, np.int64))
    steps = tuple((episode, row) for row in rows)
    return Album(torch.from_numpy(latents), cache.arrays[camera], steps)


def prediction_picture(pair: Pair, seen: Surroundings, predicted: Float[Tensor, "L N D"]) -> Drawn:
    """Return recorded pictures above those nearest to the predictions, and what each is."""
    album = album_of(pair, seen.number, seen.step)
    if album is None:
        return (), {}
    chosen = spread_steps(len(predicted), MOST_COLUMNS)
    below, said = album.nearest(predicted[list(chosen)].flatten(1))
    blank = np.full_like(below[0], 255)
    rows = [(seen.number, seen.step + (one + 1) * pair.stride) for one in chosen]
    above = [album.at(*row) if row in album.steps else blank for row in rows]
    facts = {
        "columns_ahead_s": [(one + 1) * pair.step_s for one in chosen],
        "upper_row": "recorded, white after the end of the episode",
        "lower_row": "the step of this episode whose latent is nearest to the prediction",
        "nearest": said,
    }
    return (png(strip([above, below])),), {"picture": facts}


def plan_picture(
    pair: Pair,
    now: tuple[int, int],
    goal: tuple[int, int],
    end: Float[Tensor, "1 N D"],
) -> Drawn:
    """Return now, the picture nearest to the predicted end, and the goal, and what each is."""
    around_now, around_goal = album_of(pair, *now), album_of(pair, *goal)
    if around_goal is None or around_now is None:
        return (), {}
    album = Album(
        torch.cat([around_now.latents, around_goal.latents]),
        np.concatenate([around_now.pictures, around_goal.pictures]),
        around_now.steps + around_goal.steps,
    )
    (near,), said = album.nearest(end.flatten(1))
    facts = {
        "columns": ["now", "the recorded step nearest to the predicted end", "goal"],
        "nearest": said,
    }
    return (png(strip([[album.at(*now), near, album.at(*goal)]])),), {"picture": facts}
