"""A streamed training ends, goes on after a kill to the same bits, and leaves no pool."""

import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
from filelock import FileLock
from fsspec.implementations.memory import MemoryFileSystem
from safetensors.torch import load_file

import armillary as arm
from armillary.core.changing import changed
from armillary.core.errors import ConfigError, DatasetError
from armillary.data import open_dataset
from armillary.data.prepare import frame_bytes
from armillary.data.remote import open_remote
from armillary.recipes.recipe import train_recipe
from armillary.recipes.recipe_config import shortened
from armillary.recipes.streaming import POOL, stream_recipe
from armillary.recipes.world import adapted, world
from armillary.worlds import record

pytestmark = pytest.mark.runs
ADDRESS = "memory://streaming/data"


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("streaming") / "data"
    record("tabletop", out, 30, 10, seed=3)
    system = fsspec.filesystem("memory")
    system.put(f"{out}/", "/streaming/data", recursive=True)
    yield out
    system.rm("/streaming", recursive=True)


def tiny(steps=12):
    return replace(shortened(world(), steps), threads=1, batch_size=8, checkpoint_every=4)


def pool_gb(local: Path, tmp_path: Path, episodes: int) -> float:
    """Return a pool of blocks of so many episodes."""
    size = adapted(tiny(), open_dataset(local)).model.encoder.image_size
    there = open_remote(ADDRESS, tmp_path / "probe")
    source = max(map(there.episode_bytes, range(len(there))))
    return (4 * episodes * 10 * frame_bytes(there, size) + source) / 1e9


class Killed(BaseException):
    """As if the process were gone."""


@pytest.mark.slow  # 30 s; test_streamed_kills.py kills more closely
def test_a_killed_training_goes_on_to_the_same_weights(local, tmp_path, monkeypatch):
    pool = pool_gb(local, tmp_path, 5)
    stream_recipe(tiny(), ADDRESS, tmp_path / "whole", pool_gb=pool)
    real, times = MemoryFileSystem.get_file, np.random.default_rng(0)

    def late(*args, **more):  # when files come changes nothing
        time.sleep(times.uniform(0, 0.03))
        real(*args, **more)

    monkeypatch.setattr(MemoryFileSystem, "get_file", late)

    def bars(stage):
        def progress(done, total, told=""):
            if stage == "training" and done == 7:
                raise Killed

        from contextlib import contextmanager

        @contextmanager
        def bar():
            yield progress

        return bar()

    with pytest.raises(Killed):
        stream_recipe(tiny(), ADDRESS, tmp_path / "killed", bars=bars, pool_gb=pool)
    assert (tmp_path / "killed" / POOL).is_dir()
    assert not any(one.name.startswith("fetch") for one in threading.enumerate())
    summary = stream_recipe(tiny(), ADDRESS, tmp_path / "killed", resume=True, pool_gb=pool)
    assert summary.resumed_at == 4
    for name in ("model/model.safetensors", "model/policy/policy.safetensors"):
        one, other = (load_file(tmp_path / run / name) for run in ("whole", "killed"))
        assert one.keys() == other.keys() and all(one[k].equal(other[k]) for k in one)
    for run in ("whole", "killed"):
        assert not (tmp_path / run / POOL).exists()
        assert (tmp_path / run / "diagnose.json").is_file()


def test_another_pool_is_another_order_and_is_refused(local, tmp_path):
    pool = pool_gb(local, tmp_path, 5)
    stream_recipe(tiny(4), ADDRESS, tmp_path / "run", pool_gb=pool, diagnosed=False, acting=False)
    with pytest.raises(Exception, match="other settings or other data"):
        stream_recipe(tiny(4), ADDRESS, tmp_path / "run", resume=True, pool_gb=2 * pool)
    with pytest.raises(
        Exception, match="other settings or other data"
    ):  # one block, as in a folder
        train_recipe(tiny(4), local, tmp_path / "run", resume=True)
    shutil.rmtree(tmp_path / "run" / POOL, ignore_errors=True)


def test_what_cannot_be_gets_a_sentence(local, tmp_path):
    with pytest.raises(ConfigError, match="above 0 GB and below"):
        stream_recipe(tiny(), ADDRESS, tmp_path / "a", pool_gb=float("inf"))
    with pytest.raises(ConfigError, match="needs a pool of"):
        stream_recipe(tiny(), ADDRESS, tmp_path / "b", pool_gb=1e-6)
    with pytest.raises(DatasetError):
        stream_recipe(tiny(), "memory://streaming/nothing", tmp_path / "c")
    assert not list(tmp_path.iterdir()), "a refusal leaves nothing"
    (tmp_path / "e" / POOL).mkdir(parents=True)
    with (
        FileLock(tmp_path / "e" / POOL / "lock"),
        pytest.raises(ConfigError, match="another training is writing there"),
    ):
        stream_recipe(tiny(), ADDRESS, tmp_path / "e")


def test_the_api_streams_an_address(local, tmp_path):
    with pytest.raises(ConfigError, match="needs a pool of"):
        arm.train(tiny(), ADDRESS, tmp_path / "run", pool_gb=1e-6, progress=False)
    assert not (tmp_path / "run").exists()


def test_a_trunk_is_refused_before_anything_is_fetched(tmp_path):
    recipe = changed(world(), {"model.trunk": "mobilenetv2"})
    with pytest.raises(ConfigError, match="A trunk sees a dataset once, before the training"):
        stream_recipe(recipe, "memory://nowhere", tmp_path / "run")
