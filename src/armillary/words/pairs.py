"""Pairs: a step that was recorded against the same step with the object elsewhere, in words.

    teleported  the object is at least 6 cm from where it was recorded
    held        the object was pushed by 1 cm or more; the text says that it stayed
    moved       the object rested; the text says that it moved, as one of those that were pushed

Each variant is asked in its own words: it reads the recorded step as its source has it, and the
same with the object displaced. It is right if it finds the recorded step more likely: a language
model by its log-probability, others by the distance from what they predict. A tie is half right.

Held and moved balance each other: who predicts that nothing moves gets one and not the other.

Axes: P pairs, H steps of history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from armillary.core.rng import generator
from armillary.words.decoding import log_likelihood
from armillary.words.experience import Experience
from armillary.words.floors import Linear, NearestNeighbour, constant_velocity, copy_last
from armillary.words.gpt import GPT
from armillary.words.language import Form
from armillary.words.pictures import Reader
from armillary.words.predicting import see_moments, texts_of
from armillary.words.settings import HISTORY
from armillary.words.variants import SOURCE_OF, Moments, Sources

KINDS = ("teleported", "held", "moved")
_PUSHED_M, _RESTED_M = 0.01, 0.0005
_FAR_M, _CLEAR_M, _ARENA_M = 0.06, 0.05, 0.2
_TRIES = 200


@dataclass(frozen=True)
class Pairs:
    """Steps that were recorded, and how the object is displaced to make them impossible.

    Attributes:
        kind: of each pair, one of ``KINDS`` [P].
        moments: the step before.
        displaced: of the object, metres [P 2].
    """

    kind: np.ndarray
    moments: Moments
    displaced: Float[np.ndarray, "P 2"]

    def of(self, rows: np.ndarray) -> Pairs:
        """Return some pairs."""
        return Pairs(self.kind[rows], self.moments.of(rows), self.displaced[rows])


def draw_pairs(truth: Experience, most: int, seed: int) -> Pairs:
    """Draw pairs from recorded episodes; at most one of each kind from an episode.

    Args:
        truth: recorded states.
        most: pairs of each kind; fewer where fewer episodes have one.
        seed: of the draws.
    """
    rng = generator("words.pairs", seed)
    step = np.diff(truth.states[..., 2:], axis=1)
    step[:, : HISTORY - 1] = np.nan
    far = np.linalg.norm(step, axis=-1)
    pushed = _one_of_each(far >= _PUSHED_M, most, rng)
    rested = _one_of_each(far < _RESTED_M, most, rng)
    both = min(len(pushed), len(rested))
    pushed, rested = pushed[:both], rested[:both]
    anyone = _one_of_each(np.isfinite(far), most, rng)
    put_back = -step[pushed[:, 0], pushed[:, 1]]
    pushes = step[pushed[:, 0], pushed[:, 1]][rng.permutation(both)]
    jumps = np.array([_jump(truth.states[e, t + 1], rng) for e, t in anyone]).reshape(-1, 2)
    index = np.concatenate([anyone, pushed, rested])
    kind = np.repeat(KINDS, [len(anyone), both, both])
    moments = Moments(index[:, 0], index[:, 1], 1, HISTORY)
    return Pairs(kind, moments, np.concatenate([jumps, put_back, pushes]))


def judge_pairs(
    pairs: Pairs,
    reader: Reader,
    languages: Mapping[str, GPT],
    form: Form,
    training: Sources,
    judged: Sources,
    seed: int,
) -> dict[str, Float[np.ndarray, " P"]]:
    """Return how right each variant and floor is about each pair: 1, 0, or a half for a tie."""
    moments = pairs.moments
    before = see_moments(judged.latents, moments)
    plans = moments.plans(judged.truth)
    predicted = reader.ahead(before, moments.taken(judged.truth), plans[:, None])[:, 0, 0]
    found = {"W": right_by_distance(predicted, pairs, judged.probe)}
    for variant, model in languages.items():
        source = judged.source(SOURCE_OF[variant])
        text = np.concatenate(
            [texts_of(form, source, moments), form.write_actions(plans[:, 0])], axis=1
        )
        real, false = (
            log_likelihood(model, text, form.write_states(states))
            for states in _both(pairs, source)
        )
        found[variant] = _right(real - false)
    for name in ("truth", "probe"):
        fit, source = training.source(name), judged.source(name)
        given = moments.states(source), moments.taken(source), plans
        for floor, predict in (
            ("copy_last", copy_last),
            ("constant_velocity", constant_velocity),
            ("linear", Linear.fit(fit, (1,))),
            ("nearest_neighbour", NearestNeighbour.fit(fit, seed)),
        ):
            found[f"{floor} ({name})"] = right_by_distance(predict(*given)[:, 0], pairs, source)
    return found


def _both(pairs: Pairs, source: Experience) -> tuple[np.ndarray, np.ndarray]:
    """Return the next states as recorded and as they cannot be, in the words of a source."""
    real = pairs.moments.later(source)[:, 0]
    return real, real + np.concatenate([np.zeros_like(pairs.displaced), pairs.displaced], axis=1)


def right_by_distance(
    predicted: Float[np.ndarray, "P 4"], pairs: Pairs, source: Experience
) -> Float[np.ndarray, " P"]:
    """Return how right predictions of the next state are about each pair: 1, 0, or a half."""
    real, false = (np.linalg.norm(predicted - states, axis=1) for states in _both(pairs, source))
    return _right(false - real)


def _right(margin: np.ndarray) -> np.ndarray:
    return (np.sign(margin) + 1) / 2


def _one_of_each(there: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Return episode and step of at most ``most`` episodes, one step of each."""
    episodes = rng.permutation(np.flatnonzero(there.any(axis=1)))[:most]
    steps = [rng.choice(np.flatnonzero(there[episode])) for episode in episodes]
    return np.stack([episodes, np.array(steps, np.int64)], axis=1)


def _jump(state: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a displacement of the object by at least 6 cm, to a place clear of the pusher."""
    for _ in range(_TRIES):
        place = rng.uniform(-_ARENA_M, _ARENA_M, 2)
        far = np.linalg.norm(place - state[2:]) >= _FAR_M
        if far and np.linalg.norm(place - state[:2]) >= _CLEAR_M:
            break
    return place - state[2:]
