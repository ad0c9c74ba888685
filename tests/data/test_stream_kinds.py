"""Values that flow through the house."""

from __future__ import annotations

import pytest

from armillary.data.layout import first_of_kind


@pytest.mark.parametrize(
    ("kinds", "kind", "found"),
    [
        ({"left": "rgb", "rgb": "rgb", "depth": "depth"}, "rgb", "rgb"),
        ({"depth": "depth", "left": "rgb", "right": "rgb"}, "rgb", "left"),
        ({"rgb": "depth", "left": "rgb"}, "rgb", "left"),
        ({"rgb": "rgb", "near": "depth"}, "depth", "near"),
        ({"state": "proprio"}, "rgb", None),
    ],
)
def test_a_stream_is_called_by_its_kind_or_is_the_first_of_it(kinds, kind, found):
    assert first_of_kind(kinds, kind) == found
