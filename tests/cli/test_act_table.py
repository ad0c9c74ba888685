"""The table of ``act`` says what a share of solved episodes hides."""

from armillary.cli.act import _table

ROW = {
    "n": 2,
    "success": 0.0,
    "wilson95": (0.0, 0.66),
    "first_hit_success": 0.0,
    "ms_per_decision": None,
    "crashes": 0,
}


def test_crashes_are_told_of_every_policy_where_there_are_any():
    found = _table({"model": {**ROW, "crashes": 2}, "random": ROW})
    assert [row["crashed"] for row in found] == ["2", "0"]
    assert all("crashed" not in row for row in _table({"model": ROW, "random": ROW}))
