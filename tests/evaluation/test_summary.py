"""Rows are computed from records alone; broken episodes count as failures."""

import pytest

from armillary.core.errors import ConfigError
from armillary.core.rng import generator
from armillary.evaluation import Record, compare, success_curve, summarise
from armillary.evaluation.carry import Decision


def record(index, distances, outcome="failure", policy="p", ms=(1.0,)):
    actions = tuple((0.0,) for _ in distances[1:])
    return Record(
        f"e{index}", index, index, "m", policy, False, outcome, "", 1.0, tuple(distances), actions,
        (Decision(0, 40, None, {}),), ms,
    )  # fmt: skip


def test_success_is_judged_at_the_end_and_first_hit_stands_beside_it():
    made = [
        record(0, [3.0, 0.5], "success", ms=(2.0, 4.0)),
        record(1, [3.0, 0.5, 2.0], ms=(10.0,)),
        record(2, [3.0, 0.5], "crash"),
        record(3, [], "crash", ms=()),
    ]
    row = summarise(made)
    assert (row.n, row.success, row.first_hit_success, row.crashes) == (4, 0.25, 0.5, 2)
    assert row.wilson95[0] < 0.25 < row.wilson95[1]
    assert row.mean_final_distance == pytest.approx(1.0)
    assert row.ms_per_decision == 3.0 and row.model_steps_per_decision == 40
    assert row.mean_steps == 1.0


def test_the_row_as_json_has_the_names_that_checks_read():
    value = summarise([record(0, [3.0, 0.5], "success")]).to_dict()
    assert value["n"] == 1 and value["success"] == 1.0
    assert isinstance(value["wilson95"], list) and len(value["wilson95"]) == 2
    assert value["success_over_threshold"][0] == [0.25, 0.0]


def test_the_curve_rises_with_the_threshold_and_never_counts_a_crash():
    made = [record(0, [3.0, 0.5], "success"), record(1, [3.0, 2.0]), record(2, [0.1, 0.1], "crash")]
    assert success_curve(made, [0.4, 0.5, 2.0, 9.0]) == (
        (0.4, 0.0), (0.5, pytest.approx(1 / 3)), (2.0, pytest.approx(2 / 3)),
        (9.0, pytest.approx(2 / 3)),
    )  # fmt: skip


def test_two_actors_are_compared_episode_by_episode_in_any_order():
    first = [record(i, [3.0, 0.5], "success", "a") for i in range(10)]
    second = [record(i, [3.0, 2.0], "failure", "b") for i in reversed(range(10))]
    found = compare(first, second, generator("test"))
    assert found.difference == 1.0 and found.bootstrap95 == (1.0, 1.0)
    assert found.mcnemar.p_value == pytest.approx(2 / 2**10)
    with pytest.raises(ConfigError, match="needs records of the same manifest on both sides"):
        compare(first, second[:9], generator("test"))


def test_records_that_are_not_one_evaluation_are_refused():
    with pytest.raises(ConfigError, match="There are no records to summarise"):
        summarise([])
    with pytest.raises(ConfigError, match="An episode appears twice"):
        summarise([record(0, [1.0]), record(0, [1.0])])
    with pytest.raises(ConfigError, match="several manifests or policies cannot be one row"):
        summarise([record(0, [1.0]), record(1, [1.0], policy="q")])
