"""Sizes above tiny: one word chooses the shape, and the model keeps every promise of a model."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from tiny_model import SIDE, lens, normal, poses, tiny_batch

from armillary.core.errors import ConfigError
from armillary.core.rng import torch_generator
from armillary.core.values import Batch
from armillary.models import (
    JEPA,
    EncoderConfig,
    JEPAConfig,
    PredictorConfig,
    check_model,
    load_model,
    save_model,
    untrained,
)
from armillary.models.vit import area_pooling, sin_cos
from armillary.objectives import weighted_sum
from armillary.recipes.world import adapted_to, world
from armillary.training import Learner
from armillary.training.optimizer import Optimizer

BLOCKS = JEPAConfig(
    sensors=("rgb", "points", "depth", "proprio"),
    encoder=EncoderConfig(SIDE, 4, 16, depth=2, heads=2, tokens=4, width=6),
    predictor=PredictorConfig(memory=3, hidden=8, depth=2, heads=2),
    proprio_width=3,
)


def shaken(config: JEPAConfig = BLOCKS) -> JEPA:
    """A model in which no gate is 0 any more."""
    model, rng = untrained(config, 0), torch_generator("shaken")
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.2 * torch.randn(weights.shape, generator=rng))
    return model.eval()


@pytest.mark.parametrize("size", ["small", "base", "large"])
def test_one_word_chooses_encoder_and_predictor(size):
    config = JEPAConfig(size=size)
    assert config.encoder.image_size == 224 and config.latent_width == 64 * 32
    # what a recipe changes later leaves the shape as it is
    assert replace(config, frame_skip=3).encoder == config.encoder
    with torch.device("meta"):
        count = sum(weights.numel() for weights in JEPA(config).encoder.parameters())
    assert count == pytest.approx({"small": 21e6, "base": 85e6, "large": 302e6}[size], rel=0.02)


def test_tiny_leaves_encoder_and_predictor_as_they_are_given():
    assert world().model.size == "tiny"
    assert replace(world().model, size="small").encoder == JEPAConfig(size="small").encoder


def test_it_keeps_the_contract_of_a_model():
    check_model(lambda: (shaken(), tiny_batch(), normal(3, 2, 3, 2)))


def test_actions_and_memory_count():
    model = shaken()
    state, action = normal(2, 24), normal(2, 2, seed=1)
    empty = model.predictor.start(state)
    first, memory = model.predictor(state, action, empty)
    assert memory.shape == (2, 4 * 3)
    assert torch.equal(memory, model.predictor.remember(state, action, empty))
    assert not torch.allclose(first, model.predictor(state, -action, empty)[0])
    assert not torch.allclose(first, model.predictor(state, action, memory)[0])
    plain = shaken(replace(BLOCKS, action_width=0, predictor=replace(BLOCKS.predictor, memory=0)))
    assert plain.predictor.start(state).shape == (2, 0)
    assert (
        plain.rollout(plain.encode(tiny_batch(action_width=0)), normal(3, 1, 2, 0)).isfinite().all()
    )


def test_untrained_it_predicts_that_nothing_changes():
    model = untrained(BLOCKS, 0)
    latent = model.encode(tiny_batch())
    predicted = model.rollout(latent, normal(3, 2, 2, 2))
    assert torch.equal(predicted, latent.tokens[:, -1:, None].expand_as(predicted))


def test_saved_and_loaded_it_is_the_same(tmp_path):
    model, batch = shaken(), tiny_batch()
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert again.config == model.config
    assert torch.equal(again.encode(batch).tokens, model.encode(batch).tokens)


# In a process of its own, where nothing checks shapes: the checks cannot be compiled. The back end
# would only need a compiler; what can break is the graph.
COMPILE = """
import torch
from armillary.models import EncoderConfig
from armillary.models.tokens import Tokens
from armillary.models.vit import VisionTransformer
encoder = VisionTransformer(EncoderConfig(16, 4, 16, depth=2, heads=2, tokens=4, width=6))
grid = Tokens(torch.randn(2, 16, 16), torch.zeros(2, 16, 3))
compiled = torch.compile(encoder, backend="eager", fullgraph=True)
with torch.autocast("cpu", torch.bfloat16):
    torch.testing.assert_close(compiled(grid, None), encoder(grid, None))
"""


@pytest.mark.slow
def test_the_encoder_compiles_as_one_graph():
    subprocess.run([sys.executable, "-c", COMPILE], check=True)


def test_a_coarse_cell_is_the_mean_over_its_area():
    pooling = area_pooling(14, 8)
    torch.testing.assert_close(pooling.sum(1), torch.ones(64))
    torch.testing.assert_close(64 * pooling.sum(0), 196 * torch.full((196,), 64 / 196) * 64 / 196)
    ramp = (torch.arange(14) + 0.5).repeat(14, 1)
    across = (pooling @ ramp.flatten()).unflatten(0, (8, 8))
    torch.testing.assert_close(across, across[:1].expand_as(across))
    assert across[0, 0] == pytest.approx((0.5 + 0.75 * 1.5) / 1.75)
    assert len(torch.unique(sin_cos(14, 16), dim=0)) == 196


def test_what_it_cannot_see_gets_a_sentence():
    with pytest.raises(ConfigError, match="no cloud or scan"):
        untrained(replace(BLOCKS, sensors=("rgb", "cloud")), 0)
    with pytest.raises(ConfigError, match="a square of at most"):
        replace(BLOCKS.encoder, tokens=5)
    with pytest.raises(ConfigError, match=r"encoder\.heads, and"):
        replace(BLOCKS.encoder, patch_hidden=12)
    with pytest.raises(ConfigError, match=r"predictor\.heads"):
        replace(BLOCKS.predictor, hidden=9)


def test_it_takes_a_step_of_the_recipe_with_all_terms():
    # a gate of 0 opens in a step; there are two in a row before the action
    moved = take_steps(replace(BLOCKS, sensors=("rgb", "points")), 3)
    assert all(moved.values()), moved


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_so_does_small_at_224_px():
    config = replace(world().model, size="small", sensors=("rgb", "points"), frame_skip=1)
    moved = take_steps(config, 1)
    assert all(moved[name] for name in moved if not name.startswith("predictor.")), moved


def take_steps(config: JEPAConfig, count: int) -> dict[str, bool]:
    """Return which weights of a model move, in steps of the recipe's loss in bfloat16."""
    recipe = adapted_to(replace(world(), model=config), {"rgb", "depth_m"}, 10.0, acts=True)
    clips, steps, side = 2, 5, config.encoder.image_size
    model = untrained(config, 0)
    pictures = torch.randint(0, 256, (clips, steps, side, side, 3), generator=torch_generator("a"))
    larger = torch.tensor([side / SIDE, side / SIDE, 1.0])[:, None]
    streams = {
        "rgb": pictures.to(torch.uint8),
        "depth_m": normal(clips, steps, side, side).abs() + 0.5,
        "world_from_camera": poses(clips * steps).unflatten(0, (clips, steps)),
        "intrinsics": (lens() * larger).expand(clips, steps, 3, 3),
    }
    batch = Batch(streams, normal(clips, steps - 1, 2), torch.ones(clips, steps).bool())
    learner = Learner(model, recipe.objective, 0)
    optimizer = Optimizer(learner, recipe.optimizer)
    optimizer.set_rate(1e-3)
    before = {name: weights.detach().clone() for name, weights in model.named_parameters()}
    for step in range(count):
        with torch.autocast("cpu", torch.bfloat16):
            terms, _ = learner(batch, step)
        assert terms.keys() == recipe.objective.weights.keys()
        weighted_sum(terms, recipe.objective.weights).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert all(weights.isfinite().all() for weights in model.parameters())
    return {name: not torch.equal(now, before[name]) for name, now in model.named_parameters()}
