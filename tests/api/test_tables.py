"""Tables say what a share of solved episodes hides, and line up."""

from armillary.api.tables import evaluation_rows, text_table

ROW = {
    "n": 2,
    "success": 0.0,
    "wilson95": (0.0, 0.66),
    "first_hit_success": 0.0,
    "ms_per_decision": None,
    "crashes": 0,
}


def test_crashes_are_told_of_every_policy_where_there_are_any():
    found = evaluation_rows({"model": {**ROW, "crashes": 2}, "random": ROW})
    assert [row["crashed"] for row in found] == ["2", "0"]
    assert all("crashed" not in row for row in evaluation_rows({"model": ROW, "random": ROW}))


def test_text_lines_up_names_left_and_numbers_right():
    rows = [{"name": "a", "n": "10"}, {"name": "longer", "n": "2", "more": "x"}]
    assert text_table(rows) == "name     n  more\na       10\nlonger   2     x"
