"""Records survive their file, show what was changed, and can be checked without trust."""

import json
from dataclasses import replace

import point_world as toy
import pytest
import torch

from armillary.core.errors import ConfigError, FormatError
from armillary.evaluation import (
    RandomSpec,
    evaluate,
    make_manifest,
    read_records,
    redecide,
    replay,
    write_records,
)
from armillary.evaluation.carry import pack, unpack
from armillary.planning import PlannerState

RULES = make_manifest("point", "reach", 3, 0, world_factory=toy.PointWorld)


def records(spec=None):
    return evaluate(RULES, spec or RandomSpec(), toy.PointWorld)


def test_records_survive_their_file_to_the_bit(tmp_path):
    path, made = tmp_path / "r.jsonl", records(toy.PointModelSpec("icem"))
    write_records(path, made)
    again = read_records(path)
    assert again == made and [r.sha256 for r in again] == [r.sha256 for r in made]
    assert again[0].model_steps == sum(d.model_steps for d in made[0].decisions) > 0


def test_a_changed_line_is_named(tmp_path):
    path = tmp_path / "r.jsonl"
    write_records(path, records())
    lines = path.read_text().splitlines()
    value = json.loads(lines[1])
    value["body"]["outcome"] = "success"
    path.write_text("\n".join([lines[0], json.dumps(value), lines[2]]) + "\n")
    with pytest.raises(FormatError, match="line 2: the record was changed after it was written"):
        read_records(path)


@pytest.mark.parametrize("line", ["{}", "[1]", "nonsense", '{"body": {}, "sha256": ""}'])
def test_what_is_not_a_record_is_named(tmp_path, line):
    path = tmp_path / "r.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(FormatError, match=r"line 1: not a record"):
        read_records(path)


def test_a_distance_that_is_no_number_is_named(tmp_path):
    path = tmp_path / "r.jsonl"
    write_records(path, records())
    lines = path.read_text().splitlines(keepends=True)
    value = json.loads(lines[0])
    value["body"]["distances"][0] = float("nan")
    path.write_text(json.dumps(value) + "\n")
    with pytest.raises(FormatError, match=r"line 1: not a record"):
        read_records(path)


def test_a_number_without_end_is_named(tmp_path):
    path = tmp_path / "r.jsonl"
    write_records(path, records())
    value = json.loads(path.read_text().splitlines()[0])
    value["body"]["distances"][0] = 10**400
    path.write_text(json.dumps(value) + "\n")
    with pytest.raises(FormatError, match=r"line 1: not a record"):
        read_records(path)


@pytest.mark.parametrize("shape", [[3], [-2, -2], [1, 10**30], ["a"], None])
def test_a_planners_state_of_another_shape_is_named(shape):
    box, mean = torch.ones(2), torch.zeros(1, 3, 2)
    fresh = PlannerState(-box, box, mean, mean[:, None])
    packed = pack(fresh)
    packed["mean"] = {**packed["mean"], "shape": shape}
    with pytest.raises(FormatError, match="planner state cannot be read back"):
        unpack(packed, fresh)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FormatError, match="there is no such file; records as JSON lines were"):
        read_records(tmp_path / "none.jsonl")


def test_replay_confirms_honest_records_without_the_model():
    for record in records(toy.PointModelSpec()):
        found = replay(record, RULES, toy.PointWorld)
        assert found.ok and found.difference == 0.0 and found.problem == ""


def test_replay_refutes_invented_outcomes_distances_and_actions():
    record = records()[0]
    assert record.outcome == "failure"
    lies = [
        replace(record, outcome="success"),
        replace(record, distances=(*record.distances[:-1], 0.01), outcome="success"),
        replace(record, actions=((0.0, 0.0), *record.actions[1:])),
        replace(record, actions=record.actions[:-1]),
    ]
    for lie in lies:
        found = replay(lie, RULES, toy.PointWorld)
        assert not found.ok and found.problem


def test_replay_wants_the_right_manifest():
    other = make_manifest("point", "reach", 3, 1, world_factory=toy.PointWorld)
    with pytest.raises(ConfigError, match="belongs to another manifest"):
        replay(records()[0], other, toy.PointWorld)


@pytest.mark.parametrize("planner", ["cem", "icem", "mppi", "gradient"])
@pytest.mark.parametrize(
    ("history", "replan", "skip"), [(1, 1, 1), (3, 1, 1), (2, 3, 1), (2, 2, 2)]
)
def test_any_decision_can_be_made_again_from_its_record(planner, history, replan, skip):
    spec = toy.PointModelSpec(planner, history, replan, skip)
    record = records(spec)[0]
    policy = spec(toy.PointWorld().spec)
    for index in range(len(record.decisions)):
        assert redecide(record, index, policy, RULES, toy.PointWorld) == 0.0


def test_another_planner_is_caught_by_making_a_decision_again():
    record = records(toy.PointModelSpec("cem"))[0]
    other = toy.PointModelSpec("mppi")(toy.PointWorld().spec)
    assert redecide(record, 3, other, RULES, toy.PointWorld) > 1e-3
    with pytest.raises(ConfigError, match="has 12 decisions; there is no decision 12"):
        redecide(record, 12, other, RULES, toy.PointWorld)
