"""Language: episodes as text of a closed vocabulary, and back.

A step is a state and the action that follows it. A state is where the pusher and the object are. An
action is the pusher's target velocity. Every number has a fixed number of digits, and fields come
in a fixed order, so each step has equally many tokens.

    digits    P 1 3 7 2 5 0 O 3 1 1 0 9 8 A 7 3 4 9                          19 tokens a step
    sentence  the pusher is at 1 3 7 , 2 5 0 . the object is at 3 1 1 , 0 9 8 .
              the pusher moves 7 3 , 4 9 .                                   33 tokens a step

A place has three digits: millimetres from -0.25 m. A pixel of a picture of 64 x 64 shows about 8 mm
of the table, so words are finer than what pictures show. An action has two digits: 99 parts of its
range. What lies outside is written as the nearest number.

Axes: K tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

DIGITS = 10
PLACE_FROM_M, PLACE_STEP_M = -0.25, 0.001
ACTION_S = 0.1  # that an action lasts
_PLACES = 500  # millimetres, written with three digits
ACTION_MOST_M_S, _ACTION_PARTS = 0.4, 99
STATE_WIDTH, ACTION_WIDTH = 4, 2  # pusher x y, object x y; velocity x y
# The worst that a text can be wrong: as far as two places of the language can be apart.
WORST_M = float(np.hypot(_PLACES, _PLACES)) * PLACE_STEP_M

_WORDS = ("P", "O", "A", "the", "pusher", "object", "is", "at", "moves", ",", ".")
VOCABULARY = tuple(str(digit) for digit in range(DIGITS)) + _WORDS
_NUMBER = -1  # stands for a digit in a template


@dataclass(frozen=True)
class Form:
    """How a step is written.

    Attributes:
        name: of the form.
        state: words of a state; ``#`` stands for a digit.
        action: words of an action, likewise.
    """

    name: str
    state: str
    action: str

    @property
    def state_tokens(self) -> int:
        """Tokens of a state."""
        return len(self.state.split())

    @property
    def action_tokens(self) -> int:
        """Tokens of an action."""
        return len(self.action.split())

    @property
    def step_tokens(self) -> int:
        """Tokens of a step: a state and the action that follows it."""
        return self.state_tokens + self.action_tokens

    def write_states(self, states: Float[np.ndarray, "*axes 4"]) -> Int[np.ndarray, "*axes K"]:
        """Return states as tokens.

        Args:
            states: pusher x y, object x y, metres.
        """
        return _write(_template(self.state), _numbers_of_places(states), 3)

    def write_actions(self, actions: Float[np.ndarray, "*axes 2"]) -> Int[np.ndarray, "*axes K"]:
        """Return actions as tokens.

        Args:
            actions: velocity x y, m/s.
        """
        parts = (np.asarray(actions, np.float64) / ACTION_MOST_M_S + 1) / 2 * _ACTION_PARTS
        return _write(_template(self.action), _clipped(parts, _ACTION_PARTS), 2)

    def write(
        self, states: Float[np.ndarray, "*axes T 4"], actions: Float[np.ndarray, "*axes T 2"]
    ) -> Int[np.ndarray, "*axes K"]:
        """Return episodes as tokens, T steps one after another; the last action is written too."""
        both = np.concatenate([self.write_states(states), self.write_actions(actions)], axis=-1)
        return both.reshape(*both.shape[:-2], both.shape[-2] * both.shape[-1])

    def read_states(
        self, tokens: Int[np.ndarray, "*axes K"]
    ) -> tuple[Float[np.ndarray, "*axes 4"], Bool[np.ndarray, "*axes"]]:
        """Return the states that tokens tell, and which of them could be read.

        A state that does not keep to the grammar is NaN: a word in a digit's place, a digit in a
        word's, or a place outside of the language.

        Args:
            tokens: ``state_tokens`` of each state.
        """
        numbers, parsed = _read(_template(self.state), tokens, 3)
        parsed &= (numbers < _PLACES).all(axis=-1)
        states = from_millimetres(numbers)
        return np.where(parsed[..., None], states, np.nan), parsed

    def read_actions(
        self, tokens: Int[np.ndarray, "*axes K"]
    ) -> tuple[Float[np.ndarray, "*axes 2"], Bool[np.ndarray, "*axes"]]:
        """Return the actions that tokens tell in m/s, and which of them could be read."""
        numbers, parsed = _read(_template(self.action), tokens, 2)
        actions = (numbers / _ACTION_PARTS * 2 - 1) * ACTION_MOST_M_S
        return np.where(parsed[..., None], actions, np.nan), parsed


FORMS = {
    form.name: form
    for form in (
        Form("digits", "P # # # # # # O # # # # # #", "A # # # #"),
        Form(
            "sentence",
            "the pusher is at # # # , # # # . the object is at # # # , # # # .",
            "the pusher moves # # , # # .",
        ),
    )
}


def to_text(tokens: Int[np.ndarray, " K"]) -> str:
    """Return tokens as a line of text."""
    return " ".join(VOCABULARY[token] for token in tokens)


def to_tokens(text: str) -> Int[np.ndarray, " K"]:
    """Return the tokens of a line of text.

    Raises:
        KeyError: a word that is not in the vocabulary.
    """
    known = {word: token for token, word in enumerate(VOCABULARY)}
    return np.array([known[word] for word in text.split()], np.int64)


def as_written(states: Float[np.ndarray, "*axes 4"]) -> Float[np.ndarray, "*axes 4"]:
    """Return states rounded as any text rounds them."""
    return from_millimetres(_numbers_of_places(states))


def to_millimetres(places: np.ndarray) -> Float[np.ndarray, "*axes"]:
    """Return places in metres as millimetres from the corner, not rounded."""
    return (np.asarray(places, np.float64) - PLACE_FROM_M) / PLACE_STEP_M


def from_millimetres(numbers: np.ndarray) -> Float[np.ndarray, "*axes"]:
    """Return millimetres from the corner as places in metres."""
    return numbers * PLACE_STEP_M + PLACE_FROM_M


def kept_on_table(states: Float[np.ndarray, "*axes 4"]) -> Float[np.ndarray, "*axes 4"]:
    """Return states with every place inside of the language; NaN stays."""
    return np.clip(states, PLACE_FROM_M, PLACE_FROM_M + (_PLACES - 1) * PLACE_STEP_M)


def _template(words: str) -> Int[np.ndarray, " K"]:
    known = {word: token for token, word in enumerate(VOCABULARY)}
    return np.array([_NUMBER if word == "#" else known[word] for word in words.split()], np.int64)


def _numbers_of_places(states: np.ndarray) -> Int[np.ndarray, "*axes 4"]:
    return _clipped(to_millimetres(states), _PLACES - 1)


def _clipped(values: np.ndarray, most: int) -> np.ndarray:
    return np.clip(np.rint(values), 0, most).astype(np.int64)


def _write(template: np.ndarray, numbers: np.ndarray, digits: int) -> np.ndarray:
    """Put the digits of numbers [*axes N] into the gaps of a template."""
    powers = DIGITS ** np.arange(digits)[::-1]
    written = np.broadcast_to(template, (*numbers.shape[:-1], len(template))).copy()
    apart = numbers[..., None] // powers % DIGITS
    # not -1 for the last axis: there may be no steps at all, as before the first action
    written[..., template == _NUMBER] = apart.reshape(
        *numbers.shape[:-1], numbers.shape[-1] * digits
    )
    return written


def _read(template: np.ndarray, tokens: np.ndarray, digits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers [*axes N] in the gaps of a template, and where the words are right."""
    gaps = template == _NUMBER
    said = np.asarray(tokens, np.int64)
    parsed = (said[..., ~gaps] == template[~gaps]).all(axis=-1)
    parsed &= (said[..., gaps] < DIGITS).all(axis=-1)
    powers = DIGITS ** np.arange(digits)[::-1]
    grouped = said[..., gaps].reshape(*said.shape[:-1], -1, digits)
    return (grouped * powers).sum(axis=-1), parsed
