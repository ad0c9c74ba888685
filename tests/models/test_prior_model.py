"""The distance is a quasimetric, the policy a density; the file comes back or is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_model import normal, tiny_batch, tiny_model

from armillary.core.errors import CheckpointError, ConfigError
from armillary.core.rng import torch_generator
from armillary.core.values import Latent
from armillary.models import (
    GoalPriorConfig,
    load_model,
    load_prior,
    save_model,
    save_prior,
    untrained_prior,
)

MODEL = tiny_model()
CONFIG = GoalPriorConfig(MODEL.config.latent_width, 2, hidden=16, embedding=32, components=3)


@pytest.fixture
def prior():
    return untrained_prior(CONFIG, 0).eval().requires_grad_(False)


@pytest.fixture
def folder(tmp_path):
    save_model(MODEL, tmp_path / "model")
    return tmp_path / "model"


def test_the_distance_is_a_quasimetric(prior):
    points = prior.embedding(3 * normal(30, CONFIG.latent_width)).detach()
    table = prior.between(points[:, None], points)
    assert table.diagonal().abs().max() == 0 and table.min() >= 0
    detour = (table[:, :, None] + table[None]).amin(1)  # over the place in between
    assert (table <= detour + 1e-4).all()
    assert (table - table.T).abs().max() > 0.1 * table.mean(), "a way back may be longer"


def test_near_zero_the_distance_has_a_finite_slope(prior):
    here = normal(1, CONFIG.latent_width).requires_grad_(True)
    prior.between(*prior.embedding(torch.stack([here, here.detach()]))).sum().backward()
    assert here.grad.isfinite().all()


def test_distances_of_states_do_not_depend_on_their_neighbours(prior):
    tokens, goals = normal(2, 5, 2, 4), normal(2, 2, 4, seed=1)
    found = prior.distance(tokens, goals)
    one = prior.between(
        prior.embedding(tokens[1, 3].flatten()), prior.embedding(goals[1].flatten())
    )
    torch.testing.assert_close(found[1, 3], one)


def test_the_policy_is_a_density_and_draws_from_itself(prior):
    grid = torch.cartesian_prod(*[torch.linspace(-8, 8, 141)] * 2)
    state, goal = normal(1, 8), normal(1, 8, seed=1)
    mixture = prior.mixture(state.expand(len(grid), -1), goal.expand(len(grid), -1))
    density = mixture.log_likelihood(grid).exp() / (2 * np.pi)
    assert abs(float(density.sum()) * (16 / 140) ** 2 - 1) < 0.02
    drawn = mixture.sample(torch_generator("draw"))
    weights = mixture.logits[0].softmax(-1)
    torch.testing.assert_close(drawn.mean(0), weights @ mixture.means[0], atol=0.05, rtol=0)
    torch.testing.assert_close(drawn[0], mixture.means[0, weights.argmax()])


def test_what_is_meant_is_the_mean_of_a_component_as_often_as_it_weighs(prior):
    state, goal = normal(1, 8), normal(1, 8, seed=1)
    mixture = prior.mixture(state.expand(20_000, -1), goal.expand(20_000, -1))
    meant, means = mixture.intent(torch_generator("meant")), mixture.means[0]
    which = (meant[:, None] - means).abs().sum(-1).argmin(-1)
    assert torch.equal(meant, means[which])
    share = torch.bincount(which, minlength=len(means)) / len(which)
    torch.testing.assert_close(share, mixture.logits[0].softmax(-1), atol=0.015, rtol=0)
    prior.action_mean.fill_(5.0)
    one = prior.intent(state[0], goal[0], torch_generator("meant"))
    torch.testing.assert_close(one, meant[0] + 5.0)


def test_a_policy_that_sees_the_gap_sees_goal_minus_state_in_units_of_latents():
    prior = untrained_prior(replace(CONFIG, gap=True, layers=3), 0)
    prior.latent_mean.fill_(7.0)
    prior.latent_std.fill_(0.5)
    layers = [layer for layer in prior.policy if isinstance(layer, torch.nn.Linear)]
    assert len(layers) == 4 and layers[0].in_features == 3 * 8
    seen = []
    layers[0].register_forward_pre_hook(lambda _, told: seen.append(told[0]))
    state, goal = normal(2, 8), normal(2, 8, seed=1)
    prior.mixture(state, goal)
    wanted = torch.cat([(state - 7) / 0.5, (goal - 7) / 0.5, (goal - state) / 0.5], -1)
    torch.testing.assert_close(seen[0], wanted)


def test_drawn_actions_are_in_the_worlds_units_and_repeat(prior):
    prior.action_mean.fill_(5.0)
    prior.action_std.fill_(0.01)
    one, two = (
        prior.sample(normal(6, 8), normal(2, 4), torch_generator("draw", seed)) for seed in (3, 3)
    )
    assert torch.equal(one, two) and (one - 5).abs().max() < 0.1
    assert not torch.equal(one, prior.sample(normal(6, 8), normal(2, 4), torch_generator("d", 4)))


def test_step_by_step_the_model_foresees_what_it_rolls_out():
    latent, plans = MODEL.encode(tiny_batch()), normal(3, 2, 4, 2)
    state, memory = MODEL.start(latent, 2)
    later = []
    for actions in plans.flatten(0, 1).unbind(1):
        state, memory = MODEL.step(state, memory, actions)
        later.append(state)
    foreseen = MODEL.rollout(latent, plans).flatten(3).flatten(0, 1)
    assert torch.equal(torch.stack(later, 1), foreseen)
    assert isinstance(latent, Latent)


def test_a_prior_comes_back_to_the_bit_and_the_model_is_as_it_was(folder, prior):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert load_prior(folder) is None
    file = save_prior(prior, folder)
    again = load_prior(folder, load_model(folder))
    assert again.config == CONFIG and not again.training
    assert all(map(torch.equal, again.state_dict().values(), prior.state_dict().values()))
    assert all((folder / name).read_bytes() == old for name, old in before.items())
    first = file.read_bytes()
    assert save_prior(again, folder).read_bytes() == first


def test_saving_a_model_again_leaves_no_prior_of_the_old_one(folder, prior):
    save_prior(prior, folder)
    save_model(tiny_model(seed=1), folder)
    assert load_prior(folder) is None


def test_beside_another_model_it_is_refused(folder, prior, tmp_path):
    file = save_prior(prior, folder)
    save_model(tiny_model(seed=1), tmp_path / "other")
    (tmp_path / "other" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(CheckpointError, match=r"trained for another model\. Train one"):
        load_prior(tmp_path / "other")
    narrow = untrained_prior(GoalPriorConfig(8, 3, hidden=16, embedding=32), 0)
    save_prior(narrow, folder)
    with pytest.raises(CheckpointError, match="for another model"):
        load_prior(folder, MODEL)


def rewritten(file, change):
    with safe_open(file, framework="pt") as opened:
        about = json.loads(opened.metadata()["armillary"])
    change(about)
    save_file(load_file(file), file, {"armillary": json.dumps(about)})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda about: about.update(architecture="os.system"), "unknown architecture 'os.system'"),
        (lambda about: about.update(architecture=["x"]), "unknown architecture"),
        (lambda about: about["config"].update(hidden=17), "has shape"),
        (lambda about: about["config"].update(hidden=1 << 40), "refused as too many|no prior has"),
        (lambda about: about["config"].update(embedding=33), "multiple of 16"),
        (lambda about: about["config"].update(layers=1 << 40), "has 1 to 16 layers"),
        (lambda about: about["config"].update(run="rm"), "unknown field 'run'"),
        (lambda about: about.clear(), "unknown architecture None"),
    ],
)
def test_a_header_that_does_not_fit_is_one_sentence(folder, prior, change, sentence):
    rewritten(save_prior(prior, folder), change)
    with pytest.raises(CheckpointError, match=sentence):
        load_prior(folder)


def test_what_is_no_prior_is_one_sentence(folder, prior, tmp_path):
    file = save_prior(prior, folder)
    save_file(load_file(file), file)
    with pytest.raises(CheckpointError, match="has no description of its content"):
        load_prior(folder)
    file.write_bytes(b"\x00" * 100)
    with pytest.raises(CheckpointError, match="not a goal prior's safetensors file"):
        load_prior(folder)
    with pytest.raises(CheckpointError, match=r"contains no model.safetensors; a model"):
        save_prior(prior, tmp_path)


def test_shapes_that_cannot_be_get_a_sentence():
    with pytest.raises(ConfigError, match="embedding that is a multiple of 16"):
        GoalPriorConfig(8, 2, embedding=40)
    with pytest.raises(ConfigError, match="widths and components of at least 1"):
        GoalPriorConfig(8, 0)
