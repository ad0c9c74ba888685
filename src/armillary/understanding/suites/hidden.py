"""Hidden position: where is what went behind a screen, by the state that the model rolled on?

A thing flies behind a wide screen and bounces off floor or ceiling out of sight. From the first
step at which all of it is hidden nobody may look any more: the model rolls its own state on (latent
and memory). A read-out, trained on other scenes of the training split, says where the thing is.

Beside it stand where it was last seen, where constant velocity from the last two steps in view
would have brought it (as it is, and thrown back at floor and ceiling by one who knows them), and
the same read-out of: the state at the last step in view, true place and velocity at that step, an
untrained model's state, and the model's with shuffled truth.

Axes: E episodes, T steps, X state width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from armillary.core.rng import generator
from armillary.core.statistics import group_draws, quantile_interval
from armillary.models import JEPA, untrained
from armillary.understanding.mlp import fit_mlp
from armillary.understanding.ridge import fit_ridge
from armillary.understanding.suites.rolling import Moment, states_at
from armillary.worlds.stage import Scene
from armillary.worlds.stage.appearance import Split, appearance
from armillary.worlds.stage.crossing import FLOOR, folded
from armillary.worlds.stage.plays import draw_scene
from armillary.worlds.stage.scene import STAGE

AHEAD = 10


@dataclass(frozen=True)
class Hidden:
    """Things that vanished.

    Attributes:
        states: of the model, ``AHEAD`` steps after the first at which it saw nothing of them.
        truth: where they are then, units of 1/64 picture width.
        last_seen: where they were at the last step in view.
        velocity: of the last step in view, units per step.
        before: states at the last step in view.
        edge: how near to floor or ceiling their centres come.
    """

    states: Float[np.ndarray, "E X"]
    truth: Float[np.ndarray, "E 2"]
    last_seen: Float[np.ndarray, "E 2"]
    velocity: Float[np.ndarray, "E 2"]
    before: Float[np.ndarray, "E X"]
    edge: Float[np.ndarray, " E"]

    @property
    def straight(self) -> Float[np.ndarray, "E 2"]:
        """Where constant velocity would have brought them."""
        return self.last_seen + (AHEAD + 1) * self.velocity

    @property
    def thrown_back(self) -> Float[np.ndarray, "E 2"]:
        """The same, thrown back at floor and ceiling."""
        y = [
            folded(value, edge, STAGE - edge)
            for value, edge in zip(self.straight[:, 1:], self.edge.tolist(), strict=True)
        ]
        return np.concatenate([self.straight[:, :1], np.stack(y)], axis=1)

    @property
    def moving(self) -> Float[np.ndarray, "E 4"]:
        """Place and velocity at the last step in view."""
        return np.concatenate([self.last_seen, self.velocity], axis=1)


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
    blank = untrained(model.config, seed).eval()
    blank.normalizer.load_state_dict(model.normalizer.state_dict())
    nothing = [watch_vanish(blank, *which) for which in
               (("train", training, seed), ("held_out", judged, seed + 1))]  # fmt: skip
    shuffled = known.truth[generator("shuffled truth", seed).permutation(training)]

    def read(features: np.ndarray, truth: np.ndarray, of: np.ndarray) -> np.ndarray:
        return fit_mlp(features, truth, seed).predict(of)

    chosen_on = np.arange(training) % 5 == 0
    guesses = {
        "model": read(known.states, known.truth, asked.states),
        "model_linear": fit_ridge(known.states, known.truth, chosen_on).predict(asked.states),
        "last_seen": asked.last_seen,
        "constant_velocity": asked.straight,
        "thrown_back": asked.thrown_back,
        "last_visible_state": read(known.before, known.truth, asked.before),
        "last_place_and_velocity": read(known.moving, known.truth, asked.moving),
        "untrained": read(nothing[0].states, known.truth, nothing[1].states),
        "shuffled": read(known.states, shuffled, asked.states),
        "training_mean": np.tile(known.truth.mean(0), (judged, 1)),
    }
    errors = {name: np.linalg.norm(guess - asked.truth, axis=1) for name, guess in guesses.items()}
    return {
        "steps_hidden": AHEAD,
        "unit": "1/64 of the picture",
        "n": judged,
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
    scenes, steps = zip(*found, strict=True)
    last_view = [step - 1 for step in steps]
    rolled, before = states_at(
        model,
        scenes,
        (Moment(steps, [step + AHEAD for step in steps]), Moment(last_view, last_view)),
    )
    paths = [(scene.things[0].path, step) for scene, step in found]
    truth, last, earlier = (
        np.array([path[step + off] for path, step in paths]) for off in (AHEAD, -1, -2)
    )
    edge = np.array([FLOOR + scene.things[0].radius for scene, _ in found])
    return Hidden(rolled.both, truth, last, last - earlier, before.both, edge)


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


def _interval(errors: Float[np.ndarray, " E"]) -> list[float]:
    weights = group_draws(len(errors), 2000, generator("hidden position"))
    return list(quantile_interval(weights @ errors / len(errors)))
