"""A model folder with a goal policy, as small as one can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from armillary.models import JEPAConfig, save_model, untrained
from armillary.models.config import EncoderConfig
from armillary.models.goal_policy import GoalPolicyConfig, untrained_goal_policy
from armillary.models.goal_policy_file import save_goal_policy


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("served") / "model"
    encoder = EncoderConfig(image_size=16, width=16)
    config = JEPAConfig(encoder=encoder, action_width=4, frame_skip=2, sensors=("rgb",))
    save_model(untrained(config, 0), out)
    made = untrained_goal_policy(GoalPolicyConfig(config.latent_width, 4, hidden=16, layers=1), 0)
    made.farthest.fill_(8.0)
    save_goal_policy(made, out)
    return out
