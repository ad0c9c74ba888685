"""One tiny recording, run and cache for all tests of the API."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import armillary as arm
from armillary.api.results import Run
from armillary.data import Dataset

TINY = {"steps": 3, "batch_size": 4, "checkpoint_every": 2, "threads": 1, "finetune": {"steps": 2}}


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARMILLARY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="session")
def data(base: Path) -> Dataset:
    return arm.record("tabletop", str(base / "data"), episodes=4, steps=14)


@pytest.fixture(scope="session")
def run(base: Path, data: Dataset) -> Run:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # three steps make no model, and it says so
        return arm.train("world", data, base / "run", **TINY)
