"""Agents: one digest for all that decides, and nothing else in the folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from agents import PLANNER, tiny_agent, tiny_folder

from armillary.core.errors import CheckFailedError, CheckpointError, ConfigError, FormatError
from armillary.evaluation import ModelSpec
from armillary.models import load_model
from armillary.planning import Planning
from armillary.proof.agent import agent_digest, open_agent, pack_agent
from armillary.worlds import make_world


def test_the_digest_is_the_hash_of_the_files_hashes_in_name_order(tmp_path: Path) -> None:
    agent = tiny_agent(tmp_path)
    names = ["config.json", "model.safetensors", "normalizer.safetensors", "planner.json"]
    raw = [hashlib.sha256((agent.folder / name).read_bytes()).digest() for name in names]
    assert sorted(path.name for path in agent.folder.iterdir()) == names
    assert agent.digest == hashlib.sha256(b"".join(raw)).hexdigest()
    weights = load_model(agent.folder).state_dict()
    count = sum(v.numel() for name, v in weights.items() if not name.startswith("normalizer."))
    assert agent.parameters == count
    assert agent.identity() == f"agent {agent.digest}"


def test_everything_that_decides_is_in_the_digest(tmp_path: Path) -> None:
    agents = [tiny_agent(tmp_path), tiny_agent(tmp_path, 1), tiny_agent(tmp_path, std=0.5)]
    model = tmp_path / "model0"
    spec = ModelSpec(model, Planning("cem", PLANNER))
    ways = [Planning("cem", PLANNER, history=2), Planning("cem", PLANNER, replan=2)]
    variants = [
        *(replace(spec, planning=way) for way in ways),
        replace(spec, budget_model_steps=99),
    ]
    for number, variant in enumerate(variants):
        agents.append(pack_agent(model, variant, tmp_path / f"variant{number}"))
    agents.append(pack_agent(model, spec, tmp_path / "tuned", {"cross": {"length": 2}}))
    assert len({agent.digest for agent in agents}) == len(agents)
    # where it is, is not
    again = pack_agent(model, spec, tmp_path / "elsewhere" / "agent")
    assert again.digest == agents[0].digest
    assert open_agent(again.folder) == again


def test_what_comes_out_is_what_went_in(tmp_path: Path) -> None:
    model = tiny_folder(tmp_path / "model")
    way = Planning("icem", {"samples": 12, "elites": 3}, history=2, replan=2)
    spec = ModelSpec(model, way, 5000)
    out = pack_agent(model, spec, tmp_path / "agent").spec
    assert out.planning.settings["samples"] == 12
    assert out.planning.settings["length"] == 20  # defaults are written down, too
    assert replace(out, planning=replace(out.planning, settings=way.settings), folder=model) == spec
    world = make_world("two_rooms")
    assert open_agent(tmp_path / "agent")(world.spec).budget_model_steps == 5000


def test_a_task_may_have_settings_of_its_own(tmp_path: Path) -> None:
    agent = tiny_agent(tmp_path, overrides={"cross": {"samples": 16}})
    assert open_agent(agent.folder) == agent and agent.for_task("reach") is agent
    own = agent.for_task("cross")
    assert own.spec.planning.settings == {**agent.spec.planning.settings, "samples": 16}
    assert (own.model_steps, agent.model_steps) == (54, 30)
    assert (own.digest, own.identity()) == (agent.digest, agent.identity())


def test_an_agent_decides_for_one_episode_at_a_time(tmp_path: Path) -> None:
    model = tiny_folder(tmp_path / "model")
    with pytest.raises(ConfigError, match="decides for one episode at a time"):
        pack_agent(model, ModelSpec(model, batch=2), tmp_path / "agent")


@pytest.mark.parametrize("name", ["weights.pt", "README.md", "evil.py", ".hidden", "sub"])
def test_nothing_else_is_in_the_folder(tmp_path: Path, name: str) -> None:
    folder = tiny_agent(tmp_path).folder
    (folder / name).mkdir() if name == "sub" else (folder / name).write_text("x")
    with pytest.raises(CheckpointError, match=r"does not belong into an agent's folder"):
        open_agent(folder)


def test_links_are_refused(tmp_path: Path) -> None:
    folder = tiny_agent(tmp_path).folder
    real = folder / "config.json"
    real.rename(tmp_path / "config.json")
    real.symlink_to(tmp_path / "config.json")
    with pytest.raises(CheckpointError, match="does not belong"):
        open_agent(folder)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(CheckpointError, match="there is no such folder"):
        agent_digest(tmp_path / "link")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = tiny_agent(tmp_path).folder
    (folder / "normalizer.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"normalizer.safetensors: is missing"):
        open_agent(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"planner": "oracle"}, "planner: one of"),
        ({"settings": {"samples": 8, "cheat": 1}}, "unknown field 'cheat'"),
        ({"settings": {"samples": "8"}}, "int was expected"),
        ({"settings": {"samples": 0}}, "samples"),
        ({"history": 0}, "history: an integer from 1"),
        ({"extra": 1}, "unknown field 'extra'"),
        ({"overrides": {"cross": {}}}, "overrides of 'cross' are settings of the planner cem: "),
        ({"overrides": {"cross": {"cheat": 1}}}, "overrides of 'cross' are settings of the"),
        ({"overrides": {"cross": {"samples": 0}}}, "samples"),
        ({"overrides": {"cross": 1}}, "overrides.cross: an object"),
    ],
)
def test_the_planner_file_is_closed(tmp_path: Path, change, said: str) -> None:
    folder = tiny_agent(tmp_path).folder
    path = folder / "planner.json"
    value = json.loads(path.read_text()) | change
    path.write_text(json.dumps(value, sort_keys=True, separators=(",", ":")))
    with pytest.raises(FormatError, match=said):
        open_agent(folder)


def test_another_spelling_of_the_planner_is_refused(tmp_path: Path) -> None:
    path = tiny_agent(tmp_path).folder / "planner.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1))
    with pytest.raises(FormatError, match="not written as canonical JSON"):
        open_agent(path.parent)


def test_a_folder_that_changes_after_opening_does_not_act(tmp_path: Path) -> None:
    agent, other = tiny_agent(tmp_path), tiny_agent(tmp_path, 1)
    shutil.copy(other.folder / "model.safetensors", agent.folder / "model.safetensors")
    with pytest.raises(CheckFailedError, match="was changed after it was opened"):
        agent(make_world("two_rooms").spec)


def test_an_agent_is_never_overwritten(tmp_path: Path) -> None:
    agent = tiny_agent(tmp_path)
    with pytest.raises(ConfigError, match="an agent is never changed"):
        pack_agent(tmp_path / "model0", agent.spec, agent.folder)
