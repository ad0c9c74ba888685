"""A streamed training killed with SIGKILL and resumed ends in the same weights to the bit."""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from armillary.core.errors import ConfigError
from armillary.data import open_dataset
from armillary.data.prepare import frame_bytes
from armillary.data.remote import open_remote
from armillary.data.streamed import StreamedWindows
from armillary.recipes.recipe import RUN_DATA
from armillary.recipes.recipe_config import Recipe, shortened
from armillary.recipes.streaming import POOL, stream_recipe
from armillary.recipes.world import adapted, world
from armillary.training import read_log
from armillary.worlds import record

EPISODES, STEPS, LENGTH = 24, 12, 15


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("kills") / "data"
    record("two_rooms", out, EPISODES, LENGTH, seed=3, workers=1)
    return out


def tiny() -> Recipe:
    recipe = replace(shortened(world(), STEPS), threads=1, batch_size=16, checkpoint_every=4)
    return replace(recipe, clip_length=8, settling=replace(recipe.settling, steps=0))


def pool_gb(data: Path, folder: Path) -> float:
    """Return a pool whose quarter holds six episodes."""
    size = adapted(tiny(), open_dataset(data)).model.encoder.image_size
    there = open_remote(f"file://{data}", folder)
    source = max(map(there.episode_bytes, range(len(there))))
    return (4 * 6 * LENGTH * frame_bytes(there, size) + 2 * source) / 1e9


def one_of_several(
    rank: int, count: int, port: int, data: Path, out: Path, gb: float, resume: bool, dies: str
) -> None:
    """Stream as one of the processes that ``torchrun`` would start; ``fetch 9`` dies at the 9th."""
    if count > 1:
        told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in told.items()})
    if dies:
        what, number = dies.split()
        where = (LocalFileSystem, "get_file") if what == "fetch" else (StreamedWindows, "gather")
        die_at(*where, int(number))
    stream_recipe(tiny(), f"file://{data}", out, resume, pool_gb=gb, diagnosed=False, acting=False)


def die_at(owner: type, name: str, number: int) -> None:
    """Let this process be killed when something is called for the so manieth time."""
    real, seen = getattr(owner, name), []

    def called(*args, **more):
        seen.append(1)
        if len(seen) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **more)

    setattr(owner, name, called)


def streamed(count: int, data: Path, out: Path, gb: float, resume=False, dies: str = "") -> None:
    """Train in some processes; where the last is to die, the others are killed after it."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["armillary.training", "torch._dynamo"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        context.Process(
            target=one_of_several,
            args=(rank, count, port, data, out, gb, resume, dies if rank == count - 1 else ""),
        )
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    processes[-1].join(110)
    for process in processes:
        if dies:
            process.kill()
        process.join(60)
        process.kill()
    wanted = -signal.SIGKILL if dies else 0
    assert processes[-1].exitcode == wanted and (dies or not any(p.exitcode for p in processes))


def weights(out: Path) -> bytes:
    return (out / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> dict[int, Path]:
    """Runs that nobody interrupted, by their number of processes."""
    home = tmp_path_factory.mktemp("whole")
    for count in (1, 2):
        streamed(count, data, home / str(count), pool_gb(data, home / f"probe{count}"))
    return {count: home / str(count) for count in (1, 2)}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("dies", ["gather 10", "fetch 40"])
def test_a_killed_streamed_training_ends_in_the_same_weights(data, whole, tmp_path, count, dies):
    out, gb = tmp_path / "run", pool_gb(data, tmp_path / "probe")
    streamed(count, data, out, gb, dies=dies)
    assert (out / POOL).is_dir(), "a kill leaves the pool"
    if dies.startswith("gather"):
        assert [*(out / "checkpoints").iterdir()]
    streamed(count, data, out, gb, resume=True)
    assert weights(out) == weights(whole[count])
    steps = [entry["step"] for entry in read_log(out / "log.jsonl") if "train/loss" in entry]
    assert steps[-1] == STEPS and steps == sorted(set(steps))
    assert not (out / POOL).exists() and (out / RUN_DATA).is_file()


@pytest.mark.timeout(400)
def test_the_same_number_of_processes_goes_on(data, whole, tmp_path):
    """Two processes have another order than one, so that one does not go on where two were."""
    assert weights(whole[1]) != weights(whole[2])
    out, gb = tmp_path / "run", pool_gb(data, tmp_path / "probe")
    streamed(2, data, out, gb, dies="gather 10")
    with pytest.raises(Exception, match="other settings or other data"):
        stream_recipe(
            tiny(), f"file://{data}", out, True, pool_gb=gb, diagnosed=False, acting=False
        )


def test_a_batch_that_two_cannot_share_is_refused_before_anything_is_fetched(
    data, tmp_path, monkeypatch
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"batch_size \(5\) must be divisible"):
        stream_recipe(replace(tiny(), batch_size=5), f"file://{data}", tmp_path / "run")
    assert not (tmp_path / "run").exists() and time.monotonic() - began < 60
