"""Hidden position: where is what went behind a screen, by the state that the model rolled on?

A thing flies behind a wide screen and bounces off floor or ceiling out of sight. From the first
step at which all of it is hidden nobody may look any more: the model rolls its own state on (latent
and memory). A read-out, trained on other scenes of the training split, says where the thing is;
beside it stand where it was last seen, and where a constant velocity from the last two steps in
view would have brought it.

Axes: E episodes, T steps, X state width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from armillary.comprehension.mlp import fit_mlp
from armillary.comprehension.ridge import fit_ridge
from armillary.comprehension.statistics import group_draws, quantile_interval
from armillary.core.rng import generator
from armillary.core.values import Batch
from armillary.models import JEPA
from armillary.worlds.stage import Scene, paint
from armillary.worlds.stage.appearance import Split, appearance
from armillary.worlds.stage.plays import draw_scene

AHEAD = 10
_BATCH = 32


@dataclass(frozen=True)
class Hidden:
    """Things that vanished.

    Attributes:
        states: of the model, ``AHEAD`` steps after the first at which it saw nothing of them.
        truth: where they are then, units of 1/64 picture width.
        last_seen: where they were at the last step in view.
        velocity: where constant velocity would have brought them.
    """

    states: Float[np.ndarray, "E X"]
    truth: Float[np.ndarray, "E 2"]
    last_seen: Float[np.ndarray, "E 2"]
    velocity: Float[np.ndarray, "E 2"]


def hidden_position(
    model: JEPA, training: int = 1200, judged: int = 400, seed: int = 0
) -> dict[str, Any]:
    """Return the errors of the read-outs and of both baselines, units, as JSON values.

    Args:
        model: of pictures.
        training: scenes of the training split that the read-outs are fitted on.
        judged: scenes of the held-out split.
        seed: names the scenes; training never draws them.
    """
    known = watch_vanish(model, "train", training, seed)
    asked = watch_vanish(model, "held_out", judged, seed + 1)
    chosen_on = np.arange(len(known.truth)) % 5 == 0
    linear = fit_ridge(known.states, known.truth, chosen_on).predict(asked.states)
    network = fit_mlp(known.states, known.truth, seed).predict(asked.states)
    errors = {
        "model": _errors(network, asked),
        "model_linear": _errors(linear, asked),
        "last_seen": _errors(asked.last_seen, asked),
        "constant_velocity": _errors(asked.velocity, asked),
        "training_mean": _errors(np.tile(known.truth.mean(0), (len(asked.truth), 1)), asked),
    }
    return {
        "steps_hidden": AHEAD,
        "unit": "1/64 of the picture",
        "n": len(asked.truth),
        **{name: float(found.mean()) for name, found in errors.items()},
        "interval95": {name: _interval(found) for name, found in errors.items()},
    }


def watch_vanish(model: JEPA, split: Split, episodes: int, seed: int) -> Hidden:
    """Return what a model's state is after things vanished.

    Args:
        model: of pictures.
        split: which looks and speeds.
        episodes: E.
        seed: names the scenes.
    """
    found = [_vanishing(split, seed, index) for index in range(episodes)]
    states = [
        _rolled_on(model, found[begin : begin + _BATCH]) for begin in range(0, episodes, _BATCH)
    ]
    paths = [(scene.things[0].path, step) for scene, step in found]
    truth, last, before = (
        np.array([path[step + off] for path, step in paths]) for off in (AHEAD, -1, -2)
    )
    velocity = last + (AHEAD + 1) * (last - before)
    return Hidden(np.concatenate(states), truth, last, velocity)


def _vanishing(split: Split, seed: int, index: int) -> tuple[Scene, int]:
    """Return a scene and the first step of a stretch of hidden ones in which the thing bounces."""
    rng = generator("hidden position", seed, index)
    while True:
        scene = draw_scene(appearance(split), rng, "bouncing")
        hidden = [scene.hidden(scene.things[0], step) for step in range(scene.steps)]
        step = hidden.index(True) if True in hidden else scene.steps
        if not 4 <= step <= scene.steps - AHEAD - 1 or not all(hidden[step : step + AHEAD + 1]):
            continue
        slopes = np.sign(np.diff(scene.things[0].path[step - 2 : step + AHEAD + 1, 1]))
        if slopes[0] == slopes[1] and (slopes != slopes[0]).any():
            return scene, step


@torch.no_grad()
def _rolled_on(model: JEPA, found: list[tuple[Scene, int]]) -> Float[np.ndarray, "E X"]:
    """Return latent and memory, rolled on from the step at which things vanished."""
    clips = torch.from_numpy(np.stack([paint(scene) for scene, _ in found]))
    steps = torch.tensor([step for _, step in found])
    states = model.encode(Batch({"rgb": clips}, None, torch.ones(clips.shape[:2]).bool())).tokens
    states = states.flatten(2)
    still = model.normalizer.actions(torch.zeros(len(clips), model.config.action_width))
    state, memory = states[:, 0], model.predictor.start(states[:, 0])
    for step in range(int(steps.max()) + AHEAD):
        looks = (step <= steps)[:, None]
        goes_on = (step < steps + AHEAD)[:, None]
        seen = torch.where(looks, states[:, min(step, states.shape[1] - 1)], state)
        after, remembered = model.predictor(seen, still, memory)
        state = torch.where(goes_on, after, state)
        memory = torch.where(goes_on, remembered, memory)
    return torch.cat([state, memory], 1).numpy()


def _errors(guessed: np.ndarray, asked: Hidden) -> Float[np.ndarray, " E"]:
    return np.linalg.norm(guessed - asked.truth, axis=1)


def _interval(errors: Float[np.ndarray, " E"]) -> list[float]:
    weights = group_draws(len(errors), 2000, generator("hidden position"))
    return list(quantile_interval(weights @ errors / len(errors)))
