"""A goal policy repeats itself, begins as it should, and is refused beside another model."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from armillary.core.errors import CheckpointError, ConfigError
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, save_model, untrained
from armillary.models.goal_policy import (
    SHARE,
    GoalPolicy,
    GoalPolicyConfig,
    untrained_goal_policy,
)
from armillary.models.goal_policy_file import POLICY_FILE, load_goal_policy, save_goal_policy

CONFIG = JEPAConfig(
    sensors=("rgb",),
    action_width=2,
    encoder=EncoderConfig(image_size=8, patch=4, patch_hidden=8, hidden=8, tokens=2, width=4),
    predictor=PredictorConfig(memory=8, hidden=8),
)
SHAPE = GoalPolicyConfig(CONFIG.latent_width, 2, hidden=16, layers=2)


def policy(seed: int = 0) -> GoalPolicy:
    found = untrained_goal_policy(SHAPE, seed)
    found.farthest.fill_(40.0)
    for layer in found.layers:  # else the time left would have no effect yet
        torch.nn.init.normal_(layer.modulation.weight, std=0.3)
    return found.eval()


@pytest.fixture
def folder(tmp_path):
    save_model(untrained(CONFIG, 0), tmp_path / "model")
    return tmp_path / "model"


def test_an_untrained_policy_does_not_heed_the_time_left_and_depends_on_its_seed():
    here, goal = torch.randn(2, 5, SHAPE.latent_width)
    first = untrained_goal_policy(SHAPE, 3)
    assert torch.equal(first.act(here, goal, 1.0), first.act(here, goal, 8.0))
    assert torch.equal(first.act(here, goal), untrained_goal_policy(SHAPE, 3).act(here, goal))
    assert not torch.equal(first.act(here, goal), untrained_goal_policy(SHAPE, 4).act(here, goal))


@torch.no_grad()
def test_the_first_sample_is_the_likeliest_action_for_the_time_of_the_goal():
    made, here, goals = policy(), *torch.randn(2, 12, SHAPE.latent_width)
    time = made.goal_time(16.0)
    assert time == 16.0 * SHARE
    drawn = made.sample(here, goals, time, torch.Generator().manual_seed(0))
    meant = made.act(here, goals, 16.0)
    assert torch.allclose(drawn[0], meant[0], atol=1e-6)
    assert not torch.allclose(drawn[1], meant[1], atol=1e-3)
    assert torch.equal(drawn, made.sample(here, goals, time, torch.Generator().manual_seed(0)))


@torch.no_grad()
def test_more_time_than_was_trained_for_is_as_much_as_was_and_less_than_a_step_is_one():
    made, here, goal = policy(), *torch.randn(2, 6, SHAPE.latent_width)
    assert torch.equal(made.act(here, goal, 80.0), made.act(here, goal, 1000.0))
    assert not torch.equal(made.act(here, goal, 80.0), made.act(here, goal, 40.0))
    assert torch.equal(made.act(here, goal, 1.0), made.act(here, goal, 2.0))


@torch.no_grad()
def test_actions_are_in_the_units_of_the_recording():
    made, here, goal = policy(), *torch.randn(2, 6, SHAPE.latent_width)
    plain = made.act(here, goal)
    made.action_mean.fill_(3.0)
    made.action_std.fill_(0.5)
    assert torch.allclose(made.act(here, goal), 0.5 * plain + 3.0, atol=1e-6)


def test_what_is_saved_is_loaded_beside_its_own_model_only(folder, tmp_path):
    model = untrained(CONFIG, 0)
    assert load_goal_policy(folder, model) is None
    made = policy()
    save_goal_policy(made, folder)
    again = load_goal_policy(folder, model)
    assert again is not None and not again.training
    assert all(
        torch.equal(one, again.state_dict()[name]) for name, one in made.state_dict().items()
    )
    save_model(untrained(CONFIG, 1), tmp_path / "other")
    (folder / "policy").rename(tmp_path / "other" / "policy")
    with pytest.raises(CheckpointError, match=r"was trained for another model\. Remove it"):
        load_goal_policy(tmp_path / "other", model)


def test_damaged_and_foreign_files_are_refused_with_a_sentence(folder, tmp_path):
    model, path = untrained(CONFIG, 0), folder / POLICY_FILE
    path.parent.mkdir()
    path.write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match="not a safetensors file of a goal policy"):
        load_goal_policy(folder, model)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="does not say that it holds a goal policy"):
        load_goal_policy(folder, model)
    save_goal_policy(policy(), folder)
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["armillary"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    older = {name: tensor for name, tensor in tensors.items() if name != "farthest"}
    save_file(older, path, {"armillary": json.dumps(about)})
    with pytest.raises(CheckpointError, match=r"'farthest' is missing\..* again: armillary policy"):
        load_goal_policy(folder, model)
    about["config"]["hidden"] = 1 << 30
    save_file(tensors, path, {"armillary": json.dumps(about)})
    with pytest.raises(CheckpointError, match="parameters, which are too many"):
        load_goal_policy(folder, model)
    with pytest.raises(CheckpointError, match=r"contains no model\.safetensors"):
        save_goal_policy(policy(), tmp_path)


@pytest.mark.parametrize("wrong", [{"hidden": 0}, {"layers": 0}, {"layers": 17}])
def test_shapes_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError, match="A goal policy"):
        GoalPolicyConfig(4, 2, **wrong)
