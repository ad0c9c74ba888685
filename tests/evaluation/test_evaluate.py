"""Records do not depend on workers or order; what breaks costs its own episode and no other."""

from dataclasses import replace

import numpy as np
import point_world as toy
import pytest

from armillary.core.errors import ConfigError
from armillary.core.values import WorldSpec
from armillary.evaluation import (
    NoOpSpec,
    OracleSpec,
    RandomSpec,
    evaluate,
    make_manifest,
    read_records,
    summarise,
)
from armillary.evaluation.episode import check_actor
from armillary.evaluation.records import record_line


def manifest(episodes=6, **changes):
    return make_manifest("point", "reach", episodes, 0, world_factory=toy.PointWorld, **changes)


def run(policy, episodes=6, world=toy.PointWorld, rules=None, **settings):
    return evaluate(rules or manifest(episodes), policy, world, **settings)


def bodies(records):
    return [record.sha256 for record in records]


@pytest.mark.runs  # processes start: 8 s
def test_records_are_equal_to_the_bit_for_any_workers_and_order():
    alone = run(toy.PointModelSpec())
    reverse = run(toy.PointModelSpec(), order=range(5, -1, -1))
    two = run(toy.PointModelSpec(), workers=2, order=[3, 1, 5, 0, 2, 4])
    assert alone == reverse == two
    assert bodies(alone) == bodies(reverse) == bodies(two)


def test_an_episode_alone_gives_the_record_it_gives_among_others():
    rules = manifest()
    lone = replace(rules, episodes=rules.episodes[4:5])
    (record,) = run(toy.PointModelSpec(), rules=lone)
    among = run(toy.PointModelSpec(), rules=rules)[4]
    assert record.actions == among.actions and record.distances == among.distances


@pytest.mark.parametrize("history", [1, 2])
@pytest.mark.parametrize("replan", [1, 3])
def test_pictures_that_nobody_looks_at_are_not_taken_and_nothing_else_changes(history, replan):
    spec = toy.PointModelSpec(history=history, replan=replan, frame_skip=2)
    rules = manifest(episodes=2)
    worlds = []

    def blind():
        worlds.append(toy.BlindPointWorld())
        return worlds[-1]

    assert bodies(run(spec, rules=rules, world=blind)) == bodies(run(spec, rules=rules))
    # of 12 steps, the 6 model steps; of these, where a decision remembers them
    looked = {(1, 1): 6, (1, 3): 2, (2, 1): 6, (2, 3): 4}[history, replan]
    assert worlds[0].pictures == 2 * looked
    for floor in (RandomSpec(), NoOpSpec(), OracleSpec()):
        worlds.clear()
        assert bodies(run(floor, rules=rules, world=blind)) == bodies(run(floor, rules=rules))
        assert worlds[0].pictures == 2  # the one after reset


@pytest.mark.runs  # whole episodes of five: 6 s
def test_model_and_oracle_get_there_and_the_floors_do_not():
    model, random, noop, oracle = (
        summarise(run(spec, episodes=20))
        for spec in (toy.PointModelSpec(), RandomSpec(), NoOpSpec(), OracleSpec())
    )
    assert model.success == oracle.success == 1.0
    assert noop.success == 0.0 and random.success <= 0.3
    assert oracle.privileged and not model.privileged
    assert model.model_steps_per_decision == 4 * (64 * 4 + 2)


def test_the_whole_budget_is_run_unless_the_manifest_says_otherwise():
    rules = manifest()
    assert {record.steps for record in run(OracleSpec(), rules=rules)} == {rules.budget}
    early = run(OracleSpec(), rules=replace(rules, stop_at_hit=True))
    assert all(record.success and record.steps < rules.budget for record in early)


def test_an_action_of_the_wrong_width_is_a_crash_with_a_sentence():
    (record, *_) = run(toy.Fixed(np.zeros(3)))
    assert record.outcome == "crash" and record.steps == 0
    assert record.error == (
        "The policy's action has shape (3,); the world takes (2,). "
        "Use a model that was trained in this world."
    )


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        ([0.0, float("nan")], "The policy's action is not finite: [0.0, nan]; check the model's"),
        ([0.0, 0.11], "The policy's action [0.0, 0.11] is outside the world's bounds [-0.1, -0.1]"),
        (["a", "b"], "could not convert string"),
    ],
)
def test_actions_that_cannot_be_are_crashes_and_never_clipped(action, sentence):
    records = run(toy.Fixed(action))
    assert all(record.outcome == "crash" for record in records)
    assert sentence in records[0].error


def test_a_world_that_raises_costs_its_own_episodes_only():
    whole = run(RandomSpec(), 8)
    broken = run(RandomSpec(), 8, world=toy.breaking_world)
    for good, record in zip(whole, broken, strict=True):
        if record.seed % 2:
            assert record.actions == good.actions
        else:
            assert record.outcome == "crash" and record.steps == 3
            assert record.error == "The world raised ValueError: the table fell over"
    assert summarise(broken).crashes == sum(record.seed % 2 == 0 for record in broken) > 0


def test_a_policy_that_raises_costs_its_own_episodes_only():
    records = run(toy.Raising(), 10)
    crashed = [record for record in records if record.outcome == "crash"]
    assert 0 < len(crashed) < 10
    assert {record.error for record in crashed} == {
        "The policy raised ZeroDivisionError: division by zero"
    }


@pytest.mark.runs  # processes start: 9 s
def test_a_process_that_dies_costs_its_own_episode_only():
    records = run(RandomSpec(), 4, world=toy.dying_world, workers=2)
    for record in records:
        if record.seed % 2 == 0:
            assert record.outcome == "crash" and "died (exit code 7)" in record.error
        else:
            assert record.outcome != "crash"


def test_a_policy_may_not_see_the_simulators_state():
    with pytest.raises(
        ConfigError, match="asks for 'labels', which point does not give to policies"
    ):
        run(toy.Fixed(np.zeros(2), observes=("rgb", "labels")))


@pytest.mark.parametrize("kind", ["rgb", "depth", "points", "lidar", "pose", "proprio"])
def test_a_policy_may_see_what_a_real_sensor_gives(kind):
    spec = WorldSpec("w", toy.BOUNDS, 0.1, (), 1, 0.1, "m", {"sensor": kind})
    check_actor(toy.Fixed(np.zeros(2), observes=("sensor",)), spec)


def test_a_decision_above_the_budget_of_the_manifest_is_a_crash():
    rules = manifest(planner_budget=100)
    (record, *_) = run(toy.PointModelSpec(), rules=rules)
    assert record.outcome == "crash"
    assert record.error == "A decision took 1032 model steps; 100 are allowed."


def test_looks_between_decisions_are_on_the_clock_of_the_next(monkeypatch):
    """By this clock every answer takes 1 ms; this policy looks at all steps, decides at a third."""
    ticks = iter(range(1, 10_000))
    monkeypatch.setattr(
        "armillary.evaluation.lockstep.time.perf_counter", lambda: next(ticks) / 1e3
    )
    (record,) = run(toy.PointModelSpec(history=2, replan=3), rules=manifest(1))
    places = [decision.step for decision in record.decisions]
    assert places[:3] == [0, 3, 6]
    assert record.ms_per_decision[:3] == pytest.approx((1, 3, 3))


def test_a_decision_above_its_time_is_a_timeout():
    rules = replace(manifest(2), decision_limit_s=1e-9)
    records = run(RandomSpec(), rules=rules)
    assert {record.outcome for record in records} == {"timeout"}
    assert summarise(records).success == 0.0


def test_a_killed_evaluation_goes_on_where_it_stopped(tmp_path):
    out, calls = tmp_path / "records.jsonl", []
    whole = run(RandomSpec(), out=out)
    text = out.read_text()
    lines = text.splitlines(keepends=True)
    out.write_text("".join(lines[:2]) + lines[2][:50])

    again = run(RandomSpec(), out=out, progress=lambda *what: calls.append(what))
    assert again == whole and read_records(out) == whole
    assert [call[0] for call in calls] == [3, 4, 5, 6]


def test_records_of_another_evaluation_are_not_taken_over(tmp_path):
    out = tmp_path / "records.jsonl"
    run(RandomSpec(), out=out)
    with pytest.raises(ConfigError, match="holds records of another manifest or policy"):
        run(NoOpSpec(), out=out)


def test_settings_of_an_evaluation_are_checked():
    with pytest.raises(ConfigError, match="workers must be at least 1"):
        run(RandomSpec(), workers=0)
    with pytest.raises(ConfigError, match="order must name each of the 6 episodes once"):
        run(RandomSpec(), order=[0, 0, 1, 2, 3, 4])


def test_times_are_kept_apart_from_the_body():
    first, second = run(RandomSpec()), run(RandomSpec())
    assert bodies(first) == bodies(second)
    assert len(first[0].ms_per_decision) == first[0].steps
    assert "ms_per_decision" not in first[0].body()
    assert '"ms_per_decision"' in record_line(first[0])
