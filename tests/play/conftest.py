"""A small untrained model, a world that fits it, and a recording of that world."""

from __future__ import annotations

from pathlib import Path

import pytest

from armillary.models import JEPA, JEPAConfig, load_model, save_model, untrained
from armillary.models.config import EncoderConfig
from armillary.play.session import Session
from armillary.play.sources import WorldSource
from armillary.worlds import make_world, record

SETTINGS = {"image_size": 16}


@pytest.fixture(scope="package", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARMILLARY_CACHE", str(tmp_path_factory.mktemp("cache")))
        # an untrained model reads a place badly, and shall read it all the same
        patch.setattr("armillary.play.memory._LEAST_R2", -9.0)
        yield


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("played") / "model"
    encoder = EncoderConfig(image_size=16, width=16)
    config = JEPAConfig(encoder=encoder, action_width=4, frame_skip=2, sensors=("rgb",))
    save_model(untrained(config, 0), out)
    return out


@pytest.fixture(scope="package")
def model(folder: Path) -> JEPA:
    return load_model(folder)


@pytest.fixture(scope="package")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recorded") / "rooms"
    record("two_rooms", out, 8, 13, workers=1, settings=SETTINGS)
    return out


@pytest.fixture
def session(model: JEPA):
    made = Session(model, WorldSource(model, make_world("two_rooms", **SETTINGS)))
    yield made
    made.close()
