"""The language: every episode that it can hold reads back, and nothing else reads as a state."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from armillary.words.language import (
    FORMS,
    PLACE_FROM_M,
    PLACE_STEP_M,
    VOCABULARY,
    WORST_M,
    as_written,
    kept_on_table,
    to_text,
    to_tokens,
)

PLACES = arrays(np.int64, (3, 4), elements=st.integers(0, 499))
PARTS = arrays(np.int64, (3, 2), elements=st.integers(0, 99))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@given(places=PLACES, parts=PARTS)
def test_what_is_written_reads_back(form, places, parts) -> None:
    states = places * PLACE_STEP_M + PLACE_FROM_M
    actions = (parts / 99 * 2 - 1) * 0.4
    text = to_text(form.write(states, actions))
    steps = to_tokens(text).reshape(3, form.step_tokens)
    read, parsed = form.read_states(steps[:, : form.state_tokens])
    acted, understood = form.read_actions(steps[:, form.state_tokens :])
    assert parsed.all() and understood.all()
    np.testing.assert_allclose(read, states, atol=1e-9)
    np.testing.assert_allclose(acted, actions, atol=1e-9)
    assert to_text(form.write(read, acted)) == text


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@given(states=arrays(np.float64, (5, 4), elements=st.floats(-0.25, 0.249)))
def test_rounding_is_at_most_half_a_millimetre(form, states) -> None:
    read, parsed = form.read_states(form.write_states(states))
    assert parsed.all()
    assert np.abs(read - states).max() <= PLACE_STEP_M / 2 + 1e-9
    np.testing.assert_allclose(read, as_written(states), atol=1e-12)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@given(data=st.data())
def test_one_wrong_word_does_not_parse_or_is_another_number(form, data) -> None:
    right = form.write_states(np.zeros((1, 4)))[0]
    at = data.draw(st.integers(0, len(right) - 1))
    token = data.draw(st.integers(0, len(VOCABULARY) - 1).filter(lambda t: t != right[at]))
    wrong = right.copy()
    wrong[at] = token
    states, parsed = form.read_states(wrong)
    if right[at] < 10 and token < 10 and parsed:
        assert np.abs(states).max() >= PLACE_STEP_M / 2
    else:
        assert not parsed
        assert np.isnan(states).all()


def test_a_place_beyond_the_table_does_not_parse() -> None:
    form = FORMS["digits"]
    beyond = to_tokens("P 5 0 0 2 5 0 O 2 5 0 2 5 0")
    assert not form.read_states(beyond)[1]


def test_a_line_as_people_see_it() -> None:
    states, actions = np.array([[-0.113, 0.0, 0.061, -0.152]]), np.array([[0.2, 0.0]])
    assert to_text(FORMS["digits"].write(states, actions)) == (
        "P 1 3 7 2 5 0 O 3 1 1 0 9 8 A 7 4 5 0"
    )
    assert to_text(FORMS["sentence"].write(states, actions)) == (
        "the pusher is at 1 3 7 , 2 5 0 . the object is at 3 1 1 , 0 9 8 . "
        "the pusher moves 7 4 , 5 0 ."
    )


def test_steps_have_the_tokens_that_the_page_says() -> None:
    assert {name: form.step_tokens for name, form in FORMS.items()} == {
        "digits": 19,
        "sentence": 33,
    }
    np.testing.assert_allclose(WORST_M, 0.5 * 2**0.5)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_no_steps_are_no_words(form) -> None:
    assert form.write(np.zeros((3, 0, 4)), np.zeros((3, 0, 2))).shape == (3, 0)


def test_places_are_brought_back_to_the_edge_of_the_table() -> None:
    states = np.array([[-3.0, 0.1, 3.0, np.nan]])
    kept = kept_on_table(states)
    np.testing.assert_allclose(kept, [[-0.25, 0.1, 0.249, np.nan]])
    np.testing.assert_allclose(kept[:, :3], as_written(np.nan_to_num(states))[:, :3])
