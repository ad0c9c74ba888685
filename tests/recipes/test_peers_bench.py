"""A peers bench with a tiny peer: stages that resume, results that a check can read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

from armillary.benchmark.ground import PEER_KINDS, PeerKind, PeerPlanning, PeerTraining
from armillary.cli.peers import Peers
from armillary.control import read_records
from armillary.core.errors import ArmillaryError, CheckFailedError, ConfigError
from armillary.recipes.changing import changed
from armillary.recipes.peers import PeersConfig, bench_peers, make_config
from armillary.recipes.peers import bench as bench_module
from armillary.recipes.peers.bench import environment_results
from armillary.recipes.peers.config import read_config
from armillary.recipes.peers.grounds import GROUNDS
from armillary.recipes.peers.stages import rows_file, run_stage, stages, train_folder
from armillary.recipes.world import world
from armillary.training.prior import PriorConfig

TINY = {
    "batch_size": 4,
    "clip_length": 4,
    "objective.rollout_steps": 2,
    "model.encoder.image_size": 16,
    "model.encoder.keypoints": 0,
    "model.encoder.hidden": 16,
    "model.encoder.tokens": 2,
    "model.encoder.width": 16,
    "model.predictor.memory": 16,
    "model.predictor.hidden": 16,
}
PLANNER = {"samples": 4, "elites": 2, "iterations": 1, "length": 2, "kept": 1}


class Still(nn.Module):
    """A peer that learns one number."""

    def __init__(self, settings: PeerTraining, action_width: int) -> None:
        super().__init__()
        self.world_model = nn.Linear(1, 1)

    def loss(self, pixels: Tensor, actions: Tensor) -> Tensor:
        return self.world_model(actions.mean().reshape(1, 1)).square().mean()


def standing(*_: Any) -> Any:
    return lambda picture: np.zeros(2)


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> PeersConfig:
    monkeypatch.setitem(PEER_KINDS, "still", PeerKind(Still, standing))
    return make_config(
        "two_rooms",
        recipe_changes=TINY,
        act={"planner_settings": PLANNER},
        peers=("still",),
        tasks=["reach"],
        planning={"samples": 4, "elites": 2, "iterations": 2},
        training={"batch_size": 2},
        seconds=0.05,
        recorded=3,
        steps=20,
        picture=16,
        peer_sizes=[16],
        episodes=3,
        own_episodes={"reach": 2},
        workers=1,
    )


def run_all(folder: Path, config: PeersConfig) -> None:
    config.save(folder / "settings.json")
    for stage in stages(config):
        run_stage(folder, stage)


def written(folder: Path) -> dict[str, bytes]:
    """Files that differ when a stage is run again: they hold times that were measured."""
    found = [*folder.rglob("trained.json"), *folder.rglob("*.jsonl")]
    return {str(file.relative_to(folder)): file.read_bytes() for file in found}


def test_a_finished_stage_is_not_repeated(config: PeersConfig, tmp_path: Path) -> None:
    run_all(tmp_path, config)
    before = written(tmp_path)
    assert len([name for name in before if name.endswith(".jsonl")]) == 6
    run_all(tmp_path, config)
    assert written(tmp_path) == before


def test_a_training_that_was_killed_is_repeated_and_nothing_else(
    config: PeersConfig, tmp_path: Path
) -> None:
    run_all(tmp_path, config)
    before = written(tmp_path)
    (train_folder(tmp_path, config, "still") / "trained.json").unlink()
    run_stage(tmp_path, "train:still")
    after = written(tmp_path)
    changed = [name for name in before if after[name] != before[name]]
    assert changed == [name for name in before if "still" in name and "trained" in name]


def test_an_evaluation_that_was_killed_goes_on(config: PeersConfig, tmp_path: Path) -> None:
    run_all(tmp_path, config)
    (random,) = (tmp_path / "evaluate/reach/records").glob("random-*.jsonl")
    whole = random.read_text()
    random.write_text(whole.splitlines(keepends=True)[0])
    run_stage(tmp_path, "evaluate:reach")
    bodies = [
        [json.loads(line)["body"] for line in text.splitlines()]
        for text in (whole, random.read_text())
    ]
    assert bodies[0] == bodies[1]


def test_other_planning_adds_records_and_trains_nothing(
    config: PeersConfig, tmp_path: Path
) -> None:
    run_all(tmp_path, config)
    before = written(tmp_path)
    run_all(tmp_path, replace(config, act={**config.act, "replan": 2}))
    after = written(tmp_path)
    assert {name: after[name] for name in before} == before
    new = {Path(name).name.rpartition("-")[0] for name in after if name not in before}
    assert new <= {"armillary", "still_equal"} and "armillary" in new


def test_rows_of_other_settings_are_not_taken_for_these(
    config: PeersConfig, tmp_path: Path
) -> None:
    run_all(tmp_path, config)
    assert environment_results(tmp_path, config)["offsets"].keys() == {"reach"}
    for other in (
        {"seconds": 0.04},
        {"plannings": ("equal",)},
        {"act": {**config.act, "replan": 2}},
    ):
        new = replace(config, **other)
        for policy in ("armillary", "still"):
            copied = train_folder(tmp_path, new, policy)
            copied.mkdir(parents=True, exist_ok=True)
            (copied / "trained.json").write_text("{}")
        assert environment_results(tmp_path, new)["offsets"] == {}


def test_an_unknown_task_is_met_before_anything_is_recorded(
    config: PeersConfig, tmp_path: Path
) -> None:
    replace(config, tasks=("reech",), own_episodes={}).save(tmp_path / "settings.json")
    with pytest.raises(ConfigError, match=r"no task of two_rooms called 'reech'\. Did you mean"):
        run_stage(tmp_path, "record")
    assert not (tmp_path / "data").exists()


def test_a_policy_that_always_breaks_is_refused_and_run_again(
    config: PeersConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(*_: Any) -> Any:
        raise ValueError("no plan")

    with monkeypatch.context() as broken:
        broken.setitem(PEER_KINDS, "still", PeerKind(Still, breaking))
        with pytest.raises(CheckFailedError, match=r"still_equal: every episode broke.*no plan"):
            run_all(tmp_path, config)
    run_all(tmp_path, config)


def test_an_unknown_stage_is_a_sentence(config: PeersConfig, tmp_path: Path) -> None:
    config.save(tmp_path / "settings.json")
    with pytest.raises(ConfigError, match=r"no stage called 'train:stil'\. Did you mean 'train:s"):
        run_stage(tmp_path, "train:stil")


def test_the_whole_bench_gives_the_names_that_checks_read(
    config: PeersConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here: Callable[..., None] = lambda python, folder, stage, threads, progress: run_stage(  # noqa: E731
        folder, stage, progress
    )
    monkeypatch.setattr(bench_module, "_run", here)
    results = tmp_path / "results" / "peers.json"
    found = bench_peers(config, tmp_path, results, command="as it was given", python=Path("unused"))
    read = json.loads(results.read_text())["environments"]["two_rooms"]
    assert read == json.loads(json.dumps(found))
    rows = read["offsets"]["reach"]
    names = {"armillary", "still", "still_equal", "random", "noop", "oracle"}
    wanted = {"n", "success_final", "success_touch", "wilson95", "ms_per_decision"}
    for name in names:
        assert wanted | {"model_steps_per_decision"} <= rows[name].keys()
    assert {name: rows[name]["n"] for name in names} == dict.fromkeys(names, 3) | {"still": 2}
    assert rows["oracle"]["success_final"] == 1.0 and rows["noop"]["success_final"] == 0.0
    assert rows["paired"].keys() == {"still", "still_equal"}
    assert {"p_holm", "only_armillary", "only_peer"} <= rows["paired"]["still"].keys()
    assert rows["still"]["model_steps_per_decision"] == config.planning.model_steps
    ours = rows["armillary"]["model_steps_per_decision"]
    assert rows["still_equal"]["model_steps_per_decision"] <= max(ours, 10)
    assert read["training"]["still"]["threads"] == 1 and read["command"] == "as it was given"
    assert (tmp_path / "two_rooms/code/armillary/__init__.py").is_file()


def test_settings_come_back_from_their_file(config: PeersConfig, tmp_path: Path) -> None:
    config.save(tmp_path / "settings.json")
    again = read_config(tmp_path / "settings.json")
    assert again == config
    assert again.train_key("still") == config.train_key("still")


def test_keys_change_with_what_decides_and_with_nothing_else(config: PeersConfig) -> None:
    longer = replace(config, seconds=1.0)
    assert longer.data_key() == config.data_key()
    assert longer.train_key("still") != config.train_key("still")
    looser = replace(config, workers=2, episodes=9)
    assert looser.train_key("armillary") == config.train_key("armillary")
    assert looser.manifest_key("reach") != config.manifest_key("reach")
    harder = replace(config, training=replace(config.training, lr=1.0))
    assert harder.train_key("armillary") == config.train_key("armillary")


def test_the_first_size_and_planning_bear_the_peers_name() -> None:
    config = make_config("push_t", peer_sizes=[224, 64], plannings=["equal", "own"])
    assert list(config.variants) == ["lewm", "pldm", "lewm_64", "pldm_64"]
    assert config.variants["pldm_64"][1].image_size == 64
    assert config.suffixes == {"equal": "", "own": "_own"}
    assert config.planning == PeerPlanning(iterations=30)
    assert make_config("two_room").planning.iterations == 10


def test_a_followed_prior_plays_and_the_peers_still_plan(
    config: PeersConfig, tmp_path: Path
) -> None:
    followed = replace(
        config,
        recipe=changed(config.recipe, {"model.frame_skip": 2}),
        act={"planner": "none", "prior": True, "executed": 1},
        prior={"goals.within": 2, "batch_size": 4, "hidden": 8},
        prior_share=0.5,
        equal_steps=12,
        plannings=("equal",),
    )
    assert followed.prior_config.sharpness == 0 and config.prior_config.sharpness > 0
    assert followed.train_key("armillary") != config.train_key("armillary")
    run_all(tmp_path, followed)
    rows = json.loads(rows_file(tmp_path, followed, "reach").read_text())["rows"]
    planned = rows["still"]["planning"]
    assert planned["samples"] * planned["iterations"] * planned["horizon"] == 10
    (records,) = (tmp_path / "evaluate/reach/records").glob("armillary-*.jsonl")
    assert all(record.decisions[1].step == 1 for record in read_records(records))


def test_reacher_is_followed_without_a_search_unless_another_planner_is_asked_for() -> None:
    usual = make_config("reacher")
    assert usual.act["planner"] == "none" and usual.prior_config.components == 1
    assert make_config("reacher", act={"executed": 2}).act["executed"] == 2
    asked = {"planner": "icem", "prior": True}
    searching = make_config("reacher", act=asked, prior_share=0.2)
    assert dict(searching.act) == {"planner": "icem", "prior": True}
    # what was chosen for following it does not stay behind
    assert searching.prior_config == PriorConfig() and searching.equal_steps == 0
    assert make_config("reacher", act={"planner": "icem"}).prior_share == 0


@pytest.mark.parametrize(("given", "taken"), [(None, 1800.0), (5.0, 5.0)])
def test_the_command_takes_the_seconds_of_the_environment_unless_told(
    monkeypatch: pytest.MonkeyPatch, given: float | None, taken: float
) -> None:
    seen: list[float] = []

    def bench(config: PeersConfig, *_: Any) -> dict[str, Any]:
        seen.append(config.seconds)
        return {"offsets": {}}

    monkeypatch.setattr("armillary.recipes.peers.bench_peers", bench)
    Peers(environment="push_t", seconds=given).run()
    assert seen == [taken]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("recipe=x", "There is no setting for --also called 'recipe'"),
        ("recipe_changes=1", "recipe_changes has its own flag"),
        ("name=x", "There is no setting for --also called 'name'"),
        ("world=x", "There is no setting for --also called 'world'"),
        ("sed=1", "There is no setting called 'sed'"),
    ],
)
def test_also_takes_only_what_nothing_else_says(word: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Peers(environment="two_room", also=(word,)).run()


def test_every_environment_learns_by_the_one_recipe() -> None:
    without_stage_two = changed(world(), {"settling.steps": 0})
    assert all(make_config(name).recipe == without_stage_two for name in GROUNDS)
    own = make_config("push_t", recipe_changes={"model.frame_skip": 5})
    assert own.recipe == changed(without_stage_two, {"model.frame_skip": 5})


def test_goals_of_push_t_come_from_the_policy_that_recorded() -> None:
    pushed, weak = make_config("push_t"), make_config("push_t_weak")
    assert pushed.record_settings == pushed.world_settings == {"collection": "strokes"}
    assert weak.record_settings == weak.world_settings == {}
    assert pushed.recipe == weak.recipe and pushed.world == weak.world
    # the weak one as it was measured
    assert (weak.seconds, weak.recorded, weak.prior_share) == (600.0, 1000, 0.2)
    settings = {"length": 5, "samples": 32, "iterations": 2, "elites": 6}
    assert weak.act == {"planner": "icem", "prior": True, "planner_settings": settings}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"peers": ("lewn",)}, "no peer called 'lewn'. Did you mean 'lewm'"),
        ({"recorde": 3}, "no setting called 'recorde'. Did you mean 'recorded'"),
        ({"training": {"batch": 3}}, "no setting called 'batch'"),
        ({"planning": {"samples": 1}}, "at least 2 elites"),
        ({"own_episodes": {"anny": 3}}, "no task called 'anny'. Did you mean 'any'"),
        ({"peer_sizes": (448,)}, "must be at most"),
        ({"seconds": 0.0}, "seconds must be above 0"),
        ({"act": {"prior": True}, "prior_share": 0.0}, r"act\.prior needs a prior_share"),
        ({"act": {"planner": "none"}}, "act.planner none needs act.prior"),
        ({"act": {"planner": "none", "replan": 2}}, "no setting called 'replan'"),
        ({"prior": {"sharpnes": 1.0}}, "no setting called 'sharpnes'. Did you mean 'sharpness'"),
        ({"equal_steps": -1}, "equal_steps is 0 or more"),
        ({"own_episodes": {"any": 1.5}}, "whole numbers of at least 1"),
        ({"own_episodes": {"any": "abc"}}, "whole numbers of at least 1"),
        ({"act": {"replan": 9}}, r"act\.replan is 1 to 5, the plan's length; got 9"),
        ({"act": {"proposals": -3}}, r"act\.proposals and act\.value_weight must be at least 0"),
        ({"recipe_changes": {"settling.steps": 8}}, "settling.steps must be 0; got 8"),
    ],
)
def test_settings_that_cannot_be_are_sentences(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_config("two_room", **changes)


def test_an_unknown_field_of_the_recipe_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match="no setting called 'framskip'"):
        make_config("push_t", recipe_changes={"model.framskip": 3})


def test_looks_within_a_model_step_are_checked_before_anything_is_recorded(
    config: PeersConfig, tmp_path: Path
) -> None:
    act = {"planner": "none", "prior": True, "executed": 2}
    replace(config, act=act, prior_share=0.3).save(tmp_path / "settings.json")
    with pytest.raises(ConfigError, match=r"act\.executed is 1 to 1, the world steps of a model"):
        run_stage(tmp_path, "record")
    assert not (tmp_path / "data").exists()


def python_saying(folder: Path, shell: str) -> Path:
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{shell}\n")
    python.chmod(0o755)
    return python


def test_a_stage_passes_on_progress_and_its_error(config: PeersConfig, tmp_path: Path) -> None:
    said = '{"done": 3, "total": 4, "note": "x"}\\n{"error": "no disk", "exit_code": 3}\\n'
    heard: list[tuple[int, int, str]] = []
    with pytest.raises(ArmillaryError, match="record: no disk") as caught:
        bench_peers(
            config,
            tmp_path,
            progress=lambda *told: heard.append(told),
            python=python_saying(tmp_path, f"printf '{said}'"),
        )
    assert caught.value.exit_code == 3
    assert heard == [(3, 4, "record x")]


def test_a_stage_that_dies_says_its_last_words(config: PeersConfig, tmp_path: Path) -> None:
    python = python_saying(tmp_path, "echo one >&2; echo 'out of memory' >&2; exit 9")
    with pytest.raises(CheckFailedError, match=r"stage record ended with code 9 \(out of memory\)"):
        bench_peers(config, tmp_path, python=python)
    python = python_saying(tmp_path, "kill -9 $$")
    with pytest.raises(CheckFailedError, match=r"ended with code -9 \(killed from outside"):
        bench_peers(config, tmp_path, python=python)
