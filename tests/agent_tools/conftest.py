"""One tiny recording of two rooms, and an untrained model with a goal policy that sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

import armillary as arm
from armillary.agent_tools.catalogue import Catalogue
from armillary.data import Dataset
from armillary.models import JEPAConfig, save_model, untrained
from armillary.models.config import EncoderConfig
from armillary.models.goal_policy import GoalPolicyConfig, untrained_goal_policy
from armillary.models.goal_policy_file import save_goal_policy


def model_folder(out: Path, sensors: tuple[str, ...] = ("rgb",), policy: bool = True) -> Path:
    encoder = EncoderConfig(image_size=16, width=16)
    config = JEPAConfig(encoder=encoder, action_width=4, frame_skip=2, sensors=sensors)
    model = untrained(config, 0)
    model.step_s = 0.2
    save_model(model, out)
    if policy:
        made = untrained_goal_policy(
            GoalPolicyConfig(config.latent_width, 4, hidden=16, layers=1), 0
        )
        made.farthest.fill_(8.0)
        save_goal_policy(made, out)
    return out


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agent")


@pytest.fixture(scope="session")
def data(base: Path) -> Dataset:
    return arm.record("two_rooms", base / "rooms", episodes=8, steps=25, image_size=20)


@pytest.fixture(scope="session")
def folder(base: Path) -> Path:
    return model_folder(base / "small")


@pytest.fixture(scope="session")
def searching(base: Path) -> Path:
    return model_folder(base / "searching", policy=False)


@pytest.fixture(scope="session")
def catalogue(folder: Path, searching: Path, data: Dataset) -> Catalogue:
    return Catalogue.of([str(folder), str(searching)], [str(data.path)])
