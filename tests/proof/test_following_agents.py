"""Agents that follow a goal policy: packed with it, closed, audited, and lies about them found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from agents import CONFIG
from stages import small_suite, under_portable

from armillary.core.errors import CheckpointError, FormatError
from armillary.core.values import Observation
from armillary.evaluation import ModelSpec, WorldFactory
from armillary.evaluation.goal_conditioned_policy import GoalConditionedPolicy
from armillary.evaluation.records import Record, read_records
from armillary.models import save_model, untrained
from armillary.models.goal_policy import GoalPolicyConfig, untrained_goal_policy
from armillary.models.goal_policy_file import POLICY_FILE, save_goal_policy
from armillary.planning import Planning
from armillary.proof.agent import Agent, open_agent, pack_agent
from armillary.proof.attack.stage import OWNER, VALUE, VERIFIER
from armillary.proof.book import Book
from armillary.proof.claim import commit_agent, reveal_commit
from armillary.proof.episodes import RunFolder
from armillary.proof.reveal import nonce_reveal
from armillary.proof.run import run_suite
from armillary.proof.scorecard import score_run
from armillary.proof.suite import Suite
from armillary.proof.verify.case import How, load_case
from armillary.proof.verify.redoing import Job, Redoing, Redone
from armillary.proof.verify.submission import find_submission
from armillary.proof.verify.submitting import make_submission
from armillary.proof.verify.verdict import verify

GUIDED = Planning("guided", {"samples": 4, "longest": 8, "budget": 32, "history": 2})
DIRECT = Planning("direct")


def model(folder: Path, seed: int = 0, skip: int = 1) -> Path:
    """Save a model of random weights with a goal policy of random weights."""
    shape = replace(CONFIG, action_width=2 * skip, frame_skip=skip)
    save_model(untrained(shape, 0), folder)
    made = untrained_goal_policy(
        GoalPolicyConfig(shape.latent_width, shape.action_width, hidden=8, layers=1), seed
    )
    made.farthest.fill_(8.0)
    save_goal_policy(made, folder)
    return folder


def packed(folder: Path, planning: Planning, seed: int = 0, skip: int = 1) -> Agent:
    source = model(folder / "model", seed, skip)
    return pack_agent(source, ModelSpec(source, planning), folder / "agent")


@pytest.fixture(autouse=True)
def portable() -> Iterator[None]:
    with under_portable():
        yield


@pytest.fixture(scope="module")
def suite() -> Suite:
    return small_suite("followed", episodes=4, budget=4)


def played(suite: Suite, agent: Agent, folder: Path) -> tuple[Record, ...]:
    """Return an agent's records, committed to and run as everybody's."""
    book, run = Book(folder / "ledger.jsonl", OWNER), RunFolder(folder / "run")
    commit = commit_agent(book.path, OWNER, suite, agent)
    reveal_commit(book.path, OWNER, commit.hash, nonce_reveal(commit.hash, VALUE, VERIFIER))
    run_suite(run, book, commit.hash, suite, agent, boundary=False)
    score_run(run, book, commit.hash, suite, agent)
    make_submission(find_submission(run.path, agent.folder, book.path), folder / "handed-in")
    return read_records(run.records(suite.tasks[0].name, "agent"))


def test_a_model_with_a_goal_policy_is_packed_as_it_acts(tmp_path: Path) -> None:
    source = model(tmp_path / "model")
    agent = pack_agent(source, ModelSpec(source), tmp_path / "agent")
    assert agent.spec.planning.planner == "guided"
    assert (agent.folder / POLICY_FILE).read_bytes() == (source / POLICY_FILE).read_bytes()
    assert open_agent(agent.folder) == agent and agent.model_steps == 600
    alone = pack_agent(source, ModelSpec(source, Planning("icem")), tmp_path / "alone")
    assert not (alone.folder / POLICY_FILE).exists() and alone.parameters < agent.parameters
    (source / POLICY_FILE).unlink()
    with pytest.raises(CheckpointError, match=r"model: contains no goal policy, which the planner"):
        pack_agent(source, ModelSpec(source, DIRECT), tmp_path / "none")
    assert not (tmp_path / "none").exists()
    other = packed(tmp_path / "other", Planning("guided"), seed=1)
    assert other.digest != agent.digest  # the same model, another goal policy
    world = WorldFactory("two_rooms", {})()
    assert isinstance(agent(world.spec), GoalConditionedPolicy)
    world.close()


@pytest.mark.parametrize(
    ("planning", "change", "said"),
    [
        (GUIDED, {"history": 2}, "history and replan are 1"),
        (GUIDED, {"replan": 2}, "history and replan are 1"),
        (GUIDED, {"settings": {"samples": 4, "cheat": 1}}, "unknown field 'cheat'"),
        (GUIDED, {"overrides": {"a": {"cheat": 1}}}, "are settings of the planner guided"),
        (DIRECT, {"settings": {"samples": 4}}, "the planner direct has no settings"),
        (DIRECT, {"overrides": {"a": {"samples": 4}}}, "are settings of the planner direct"),
    ],
)
def test_the_planner_file_is_closed(tmp_path: Path, planning, change, said: str) -> None:
    path = packed(tmp_path, planning).folder / "planner.json"
    value = json.loads(path.read_text()) | change
    path.write_text(json.dumps(value, sort_keys=True, separators=(",", ":")))
    with pytest.raises(FormatError, match=said):
        open_agent(path.parent)


def test_the_folder_holds_the_goal_policy_that_is_followed_and_no_more(tmp_path: Path) -> None:
    agent = packed(tmp_path / "a", GUIDED)
    policy = agent.folder / POLICY_FILE
    (policy.parent / "more.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="does not belong into an agent's folder"):
        open_agent(agent.folder)
    (policy.parent / "more.safetensors").unlink()
    kept = policy.read_bytes()
    policy.unlink()
    with pytest.raises(CheckpointError, match="policy: does not belong"):
        open_agent(agent.folder)
    policy.parent.rmdir()
    with pytest.raises(CheckpointError, match="misses its goal policy: its planner is guided"):
        open_agent(agent.folder)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / policy.name).write_bytes(kept)
    policy.parent.symlink_to(elsewhere)
    with pytest.raises(CheckpointError, match="policy: does not belong"):
        open_agent(agent.folder)
    alone = packed(tmp_path / "b", Planning("cem", {"length": 3, "samples": 8, "elites": 2}))
    (alone.folder / POLICY_FILE).parent.mkdir()
    (alone.folder / POLICY_FILE).write_bytes(kept)
    with pytest.raises(CheckpointError, match="has a goal policy to no end: its planner is cem"):
        open_agent(alone.folder)


@pytest.mark.parametrize(("planning", "skip"), [(GUIDED, 1), (GUIDED, 2), (DIRECT, 1)])
def test_an_honest_run_holds_at_every_level(
    suite: Suite, tmp_path: Path, planning: Planning, skip: int
) -> None:
    agent = packed(tmp_path, planning, skip=skip)
    records = played(suite, agent, tmp_path)
    how = How(nonce="8" * 64, suites=(suite,), decisions=16, fresh=8)
    found = verify(find_submission(tmp_path / "handed-in"), how, (0, 1, 2, 3))
    assert found.verdict == "accepted", found.refuting
    assert found.reached == "rerun"
    searched = sum(one.model_steps for one in records)
    assert (searched > 0) == (planning is GUIDED)


def test_lies_about_a_decision_are_found(suite: Suite, tmp_path: Path) -> None:
    agent, other = packed(tmp_path, GUIDED), packed(tmp_path / "other", GUIDED, seed=1)
    record = played(suite, agent, tmp_path)[0]
    case = load_case(find_submission(tmp_path / "handed-in"), How(suites=(suite,)))
    manifest = case.sources.manifests[suite.tasks[0].name]

    def redone(lie: Record, whose: Agent = agent) -> list[Redone]:
        return Redoing(manifest, whose)()(Job(lie, tuple(range(len(lie.decisions)))))

    honest = redone(record)
    assert all((one.action, one.cost, one.carry, one.problem) == (0, 0, 0, "") for one in honest)
    assert all(one.model_steps == one.claimed_steps for one in honest)
    assert any("policy.first.weight" in (one.active or {}) for one in honest)
    assert max(one.action for one in redone(record, other)) > 1e-3
    last = (*record.actions[:-1], tuple(-x for x in record.actions[-1]))
    assert redone(replace(record, actions=last))[-1].action > 1e-3
    cheap = tuple(replace(one, cost=0.0) for one in record.decisions)
    assert min(one.cost for one in redone(replace(record, decisions=cheap))) > 1e-6
    less = tuple(replace(one, model_steps=0) for one in record.decisions)
    assert all(
        one.model_steps > one.claimed_steps for one in redone(replace(record, decisions=less))
    )
    # it carries nothing from one decision to the next
    chosen = {"mean": {"shape": [1], "float32": ""}, "kept": {"shape": [1], "float32": ""}}
    states = tuple(replace(one, carry=chosen) for one in record.decisions)
    assert min(one.carry for one in redone(replace(record, decisions=states))) > 1


def test_a_state_is_rebuilt_from_what_was_seen_and_done(suite: Suite, tmp_path: Path) -> None:
    world = WorldFactory("two_rooms", dict(suite.tasks[0].settings))()
    policy = packed(tmp_path, GUIDED, skip=2)(world.spec)
    assert isinstance(policy, GoalConditionedPolicy)
    seen: list[Observation] = [world.reset(1)]
    goal, actions = world.reset(2), []
    seen[0] = world.reset(1)
    start = state = policy.init(goal.only(policy.observes), 5)
    for _ in range(6):
        looks = [one.only(policy.observes) for one in seen]
        again, _, decision = policy.decide(policy.state_at(start, looks, actions))
        action, state = policy.act(looks[-1], state)
        assert (again == action).all() and decision == state.decision
        actions.append(action)
        seen.append(world.step(action))
    world.close()
