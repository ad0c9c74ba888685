"""Questions: what a language model is asked about the table, as text.

    pairs  which of two states comes next?
    next   which state comes one step later, which four steps later?
    act    which of nine moves brings the pusher to its goal?
    code   write the simulator, as a function

All questions describe the simulator's states, which is privileged. They are in the sentences of
``language.py``, but for the code, which gets plain numbers. The wording is
fixed; ``pairs`` has two.

Axes: T steps, L steps ahead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from armillary.words.experience import Experience
from armillary.words.language import (
    FORMS,
    from_millimetres,
    kept_on_table,
    to_millimetres,
    to_text,
)
from armillary.words.pairs import Pairs

_FORM = FORMS["sentence"]
_ABOUT = (
    "A pusher and an object are on a table. Places are x, y in millimetres, digit by digit, from "
    "000 to 499. Each action moves the pusher for a tenth of a second; x and y of its velocity go "
    "from 00 (fast backwards) over 50 (rest) to 99 (fast forwards). The pusher pushes the object "
    "along when it meets it; otherwise the object rests."
)
_WORDINGS = (
    ("Which is step {step}?", "Answer with A or B only."),
    (
        "Only one of these two can be step {step}. The other is impossible.",
        "Say the letter of the possible one, A or B, and nothing else.",
    ),
)
_NUMBER = r"\s*([0-9](?:\s*[0-9]){0,2})\s*"
_STATE = re.compile(
    rf"pusher is at{_NUMBER},{_NUMBER}\.\s*the object is at{_NUMBER},{_NUMBER}", re.IGNORECASE
)

# A move is two steps long: as far as a goal is wide, so that a pusher can stop at it.
MOVES = {
    "x grows": (1, 0),
    "x and y grow": (1, 1),
    "y grows": (0, 1),
    "x shrinks, y grows": (-1, 1),
    "x shrinks": (-1, 0),
    "x and y shrink": (-1, -1),
    "y shrinks": (0, -1),
    "x grows, y shrinks": (1, -1),
    "it rests": (0, 0),
}
MOVE_M_S, MOVE_STEPS = 0.15, 2
LETTERS = "ABCDEFGHI"


def steps_of(states: Float[np.ndarray, "T 4"], actions: Float[np.ndarray, "T 2"]) -> list[str]:
    """Return steps as sentences: where things are, and what the pusher does next."""
    both = zip(_FORM.write_states(states), _FORM.write_actions(actions), strict=True)
    return [f"{to_text(state)} {to_text(action)}" for state, action in both]


def state_of(state: Float[np.ndarray, " 4"]) -> str:
    """Return a state as sentences."""
    return to_text(_FORM.write_states(state))


def read_state(text: str) -> Float[np.ndarray, " 4"]:
    """Return the first state that a text tells, metres; NaN if there is none.

    Spaces and capitals may differ from what was asked for.
    """
    found = _STATE.search(text)
    numbers = [int(re.sub(r"\s", "", one)) for one in found.groups()] if found else []
    state = from_millimetres(np.array(numbers if numbers else [np.nan] * 4))
    return state if (state == kept_on_table(state)).all() else np.full(4, np.nan)


def pair_questions(pairs: Pairs, truth: Experience) -> list[list[tuple[str, str]]]:
    """Return the questions of each pair and the right letter: two wordings, both orders."""
    moments = pairs.moments
    states, later = moments.states(truth), moments.later(truth)[:, 0]
    actions = np.concatenate([moments.taken(truth), moments.plans(truth)[:, :1]], axis=1)
    displaced = np.concatenate([np.zeros_like(pairs.displaced), pairs.displaced], axis=1)
    found = []
    for row in range(len(later)):
        before = numbered(steps_of(states[row], actions[row]))
        right, wrong = state_of(later[row]), state_of(later[row] + displaced[row])
        found.append(
            [
                (
                    f"{_ABOUT}\n\n{before}\n\n{asked.format(step=len(states[row]) + 1)}\n"
                    f"A: {first}\nB: {second}\n{answer}",
                    letter,
                )
                for asked, answer in _WORDINGS
                for first, second, letter in ((right, wrong, "A"), (wrong, right, "B"))
            ]
        )
    return found


def numbered(steps: Sequence[str]) -> str:
    """Return steps, one a line, with their numbers."""
    return "\n".join(f"Step {number}: {step}" for number, step in enumerate(steps, 1))


def next_question(
    examples: Sequence[tuple[np.ndarray, np.ndarray]],
    states: Float[np.ndarray, "T 4"],
    actions: Float[np.ndarray, "T+L-1 2"],
) -> str:
    """Return the question for the state after all actions.

    Args:
        examples: solved ones: states of T + 1 steps, of which the last is the answer, and actions.
        states: that were seen.
        actions: between them and from the last on.
    """
    solved = [f"{_next(seen[:-1], acts)}\nAnswer: {state_of(seen[-1])}" for seen, acts in examples]
    return "\n\n".join([_ABOUT, *solved, f"{_next(states, actions)}\nAnswer:"])


def _next(states: np.ndarray, actions: np.ndarray) -> str:
    text = numbered(steps_of(states, actions[: len(states)]))
    for more in actions[len(states) :]:
        text += f" then {to_text(_FORM.write_actions(more))}"
    return f"{text}\nWhere are the pusher and the object after the last move?"


def move_question(
    examples: Sequence[tuple[np.ndarray, np.ndarray, str]],
    now: Float[np.ndarray, " 2"],
    goal: Float[np.ndarray, " 2"],
    order: Sequence[str],
) -> str:
    """Return the question for the next move.

    Args:
        examples: solved ones: where the pusher is, its goal, and the name of the best move.
        now: where the pusher is, metres.
        goal: where it shall be.
        order: names of ``MOVES`` in the order of their letters.
    """
    listed = "\n".join(f"{letter}: {name}" for letter, name in zip(LETTERS, order, strict=True))
    about = (
        "A pusher is on a table. Places are x, y in millimetres. A move takes it 30 millimetres. "
        f"Which move brings it nearest to its goal?\n{listed}"
    )
    solved = [f"{_way(*ends)}\nAnswer: {LETTERS[order.index(name)]}" for *ends, name in examples]
    return "\n\n".join([about, *solved, f"{_way(now, goal)}\nAnswer with one letter."])


def _way(now: np.ndarray, goal: np.ndarray) -> str:
    (x, y), (a, b) = (_millimetres(place).tolist() for place in (now, goal))
    return f"The pusher is at x = {x}, y = {y}. Its goal is x = {a}, y = {b}."


def code_question(examples: Sequence[tuple[np.ndarray, np.ndarray]]) -> str:
    """Return the request for a simulator.

    Args:
        examples: recorded states and actions of some episodes.
    """
    shown = "\n\n".join(
        "\n".join(
            f"now = {tuple(_millimetres(state).tolist())}; "
            f"action = {tuple(np.rint(1000 * action).astype(int).tolist())}"
            for state, action in zip(states, actions, strict=True)
        )
        for states, actions in examples
    )
    return (
        "A pusher and an object are on a table. A state is (pusher x, pusher y, object x, object "
        "y) in millimetres, from 0 to 499. An action is the velocity that the pusher shall have "
        "for a tenth of a second, in millimetres a second. The pusher pushes the object along when "
        "it meets it; otherwise the object rests. These are recordings, one step a line:\n\n"
        f"{shown}\n\n"
        "Write a Python function that returns the next state as a tuple of four numbers:\n\n"
        "def step(before, now, action):\n\n"
        "before and now are the states one step ago and now. Use plain arithmetic and the module "
        "math. Answer with the function alone."
    )


def _millimetres(places: np.ndarray) -> np.ndarray:
    return np.rint(to_millimetres(places)).astype(int)
