"""Fine-tuning changes the predictor alone, and it predicts better what it is asked for."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_run import CONFIG, MODEL, interrupted, run, tiny_windows, weights

from armillary.core.errors import ConfigError, DatasetError, TrainingError
from armillary.core.values import Latent
from armillary.models import load_model, untrained
from armillary.training import FinetuneConfig, read_log
from armillary.training.colour_changes import ColourChanges
from armillary.training.finetuning import (
    _acted_in_most,
    _lively,
    finetune_predictor,
    finetuning_windows,
    step_ahead_error,
)
from armillary.training.rollouts import predict_from_each, some_starts, targets_after_each


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    out = tmp_path_factory.mktemp("settling") / "run"
    run(out, settling=FinetuneConfig())
    return load_model(out / "model").eval()


def test_the_predictor_errs_less_and_the_encoder_stays_as_it_was(learned):
    model, windows = copy.deepcopy(learned), tiny_windows()
    before = step_ahead_error(model, windows, 0)
    errors = []
    config = FinetuneConfig(steps=60, batch_size=8, lr=3e-3)
    finetune_predictor(model, windows, config, 0, lambda done, error: errors.append(error))
    assert len(errors) == 60
    assert step_ahead_error(model, windows, 0) < 0.8 * before
    for name, value in model.state_dict().items():
        same = torch.equal(value, learned.state_dict()[name])
        assert same != name.startswith("predictor."), name


def test_the_error_is_that_of_the_latents_predicted_one_step_ahead(learned):
    windows = tiny_windows([4])
    seen = learned.encode(windows.gather(np.arange(len(windows))))
    predicted = learned.foresee_each(seen)
    wanted = float((predicted - seen.tokens[:, 1:]).square().mean().detach())
    assert step_ahead_error(learned, windows, 0) == pytest.approx(wanted, rel=1e-5)


def test_several_steps_ahead_are_predicted_from_every_step_of_a_clip(learned):
    seen = learned.encode(tiny_windows([4]).gather(np.arange(3)))
    latents, actions = seen.tokens.flatten(2), learned.normalizer.actions(seen.actions)
    predicted = predict_from_each(learned, latents, actions, 2)
    assert predicted.shape[:3] == (3, latents.shape[1] - 2, 2)
    for start in range(predicted.shape[1]):
        before = Latent(seen.tokens[:, : start + 1], seen.actions[:, :start] if start else None)
        plans = seen.actions[:, None, start : start + 2]
        wanted = learned.rollout(before, plans)[:, 0].flatten(2)
        torch.testing.assert_close(predicted[:, start], wanted, atol=1e-5, rtol=1e-4)
    targets = targets_after_each(latents, 2)
    assert torch.equal(targets[:, 1, 0], latents[:, 2]) and torch.equal(
        targets[:, 1, 1], latents[:, 3]
    )


def test_a_predictor_that_is_fine_tuned_on_rollouts_errs_less_far_ahead(learned):
    model, windows = copy.deepcopy(learned), tiny_windows()

    def far_ahead():
        seen = model.encode(windows.gather(np.arange(8)))
        latents = seen.tokens.flatten(2)
        predicted = predict_from_each(model, latents, model.normalizer.actions(seen.actions), 2)
        return float((predicted - targets_after_each(latents, 2))[:, :, 1].square().mean().detach())

    before = far_ahead()
    finetune_predictor(
        model, windows, FinetuneConfig(60, batch_size=8, lr=3e-3, rollout_steps=2), 0
    )
    assert far_ahead() < 0.8 * before


COLOUR = replace(CONFIG.augment, colour=ColourChanges(brightness=0.5))
FREE = replace(MODEL, optional_sensors=("rgb", "points"))
VARIED = {
    "model": FREE,
    "augment": COLOUR,
    "objective": replace(CONFIG.objective, sensor_dropout=0.5),
    "settling": replace(CONFIG.settling, varied=True),
}


def test_a_run_with_it_is_the_run_without_it_and_then_fine_tuned(tmp_path):
    run(tmp_path / "whole")
    run(tmp_path / "first", settling=FinetuneConfig())
    model = load_model(tmp_path / "first" / "model")
    finetune_predictor(model, tiny_windows(), CONFIG.settling, CONFIG.seed)
    whole = load_model(tmp_path / "whole" / "model").state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, whole[name]), name
    told = [
        entry for entry in read_log(tmp_path / "whole" / "log.jsonl") if "eval/settling" in entry
    ]
    assert [entry["step"] for entry in told] == [CONFIG.steps + CONFIG.settling.steps]


def test_a_run_is_fine_tuned_as_it_learned(tmp_path):
    run(tmp_path / "whole", **VARIED)
    run(tmp_path / "first", **VARIED | {"settling": FinetuneConfig()})
    whole = load_model(tmp_path / "whole" / "model").state_dict()
    seen = {"varied": COLOUR, "sensor_dropout": 0.5}
    for left_out in (None, *seen):
        model = load_model(tmp_path / "first" / "model")
        some = {name: value for name, value in seen.items() if name != left_out}
        finetune_predictor(model, tiny_windows(), CONFIG.settling, CONFIG.seed, **some)
        same = all(torch.equal(value, whole[name]) for name, value in model.state_dict().items())
        assert same == (left_out is None), left_out


def test_sensors_may_be_left_out_more_often_than_the_encoder_learned_with(tmp_path):
    more = replace(CONFIG.settling, varied=True, sensor_dropout=0.75)
    run(tmp_path / "whole", **VARIED | {"settling": more})
    run(tmp_path / "first", **VARIED | {"settling": FinetuneConfig()})
    whole = load_model(tmp_path / "whole" / "model").state_dict()
    for share in (0.75, 0.5):
        model = load_model(tmp_path / "first" / "model")
        finetune_predictor(
            model, tiny_windows(), CONFIG.settling, CONFIG.seed, varied=COLOUR, sensor_dropout=share
        )
        same = all(torch.equal(value, whole[name]) for name, value in model.state_dict().items())
        assert same == (share == 0.75)
    with pytest.raises(ConfigError, match=r"finetune\.sensor_dropout must be in \[0, 1\), got 1"):
        FinetuneConfig(sensor_dropout=1.0)
    with pytest.raises(
        ConfigError, match=r"finetune\.sensor_dropout needs model\.optional_sensors"
    ):
        run(tmp_path / "none", settling=more)


SOME = {"settling": replace(CONFIG.settling, rollout_steps=2, lively=0.5, forget=0.5, starts=0.5)}


def test_the_predictor_errs_less_on_clips_it_never_saw(learned):
    config = FinetuneConfig(60, batch_size=8, lr=1e-3, rollout_steps=2)
    held_out, found, encoders = tiny_windows([7]), {}, []
    for name, steps, lively in (("changed", 0, 0.0), ("tuned", 60, 0.0), ("lively", 60, 0.5)):
        model = copy.deepcopy(learned)
        finetune_predictor(model, tiny_windows(), replace(config, steps=steps, lively=lively), 0)
        found[name] = step_ahead_error(model, held_out, 0)
        encoders.append(model.encoder.state_dict())
    assert found["tuned"] < found["changed"]
    assert found["lively"] != found["tuned"]
    before = learned.encoder.state_dict()
    for after in encoders:  # the predictor alone learns, and the old unit comes back
        assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_lively_clips_are_the_quarter_that_changes_most(learned):
    tokens = torch.zeros(12, 5, 2, 4)
    tokens[[3, 7, 8], 4] = torch.tensor([1.0, 3.0, 2.0])[:, None, None]
    chosen = _lively(Latent(tokens, None), FinetuneConfig(rollout_steps=2))
    assert chosen.tolist() == [7, 8, 3]


def test_clips_are_chosen_by_what_comes_only_where_actions_vary_in_most():
    tokens, actions = torch.zeros(4, 5, 1, 2), torch.ones(4, 4, 2)
    assert not _acted_in_most(Latent(tokens, None))
    assert not _acted_in_most(Latent(tokens, actions))
    actions[:2, 3, 1] = 0
    assert not _acted_in_most(Latent(tokens, actions))
    actions[2, 0] = 0
    assert _acted_in_most(Latent(tokens, actions))


def test_some_starts_are_predicted_from_as_they_are_among_all(learned):
    seen = learned.encode(tiny_windows([4]).gather(np.arange(3)))
    latents, actions = seen.tokens.flatten(2), learned.normalizer.actions(seen.actions)
    assert some_starts(torch.tensor([3, 0, 4, 1, 2]), 0.4).tolist() == [0, 3]
    starts = some_starts(torch.tensor([1, 0]), 0.5)
    assert starts.tolist() == [1]
    forgotten = torch.tensor([True, False, True])
    every = predict_from_each(learned, latents, actions, 2, forgotten)
    some = predict_from_each(learned, latents, actions, 2, forgotten, starts)
    torch.testing.assert_close(some, every[:, starts])
    targets = targets_after_each(latents, 2, starts)
    assert torch.equal(targets, targets_after_each(latents, 2)[:, starts])
    assert some_starts(torch.tensor([1, 0]), 0.1).tolist() == [1]


def test_shares_of_clips_and_starts_are_checked():
    for name in ("lively", "forget"):
        with pytest.raises(ConfigError, match=rf"finetune\.{name} must be in \[0, 1\], got 1\.5"):
            FinetuneConfig(**{name: 1.5})
    for wrong in ({"starts": 0.0}, {"rollout_decay": 1.5}):
        with pytest.raises(ConfigError, match=r"finetune\.starts and finetune\.rollout_decay must"):
            FinetuneConfig(**wrong)


@pytest.mark.parametrize("changes", [{}, VARIED, SOME], ids=["plain", "varied", "some"])
def test_a_run_killed_in_it_goes_on_with_another_rate_and_tells_what_was_told(tmp_path, changes):
    first = run(tmp_path / "whole", **changes)
    interrupted(tmp_path / "run", CONFIG.steps + 1, **changes)
    again = run(tmp_path / "run", resume=True, **changes)
    assert again.resumed_at == CONFIG.steps
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert (again.loss, again.held_out) == (first.loss, first.held_out)
    slower = {"settling": FinetuneConfig(steps=3, batch_size=4, lr=1e-4)}
    run(tmp_path / "run", resume=True, **changes | slower)
    assert weights(tmp_path / "run") != weights(tmp_path / "whole")


def test_a_rate_at_which_it_bursts_is_one_sentence(learned):
    broken = copy.deepcopy(learned)
    with torch.no_grad():
        broken.predictor.change[0].weight.fill_(float("nan"))
    with pytest.raises(
        TrainingError, match=r"Fine-tuning the predictor stopped at step 0: .* Lower finetune\.lr"
    ):
        finetune_predictor(broken, tiny_windows(), FinetuneConfig(steps=2), 0)
    with pytest.raises(ConfigError, match=r"finetune\.lr above 0, got 1, 64, 4096 and 0.0"):
        replace(CONFIG.settling, steps=1, batch_size=64, lr=0.0)


def test_clips_of_the_fine_tuning_may_be_longer_than_those_learned_from(learned):
    model, windows = copy.deepcopy(learned), tiny_windows()
    config = FinetuneConfig(steps=60, batch_size=8, lr=3e-3, rollout_steps=7, clip_length=9)
    longer = finetuning_windows(windows, config)
    assert longer.length == 9 and longer.streams == windows.streams
    assert np.array_equal(longer.episodes, windows.episodes)
    before = far_error(model, longer)
    finetune_predictor(model, windows, config, 0)
    assert far_error(model, longer) < 0.8 * before


def far_error(model, windows) -> float:
    seen = model.encode(windows.gather(np.arange(len(windows))))
    latents, actions = seen.tokens.flatten(2), model.normalizer.actions(seen.actions)
    gap = predict_from_each(model, latents, actions, 7) - targets_after_each(latents, 7)
    return float(gap[:, :, -1].square().mean().detach())


def test_what_cannot_be_fine_tuned_on_is_refused_before_training(tmp_path):
    with pytest.raises(ConfigError, match="must be below the length of its clips"):
        run(tmp_path / "a", settling=FinetuneConfig(steps=1, rollout_steps=4))
    with pytest.raises(DatasetError, match="No episode is long enough"):
        run(tmp_path / "b", settling=FinetuneConfig(steps=1, clip_length=50))
    assert not (tmp_path / "b" / "log.jsonl").exists()


def test_a_predictor_of_tokens_is_fine_tuned_too():
    encoder = replace(MODEL.encoder, patch_hidden=16, depth=1, heads=2, tokens=4)
    predictor = replace(MODEL.predictor, memory=4, hidden=16, depth=1, heads=2)
    model = untrained(replace(MODEL, encoder=encoder, predictor=predictor), 0).eval()
    errors, encoded = [], copy.deepcopy(model.encoder.state_dict())
    config = FinetuneConfig(60, 8, 3e-3)
    finetune_predictor(model, tiny_windows(), config, 0, lambda done, error: errors.append(error))
    assert np.mean(errors[-10:]) < np.mean(errors[:10])
    assert all(torch.equal(now, encoded[name]) for name, now in model.encoder.state_dict().items())
