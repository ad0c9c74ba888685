"""Several processes train the model that one trains, from each other's checkpoints too."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_run import CONFIG, MODEL, interrupted, run, tiny_windows, together, weights

from armillary.core.errors import ConfigError
from armillary.models import load_model
from armillary.training import FinetuneConfig, Processes, read_log

pytestmark = pytest.mark.runs  # trainings in several processes: 4 to 14 s each


def close(one, other) -> None:
    """What the two models see and predict is alike, up to the order of sums."""
    clips = tiny_windows([9]).gather(np.arange(4))
    found = []
    for out in (one, other):
        model = load_model(out / "model")
        with torch.no_grad():
            latent = model.encode(clips)
            found.append((latent.tokens, model.rollout(latent, clips.actions[:, None])))
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)


def test_two_processes_train_what_one_trains(tmp_path):
    run(tmp_path / "one")
    together(2, tmp_path / "two")
    close(tmp_path / "one", tmp_path / "two")
    assert [e["step"] for e in read_log(tmp_path / "two" / "log.jsonl")] == [
        e["step"] for e in read_log(tmp_path / "one" / "log.jsonl")
    ]


def test_a_clip_loses_the_same_sensors_in_any_number_of_processes(tmp_path):
    sees = replace(MODEL, optional_sensors=("rgb", "points"))
    objective = replace(CONFIG.objective, sensor_dropout=0.5)
    run(tmp_path / "one", model=sees, objective=objective)
    together(2, tmp_path / "two", model=sees, objective=objective)
    close(tmp_path / "one", tmp_path / "two")


def test_two_go_on_where_one_was_interrupted_and_one_where_two_were(tmp_path):
    run(tmp_path / "whole")
    interrupted(tmp_path / "one", 7)
    together(2, tmp_path / "one", resume=True)
    close(tmp_path / "whole", tmp_path / "one")
    together(2, tmp_path / "two")
    (tmp_path / "two" / "model" / "model.safetensors").unlink()
    assert run(tmp_path / "two", resume=True).resumed_at == CONFIG.steps
    close(tmp_path / "whole", tmp_path / "two")


def test_three_that_go_on_end_in_the_bits_of_three_that_never_stopped(tmp_path):
    changes = {"batch_size": 6, "settling": FinetuneConfig()}
    together(3, tmp_path / "whole", **changes)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut", symlinks=True)
    for newer in ("model", "checkpoints/000010"):
        shutil.rmtree(tmp_path / "cut" / newer)
    together(3, tmp_path / "cut", resume=True, **changes)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_several_processes_need_no_term_that_one_does_not(tmp_path):
    """Without what the predictor learns from, its weights get no gradient."""
    objective = replace(CONFIG.objective, rollout=0.0)
    run(tmp_path / "one", steps=3, objective=objective)
    together(2, tmp_path / "two", steps=3, objective=objective)
    close(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_two_processes_with_every_term_repeat_themselves(tmp_path, whole):
    together(2, tmp_path / "one")
    together(2, tmp_path / "two")
    assert weights(tmp_path / "one") == weights(tmp_path / "two")
    losses = [read_log(out / "log.jsonl")[0]["train/rollout"] for out in (whole, tmp_path / "one")]
    assert losses[0] == pytest.approx(losses[1], rel=0.5)


def test_shares_of_a_batch_are_apart_and_complete():
    index = np.arange(12)
    shares = [Processes(rank, 3, torch.device("cpu")).share(index) for rank in range(3)]
    assert np.array_equal(np.concatenate(shares), index)
    with pytest.raises(ConfigError, match=r"batch_size \(12\) must be divisible by .* \(5\)"):
        Processes(0, 5, torch.device("cpu")).share(index)
