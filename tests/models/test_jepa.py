"""A model sees each step alone, remembers what it saw, and predicts each plan on its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_model import (
    SENSORS,
    normal,
    steps_of,
    tiny_batch,
    tiny_config,
    tiny_model,
    with_streams,
)

from armillary.core.errors import ConfigError, ShapeError
from armillary.core.protocols import WorldModel
from armillary.core.values import Batch, Latent
from armillary.models import JEPA, EncoderConfig, JEPAConfig, PredictorConfig, untrained
from armillary.models.normalizer import Normalizer
from armillary.objectives import decaying_weights
from armillary.training import Learner, ObjectiveConfig

SETS = [("rgb",), ("points",), ("proprio",), ("rgb", "points"), SENSORS]


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def seen(model=None, **batch) -> Latent:
    return (model or tiny_model()).encode(tiny_batch(**batch))


@pytest.mark.parametrize("sensors", SETS)
def test_encode_gives_state_tokens_and_repeats_itself(sensors):
    model, batch = tiny_model(sensors), tiny_batch()
    latent = model.encode(batch)
    assert isinstance(model, WorldModel)
    assert latent.tokens.shape == (3, 4, 2, 4) and latent.tokens.dtype == torch.float32
    assert torch.equal(latent.tokens, model.encode(batch).tokens)
    assert torch.equal(latent.actions, batch.actions)


@pytest.mark.parametrize("sensors", SETS)
def test_every_sensor_is_seen(sensors):
    model, batch, other = tiny_model(sensors), tiny_batch(), tiny_batch(seed=7)
    before = model.encode(batch).tokens
    for name in model.config.streams:
        changed = 2 * batch.streams[name] if name == "intrinsics" else other.streams[name]
        after = model.encode(with_streams(batch, {name: changed})).tokens
        assert (after - before).abs().max() > 1e-4, name
    unseen = {
        name: other.streams[name] for name in other.streams if name not in model.config.streams
    }
    assert torch.equal(model.encode(with_streams(batch, unseen)).tokens, before)


def test_a_step_is_encoded_as_if_it_were_alone():
    model, batch = tiny_model(), tiny_batch()
    together = model.encode(batch).tokens
    for step in range(4):
        close(together[:, step : step + 1], model.encode(steps_of(batch, step, step + 1)).tokens)


def test_encode_and_rollout_leave_their_arguments_alone():
    model, batch, plans = tiny_model(), tiny_batch(), normal(3, 2, 5, 2)
    copies = {name: value.clone() for name, value in batch.streams.items()}
    latent = model.encode(batch)
    tokens, wanted = latent.tokens.clone(), plans.clone()
    model.rollout(latent, plans)
    assert all(torch.equal(copies[name], batch.streams[name]) for name in copies)
    assert torch.equal(tokens, latent.tokens) and torch.equal(wanted, plans)


@torch.no_grad()
def test_a_plan_is_predicted_as_step_by_step():
    model, plans = tiny_model(), normal(3, 1, 5, 2)
    latent = seen(model)
    whole = model.rollout(latent, plans)
    for step in range(5):
        predicted = model.rollout(latent, plans[:, :, step : step + 1])[:, 0]
        close(predicted[:, 0], whole[:, 0, step])
        latent = Latent(
            torch.cat([latent.tokens, predicted], 1),
            torch.cat([latent.actions, plans[:, 0, step : step + 1]], 1),
        )


@torch.no_grad()
def test_a_plan_is_predicted_alike_whatever_is_beside_it():
    model, plans = tiny_model(), normal(3, 6, 4, 2)
    latent = seen(model)
    together = model.rollout(latent, plans)
    order = [4, 2, 0]
    close(model.rollout(latent, plans[:, order]), together[:, order])
    for clip in range(3):
        one = Latent(latent.tokens[clip : clip + 1], latent.actions[clip : clip + 1])
        close(model.rollout(one, plans[clip : clip + 1]), together[clip : clip + 1])


@torch.no_grad()
def test_later_actions_do_not_change_what_comes_before_them():
    model, plans, latent = tiny_model(), normal(3, 2, 5, 2), seen()
    changed = plans.clone()
    changed[:, :, 3] += 1
    before, after = model.rollout(latent, plans), model.rollout(latent, changed)
    close(before[:, :, :3], after[:, :, :3])
    assert (before[:, :, 3] - after[:, :, 3]).abs().amax((-1, -2)).min() > 1e-5


@torch.no_grad()
def test_what_was_seen_earlier_is_remembered():
    model, plans, latent = tiny_model(), normal(3, 2, 5, 2), seen()
    other_past = latent.tokens.clone()
    other_past[:, 0] += 1
    other_acts = latent.actions.clone()
    other_acts[:, 0] += 1
    plain = model.rollout(latent, plans)
    for changed in (Latent(other_past, latent.actions), Latent(latent.tokens, other_acts)):
        assert (model.rollout(changed, plans) - plain).abs().max() > 1e-5


@torch.no_grad()
def test_the_learner_predicts_what_the_model_predicts():
    """The rollout loss is that of public rollouts from every start with all that was seen there."""
    model, batch, ahead = tiny_model(), tiny_batch(steps=7), 3
    learner = Learner(model, ObjectiveConfig(rollout=1.0, rollout_steps=ahead), seed=0)
    terms, latents = learner(batch, 0)
    tokens = model.encode(batch).tokens
    close(latents, tokens.flatten(2))
    errors = []
    for start in range(7 - ahead):
        past = Latent(tokens[:, : start + 1], batch.actions[:, :start])
        plans = batch.actions[:, None, start : start + ahead]
        came = tokens[:, start + 1 : start + 1 + ahead]
        errors.append((model.rollout(past, plans)[:, 0] - came).square().mean((0, 2, 3)))
    expected = (torch.stack(errors).mean(0) * decaying_weights(ahead, 0.7)).sum()
    close(terms["rollout"], expected)


@torch.no_grad()
def test_actions_are_read_in_the_worlds_own_units():
    model, latent, plans = tiny_model(), seen(), normal(3, 2, 4, 2)
    plain = model.rollout(latent, plans)
    model.normalizer.action_mean.mul_(100)
    model.normalizer.action_std.mul_(100)
    close(model.rollout(Latent(latent.tokens, 100 * latent.actions), 100 * plans), plain)


@torch.no_grad()
def test_plain_video_needs_no_actions():
    model = tiny_model(("rgb",), action_width=0)
    latent = model.encode(tiny_batch(action_width=0))
    predicted = model.rollout(latent, torch.zeros(3, 2, 5, 0))
    assert predicted.shape == (3, 2, 5, 2, 4)
    close(predicted[:, 0], predicted[:, 1])
    assert latent.actions is None
    assert torch.equal(model.encode(tiny_batch()).tokens, latent.tokens)


def test_an_unseen_sensor_is_one_sentence():
    batch = tiny_batch()
    streams = {name: value for name, value in batch.streams.items() if name != "depth_m"}
    with pytest.raises(ShapeError, match=r"the data lack depth_m\. Train with other model.sensors"):
        tiny_model().encode(Batch(streams, batch.actions, batch.valid))


@pytest.mark.parametrize("name", ["rgb", "depth_m"])
def test_another_picture_size_is_one_sentence(name):
    batch = tiny_batch()
    smaller = with_streams(batch, {name: batch.streams[name][:, :, :8]})
    with pytest.raises(ShapeError, match=f"The model sees {name} of 16x16, the data have 8x16"):
        tiny_model().encode(smaller)


def test_another_width_is_one_sentence():
    model = tiny_model()
    with pytest.raises(ShapeError, match=r"actions of width 2, the data have width 5"):
        model.encode(tiny_batch(action_width=5))
    with pytest.raises(ShapeError, match=r"actions of width 2, the plans have width 3"):
        model.rollout(model.encode(tiny_batch()), normal(3, 1, 4, 3))
    wide = with_streams(tiny_batch(), {"proprio": normal(3, 4, 9)})
    with pytest.raises(ShapeError, match=r"proprio of width 3, the data have width 9"):
        model.encode(wide)


IMPOSSIBLE = {
    "blind": (lambda: untrained(JEPAConfig(sensors=()), 0), "at least one of rgb, points, proprio"),
    "frame skip -1": (lambda: tiny_config(frame_skip=-1), "frame_skip must be at least 0"),
    "frame skip 0": (lambda: JEPA(tiny_config(frame_skip=0)), "needs model.frame_skip of at"),
    "point stride 3": (lambda: tiny_config(point_stride=3), "point_stride must divide"),
    "point stride 0": (lambda: tiny_config(point_stride=0), "point_stride must divide"),
    "negative actions": (lambda: tiny_config(action_width=-1), "action_width"),
    "no proprioception": (lambda: JEPA(JEPAConfig(sensors=("proprio",))), "proprio_width"),
    "patch 7": (lambda: EncoderConfig(image_size=64, patch=7), "encoder.patch must divide"),
    "patch 0": (lambda: EncoderConfig(patch=0), "encoder.patch must divide"),
    "hidden 0": (lambda: EncoderConfig(hidden=0), "at least 1"),
    "negative tokens": (lambda: EncoderConfig(tokens=-3), "at least 1"),
    "memory -1": (lambda: PredictorConfig(memory=-1), "at least 0"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_shape_that_cannot_be_is_one_sentence(name):
    make, sentence = IMPOSSIBLE[name]
    with pytest.raises(ConfigError, match=sentence):
        make()


def test_random_weights_depend_on_the_seed_alone():
    def weights(seed: int) -> list[torch.Tensor]:
        return list(untrained(tiny_config(), seed).state_dict().values())

    torch.manual_seed(1)
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = weights(3)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpys)
    torch.manual_seed(2)
    assert all(map(torch.equal, first, weights(3)))
    assert not all(map(torch.equal, first, weights(4)))


def test_whitened_colours_have_mean_0_and_unit_covariance():
    mixed = normal(4000, 3) @ torch.tensor([[20.0, 18.0, 15.0], [0, 6.0, 2.0], [0, 0, 5.0]])
    pixels = (mixed + 110).round().clamp(0, 255).to(torch.uint8)
    scales = Normalizer(0, 0, whitened=True)
    scales.fit_colours(pixels)
    white = (pixels.float() - scales.colour_mean) @ scales.colour_whitening.T
    assert white.mean(0).abs().max() < 1e-3
    # the floor of 0.03 of the mean variance shortens the short axes
    lengths = torch.linalg.eigvalsh(white.T @ white / len(white))
    assert lengths[2] > 0.98 and 0.3 < lengths[0] < lengths[1] < 1
    turned = Normalizer(0, 0, whitened=True)
    turned.fit_colours(pixels.flip(1))
    torch.testing.assert_close(turned.colour_whitening, scales.colour_whitening.flip(0, 1))


def test_one_colour_everywhere_is_whitened_to_nothing():
    scales = Normalizer(0, 0, whitened=True)
    scales.fit_colours(torch.full((100, 3), 40, dtype=torch.uint8))
    assert torch.equal(scales.colour_mean, torch.full((3,), 40.0))
    assert scales.colour_whitening.isfinite().all() and scales.colour_whitening.abs().max() <= 1


def test_a_number_that_never_varied_keeps_its_size():
    """Divided by no spread at all, a mirror image of it or a live reading would blow up."""
    normalizer = Normalizer(2, 1)
    normalizer.fit(torch.tensor([[0.5, 1.0], [0.5, 3.0]]), torch.full((4, 1), 7.0))
    assert torch.equal(normalizer.action_std, torch.tensor([1.0, 1.0]))
    assert torch.equal(normalizer.actions(torch.tensor([[-0.5, 2.0]])), torch.tensor([[-1.0, 0.0]]))
    assert torch.equal(normalizer.proprio(torch.tensor([[7.25]])), torch.tensor([[0.25]]))
