"""Small untrained models and evaluation episodes; nothing here needs LeRobot."""

from __future__ import annotations

from pathlib import Path

import pytest

from armillary.evaluation import make_manifest
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, save_model, untrained
from armillary.models.goal_policy import GoalPolicyConfig, untrained_goal_policy
from armillary.models.goal_policy_file import save_goal_policy

SIDE = 16
ROOMS, TABLE = "two_rooms", "tabletop"


def small_model(out: Path, sensors: tuple[str, ...], frame_skip: int) -> Path:
    """Write an untrained model with an untrained goal policy, for a world with two actions."""
    encoder = EncoderConfig(
        image_size=SIDE, patch=8, patch_hidden=16, patch_width=8, hidden=16, tokens=2, width=4
    )
    predictor = PredictorConfig(memory=8, hidden=8)
    width = 2 * frame_skip
    config = JEPAConfig(
        sensors=sensors,
        encoder=encoder,
        predictor=predictor,
        action_width=width,
        frame_skip=frame_skip,
    )
    save_model(untrained(config, 0), out)
    wide = GoalPolicyConfig(config.latent_width, width, hidden=16, layers=1)
    policy = untrained_goal_policy(wide, 0)
    policy.farthest.fill_(8.0)
    save_goal_policy(policy, out)
    return out


@pytest.fixture(scope="session")
def rooms_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two_rooms that sees pictures, with two world steps per model step."""
    return small_model(tmp_path_factory.mktemp("rooms") / "model", ("rgb",), 2)


@pytest.fixture(scope="session")
def table_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the tabletop that sees pictures, depth and poses."""
    return small_model(tmp_path_factory.mktemp("table") / "model", ("rgb", "points"), 1)


@pytest.fixture(scope="session")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file with four episodes of four steps for each world."""
    found = {}
    for world in (ROOMS, TABLE):
        settings = {"image_size": SIDE}
        manifest = make_manifest(world, "reach", 4, 5, settings=settings, budget=4)
        found[world] = tmp_path_factory.mktemp(world) / "manifest.json"
        manifest.save(found[world])
    return found
