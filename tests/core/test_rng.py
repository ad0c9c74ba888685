"""Named streams: the same for the same name, whatever else was drawn, in whatever order."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from armillary.core.rng import generator, key, torch_generator


def test_known_values_stay() -> None:
    # Records and datasets are only repeatable if these never change.
    assert key("recorder", 7, 3) == 147649313631046367336175971294656299799
    assert generator("recorder", 7, 3).integers(0, 1000, 4).tolist() == [250, 233, 116, 572]
    drawn = torch.randint(0, 1000, (4,), generator=torch_generator("recorder", 7, 3))
    assert drawn.tolist() == [859, 209, 21, 472]


def test_a_stream_does_not_depend_on_what_was_drawn_before() -> None:
    first = generator("a", 1).random(5)
    generator("b", 1).random(100)
    np.random.default_rng(0).random(3)
    assert np.array_equal(generator("a", 1).random(5), first)


def test_order_of_streams_does_not_matter() -> None:
    forwards = {episode: generator("a", episode).random() for episode in range(20)}
    backwards = {episode: generator("a", episode).random() for episode in reversed(range(20))}
    assert forwards == backwards


@given(st.lists(st.integers(0, 10**6), max_size=3), st.lists(st.integers(0, 10**6), max_size=3))
def test_different_names_give_different_streams(a: list[int], b: list[int]) -> None:
    assert (key("p", *a) == key("p", *b)) == (a == b)
    assert key("p", *a) != key("q", *a)


def test_counters_are_not_glued_together() -> None:
    assert key("p", 1, 23) != key("p", 12, 3)


def test_streams_are_not_correlated() -> None:
    drawn = np.stack([generator("noise", episode).standard_normal(2000) for episode in range(30)])
    correlation = np.corrcoef(drawn) - np.eye(30)
    # 435 pairs, standard deviation 1/sqrt(2000): five of them is far beyond chance.
    assert np.abs(correlation).max() < 5 / np.sqrt(2000)
