"""A run that was interrupted anywhere and resumed is the run that was not, to the bit."""

from __future__ import annotations

import errno
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from tiny_run import CONFIG, MODEL, interrupted, run, tiny_windows, weights

from armillary.core.errors import CheckpointError, ConfigError, StorageError, TrainingError
from armillary.models import load_model
from armillary.training import FinetuneConfig, OptimizerConfig, read_log

CLOCK = ("train/samples_per_s",)


def entries(out) -> list[dict]:
    """The log without what a clock said."""
    return [
        {name: value for name, value in entry.items() if name not in CLOCK}
        for entry in read_log(out / "log.jsonl")
    ]


def kept(out) -> list[str]:
    return sorted(path.name for path in (out / "checkpoints").iterdir())


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("at", [1, 5, 7, 11])
def test_interrupted_is_uninterrupted(tmp_path, whole, at, ema):
    interrupted(tmp_path / "cut", at, ema_decay=ema)
    assert not (tmp_path / "cut" / "model").exists()
    summary = run(tmp_path / "cut", resume=True, ema_decay=ema)
    assert summary.resumed_at == at // 5 * 5 and summary.steps == 12
    if ema:
        whole = tmp_path / "straight"
        run(whole, ema_decay=ema)
    assert weights(tmp_path / "cut") == weights(whole)
    assert entries(tmp_path / "cut") == entries(whole)


def test_interrupted_three_times(tmp_path, whole):
    interrupted(tmp_path / "run", 3)
    interrupted(tmp_path / "run", 6, resume=True)
    interrupted(tmp_path / "run", 11, resume=True)
    run(tmp_path / "run", resume=True)
    assert weights(tmp_path / "run") == weights(whole)


def test_a_finished_run_resumed_is_the_same_run(tmp_path, whole):
    run(tmp_path / "run", checkpoint_every=6)
    before = entries(tmp_path / "run")
    summary = run(tmp_path / "run", resume=True, checkpoint_every=6)
    assert summary.resumed_at == 12
    assert weights(tmp_path / "run") == weights(whole)
    assert entries(tmp_path / "run") == before


def test_resuming_what_never_began_is_beginning(tmp_path, whole):
    assert run(tmp_path / "run", resume=True).resumed_at == 0
    assert weights(tmp_path / "run") == weights(whole)


def test_the_log_reads_as_one_run_though_it_was_cut_in_a_line(tmp_path, whole):
    interrupted(tmp_path / "run", 9)
    with (tmp_path / "run" / "log.jsonl").open("a") as file:
        file.write('{"step": 10, "train/lo')
    run(tmp_path / "run", resume=True)
    assert entries(tmp_path / "run") == entries(whole)
    steps = [entry["step"] for entry in entries(whole) if "train/loss" in entry]
    assert steps == list(range(1, 13))
    assert [entry["step"] for entry in entries(whole) if "eval/rollout" in entry] == [6, 12]


def test_how_often_one_looks_does_not_change_what_is_learned(tmp_path, whole):
    run(tmp_path / "run", log_every=7, eval_every=4, checkpoint_every=3)
    assert weights(tmp_path / "run") == weights(whole)
    assert (
        json.loads((whole / "run.json").read_text())["digest"]
        == (json.loads((tmp_path / "run" / "run.json").read_text())["digest"])
    )


def test_global_chance_is_neither_used_nor_touched(tmp_path, whole):
    torch.manual_seed(99)
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()
    run(tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpys)
    assert weights(tmp_path / "run") == weights(whole)


def test_another_seed_is_another_model(tmp_path, whole):
    run(tmp_path / "run", seed=1)
    assert weights(tmp_path / "run") != weights(whole)


def test_the_two_newest_checkpoints_are_kept_and_can_be_loaded(tmp_path):
    run(tmp_path / "run", checkpoint_every=2, settling=FinetuneConfig())
    folder = tmp_path / "run" / "checkpoints"
    assert kept(tmp_path / "run") == ["000010", "000012", "last"]
    assert (folder / "last").resolve().name == "000012"
    newest = load_model(folder / "last" / "pretrained_model").state_dict()
    final = load_model(tmp_path / "run" / "model").state_dict()
    assert all(map(torch.equal, newest.values(), final.values()))


def test_the_newest_checkpoint_is_the_one_with_most_steps(tmp_path):
    """999999 is before 1000000, though not in the alphabet."""
    interrupted(tmp_path / "run", 11)
    folder = tmp_path / "run" / "checkpoints"
    (folder / "000005").rename(folder / "999999")
    (folder / "000010").rename(folder / "1000000")
    assert run(tmp_path / "run", resume=True).resumed_at == 10


OTHER = {
    "learning rate": {"optimizer": OptimizerConfig(lr=1e-4)},
    "steps": {"steps": 20},
    "batch": {"batch_size": 4},
    "seed": {"seed": 5},
    "weights of losses": {"objective": replace(CONFIG.objective, sigreg=0.1)},
    "average": {"ema_decay": 0.5},
    "model": {"model": replace(MODEL, point_stride=1)},
    "data": {"windows": tiny_windows(range(4))},
    "episodes": {"windows": tiny_windows([0, 1])},
}


@pytest.mark.parametrize("what", OTHER)
def test_resuming_with_something_else_is_one_sentence(tmp_path, what):
    interrupted(tmp_path / "run", 6)
    with pytest.raises(CheckpointError, match=r"made with other settings or other data; resume"):
        run(tmp_path / "run", resume=True, **OTHER[what])
    assert kept(tmp_path / "run") == ["000005", "last"]


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path):
    interrupted(tmp_path / "run", 6)
    before = (tmp_path / "run" / "log.jsonl").read_bytes()
    with pytest.raises(ConfigError, match=r"holds a training run already. Continue it with --res"):
        run(tmp_path / "run")
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == before


def test_two_trainings_in_one_folder_keep_out_of_each_others_way(tmp_path, whole):
    out, refused = tmp_path / "run", []

    def meddle(done: int, total: int, note: str = "") -> None:
        if done in (1, 6, 14):  # before and after a checkpoint, and during the fine-tuning
            with pytest.raises(ConfigError, match=r"another training is writing there. Wait until"):
                run(out, resume=True)
            refused.append(done)

    run(out, progress=meddle)
    assert refused == [1, 6, 14]
    assert weights(out) == weights(whole)
    assert run(out, resume=True).resumed_at == 12


def test_a_lock_is_no_run(tmp_path, whole):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "train.lock").touch()
    run(tmp_path / "run")
    assert weights(tmp_path / "run") == weights(whole)
    assert not [*(tmp_path / "run").glob("*/**/*.lock")]


def damage_state(state) -> None:
    (state / "state.json").write_text("{}")


def break_off_state(state) -> None:
    (state / "state.json").write_text('{"done": ')


def damage_weights(state) -> None:
    path = state / "learner.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def lose_moments(state) -> None:
    (state / "optimizer.safetensors").unlink()


DAMAGES = pytest.mark.parametrize(
    "damage", [damage_state, break_off_state, damage_weights, lose_moments]
)


@DAMAGES
def test_a_damaged_checkpoint_is_one_sentence(tmp_path, damage):
    interrupted(tmp_path / "run", 6)
    damage(tmp_path / "run/checkpoints/000005/training_state")
    with pytest.raises(CheckpointError, match="000005/training_state/"):
        run(tmp_path / "run", resume=True)


@DAMAGES
def test_where_the_newest_checkpoint_is_damaged_the_one_before_goes_on(tmp_path, whole, damage):
    interrupted(tmp_path / "run", 11)
    damage(tmp_path / "run/checkpoints/000010/training_state")
    found = run(tmp_path / "run", resume=True)
    assert found.resumed_at == 5
    assert "000010/training_state/" in found.warnings[0]
    assert found.warnings[0].endswith("Training went on from step 5.")
    assert weights(tmp_path / "run") == weights(whole)
    assert entries(tmp_path / "run") == entries(whole)
    assert run(tmp_path / "run", resume=True).warnings == found.warnings[1:]


def test_a_damaged_checkpoint_does_not_let_other_settings_in(tmp_path):
    interrupted(tmp_path / "run", 11)
    damage_weights(tmp_path / "run/checkpoints/000010/training_state")
    with pytest.raises(CheckpointError, match="made with other settings"):
        run(tmp_path / "run", resume=True, seed=5)
    damage_state(tmp_path / "run/checkpoints/000010/training_state")
    with pytest.raises(CheckpointError, match="000005: was made with other settings"):
        run(tmp_path / "run", resume=True, seed=5)


def test_a_checkpoint_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    folder, flushed, flush = tmp_path / "run/checkpoints/000005", set(), os.fsync

    def watched(file: int) -> None:
        flush(file)
        if not folder.exists():
            flushed.add(os.fstat(file).st_ino)

    monkeypatch.setattr("os.fsync", watched)
    interrupted(tmp_path / "run", 6)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 6
    assert {path.stat().st_ino for path in files} <= flushed


def test_a_full_disk_keeps_the_older_checkpoint_and_the_run_goes_on_later(
    tmp_path, whole, monkeypatch
):
    from safetensors.torch import save_file

    calls = []

    def full_later(tensors, path, metadata=None):
        """Say on the sixth file what safetensors says on a full disk, word for word."""
        calls.append(path)
        if len(calls) > 5:
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        save_file(tensors, path, metadata)

    with monkeypatch.context() as patched:
        patched.setattr("armillary.models.checkpoint.save_file", full_later)
        with pytest.raises(StorageError, match="the disk is full"):
            run(tmp_path / "run")
    assert kept(tmp_path / "run") == ["000005", "last"]
    assert run(tmp_path / "run", resume=True).resumed_at == 5
    assert weights(tmp_path / "run") == weights(whole)


def final_name(path: Path) -> Path:
    """The path that a file gets in the end, where it or its folders are written beside first."""
    return Path(*(re.sub(r"^\.(.+)\.\d+\.part$", r"\1", part) for part in path.parts))


@pytest.mark.parametrize(
    "file",
    [
        "checkpoints/000005/pretrained_model/model.safetensors",
        "checkpoints/000005/pretrained_model/config.json",
        "checkpoints/000005/pretrained_model/README.md",
        "checkpoints/000005/training_state/learner.safetensors",
        "checkpoints/000005/training_state/state.json",
        "model/model.safetensors",
        "model/config.json",
    ],
)
def test_a_full_disk_names_what_was_to_be_written_and_no_folder_beside_it(
    tmp_path, monkeypatch, file
):
    from safetensors.torch import save_file

    out = tmp_path / "run"
    write_text = Path.write_text

    def full_tensors(tensors, path, metadata=None):
        if final_name(Path(path)) == out / file:
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        save_file(tensors, path, metadata)

    def full_text(self, *arguments, **named):
        if final_name(self) == out / file:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write_text(self, *arguments, **named)

    monkeypatch.setattr("armillary.models.checkpoint.save_file", full_tensors)
    monkeypatch.setattr(Path, "write_text", full_text)
    with pytest.raises(StorageError) as error:
        run(out)
    named = out / re.match(r"checkpoints/\d+|model", file)[0]
    assert str(error.value) == (
        f"{named}: the disk is full; free some space and run the command again."
    )
    assert not list(out.rglob(".*"))


def test_a_number_gone_wrong_stops_the_run_and_keeps_the_checkpoint(tmp_path):
    interrupted(tmp_path / "run", 6)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.safetensors")}
    poisoned = tiny_windows()
    poisoned.cache.arrays["proprio"][:] = np.nan
    sentence = r"stopped at step 5: .* is not a number .* NaN in the .* begin anew with another --"
    with pytest.raises(TrainingError, match=sentence):
        run(tmp_path / "run", resume=True, windows=poisoned)
    assert before == {path: path.read_bytes() for path in before}
    assert not (tmp_path / "run" / "model").exists()
    run(tmp_path / "run", resume=True)
