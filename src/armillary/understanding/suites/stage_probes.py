"""Probes of the occluder world: what a model's state says of a thing, in view and out of sight.

    place, velocity     where it is and how it moves, units (1/64 picture) and units per step
    size                its radius, units
    shape, hue          which of three and of four it is
    contact             whether somebody has reached what rests there, or not yet

Each is asked twice: at a step in view, and at a step drawn from those behind a screen, of the state
that the model rolled on since all of the thing was hidden. Contact is asked in the open (strikes
that training shows have a screen), and behind a screen seven steps after the last picture, when
some have struck. Read-outs are fitted on scenes of the training split and judged on others with
colours, sizes and speeds that training never shows; layer (latent, memory or both) and penalty are
chosen on scenes of the training split that the fit does not see.

Beside each stands the same read-out of an untrained model, of shuffled truth, of the latent of the
last picture that was looked at, and what can be predicted without it. Mass and friction show
nowhere on this stage (all masses are equal, nothing slides), so nobody is asked for them.

Axes: E scenes, X features, Y targets.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from armillary.core.rng import generator
from armillary.core.statistics import group_draws, quantile_interval
from armillary.models import JEPA, untrained
from armillary.understanding.mlp import fit_mlp
from armillary.understanding.ridge import fit_ridge
from armillary.understanding.suites.rolling import Moment, states_at
from armillary.worlds.stage import Scene
from armillary.worlds.stage.appearance import HUES, SHAPES, Split, appearance
from armillary.worlds.stage.crossing import WIDE
from armillary.worlds.stage.plays import draw_crossing, draw_strike

Rng = np.random.Generator
_CHOICES: dict[str, tuple[str, ...]] = {
    "shape": SHAPES,
    "hue": tuple(HUES),
    "contact": ("not yet", "reached"),
}
_UNITS = {
    "place": "1/64 of the picture",
    "velocity": "1/64 of the picture per step",
    "size": "1/64 of the picture",
}
_OFF = (-3, -2, 2, 3)  # steps from the one at which somebody reaches what rests there
_WIDTHS = (24.0, WIDE)  # of screens: within _ROLLED steps, two of three have reached it
_ROLLED = 6
_DRAWS = 2000
Truth = Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class _Question:
    """A scene, and by moment: last picture, step asked about, and truth."""

    scene: Scene
    moments: Mapping[str, tuple[int, int, Truth]]


@dataclass(frozen=True)
class _Answers:
    """Features by layer, the latent of the last picture looked at, and truth by target."""

    layers: Mapping[str, Float[np.ndarray, "E X"]]
    last_picture: Float[np.ndarray, "E X"]
    truth: Mapping[str, Float[np.ndarray, "E Y"]]


def stage_probes(
    model: JEPA, training: int = 800, judged: int = 400, seed: int = 0
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what is read of each target at each moment, as JSON values.

    Args:
        model: of pictures of the occluder world.
        training: scenes of the training split to fit on.
        judged: scenes of the held-out split.
        seed: names the scenes; training never draws them.

    Returns:
        By target and moment (``in_view``, ``hidden``): ``n``, ``layer``, and by source (``model``,
        ``model_mlp``, ``untrained``, ``shuffled``, ``last_picture``, ``without_looking``) the mean
        error in ``unit``, or per cent right where there are ``choices``; ``interval95`` of each.
    """
    blank = untrained(model.config, seed).eval()
    blank.normalizer.load_state_dict(model.normalizer.state_dict())
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for draw in (_crossing, _open_strike, _hidden_strike):
        known, asked = (
            [draw(split, generator(f"stage probe.{split}", seed, index)) for index in range(count)]
            for split, count in _splits(training, judged)
        )
        fitted, judged_on = _answers(model, known), _answers(model, asked)
        blank_fitted, blank_judged_on = _answers(blank, known), _answers(blank, asked)
        for moment, answers in fitted.items():
            own = answers, judged_on[moment]
            other = blank_fitted[moment], blank_judged_on[moment]
            for target in answers.truth:
                found.setdefault(target, {})[moment] = _read(target, own, other, seed)
    return found


def _splits(training: int, judged: int) -> tuple[tuple[Split, int], tuple[Split, int]]:
    return ("train", training), ("held_out", judged)


def _crossing(split: Split, rng: Rng) -> _Question:
    """Ask about somebody who goes behind a screen alone."""
    while True:
        play = draw_crossing(appearance(split), rng)
        if len(play.actors) != 1 or not play.width:
            continue
        actor, scene = play.actors[0], play.scene()
        path, reach = scene.things[0].path, 1.3 * actor.radius + 1
        hidden = _hidden(scene)
        whole = np.flatnonzero(
            (path[:, 0] >= reach) & (path[:, 0] <= scene.screens[0].left - reach)
        )
        if len(hidden) and len(whole) > 2:
            break
    looks = {
        "size": (actor.radius,),
        "shape": _one_hot(SHAPES.index(actor.shape), len(SHAPES)),
        "hue": _one_hot(_hue(actor.colour), len(HUES)),
    }

    def truth(step: int) -> Truth:
        return {"place": tuple(path[step]), "velocity": tuple(path[step] - path[step - 1]), **looks}

    view, first, asked = int(whole[-1]), int(hidden[0]), int(rng.choice(hidden))
    moments = {"in_view": (view, view, truth(view)), "hidden": (first - 1, asked, truth(asked))}
    return _Question(scene, moments)


def _open_strike(split: Split, rng: Rng) -> _Question:
    """Ask in the open whether somebody has run into what rests there."""
    while True:
        play = replace(draw_strike(appearance(split), rng), width=0.0)
        scene = play.scene()
        reached = _reached(scene)
        asked = reached + int(rng.choice(_OFF))
        if 3 <= asked < scene.steps:
            return _Question(scene, {"in_view": (asked, asked, _contact(asked >= reached))})


def _hidden_strike(split: Split, rng: Rng) -> _Question:
    """Ask the same behind a screen, always as many steps after the last picture.

    So how long ago that was says nothing; how fast the runner goes, and how far it has to, does.
    """
    while True:
        play = replace(draw_strike(appearance(split), rng), width=float(rng.uniform(*_WIDTHS)))
        scene = play.scene()
        hidden = _hidden(scene)
        if len(hidden) and hidden[0] >= 3 and hidden[0] + _ROLLED < scene.steps:
            break
    last = int(hidden[0]) - 1
    asked = last + 1 + _ROLLED
    return _Question(scene, {"hidden": (last, asked, _contact(asked >= _reached(scene)))})


def _hidden(scene: Scene) -> Int[np.ndarray, " _"]:
    """Return the steps at which a screen hides all of the last thing of a scene."""
    return np.flatnonzero([scene.hidden(scene.things[-1], step) for step in range(scene.steps)])


def _reached(scene: Scene) -> int:
    """Return the first step at which the runner of a strike has come to rest."""
    x = scene.things[-1].path[:, 0]
    return int(np.flatnonzero(x >= x[-1] - 1e-6)[0])


def _contact(reached: bool) -> Truth:
    return {"contact": _one_hot(int(reached), 2)}


def _hue(colour: tuple[float, float, float]) -> int:
    """Return which of ``HUES`` a colour was drawn from: the nearest on the circle."""
    hue = colorsys.rgb_to_hsv(*(value / 255 for value in colour))[0]
    apart = [abs((hue - at + 0.5) % 1 - 0.5) for at in HUES.values()]
    return int(np.argmin(apart))


def _one_hot(place: int, count: int) -> tuple[float, ...]:
    return tuple(float(place == one) for one in range(count))


def _answers(model: JEPA, questions: Sequence[_Question]) -> dict[str, _Answers]:
    """Return the answers by moment."""
    scenes, answers = [question.scene for question in questions], {}
    names = list(questions[0].moments)
    asked = [[question.moments[name] for question in questions] for name in names]
    moments = []
    for rows in asked:
        looks = [one[0] for one in rows]
        moments += [Moment(looks, looks), Moment(looks, [one[1] for one in rows])]
    states = states_at(model, scenes, moments)
    for name, last, state, rows in zip(names, states[::2], states[1::2], asked, strict=True):
        layers = {"latent": state.latent, "memory": state.memory, "both": state.both}
        truth = {target: np.array([one[2][target] for one in rows]) for target in rows[0][2]}
        answers[name] = _Answers(layers, last.latent, truth)
    return answers


def _read(
    target: str, own: tuple[_Answers, _Answers], blank: tuple[_Answers, _Answers], seed: int
) -> dict[str, Any]:
    """Return the row of a target.

    Args:
        target: its name.
        own: the model's answers to fit on, and those to judge.
        blank: the same of an untrained model.
        seed: of chance.
    """
    (known, asked), (blank_known, blank_asked) = own, blank
    truth, wanted = known.truth[target], asked.truth[target]
    layer = _best_layer(known.layers, truth, target)
    blank_layer = _best_layer(blank_known.layers, truth, target)
    seen, unseen = known.layers[layer], asked.layers[layer]
    shuffled = truth[generator(f"shuffled {target}", seed).permutation(len(truth))]
    guesses = {
        "model": _linear(seen, truth)(unseen),
        "model_mlp": fit_mlp(seen, truth, seed).predict(unseen),
        "untrained": _linear(blank_known.layers[blank_layer], truth)(
            blank_asked.layers[blank_layer]
        ),
        "shuffled": _linear(seen, shuffled)(unseen),
        "last_picture": _linear(known.last_picture, truth)(asked.last_picture),
        "without_looking": np.tile(truth.mean(axis=0), (len(wanted), 1)),
    }
    scores = {name: _score(target, guess, wanted) for name, guess in guesses.items()}
    weights = group_draws(len(wanted), _DRAWS, generator("stage probes", seed))
    said = {"choices": list(_CHOICES[target])} if target in _CHOICES else {"unit": _UNITS[target]}
    return {
        "n": len(wanted),
        **said,
        "layer": layer,
        **{name: float(score.mean()) for name, score in scores.items()},
        "interval95": {
            name: list(quantile_interval(weights @ score / len(score)))
            for name, score in scores.items()
        },
    }


def _best_layer(layers: Mapping[str, np.ndarray], truth: np.ndarray, target: str) -> str:
    """Return the layer that is read best on a fifth of the scenes, which no fit sees."""
    kept = np.arange(len(truth)) % 5 == 1
    sign = -1 if target in _CHOICES else 1
    errors = {
        name: sign
        * _score(target, _linear(features[~kept], truth[~kept])(features[kept]), truth[kept]).mean()
        for name, features in layers.items()
    }
    return min(errors, key=lambda name: errors[name])


def _linear(features: np.ndarray, truth: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Fit a linear read-out, its penalty chosen on a fifth of the scenes."""
    return fit_ridge(features, truth, np.arange(len(truth)) % 5 == 0).predict


def _score(target: str, guess: np.ndarray, truth: np.ndarray) -> Float[np.ndarray, " E"]:
    """Return the error of each scene, or per cent right where one of several is guessed."""
    if target in _CHOICES:
        return 100.0 * np.equal(guess.argmax(axis=1), truth.argmax(axis=1))
    return np.linalg.norm(guess - truth, axis=1)
