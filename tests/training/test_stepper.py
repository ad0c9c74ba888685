"""One step: which clips, which learning rate, which average, and no step on a number gone wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import CLIP, CONFIG, MODEL, TERMS, VIDEO, run, tiny_windows, weights

from armillary.core.errors import ConfigError, ShapeError, TrainingError
from armillary.data import Windows
from armillary.models import load_model, untrained
from armillary.training import (
    AugmentConfig,
    FinetuneConfig,
    ObjectiveConfig,
    OptimizerConfig,
    Processes,
    Stepper,
    TrainConfig,
    fit_scales,
)
from armillary.training.schedule import learning_rate
from armillary.training.world_changes import WorldChanges

ALONE = Processes(0, 1, torch.device("cpu"))


def stepper(windows=None, model=MODEL, **changes) -> Stepper:
    windows = windows or tiny_windows()
    learns = untrained(model, 0)
    fit_scales(learns, windows, 0)
    return Stepper(learns, replace(CONFIG, **changes), windows, ALONE)


def parameters(model) -> list[np.ndarray]:
    return [parameter.detach().double().numpy().copy() for parameter in model.parameters()]


def test_every_clip_comes_once_an_epoch_in_another_order_each_time():
    windows = tiny_windows()
    total = len(windows)
    takes = stepper(windows, batch_size=6)
    steps = math.ceil(3 * total / 6)
    firsts = [takes.batch(step).streams["proprio"][:, 0, 0].numpy() for step in range(steps)]
    order = np.concatenate(firsts)
    everything = windows.gather(np.arange(total)).streams["proprio"][:, 0, 0].numpy()
    epochs = [order[epoch * total : (epoch + 1) * total] for epoch in range(3)]
    for epoch in epochs:
        assert np.array_equal(np.sort(epoch), np.sort(everything))
    assert not np.array_equal(epochs[0], epochs[1])
    assert total % 6, "an epoch should end inside a batch here"


def test_clips_that_were_gathered_ahead_are_those_of_their_step(monkeypatch):
    taken = {}
    for cores in (1, 2):  # with one, nothing is gathered ahead
        monkeypatch.setattr("armillary.training.processes.core_count", lambda cores=cores: cores)
        monkeypatch.setattr("torch.get_num_threads", lambda: 1)
        takes = stepper(batch_size=6)
        batches = [takes.batch(step) for step in (0, 1, 2, 7, 8)]
        assert (takes._ahead is not None) == (cores == 2)
        taken[cores] = [batch.streams["proprio"].numpy() for batch in batches]
    for alone, ahead in zip(taken[1], taken[2], strict=True):
        assert np.array_equal(alone, ahead)


def two_world_steps(augment: AugmentConfig) -> torch.Tensor:
    """Return the actions of a batch whose model steps are two world steps each."""
    windows = Windows(tiny_windows().cache, None, CLIP, 2, ("rgb",))
    model = replace(MODEL, sensors=("rgb",), proprio_width=0, frame_skip=2, action_width=4)
    actions = stepper(windows, model, augment=augment).batch(0).actions
    assert actions is not None
    return actions


def test_all_world_steps_of_a_model_step_are_mirrored():
    mirrored = two_world_steps(AugmentConfig(mirror=1.0, mirrored_actions=(0,)))
    plain = two_world_steps(AugmentConfig())
    assert torch.equal(mirrored, plain * torch.tensor([-1.0, 1, -1, 1]))


def test_all_world_steps_of_a_model_step_are_scaled():
    scaled = two_world_steps(AugmentConfig(world=WorldChanges(scale=2.0, actions=(0, 1))))
    plain = two_world_steps(AugmentConfig())
    factors = scaled.norm(dim=(1, 2)) / plain.norm(dim=(1, 2))
    assert (factors != 1).all()
    torch.testing.assert_close(scaled, plain * factors[:, None, None])


def test_a_batch_depends_on_the_steps_number_alone():
    one, other = stepper(), stepper()
    for step in (0, 1, 2, 9):
        one.batch(step)
    for step in (9, 0, 4):
        assert torch.equal(one.batch(step).streams["rgb"], other.batch(step).streams["rgb"])


def test_the_schedule_rises_in_a_line_and_falls_in_half_a_cosine():
    config = OptimizerConfig(lr=2.0, warmup=0.1, final_lr=0.1)
    rates = [learning_rate(config, step, 100) for step in range(101)]
    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(2.0)
    assert rates[55] == pytest.approx(2.0 * (1 + 0.1) / 2)
    assert rates[100] == pytest.approx(0.2)
    third = 10 + 90 // 3
    assert rates[third] == pytest.approx(2 * (0.1 + 0.9 * (1 + math.cos(math.pi / 3)) / 2))
    assert all(np.diff(rates[10:]) < 0)


@given(
    steps=st.integers(1, 500),
    warmup=st.floats(0, 0.99),
    final=st.floats(0, 1),
    data=st.data(),
)
def test_the_learning_rate_stays_between_nothing_and_its_peak(steps, warmup, final, data):
    config = OptimizerConfig(lr=3.0, warmup=warmup, final_lr=final)
    rate = learning_rate(config, data.draw(st.integers(0, steps - 1)), steps)
    assert 0 < rate <= 3.0 or (rate >= 0 and final == 0)


def test_a_step_uses_the_schedules_rate():
    takes = stepper()
    for step in (0, 3):
        takes.step(step)
        rate = learning_rate(CONFIG.optimizer, step, CONFIG.steps)
        assert takes.optimizer.rate == rate


def test_the_average_follows_its_formula():
    takes = stepper(ema_decay=0.25)
    average = parameters(takes.model)
    for step in range(5):
        takes.step(step)
        decay = min(0.25, (1 + step) / (10 + step))
        moved = parameters(takes.model)
        average = [decay * a + (1 - decay) * m for a, m in zip(average, moved, strict=True)]
    for kept, expected in zip(parameters(takes.best_model()), average, strict=True):
        np.testing.assert_allclose(kept, expected, rtol=1e-5, atol=1e-7)
    assert not any(parameter.requires_grad for parameter in takes.best_model().parameters())


def test_the_average_is_the_model_that_is_left(tmp_path):
    run(tmp_path / "plain")
    run(tmp_path / "average", ema_decay=0.9)
    assert weights(tmp_path / "average") != weights(tmp_path / "plain")
    left = load_model(tmp_path / "average" / "model")
    plain = load_model(tmp_path / "plain" / "model")
    assert all(map(torch.equal, left.normalizer.buffers(), plain.normalizer.buffers()))


def test_without_an_average_the_model_itself_is_kept():
    takes = stepper()
    assert takes.best_model() is takes.model


def test_the_gradient_is_clipped():
    takes = stepper(optimizer=OptimizerConfig(clip_norm=1e-3))
    numbers, _ = takes.step(0)
    squares = [p.grad.square().sum() for p in takes.learner.parameters() if p.grad is not None]
    assert float(numbers["grad_norm"]) > 1e-3
    assert math.sqrt(float(sum(squares))) == pytest.approx(1e-3, rel=1e-3)


def test_every_weight_that_learns_gets_a_gradient():
    takes = stepper()
    numbers, _ = takes.step(0)
    assert {"loss", "grad_norm", *TERMS} == numbers.keys()
    for name, parameter in takes.learner.named_parameters():
        assert parameter.grad is not None, name


def test_a_number_gone_wrong_updates_nothing():
    takes = stepper(ema_decay=0.9)
    takes.step(0)
    before = parameters(takes.learner)
    takes.windows.cache.arrays["proprio"][:] = np.nan
    # step 1 was gathered while step 0 was computed; step 5 is gathered now
    with pytest.raises(
        TrainingError, match=r"stopped at step 5: the gradient is not a number \(ro"
    ):
        takes.step(5)
    assert all(map(np.array_equal, parameters(takes.learner), before))


def test_a_model_learns_to_predict():
    takes = stepper(
        steps=150,
        optimizer=OptimizerConfig(lr=1e-2),
        objective=ObjectiveConfig(rollout=1.0, variance=1.0, rollout_steps=2),
    )
    before = takes.held_out(tiny_windows(), 4)
    for step in range(150):
        takes.step(step)
    after = takes.held_out(tiny_windows(), 4)
    assert sum(after.values()) < 0.5 * sum(before.values())


def test_held_out_numbers_repeat_and_change_nothing():
    takes = stepper()
    takes.step(0)
    before = parameters(takes.learner)
    first, second = takes.held_out(tiny_windows([5]), 4), takes.held_out(tiny_windows([5]), 4)
    assert first == second and first.keys() == set(TERMS)
    assert all(map(np.array_equal, parameters(takes.learner), before))


def test_scales_are_those_of_the_training_clips():
    windows = tiny_windows()
    model = stepper(windows).model
    batch = windows.gather(np.arange(len(windows)))
    actions = batch.actions.flatten(0, 1)
    torch.testing.assert_close(model.normalizer.action_mean, actions.mean(0))
    torch.testing.assert_close(model.normalizer.action_std, actions.std(0, correction=0))
    normalised = model.normalizer.proprio(batch.streams["proprio"])
    assert normalised.mean().abs() < 1e-4
    # the camera looks down from 2 m on a table at height 0
    assert model.normalizer.point_mean_m[2].abs() < 1e-3
    assert not any(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("actions", [True, False])
def test_plain_video_learns_without_actions(tmp_path, actions):
    objective = ObjectiveConfig(rollout=1.0, variance=1.0, smoothness=0.1, rollout_steps=2)
    windows = tiny_windows(actions=actions)
    summary = run(tmp_path / "run", model=VIDEO, windows=windows, objective=objective)
    assert math.isfinite(summary.loss)
    assert load_model(tmp_path / "run" / "model").config.action_width == 0
    assert summary.held_out.keys() == {"rollout", "variance", "smoothness"}


def test_more_clips_a_batch_than_there_are_is_one_sentence(tmp_path):
    with pytest.raises(
        TrainingError, match=r"27 training clips of 4 steps .* 28\. Pass --batch-size 27, or"
    ):
        run(tmp_path / "run", batch_size=28)
    assert not (tmp_path / "run").exists()


def test_actions_that_are_not_there_are_one_sentence(tmp_path):
    with pytest.raises(ShapeError, match=r"2 action numbers, and the data have none"):
        run(tmp_path / "run", windows=tiny_windows(actions=False))
    objective = ObjectiveConfig(inverse_dynamics=1.0, rollout_steps=2)
    with pytest.raises(ConfigError, match="inverse_dynamics needs actions, and the model takes no"):
        run(tmp_path / "other", model=VIDEO, objective=objective)


IMPOSSIBLE = {
    "no step": (TrainConfig, {"steps": 0}, "steps must be at least 1"),
    "no clip": (TrainConfig, {"batch_size": 1}, "batch_size must be at least 2"),
    "never logs": (TrainConfig, {"log_every": 0}, "log_every must be at least 1"),
    "never saves": (TrainConfig, {"checkpoint_every": 0}, "checkpoint_every must be at least 1"),
    "too short": (TrainConfig, {"clip_length": 3}, "rollout_steps .* must be below clip_length"),
    "no rate": (OptimizerConfig, {"lr": 0.0}, "lr and clip_norm must be above 0"),
    "all warm-up": (OptimizerConfig, {"warmup": 1.0}, r"warmup in \[0, 1\)"),
    "nan rate": (OptimizerConfig, {"lr": math.nan}, "lr and clip_norm must be above 0"),
    "no rate at all": (OptimizerConfig, {"lr": math.inf}, "lr and clip_norm must be above 0"),
    "grows": (OptimizerConfig, {"weight_decay": -1.0}, "weight_decay at least 0"),
    "averages backwards": (TrainConfig, {"ema_decay": -1.0}, r"ema_decay in \[0, 1\)"),
    "no direction": (ObjectiveConfig, {"sigreg_directions": 0}, "directions must be at least 1"),
    "a limit below 0": (
        ObjectiveConfig,
        {"inverse_dynamics_delta": -1.0},
        "inverse_dynamics_delta must be at least 0",
    ),
    "one cell": (ObjectiveConfig, {"visual_words_cells": 1}, "cells must be at least 2"),
    "learns nothing": (ObjectiveConfig, {"rollout": 0.0, "variance": 0.0}, "nothing would be lear"),
    "foresees nothing": (ObjectiveConfig, {"rollout_steps": 0}, "rollout_steps must be at least"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_settings_that_cannot_be_are_one_sentence(name):
    cls, values, sentence = IMPOSSIBLE[name]
    with pytest.raises(ConfigError, match=sentence):
        cls(**values)


def test_the_threads_of_the_caller_come_back(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    seen = []
    try:
        run(tmp_path / "run", steps=1, progress=lambda *_: seen.append(torch.get_num_threads()))
        assert torch.get_num_threads() == 3 and set(seen) == {1}
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("processes", "threads"), [(1, 6), (2, 3), (4, 1), (8, 1)])
def test_processes_share_the_cores_of_their_machine(tmp_path, monkeypatch, processes, threads):
    monkeypatch.setattr("armillary.training.processes.core_count", lambda: 6)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    seen = []
    run(
        tmp_path / "run",
        steps=1,
        threads=0,
        progress=lambda *_: seen.append(torch.get_num_threads()),
    )
    assert set(seen) == {threads}
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    takes = stepper()
    takes.batch(0)
    assert (takes._ahead is not None) == (threads > 1), "a core of its own gathers clips ahead"


def test_bfloat16_learns_what_float32_learns(tmp_path):
    # without the fine-tuning, which is in float32 and in another unit
    learned = {"settling": FinetuneConfig()}
    run(tmp_path / "float32", **learned)
    summary = run(tmp_path / "run", precision="bfloat16", **learned)
    float32 = load_model(tmp_path / "float32" / "model").state_dict()
    for name, value in load_model(tmp_path / "run" / "model").state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, float32[name], rtol=0.1, atol=0.05, msg=name)
    assert math.isfinite(summary.loss)
