"""The plugin is found by LeRobot, takes its batches, and says in a sentence what is wrong."""

from __future__ import annotations

import importlib.metadata
import json
import shutil

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("lerobot", reason="needs lerobot 0.4.4; make test-lerobot installs it")

from lerobot.configs.policies import PreTrainedConfig
from lerobot.envs.utils import preprocess_observation
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.utils.import_utils import register_third_party_plugins

import lerobot_policy_armillary
from armillary.core.errors import CheckpointError, ConfigError, FormatError, ShapeError
from armillary.evaluation import ModelSpec, WorldFactory
from conftest import ROOMS, SIDE, TABLE
from lerobot_policy_armillary import (
    ArmillaryConfig,
    ArmillaryPolicy,
    modeling_armillary,
    read_goal,
    write_goal,
)
from lerobot_policy_armillary.observations import observed

ROBOT = {"low": (-1.0, -1.0), "high": (1.0, 1.0)}


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def lerobots(*pictures: np.ndarray) -> torch.Tensor:
    """Return pictures as LeRobot has them, float [B 3 H W] of 0 to 1."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def batch(now: int = 1, goal: int | None = 2) -> dict[str, torch.Tensor]:
    found = {"observation.images.front": lerobots(picture(now))}
    return found if goal is None else found | {"observation.images.goal": lerobots(picture(goal))}


@pytest.fixture(scope="module")
def config(rooms_model) -> ArmillaryConfig:
    return ArmillaryConfig(model=str(rooms_model), **ROBOT)


@pytest.fixture
def policy(config) -> ArmillaryPolicy:
    return ArmillaryPolicy(config)


def test_lerobot_finds_the_plugin():
    names = {one.metadata["Name"] for one in importlib.metadata.distributions()}
    assert lerobot_policy_armillary.__name__ in names  # underscores and all
    register_third_party_plugins()
    assert PreTrainedConfig.get_choice_class("armillary") is ArmillaryConfig
    assert get_policy_class("armillary") is ArmillaryPolicy


def test_an_action_is_that_of_the_policy_itself(rooms_model, policy):
    world = policy.decider.world
    own = ModelSpec(rooms_model)(world)
    from armillary.core.values import Observation

    state = own.init(Observation({"rgb": picture(2)}), 0)
    for now in (1, 3, 4):
        expected, state = own.act(Observation({"rgb": picture(now)}), state)
        with torch.inference_mode():
            action = policy.select_action(batch(now))
        assert action.dtype == torch.float32 and action.shape == (1, 2)
        np.testing.assert_array_equal(action[0].numpy(), expected.astype(np.float32))


def test_rows_of_a_batch_do_not_depend_on_each_other(policy):
    both = {
        "observation.images.front": lerobots(picture(1), picture(3)),
        "observation.images.goal": lerobots(picture(2), picture(4)),
    }
    chunk = policy.predict_action_chunk(both)
    assert chunk.shape == (2, 1, 2) and len(policy.plans) == 2
    for place, (now, goal) in enumerate(((1, 2), (3, 4))):
        policy.reset()
        policy._episodes = place  # whose chance it is
        one = policy.select_action(batch(now, goal))
        torch.testing.assert_close(one[0], chunk[place, 0], rtol=0, atol=0)


def test_a_goal_in_a_file_is_as_good_as_one_that_is_seen(config, policy, tmp_path):
    cv2.imwrite(str(tmp_path / "goal.png"), picture(2)[..., ::-1])
    filed = ArmillaryPolicy.from_pretrained(
        config.model, goal=str(tmp_path / "goal.png"), device="cpu", **ROBOT
    )
    for now in (1, 3):
        expected = policy.select_action(batch(now))
        torch.testing.assert_close(filed.select_action(batch(now, None)), expected, rtol=0, atol=0)
    # A goal that is seen comes before the one in the file.
    assert not torch.equal(filed.select_action(batch(3, 5)), filed.select_action(batch(3, None)))


def test_a_saved_policy_keeps_goal_and_model(config, tmp_path):
    model = shutil.copytree(config.model, tmp_path / "model")
    cv2.imwrite(str(tmp_path / "there.png"), picture(2)[..., ::-1])
    first = ArmillaryPolicy.from_pretrained(model, goal=str(tmp_path / "there.png"), **ROBOT)
    expected = first.select_action(batch(1, None))
    first.save_pretrained(tmp_path / "policy")
    first.save_pretrained(tmp_path / "policy")  # over itself, too
    shutil.rmtree(model)
    (tmp_path / "there.png").unlink()
    again = ArmillaryPolicy.from_pretrained(tmp_path / "policy")
    torch.testing.assert_close(again.select_action(batch(1, None)), expected, rtol=0, atol=0)
    again.save_pretrained(tmp_path / "policy")  # from and to the same folder
    written = json.loads((tmp_path / "policy" / "config.json").read_text())
    assert written["type"] == "armillary" and written["goal"] == "goal.png"
    assert not [path for path in (tmp_path / "policy").iterdir() if path.suffix == ".part"]
    written["world"] = "gym:antigravity:Env-v0"
    (tmp_path / "policy" / "config.json").write_text(json.dumps(written))
    with pytest.raises(ConfigError, match=r"may not name the environment gym:antigravity:Env-v0"):
        ArmillaryPolicy.from_pretrained(tmp_path / "policy")
    before, after = make_pre_post_processors(again.config, str(tmp_path / "policy"))
    assert after(again.select_action(before(batch(1, None)))).shape == (1, 2)


@pytest.mark.parametrize("saved", [False, True])
def test_it_loads_from_the_hub(config, tmp_path, monkeypatch, saved):
    policy = ArmillaryPolicy(config)
    policy.save_pretrained(tmp_path / "policy")
    source = tmp_path / "policy" if saved else config.model
    asked = []

    def download(name, **settings):
        asked.append((name, settings))
        return str(shutil.copytree(source, tmp_path / "hub"))

    monkeypatch.setattr(modeling_armillary, "snapshot_download", download)
    changes = {} if saved else ROBOT
    found = ArmillaryPolicy.from_pretrained("someone/model", revision="v1", **changes)
    expected = policy.select_action(batch())
    torch.testing.assert_close(found.select_action(batch()), expected, rtol=0, atol=0)
    ((name, settings),) = asked
    assert name == "someone/model" and settings["revision"] == "v1"
    assert not [one for one in settings["allow_patterns"] if "py" in one or "bin" in one]


def test_nothing_of_another_model_is_overwritten(config, policy, tmp_path):
    model = shutil.copytree(config.model, tmp_path / "model")
    before = (model / "config.json").read_bytes()
    with pytest.raises(ConfigError, match="holds another model, which this policy would overwrite"):
        policy.save_pretrained(model)
    assert (model / "config.json").read_bytes() == before


def test_a_saved_policy_of_a_world_needs_no_simulator(table_model, tmp_path):
    first = ArmillaryPolicy.from_pretrained(table_model, world=TABLE)
    first.save_pretrained(tmp_path / "policy")
    again = ArmillaryPolicy.from_pretrained(tmp_path / "policy")
    one, other = first.decider.world, again.decider.world
    assert other.name == "robot"
    assert (other.step_s, other.budget) == (one.step_s, one.budget)
    np.testing.assert_array_equal(other.bounds.low, one.bounds.low)
    np.testing.assert_array_equal(other.bounds.high, one.bounds.high)


def test_a_repository_that_is_not_there_gets_a_sentence(monkeypatch):
    def nothing(name, **settings):
        raise OSError("offline")

    monkeypatch.setattr(modeling_armillary, "snapshot_download", nothing)
    with pytest.raises(CheckpointError, match="the Hub has no such repository or cannot be"):
        ArmillaryPolicy.from_pretrained("some/one", **ROBOT)


def test_another_goal_begins_an_episode_and_so_does_a_reset(policy):
    first = policy.select_action(batch(1, 2))
    step = policy._rows[0].session._state.step
    policy.select_action(batch(3, 2))
    assert policy._rows[0].session._state.step == step + 1
    policy.select_action(batch(1, 5))
    assert policy._rows[0].session._state.step == step
    policy.reset()
    policy._episodes = 0
    torch.testing.assert_close(policy.select_action(batch(1, 2)), first, rtol=0, atol=0)


def test_every_byte_of_a_picture_comes_back():
    every = np.arange(256 * 3, dtype=np.int64).reshape(16, 16, 3).astype(np.uint8)
    seen = preprocess_observation({"pixels": {"rgb": every[None]}})
    assert seen["observation.images.rgb"].dtype == torch.float32
    np.testing.assert_array_equal(observed(seen, 0, ("rgb",), {})["rgb"], every)


def test_a_stopped_row_is_known(policy, monkeypatch, caplog):
    decide = modeling_armillary.Session.decide

    def stopped(self, request):
        reply = decide(self, request)
        return reply | {"stop": np.array([True]), "plan": reply["plan"] | {"alarm": "one step"}}

    policy.select_action(batch())
    assert policy.stopped == (False,)
    monkeypatch.setattr(modeling_armillary.Session, "decide", stopped)
    policy.select_action(batch(3))
    policy.select_action(batch(4))
    assert policy.stopped == (True,)
    assert caplog.text.count("The guard stopped row 0: one step.") == 1


def test_a_latency_budget_is_kept_by_acting_without_the_search(rooms_model):
    made = ArmillaryPolicy(
        ArmillaryConfig(model=str(rooms_model), steps=4, latency_budget_ms=1e-6, **ROBOT)
    )
    made.select_action(batch(1))
    made.select_action(batch(3))
    assert not made.plans[0]["searched"]
    made.config.latency_budget_ms = 1e6
    made.select_action(batch(4))
    assert made.plans[0]["searched"]


def test_streams_of_a_goal_go_through_a_file(table_model, tmp_path):
    world = WorldFactory(TABLE, {"image_size": SIDE})()
    world.reset(3)
    goal = world.draw_goal("reach", np.random.default_rng(0)).observation
    world.close()
    path = write_goal(tmp_path / "goal.safetensors", goal)
    found = read_goal(path)
    assert found.keys() == goal.streams.keys()
    for name, value in goal.streams.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype
    config = ArmillaryConfig(model=str(table_model), world=TABLE, goal=str(path))
    seen = {
        f"observation.{name}": torch.from_numpy(value)[None]
        for name, value in goal.streams.items()
        if name != "rgb"
    }
    seen["observation.images.top"] = lerobots(goal.streams["rgb"])
    assert ArmillaryPolicy(config).select_action(seen).shape == (1, 2)
    with pytest.raises(FormatError, match=r"ends with \.safetensors; rename it"):
        write_goal(tmp_path / "goal.npz", goal)


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"model": ""}, ConfigError, "needs a model; name a model folder"),
        ({"low": (), "high": ()}, ConfigError, r"Say what the actions are: --policy\.world"),
        ({"low": (-1.0,), "high": (1.0,)}, ShapeError, "takes 4 action numbers per model step"),
        ({"low": (1.0, 1.0)}, ConfigError, "low below high"),
        ({"steps": -1}, ConfigError, "are at least 0; got -1"),
        ({"planner": "cme"}, ConfigError, "cem"),
        ({"model": "nowhere"}, CheckpointError, "there is no folder nowhere here"),
        ({"goal": "nowhere.png"}, FormatError, "nowhere.png: there is no such file"),
        ({"guard": "nowhere.json"}, FormatError, "nowhere.json"),
        ({"world": "tabletopp"}, ConfigError, "tabletop"),
    ],
)
def test_a_policy_that_cannot_be_gets_a_sentence(config, changes, error, sentence):
    from dataclasses import replace

    with pytest.raises(error, match=sentence):
        ArmillaryPolicy(replace(config, **changes))


@pytest.mark.parametrize(
    ("seen", "error", "sentence"),
    [
        ({}, FormatError, "no tensor whose name begins with 'observation.'"),
        (
            {"observation.state": torch.zeros(1, 2)},
            FormatError,
            r"The model sees rgb, and .* has n",
        ),
        (batch(1, None), ConfigError, r"There is no goal\. Give its picture with --policy\.goal"),
        (
            batch() | {"observation.images.front": torch.full((1, 3, 8, 8), 1.5)},
            FormatError,
            "values outside 0 to 1",
        ),
        (
            batch() | {"observation.images.front": torch.full((1, 3, 8, 8), torch.nan)},
            FormatError,
            "values outside 0 to 1",
        ),
        (
            batch() | {"observation.images.front": torch.zeros(1, 8, 8, 3)},
            FormatError,
            r"is a picture \(3, H, W\) per row; got \(8, 8, 3\)",
        ),
        (
            batch() | {"observation.images.front": torch.zeros(1, 3, 8, 8, dtype=torch.int64)},
            FormatError,
            "a picture of bytes or of 0 to 1; got torch.int64",
        ),
        (
            batch() | {"observation.images.goal": torch.zeros(2, 3, 8, 8)},
            FormatError,
            r"observation\.images\.goal is no tensor of 1 rows; got \(2, 3, 8, 8\)",
        ),
        (
            batch() | {"observation.images.rear": torch.zeros(1, 3, 8, 8)},
            FormatError,
            r"Name it with --policy\.keys",
        ),
    ],
)
def test_an_observation_that_cannot_be_gets_a_sentence(policy, seen, error, sentence):
    with pytest.raises(error, match=sentence):
        policy.select_action(seen)


def test_a_named_camera_is_taken(config):
    from dataclasses import replace

    seen = batch() | {"observation.images.rear": lerobots(picture(7))}
    named = ArmillaryPolicy(replace(config, keys={"rgb": "observation.images.front"}))
    expected = ArmillaryPolicy(config).select_action(batch())
    torch.testing.assert_close(named.select_action(seen), expected, rtol=0, atol=0)


def test_what_is_missing_in_a_goal_is_named(table_model):
    made = ArmillaryPolicy(ArmillaryConfig(model=str(table_model), world=TABLE))
    state = {
        "depth": torch.ones(1, SIDE, SIDE),
        "world_from_camera": torch.eye(4)[None],
        "intrinsics": torch.eye(3)[None],
    }
    with pytest.raises(FormatError, match="The goal lacks depth, world_from_camera, intrinsics"):
        made.select_action(batch() | {"observation.robot_state": state})


def test_other_rows_and_training_are_refused(policy, config, tmp_path):
    policy.select_action(batch())
    two = {name: value.repeat(2, 1, 1, 1) for name, value in batch().items()}
    with pytest.raises(ConfigError, match=r"began with 1 rows, and this batch has 2; call reset"):
        policy.select_action(two)
    for refused in (lambda: policy.forward({}), policy.get_optim_params):
        with pytest.raises(ConfigError, match=r"does not train .* armillary train RECIPE"):
            refused()
    from lerobot.policies.act.configuration_act import ACTConfig

    with pytest.raises(ConfigError, match="is a policy of type act, not armillary"):
        ArmillaryPolicy.from_pretrained(config.model, config=ACTConfig(device="cpu"))


def test_a_file_that_is_no_goal_gets_a_sentence(tmp_path):
    for name in ("goal.png", "goal.safetensors"):
        (tmp_path / name).write_bytes(b"\x80\x04nothing of the kind")
        with pytest.raises(FormatError, match=name):
            read_goal(tmp_path / name)


def test_rooms_need_no_bounds(rooms_model):
    made = ArmillaryPolicy(ArmillaryConfig(model=str(rooms_model), world=ROOMS, steps=7))
    assert made.decider.world.name == ROOMS and made.decider.world.budget == 7
