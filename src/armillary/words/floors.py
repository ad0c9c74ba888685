"""Floors: what needs no language model and no world model to predict the next states.

Those that read words are given the same history as all others: states and actions of the last
steps, and the actions to come.

    copy_last          nothing moves
    constant_velocity  pusher and object go on as in the last step
    linear             a ridge from the last two states and the actions, for each horizon its own
    nearest_neighbour  the change that followed the most alike training step, step after step
    three_gram         the most frequent token after the last two, token after token

Axes: W windows, H steps of history, L steps ahead, E episodes, T steps, F examples, K tokens,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from armillary.core.rng import generator
from armillary.understanding.ridge import Ridge, fit_ridge
from armillary.words.decoding import Written
from armillary.words.experience import Experience
from armillary.words.language import ACTION_S, VOCABULARY, Form
from armillary.words.settings import HISTORY

_MOST_EXAMPLES = 12000

Predict = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def copy_last(states: np.ndarray, taken: np.ndarray, plans: np.ndarray) -> np.ndarray:
    """Return the present state for each step ahead [W L 4]."""
    return np.repeat(states[:, -1:], plans.shape[1], axis=1)


def constant_velocity(states: np.ndarray, taken: np.ndarray, plans: np.ndarray) -> np.ndarray:
    """Return the present moved on by the last change for each step ahead [W L 4]."""
    ahead = np.arange(1, plans.shape[1] + 1)[:, None]
    return states[:, -1:] + ahead * (states[:, -1:] - states[:, -2:-1])


@dataclass(frozen=True)
class Linear:
    """A ridge for each of some horizons.

    Attributes:
        ridges: by steps ahead, from states and actions to the change of the state.
    """

    ridges: Mapping[int, Ridge]

    @classmethod
    def fit(cls, experience: Experience, horizons: Sequence[int]) -> Linear:
        """Fit on all windows of training episodes."""
        ridges = {}
        for steps in horizons:
            states, taken, plans, later = windows_of(experience, steps)
            episode = np.repeat(
                np.arange(len(experience.states)), len(states) // len(experience.states)
            )
            held = episode >= len(experience.states) - max(1, len(experience.states) // 5)
            inputs = _linear_inputs(states, taken, plans)
            ridges[steps] = fit_ridge(inputs, later[:, -1] - states[:, -1], held)
        return cls(ridges)

    def __call__(self, states: np.ndarray, taken: np.ndarray, plans: np.ndarray) -> np.ndarray:
        """Return predictions [W L 4]; NaN at steps that are no horizon."""
        found = np.full((*plans.shape[:2], 4), np.nan)
        for steps, ridge in self.ridges.items():
            change = ridge.predict(_linear_inputs(states, taken, plans[:, :steps]))
            found[:, steps - 1] = states[:, -1] + change
        return found


@dataclass(frozen=True)
class NearestNeighbour:
    """Training steps and what followed them.

    Attributes:
        keys: state, last change and action of each example [F 10].
        changes: of the state [F 4].
    """

    keys: Float[np.ndarray, "F 10"]
    changes: Float[np.ndarray, "F 4"]

    @classmethod
    def fit(cls, experience: Experience, seed: int) -> NearestNeighbour:
        """Keep steps of training episodes, at most 12,000 of them, drawn by a seed."""
        states, _, plans, later = windows_of(experience, 1)
        some = np.sort(generator("words.neighbour", seed).permutation(len(states))[:_MOST_EXAMPLES])
        keys = _neighbour_keys(states[some, -1], states[some, -2], plans[some, 0])
        return cls(keys, later[some, 0] - states[some, -1])

    def __call__(self, states: np.ndarray, taken: np.ndarray, plans: np.ndarray) -> np.ndarray:
        """Return predictions [W L 4]."""
        before, now, found = states[:, -2], states[:, -1], []
        own = (self.keys**2).sum(axis=1)
        for step in range(plans.shape[1]):
            keys = _neighbour_keys(now, before, plans[:, step])
            nearest = (own - 2 * keys @ self.keys.T).argmin(axis=1)
            before, now = now, now + self.changes[nearest]
            found.append(now)
        return np.stack(found, axis=1)


@dataclass(frozen=True)
class ThreeGram:
    """Counts of every three tokens in a row.

    Attributes:
        counts: [V V V].
    """

    counts: Int[np.ndarray, "V V V"]

    @classmethod
    def fit(cls, text: Int[np.ndarray, "E K"]) -> ThreeGram:
        """Count on the text of training episodes."""
        size = len(VOCABULARY)
        coded = (text[:, :-2] * size + text[:, 1:-1]) * size + text[:, 2:]
        counts = np.bincount(coded.ravel(), minlength=size**3)
        return cls(counts.reshape(size, size, size))

    def write_ahead(
        self, form: Form, before: Int[np.ndarray, "W K"], plans: Float[np.ndarray, "W L 2"]
    ) -> Written:
        """Return what follows, most frequent token after most frequent token."""
        best = self.counts.argmax(axis=2)
        acts = form.write_actions(plans)
        last, written = before[:, -2:], []
        for step in range(plans.shape[1]):
            last, state = acts[:, step, -2:], []
            for _ in range(form.state_tokens):
                token = best[last[:, 0], last[:, 1]]
                last = np.stack([last[:, 1], token], axis=1)
                state.append(token)
            written.append(np.stack(state, axis=1))
        tokens = np.stack(written, axis=1)
        states, parsed = form.read_states(tokens)
        parsed = np.logical_and.accumulate(parsed, axis=1)
        return Written(np.where(parsed[..., None], states, np.nan), parsed, tokens)


def windows_of(
    experience: Experience, ahead: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return all windows of episodes: history, actions in it, actions to come, states to come.

    Args:
        experience: episodes.
        ahead: steps to come, L.

    Returns:
        [W H 4], [W H-1 2], [W L 2], [W L 4], ordered by episode.
    """
    T = experience.states.shape[1]
    now = np.arange(HISTORY - 1, T - ahead)
    past = now[:, None] + np.arange(1 - HISTORY, 1)
    coming = now[:, None] + np.arange(1, ahead + 1)
    parts = (
        experience.states[:, past],
        experience.actions[:, past[:, :-1]],
        experience.actions[:, coming - 1],
        experience.states[:, coming],
    )
    a, b, c, d = (part.reshape(-1, *part.shape[2:]) for part in parts)
    return a, b, c, d


def _linear_inputs(states: np.ndarray, taken: np.ndarray, plans: np.ndarray) -> np.ndarray:
    last = states[:, -1] - states[:, -2]
    return np.concatenate([states[:, -1], last, taken[:, -1], plans.reshape(len(plans), -1)], 1)


def _neighbour_keys(now: np.ndarray, before: np.ndarray, action: np.ndarray) -> np.ndarray:
    return np.concatenate([now, now - before, action * ACTION_S], axis=1)
