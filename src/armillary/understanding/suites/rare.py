"""Rare but possible: a flash of light, and somebody new who comes in. Is that called impossible?

A judge that cries out at everything unusual finds what cannot be, too. Specificity is the share of
rare clips that stay below the threshold for single clips, which was fixed on DEV without them.

Axes: B clips, T steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from armillary.core.rng import generator
from armillary.core.statistics import auroc, wilson_interval
from armillary.understanding.suites.quadruplets.judges import JepaJudges
from armillary.understanding.suites.quadruplets.scoring import Scores, largest_window
from armillary.worlds.stage import Scene, Thing, paint
from armillary.worlds.stage.appearance import HELD_OUT
from armillary.worlds.stage.crossing import draw_actor
from armillary.worlds.stage.plays import draw_scene
from armillary.worlds.stage.scene import STAGE

_BATCH = 32
_FLASH = (0.8, 1.12)


def specificity(
    judges: JepaJudges,
    threshold: float,
    test: Mapping[str, Scores],
    count: int = 100,
    seed: int = 0,
) -> dict[str, Any]:
    """Return how many rare clips are called impossible, by kind, as JSON values.

    Args:
        judges: of the model, with the view ``unexpected``.
        threshold: for single clips, fixed on DEV.
        test: its scores on TEST with the same surprise, by concept.
        count: clips of each kind; ``ordinary`` are the same without what is rare.
        seed: names them.
    """
    impossible = np.concatenate([found.largest[~found.possible] for found in test.values()])
    rows: dict[str, Any] = {}
    for kind in ("ordinary", *RARE):
        largest = _largest(judges, kind, count, seed)
        calm = int((largest <= threshold).sum())
        labels = np.concatenate([np.ones(len(impossible), bool), np.zeros(count, bool)])
        rows[kind] = {
            "n": count,
            "specificity": 100 * calm / count,
            "wilson95": [100 * bound for bound in wilson_interval(float(calm), count)],
            "auroc_against_impossible": auroc(np.concatenate([impossible, largest]), labels),
        }
    return rows


def rare_scene(kind: str, index: int, seed: int = 0) -> Scene:
    """Return a possible scene in which something rare happens late.

    Args:
        kind: a key of ``RARE``, or "ordinary" for the same scene without.
        index: its number.
        seed: of the set.
    """
    rng = generator("rare", seed, index)
    scene, event = draw_scene(HELD_OUT, rng, "crossing"), int(rng.integers(14, 24))
    return scene if kind == "ordinary" else RARE[kind](scene, event, rng)


def flash(scene: Scene, event: int, rng: np.random.Generator) -> Scene:
    """Return the scene with two darker or brighter steps."""
    light = np.ones(scene.steps)
    light[event : event + 2] = _FLASH[int(rng.integers(2))]
    return replace(scene, light=light)


def newcomer(scene: Scene, event: int, rng: np.random.Generator) -> Scene:
    """Return the scene with somebody who comes in from above or below, beside the screen."""
    actor = draw_actor(HELD_OUT, rng)
    x = float(rng.choice((9.0, STAGE - 9.0)))
    y = actor.speed * (np.arange(scene.steps) - event) - 1.3 * actor.radius
    y = y if rng.integers(2) else STAGE - y
    path = np.stack([np.full(scene.steps, x), y], axis=1)
    thing = Thing(actor.shape, actor.radius, actor.colour, path)
    return replace(scene, things=(*scene.things, thing))


RARE: dict[str, Callable[[Scene, int, np.random.Generator], Scene]] = {
    "flash": flash,
    "newcomer": newcomer,
}


def _largest(judges: JepaJudges, kind: str, count: int, seed: int) -> Float[np.ndarray, " clips"]:
    found = []
    for begin in range(0, count, _BATCH):
        scenes = [
            rare_scene(kind, index, seed) for index in range(begin, min(begin + _BATCH, count))
        ]
        frames = np.stack([paint(scene) for scene in scenes])
        pans = np.stack([scene.pans() for scene in scenes]).astype(np.float32)
        found += [largest_window(row) for row in judges(frames, pans)["unexpected"]]
    return np.array(found)
