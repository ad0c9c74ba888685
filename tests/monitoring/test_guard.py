"""An exact model under guard never stops in normal life, and stops at the step that breaks it."""

from dataclasses import dataclass, replace

import guard_toys as toys
import numpy as np
import point_world as toy
import pytest
import torch

from armillary.core.errors import ConfigError, FormatError
from armillary.core.files import read_json, write_json
from armillary.evaluation import (
    NoOpPolicy,
    RandomPolicy,
    evaluate,
    make_manifest,
    read_records,
    replay,
    summarise,
)
from armillary.monitoring import GuardedPolicy, GuardedSpec, load_guard, save_guard
from armillary.monitoring.guard import JUMP_FLOOR
from armillary.monitoring.watching import Differences, Memory


def rules(episodes=12, seed=7):
    return make_manifest("point", "reach", episodes, seed, world_factory=toy.PointWorld)


@pytest.fixture(scope="module")
def guard():
    return toys.calibrated()


def guarded(guard, reaction="stop", **changes):
    watcher = toys.watcher()
    return lambda spec: GuardedPolicy(
        RandomPolicy(spec.bounds), watcher, guard, reaction, **changes
    )


def run(guard, world, reaction="stop", episodes=12, **changes):
    return evaluate(rules(episodes), guarded(guard, reaction, **changes), world)


def test_an_exact_model_never_stops_in_normal_life(guard):
    records = run(guard, toy.PointWorld, episodes=40)
    assert [record.alarm for record in records] == [None] * 40
    assert summarise(records).alarms == 0
    alone = evaluate(rules(40), lambda spec: RandomPolicy(spec.bounds), toy.PointWorld)
    assert [r.actions for r in records] == [r.actions for r in alone]


def test_an_unexpected_jump_stops_it_at_its_step_for_good(guard):
    records = run(guard, toys.Jumping)
    assert [record.alarm.step for record in records] == [toys.AT] * 12
    assert {record.alarm.reason for record in records} <= {"scene", "jump"}
    assert summarise(records).alarms == 12
    for record in records:
        assert record.alarm.score > record.alarm.limit
        moves = np.abs(record.actions).sum(axis=1)
        assert (moves[: toys.AT] > 0).all() and (moves[toys.AT :] == 0).all()
        assert record.outcome in ("success", "failure")


def test_ignored_actions_are_told_from_a_changed_scene(guard):
    # normal steps of this toy are exact: half a step's noise would not be, so ``scene`` is off
    deaf = replace(guard, limits={**guard.limits, "scene": float("inf"), "jump": float("inf")})
    records = run(deaf, toys.Stuck)
    assert {record.alarm.reason for record in records} == {"motion"}
    # the first ignored action is answered by what is seen at AT, with evidence below one step's cap
    assert {record.alarm.step for record in records} <= {toys.AT, toys.AT + 1}


def test_all_reactions_raise_the_same_alarm_and_differ_from_there_on(guard):
    stop, note, slow = (run(guard, toys.Jumping, name) for name in ("stop", "note", "slow"))
    assert [r.alarm for r in stop] == [r.alarm for r in note] == [r.alarm for r in slow]
    for gentle, plain in zip(slow, note, strict=True):
        at = toys.AT
        assert gentle.actions[:at] == plain.actions[:at]
        np.testing.assert_allclose(gentle.actions[at:], 0.25 * np.array(plain.actions[at:]))


def test_a_policy_that_is_slowed_remembers_what_was_sent(guard):
    model = toy.PointModelSpec(history=3)
    policy = GuardedPolicy(model(toy.PointWorld().spec), toys.watcher(), guard, "slow")
    world = toys.Jumping()
    seen = world.reset(3)
    state = policy.init(world.draw_goal("reach", np.random.default_rng(0)).observation, 0)
    for _ in range(toys.AT + 4):
        action, state = policy.act(seen, state)
        seen = world.step(action)
    assert state.alarm is not None
    latent = policy.policy.latent(state.inner)
    moved = latent.tokens[0, 1:, 0] - latent.tokens[0, :-1, 0]
    np.testing.assert_allclose(latent.actions[0], moved, atol=1e-4)


def test_what_cannot_be_judged_is_an_alarm(guard):
    @dataclass(frozen=True)
    class Blind:
        sound: toy.PointModel

        def encode(self, batch):
            latent = self.sound.encode(batch)
            return replace(latent, tokens=latent.tokens * torch.nan)

        def rollout(self, latent, plans):
            return self.sound.rollout(latent, plans)

    watcher = replace(toys.watcher(), model=Blind(toy.PointModel()))
    spec = lambda world: GuardedPolicy(NoOpPolicy(world.bounds), watcher, guard)  # noqa: E731
    (record,) = evaluate(rules(1), spec, toy.PointWorld)
    assert (record.alarm.step, record.alarm.score) == (1, None)


def test_records_with_an_alarm_replay_and_read_back(guard, tmp_path):
    manifest = rules(3)
    records = evaluate(manifest, guarded(guard), toys.Jumping, out=tmp_path / "records.jsonl")
    assert read_records(tmp_path / "records.jsonl") == records
    assert all(replay(record, manifest, toys.Jumping).ok for record in records)
    assert "alarm" in records[0].body()
    assert "alarm" not in run(guard, toy.PointWorld, episodes=1)[0].body()


def test_it_alarms_live_where_watching_the_record_again_says(guard):
    noted = run(guard, toys.Stuck, "note")
    for record in noted:
        trace = guard.normal.trace(toys.watch_again(record, toys.Stuck).differences)
        above = np.any([trace[name] > limit for name, limit in guard.limits.items()], axis=0)
        assert record.alarm.step == np.flatnonzero(above)[0] + 1


def test_a_guard_reads_back_to_the_bit(guard, tmp_path):
    save_guard(guard, tmp_path / "guard.json")
    again = load_guard(tmp_path / "guard.json")
    seen = toys.watch_again(run(guard, toys.Stuck, "note")[0], toys.Stuck).differences
    ours, theirs = guard.normal.trace(seen), again.normal.trace(seen)
    for name in guard.limits:
        np.testing.assert_array_equal(ours[name], theirs[name])
    assert replace(again, normal=guard.normal) == guard


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", "armillary.guard/2"),
        ("residuals.mean", {"shape": [3], "float64": "AAAA"}),
        ("changes.spread", {"shape": [2], "float64": "AAAAAAAAAAAAAAAAAAAAAA=="}),
        ("residuals.kept", [[1, 1]]),
        ("limits", {"scene": "inf", "jump": 1.0, "motion": 1.0, "picture": 1.0}),
        ("limits", {"scene": 1.0}),
        ("change", {"shape": [1], "float64": "AAAAAAAA8D8="}),
        ("scene", {"rotation": {"shape": [1], "float64": "AAAAAAAA8D8="}, "scale": 1, "slope": 0}),
    ],
)
def test_a_damaged_guard_is_one_sentence(guard, tmp_path, field, value):
    path = tmp_path / "guard.json"
    save_guard(guard, path)
    text = read_json(path)
    *outer, name = field.split(".")
    part = text[outer[0]] if outer else text
    part[name] = value
    write_json(path, text)
    with pytest.raises(FormatError, match="not a guard of format"):
        load_guard(path)


@pytest.mark.runs  # processes start: 9 s
def test_a_policy_is_guarded_by_its_own_guard_only_and_in_any_process(guard, tmp_path):
    path = tmp_path / "guard.json"
    save_guard(replace(guard, policy="PointModelSpec"), path)
    spec = GuardedSpec(toy.PointModelSpec(), path)
    one = evaluate(rules(4), spec, toys.Jumping)
    two = evaluate(rules(4), spec, toys.Jumping, workers=2)
    assert one == two and one[0].alarm.step == toys.AT
    assert one[0].decisions[-1].step == toys.AT - 1  # nothing is planned after the stop
    assert spec.identity() != replace(spec, reaction="slow").identity()
    save_guard(guard, path)
    with pytest.raises(ConfigError, match="was calibrated for another policy"):
        spec(toy.PointWorld().spec)


def test_a_guard_needs_a_limit_for_every_question(guard):
    with pytest.raises(ConfigError, match="a limit for each of scene, jump, motion, picture"):
        replace(guard, limits={"scene": 1.0})


def test_a_jump_is_what_stands_out_from_the_steps_around_it(guard):
    def jumps(*sizes):
        change = np.outer(sizes, [0.2, 0.4]).astype(np.float32)
        nothing = np.zeros_like(change)
        steps = Differences(nothing, nothing, nothing, change, np.zeros(len(sizes)))
        size = guard.normal.change.score(change)
        around = size[1:-1] / (size[:-2] + size[2:] + JUMP_FLOOR)
        found = guard.normal.trace(steps)["jump"]
        np.testing.assert_allclose(found[2:], around)
        assert found[0] == 0
        return found

    swept, jumped = jumps(0, 1, 2, 3, 2, 1, 0), jumps(0, 1, 1, 3, 1, 1, 0)
    assert jumped.argmax() == 4  # of the step before
    assert jumped.max() > 3 * swept.max()


def test_settings_are_checked(guard):
    policy = guarded(guard)(toy.PointWorld().spec)
    with pytest.raises(ConfigError, match="slow_factor must be 0 to 1; got 2"):
        replace(policy, slow_factor=2.0)
    with pytest.raises(ConfigError, match="history and frame_skip must be at least 1; got 0 and 1"):
        replace(policy.watcher, history=0)


def test_a_model_step_of_several_world_steps_is_judged_when_it_is_over():
    watcher, world = replace(toys.watcher(), frame_skip=2), toy.PointWorld()
    memory, found = Memory(), []
    observation = world.reset(3)
    for _ in range(7):
        differences, memory = watcher.see(observation, memory)
        found.append(differences)
        action = np.array([0.05, -0.02])
        memory = watcher.did(action, memory)
        observation = world.step(action)
    assert [one is not None for one in found] == [False, False, True, False, True, False, True]
    assert np.abs(found[-1].residual).max() < 1e-4
    np.testing.assert_allclose(found[-1].idle[0], [0.1, -0.04], atol=1e-4)
    assert len(memory.tokens) == 4 and len(memory.actions) == 3
