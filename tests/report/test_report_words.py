"""Numbers are written the way people read them, on the page and in the terminal."""

import io

import numpy as np
import pytest
from rich.console import Console

from armillary.report import Floor, ResultGroup, ResultRow, depth_picture, print_results
from armillary.report.images import frames_around
from armillary.report.words import write_interval, write_seconds, write_value


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.885, "percent", "88.5 %"),
        (1.0, "percent", "100 %"),
        (0.0, "percent", "0 %"),
        (0.98123, "number", "0.981"),
        (-0.0123, "number", "−0.012"),
        (0.0124, "cm", "1.24 cm"),
        (8421.0, "count", "8,421"),
        (-12.54, "points", "−12.5"),
        (-0.04, "points", "0.0"),
        (float("nan"), "number", "not measured"),
    ],
)
def test_values(value, form, text):
    assert write_value(value, form) == text


def test_intervals_name_their_unit_once():
    assert write_interval((0.833, 0.923), "percent") == "83.3 to 92.3 %"
    assert write_interval((0.0117, 0.0131), "cm") == "1.17 to 1.31 cm"
    assert write_interval((-0.5, 12.5), "points") == "−0.5 to 12.5"
    assert write_interval(None, "cm") == ""


def test_durations():
    assert write_seconds(0.0834) == "83 ms"
    assert write_seconds(8.34) == "8.3 s"
    assert write_seconds(59.99) == "1 min 00 s"
    assert write_seconds(245) == "4 min 05 s"
    assert write_seconds(7830) == "2 h 10 min"


def test_the_terminal_shows_the_same_numbers_and_keeps_brackets_as_text():
    row = ResultRow("reach [red]", 0.885, "percent", (0.833, 0.923), (Floor("random", 0.065),), 200)
    file = io.StringIO()
    print_results([ResultGroup("Act [x]", (row,))], Console(file=file, width=100))
    for text in ("Act [x]", "reach [red]", "88.5 %", "83.3 to 92.3 %", "random 6.5 %", "n = 200"):
        assert text in file.getvalue()


def test_depth_is_bright_near_dark_far_and_clear_where_invalid():
    picture = depth_picture(np.array([[0.5, 1.5], [np.nan, 0.0]]), 0.5, 1.5).astype(int)
    assert picture[0, 0, :3].sum() > picture[0, 1, :3].sum()
    assert picture[0, :, 3].tolist() == [255, 255]
    assert picture[1, :, 3].tolist() == [0, 0]


def test_the_event_is_among_the_frames_shown():
    for event in range(1, 20):
        shown = frames_around(20, event)
        assert len(shown) == 8
        assert event in shown
        assert event - 1 in shown
    assert frames_around(5, None) == [0, 1, 2, 3, 4]
    assert frames_around(20, None)[0] == 0
    assert frames_around(20, None)[-1] == 19
