"""FSDP2 trains what DDP trains, and any number of processes goes on from its checkpoints."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from tiny_run import BLOCKS, CONFIG, in_processes, interrupted, run, together, weights

from armillary.core.errors import CheckpointError, StorageError
from armillary.models import load_model
from armillary.training import ComputeConfig, FinetuneConfig, read_log
from armillary.training.sharding import clip_gradients
from armillary.training.shards import finish_writing, read_shards, write_shards

pytestmark = pytest.mark.runs  # trainings in several processes: 45 s

FSDP = ComputeConfig(parallel="fsdp")
# divided by 2 and by 3; the average is sharded, too
CHANGES = {"batch_size": 6, "ema_decay": 0.9}
CLOSE = 1e-6


def losses(out: Path) -> dict[int, float]:
    return {e["step"]: e["train/loss"] for e in read_log(out / "log.jsonl") if "train/loss" in e}


def check_losses(out: Path, expected: Path, close: float = CLOSE) -> None:
    assert list(losses(out)) == list(losses(expected)) == list(range(1, 13))
    for step, loss in losses(expected).items():
        assert losses(out)[step] == pytest.approx(loss, rel=close), step


def check_model(out: Path, expected: Path) -> None:
    one, other = (load_model(folder / "model").state_dict() for folder in (out, expected))
    for name, value in other.items():
        torch.testing.assert_close(one[name], value, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory) -> Path:
    """A run of two processes with FSDP2, its checkpoints of steps 10 and 12; do not change it."""
    out = tmp_path_factory.mktemp("sharded") / "run"
    together(2, out, compute=FSDP, **CHANGES)
    return out


@pytest.fixture
def cut(tmp_path, sharded) -> Path:
    """The same run as it was after step 10."""
    out = tmp_path / "cut"
    shutil.copytree(sharded, out, symlinks=True)
    for newer in ("model", "checkpoints/000012"):
        shutil.rmtree(out / newer)
    return out


def state_of(out: Path, step: int) -> Path:
    return out / "checkpoints" / f"{step:06d}" / "training_state"


def test_two_with_fsdp_train_what_two_with_ddp_train(tmp_path, sharded):
    together(2, tmp_path / "ddp", **CHANGES)
    check_losses(sharded, tmp_path / "ddp")
    check_model(sharded, tmp_path / "ddp")


def test_blocks_gathered_for_parts_of_a_batch_and_computed_again_learn_the_same(tmp_path):
    compute = replace(FSDP, gradient_accumulation=3, activation_checkpointing=True)
    # one process learns other visual words than two; the difference is 5e-5 of their loss
    terms = replace(CONFIG.objective, visual_words=0.0)
    changes = {"model": BLOCKS, "objective": terms, "settling": FinetuneConfig()} | CHANGES
    run(tmp_path / "one", **changes)
    together(2, tmp_path / "two", compute=compute, **changes)
    check_losses(tmp_path / "two", tmp_path / "one", 1e-5)


@pytest.mark.parametrize("limit", [0.5, 100.0])
def test_gradients_are_clipped_to_a_norm_that_is_rounded_once(limit):
    linear = torch.nn.Linear(60, 50)
    # squares of 1 to 1e-4 lose their last bits where float32 adds them
    given = [torch.logspace(0, -4, one.numel()).reshape(one.shape) for one in linear.parameters()]
    for one, gradient in zip(linear.parameters(), given, strict=True):
        one.grad = gradient.clone()
    exact = np.sqrt(sum((one.double().numpy() ** 2).sum() for one in given))
    norm = clip_gradients(linear, limit, sharded=False)
    assert norm.dtype == torch.float32 and float(norm) == np.float32(exact)
    for one, gradient in zip(linear.parameters(), given, strict=True):
        expected = gradient * min(1.0, limit / (exact + 1e-6))
        torch.testing.assert_close(one.grad, expected, rtol=1e-6, atol=0)


def test_every_process_writes_about_half(sharded):
    first, second = (f.stat().st_size for f in sorted(state_of(sharded, 10).glob("*.safetensors")))
    assert 0.5 < second / first < 2
    assert not list(sharded.rglob(".*"))
    assert (sharded / "checkpoints/last").resolve().name == "000012"


def test_two_that_go_on_end_in_the_bits_of_two_that_never_stopped(cut, sharded):
    together(2, cut, resume=True, compute=FSDP, **CHANGES)
    assert weights(cut) == weights(sharded)
    assert losses(cut) == losses(sharded)


def test_one_goes_on_where_two_stopped_and_three_where_one_stopped(cut, sharded):
    interrupted(cut, 11, resume=True, checkpoint_every=1, **CHANGES)
    assert (state_of(cut, 11) / "learner.safetensors").is_file()  # whole: one process holds all
    together(3, cut, resume=True, compute=FSDP, **CHANGES)
    check_losses(cut, sharded)
    check_model(cut, sharded)


def test_two_with_ddp_go_on_where_two_with_fsdp_stopped(cut, sharded):
    together(2, cut, resume=True, **CHANGES)
    check_losses(cut, sharded)


def lose_first_shard(state: Path) -> None:
    min(state.glob("*.safetensors")).unlink()


def lose_last_shard(state: Path) -> None:
    max(state.glob("*.safetensors")).unlink()


def break_off_shard(state: Path) -> None:
    shard = min(state.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-10])


@pytest.mark.parametrize("damage", [lose_first_shard, lose_last_shard, break_off_shard])
def test_a_damaged_shard_is_one_sentence_or_the_checkpoint_before_goes_on(
    tmp_path, sharded, damage
):
    out = tmp_path / "run"
    shutil.copytree(sharded, out, symlinks=True)
    damage(state_of(out, 12))
    found = run(out, resume=True, **CHANGES)
    assert found.resumed_at == 10
    assert "000012/training_state: " in found.warnings[0]
    assert found.warnings[0].endswith("is damaged. Training went on from step 10.")
    check_losses(out, sharded)
    for step in (10, 12):
        shutil.rmtree(state_of(out, step))
        shutil.copytree(state_of(sharded, step), state_of(out, step))
        damage(state_of(out, step))
    with pytest.raises(CheckpointError, match=r"000012/training_state: .* is damaged\.$"):
        run(out, resume=True, **CHANGES)


def test_shards_of_another_model_are_one_sentence(cut):
    with pytest.raises(CheckpointError, match=r"made with other settings or other data; resume"):
        run(cut, resume=True, seed=5, **CHANGES)


def full_for_the_state(rank: int, port: int, out: Path) -> None:
    """Train as one of two on a disk that is full when ``state.json`` is written the second time."""
    from tiny_run import one_of_several

    calls, write = [], Path.write_text

    def full_later(self, *arguments, **named):
        calls.extend([0] if "state.json" in self.name else [])
        if "state.json" in self.name and len(calls) > 1:
            raise OSError(28, "No space left on device", str(self))
        return write(self, *arguments, **named)

    Path.write_text = full_later
    changes = {"compute": FSDP, "settling": FinetuneConfig()} | CHANGES
    try:
        one_of_several(rank, 2, port, out, False, changes)
    except StorageError as error:
        assert str(error).startswith(f"{out}/checkpoints/000010: the disk is full; free some space")
        os._exit(7)


def test_a_full_disk_for_what_the_leading_process_writes_names_the_checkpoint(tmp_path, free_port):
    ranks = [(rank, free_port, tmp_path / "run") for rank in (0, 1)]
    assert in_processes(full_for_the_state, *ranks)[0] == 7


def on_a_full_disk(rank: int, port: int, out: Path) -> None:
    """Train as one of two on a disk that is full at the second checkpoint of rank 1."""
    from safetensors.torch import save
    from tiny_run import one_of_several

    calls = []

    def full_later(*arguments, **named):
        calls.append(0)
        if len(calls) > 1 and rank == 1:
            raise OSError(28, "No space left on device")
        return save(*arguments, **named)

    import safetensors.torch

    safetensors.torch.save = full_later
    changes = {"compute": FSDP, "settling": FinetuneConfig()} | CHANGES
    try:
        one_of_several(rank, 2, port, out, False, changes)
    except StorageError as error:
        assert "checkpoints/000010: the disk is full; free some space" in str(error)
        os._exit(7)


def test_a_full_disk_is_one_sentence_in_every_process_and_keeps_the_older_checkpoint(
    tmp_path, free_port
):
    out = tmp_path / "run"
    assert in_processes(on_a_full_disk, *[(rank, free_port, out) for rank in (0, 1)]) == [7, 7]
    assert [path.name for path in (out / "checkpoints").glob("*")] == ["000005", "last"] or [
        path.name for path in (out / "checkpoints").glob("*")
    ] == ["last", "000005"]
    assert run(out, resume=True, settling=FinetuneConfig(), **CHANGES).resumed_at == 5


@pytest.fixture
def alone(free_port):
    """A group of this process alone."""
    address = f"tcp://127.0.0.1:{free_port}"
    dist.init_process_group("gloo", init_method=address, rank=0, world_size=1)
    yield dist.new_group(backend="gloo")
    dist.destroy_process_group()


def test_a_file_holds_what_a_tensor_was_when_the_writing_began(tmp_path, alone):
    values = {"some": torch.arange(6.0).reshape(2, 3), "one": torch.tensor(3.0)}
    writing = write_shards(tmp_path, values, alone)
    for value in values.values():
        value.fill_(-1)
    finish_writing(writing)
    found = {name: torch.full_like(value, math.nan) for name, value in values.items()}
    read_shards(tmp_path, found)
    assert torch.equal(found["some"], torch.arange(6.0).reshape(2, 3))
    assert found["one"] == 3


def test_what_is_read_is_what_was_asked_for(tmp_path, alone):
    finish_writing(write_shards(tmp_path, {"some": torch.ones(2, 3)}, alone))
    with pytest.raises(CheckpointError, match=r"does not hold this model whole \(.*other"):
        read_shards(tmp_path, {"other": torch.ones(2, 3)})
    with pytest.raises(CheckpointError, match=r"does not hold this model whole \(.*some"):
        read_shards(tmp_path, {"some": torch.ones(3, 3)})
    assert not [*tmp_path.glob(".metadata"), *tmp_path.glob("*.distcp")]  # would be pickles
