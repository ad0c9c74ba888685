"""Ground: peers learn and act beside armillary; truths of clips, clock, policy and results."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from armillary.benchmark.ground import (
    PEER_KINDS,
    PeerKind,
    PeerPlanning,
    PeerPolicy,
    PeerSpec,
    PeerTraining,
    equal_planning,
    merge_environment,
    summarise_task,
    train_own,
    train_peer,
)
from armillary.benchmark.ground.clips import ActionScale, PeerClips, normalised
from armillary.benchmark.ground.results import pool
from armillary.benchmark.ground.saved import load_peer
from armillary.control import Record
from armillary.core.errors import CheckpointError, ConfigError, FormatError, ShapeError
from armillary.core.values import ActionBounds, Observation, WorldSpec
from armillary.data import Cache, open_dataset, prepare
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, load_model
from armillary.training import ObjectiveConfig, TrainConfig

SIZE = 16
PICTURE = np.zeros((SIZE, SIZE, 3), np.uint8)
WORLD = WorldSpec(
    name="two wide",
    bounds=ActionBounds(np.full(2, -0.5), np.full(2, 0.5)),
    step_s=0.1,
    tasks=("reach",),
    budget=60,
    success_distance=1.0,
    distance_unit="m",
    sensors={"rgb": "rgb"},
)


class Slope(nn.Module):
    """A peer with one weight matrix, which learns to answer actions from pictures."""

    def __init__(self, settings: PeerTraining, action_width: int) -> None:
        super().__init__()
        self.world_model = nn.Linear(3, action_width)
        self.norm = nn.BatchNorm1d(action_width)

    def loss(self, pixels: Tensor, actions: Tensor) -> Tensor:
        said = self.norm(self.world_model(pixels.mean(dim=(1, 3, 4))).float())
        return (said - actions.mean(dim=1)).square().mean()


def shouting(
    model: Any, scale: ActionScale, planning: PeerPlanning, size: int, goal: Any, seed: int
) -> Any:
    """A player that sends twice the spread of the actions, whatever it sees."""
    return lambda picture: scale.inverse_transform(np.array([2.0, -2.0]))


@pytest.fixture
def slope(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(PEER_KINDS, "slope", PeerKind(Slope, shouting))
    return "slope"


@pytest.fixture
def cache(recording: Path, tmp_path: Path) -> Cache:
    return prepare(open_dataset(recording), SIZE, cache_root=tmp_path / "cache")


EPISODES = np.arange(2)
TRAINING = PeerTraining(image_size=SIZE, batch_size=4, lr=1e-2)


@pytest.fixture
def trained(slope: str, cache: Cache, tmp_path: Path) -> Path:
    train_peer(slope, cache, EPISODES, TRAINING, 0.05, tmp_path / "peer")
    return tmp_path / "peer"


@pytest.mark.parametrize("model_steps", [10, 60, 150, 500, 3000, 45_000, 100_000])
def test_an_equal_planning_stays_within_the_steps_and_is_near_them(model_steps: int) -> None:
    equal = equal_planning(PeerPlanning(), model_steps)
    assert equal.model_steps <= max(model_steps, 2 * equal.horizon)
    assert equal.model_steps > 0.8 * model_steps
    assert 2 <= equal.elites <= equal.samples
    assert equal.iterations <= PeerPlanning().iterations


def test_the_peers_own_number_of_steps_gives_the_peers_own_planning() -> None:
    own = PeerPlanning()
    assert equal_planning(own, own.model_steps) == own


def test_patches_never_drop_a_border() -> None:
    assert [PeerTraining(image_size=size).patch_side for size in (224, 64)] == [14, 8]


def test_actions_are_scaled_by_what_was_done_and_come_back(cache: Cache) -> None:
    scale = ActionScale.of(cache, EPISODES)
    assert cache.actions is not None
    spans = [(cache.starts[e], cache.starts[e + 1] - 1) for e in EPISODES]
    done = np.concatenate([cache.actions[begin:end] for begin, end in spans])
    scaled = scale.transform(done)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(scale.inverse_transform(scaled), done, atol=1e-6)


def test_an_epoch_of_clips_sees_no_window_twice(cache: Cache) -> None:
    clips = PeerClips(cache, EPISODES, batch_size=4, seed=0)
    batches = [clips.batch(step) for step in range(len(clips.windows) // 4)]
    shapes = {(tuple(p.shape), tuple(a.shape)) for p, a in batches}
    assert shapes == {((4, 4, 3, SIZE, SIZE), (4, 3, 10))}
    seen = {row.numpy().tobytes() for _, actions in batches for row in actions}
    assert len(seen) == 4 * len(batches)
    again = PeerClips(cache, EPISODES, batch_size=4, seed=0).batch(1)
    assert torch.equal(again[0], batches[1][0])


def test_pictures_have_imagenets_mean_and_spread() -> None:
    grey = torch.full((1, 1, 2, 2, 3), 128, dtype=torch.uint8)
    wanted = (128 / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(normalised(grey)[0, 0, :, 0, 0], wanted, rtol=1e-5)


def test_a_peer_trains_for_its_seconds_and_comes_back_as_it_was(
    slope: str, cache: Cache, tmp_path: Path
) -> None:
    numbers = train_peer(slope, cache, EPISODES, TRAINING, 0.2, tmp_path)
    assert numbers["updates"] > 1 and numbers["seconds"] > 0.1
    assert numbers["frames"] == numbers["updates"] * 4 * 4
    assert numbers["loss"]["last"] < numbers["loss"]["first"]
    about, network = load_peer(tmp_path)
    assert about["kind"] == slope and not network.training
    _, again = load_peer(tmp_path)
    assert torch.equal(network.world_model.weight, again.world_model.weight)


def test_an_update_longer_than_the_time_is_the_only_one(
    slope: str, cache: Cache, tmp_path: Path
) -> None:
    assert train_peer(slope, cache, EPISODES, TRAINING, 1e-9, tmp_path)["updates"] == 1


def test_training_leaves_the_global_chance_alone(slope: str, cache: Cache, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    train_peer(slope, cache, EPISODES, TRAINING, 1e-9, tmp_path)
    load_peer(tmp_path)
    assert torch.equal(before, torch.get_rng_state())


def test_a_damaged_peer_is_one_sentence(trained: Path) -> None:
    about = json.loads((trained / "peer.json").read_text())
    (trained / "peer.json").write_text(json.dumps(about | {"kind": "os.system"}))
    with pytest.raises(CheckpointError, match=r"unknown peer 'os\.system'; known: lewm, pldm"):
        load_peer(trained)


def test_a_peer_decides_every_25_steps_and_stays_in_the_box(trained: Path) -> None:
    spec = PeerSpec(trained, PeerPlanning(samples=8, elites=2, iterations=3))
    policy = spec(WORLD)
    seen = Observation({"rgb": PICTURE})
    state = policy.init(seen, 0)
    decided = []
    for _ in range(60):
        action, state = policy.act(seen, state)
        assert action.tolist() == [0.5, -0.5]
        assert state.decision is not None and state.decision.model_steps == 8 * 3 * 5
        decided.append(state.decision.step)
    assert decided == [0] * 25 + [25] * 25 + [50] * 10


def test_identity_says_what_decides(trained: Path) -> None:
    own = PeerSpec(trained, PeerPlanning())
    assert own.identity() == PeerSpec(trained, PeerPlanning()).identity()
    assert own.identity() != PeerSpec(trained, PeerPlanning(iterations=10)).identity()


def test_a_peer_of_another_world_is_refused(trained: Path) -> None:
    bounds = ActionBounds(np.zeros(3), np.ones(3))
    with pytest.raises(ShapeError, match="actions of width 2, the world's have 3"):
        PeerSpec(trained)(replace(WORLD, bounds=bounds))


def test_armillary_trains_for_its_seconds(cache: Cache, tmp_path: Path) -> None:
    model = JEPAConfig(
        sensors=("rgb",),
        encoder=EncoderConfig(image_size=SIZE, tokens=2, width=8),
        predictor=PredictorConfig(memory=16, hidden=16),
        frame_skip=2,
        action_width=4,
    )
    objective = ObjectiveConfig(variance=1.0, rollout_steps=2)
    config = TrainConfig(batch_size=4, clip_length=4, objective=objective, log_every=1)
    numbers = train_own(model, config, cache, EPISODES, ("rgb",), 0.5, tmp_path)
    assert numbers["updates"] > 1 and numbers["seconds"] >= 0.5
    assert numbers["frames"] == numbers["updates"] * 16
    assert load_model(tmp_path / "model").config == model
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == numbers["updates"]


def records(policy: str, solved: list[bool], seed: int = 0) -> list[Record]:
    return [
        Record(
            id=f"reach-{number}",
            seed=seed + number,
            goal_seed=number,
            manifest=f"of {len(solved)}",
            policy=policy,
            privileged=False,
            outcome="success" if good else "failure",
            error="",
            success_distance=1.0,
            distances=(3.0, 0.5, 0.5 if good else 2.0),
            actions=((0.0, 0.0), (0.0, 0.0)),
            decisions=(),
            ms_per_decision=(1.0, 3.0),
        )
        for number, good in enumerate(solved)
    ]


def environment(ours: int, theirs: int) -> dict[str, Any]:
    """armillary alone solves so many, the peer alone so many, of 20."""
    a = [True] * ours + [False] * (20 - ours)
    b = [False] * (20 - theirs) + [True] * theirs
    found = {"armillary": records("a", a), "lewm": records("b", b)}
    offsets = {"25": summarise_task(found, ["lewm"])}
    return {"offsets": offsets, "paired": pool(offsets)}


def test_rows_have_the_names_that_are_read() -> None:
    row = environment(15, 5)["offsets"]["25"]["armillary"]
    assert (row["n"], row["success_final"], row["success_touch"]) == (20, 0.75, 1.0)
    assert row["wilson95"][0] < 0.75 < row["wilson95"][1]
    assert (row["ms_per_decision"], row["model_steps_per_decision"]) == (2.0, 0.0)


def test_a_peer_is_compared_on_the_episodes_that_it_ran() -> None:
    found = {
        "armillary": records("a", [True] * 6 + [False] * 4),
        "lewm": records("b", [False] * 4),
    }
    test = summarise_task(found, ["lewm"])["paired"]["lewm"]
    assert (test["n"], test["only_armillary"], test["only_peer"]) == (4, 4, 0)
    assert test["p"] == pytest.approx(2 / 2**4)


def test_other_episodes_are_not_pairs() -> None:
    found = {"armillary": records("a", [True] * 4), "lewm": records("b", [False] * 4, seed=7)}
    with pytest.raises(ConfigError, match="needs the same episodes under the same rules"):
        summarise_task(found, ["lewm"])


def test_an_episode_that_broke_before_it_began_is_a_pair_all_the_same() -> None:
    mine, theirs = records("a", [True] * 4), records("b", [False] * 4)
    theirs[2] = replace(theirs[2], outcome="crash", distances=(), actions=(), decisions=())
    test = summarise_task({"armillary": mine, "lewm": theirs}, ["lewm"])["paired"]["lewm"]
    assert (test["n"], test["only_armillary"], test["only_peer"]) == (4, 4, 0)


def test_pooling_adds_the_discordant_pairs() -> None:
    offsets = {name: environment(10, 4)["offsets"]["25"] for name in ("25", "50")}
    test = pool(offsets)["lewm"]
    assert (test["n"], test["only_armillary"], test["only_peer"]) == (40, 20, 8)


def test_merging_keeps_the_others_and_corrects_for_all_tests(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    alone = merge_environment(path, "two_room", environment(8, 0))
    test = alone["environments"]["two_room"]["offsets"]["25"]["paired"]["lewm"]
    assert test["p_holm"] == test["p"] == pytest.approx(2 / 2**8)
    both = merge_environment(path, "push_t", environment(6, 0))["environments"]
    assert set(both) == {"two_room", "push_t"}
    first, second = (both[name]["offsets"]["25"]["paired"]["lewm"] for name in both)
    # Holm: the smaller p twice, the larger once
    assert first["p_holm"] == pytest.approx(2 * 2 / 2**8)
    assert second["p_holm"] == pytest.approx(2 / 2**6)
    assert json.loads(path.read_text())["environments"] == both


def test_merging_an_environment_again_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    merge_environment(path, "two_room", environment(8, 0))
    merge_environment(path, "push_t", environment(6, 0))
    merged = merge_environment(path, "two_room", environment(3, 3))["environments"]
    assert list(merged) == ["two_room", "push_t"]
    assert merged["two_room"]["offsets"]["25"]["paired"]["lewm"]["only_armillary"] == 3


def test_the_file_says_how_to_make_all_of_it_again(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    made = {
        name: environment(8, 0)
        | {"command": f"armillary bench peers {name}", "commit": name, "date": date, "machine": {}}
        for name, date in (("two_room", "2026-11-28"), ("push_t", "2026-11-25"))
    }
    merge_environment(path, "two_room", made["two_room"])
    value = merge_environment(path, "push_t", made["push_t"])
    assert value["command"] == "armillary bench peers two_room && armillary bench peers push_t"
    # measured last, not merged last
    assert (value["commit"], value["date"]) == ("two_room", "2026-11-28")


def test_another_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    path.write_text("{}")
    with pytest.raises(FormatError, match="not results of format"):
        merge_environment(path, "two_room", environment(8, 0))
    assert path.read_text() == "{}"


@pytest.mark.parametrize("kind", ["lewm", "pldm"])
def test_the_real_peers_learn_and_play(kind: str, cache: Cache, tmp_path: Path) -> None:
    pytest.importorskip("stable_worldmodel")
    settings = PeerTraining(image_size=SIZE, batch_size=4, lr=1e-3)
    numbers = train_peer(kind, cache, EPISODES, settings, 1e-9, tmp_path)
    assert np.isfinite(numbers["loss"]["last"])
    policy = PeerSpec(tmp_path, PeerPlanning(samples=4, elites=2, iterations=2))(WORLD)
    assert isinstance(policy, PeerPolicy)
    goal, seen = Observation({"rgb": PICTURE + 200}), Observation({"rgb": PICTURE})
    actions = []
    for _ in range(2):
        state = policy.init(goal, 5)
        episode = []
        for _ in range(30):
            action, state = policy.act(seen, state)
            episode.append(action)
        actions.append(np.stack(episode))
    np.testing.assert_array_equal(*actions)
    assert np.abs(actions[0]).max() <= 0.5
