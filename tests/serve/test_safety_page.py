"""The page on safety has the numbers of the code, and what it says of decisions is so."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from armillary.cli.ros import Ros
from armillary.core.errors import WorldError
from armillary.evaluation import ModelSpec
from armillary.monitoring.guard import GuardedPolicy
from armillary.planning import Planning
from armillary.serve import Decider, Session, rosbridge, world_of_a_robot
from armillary.serve import ros as driving
from armillary.serve.ros import Drive

PAGE = re.sub(r"\s+", " ", (Path(__file__).parents[2] / "docs/how-to/safety.md").read_text())


def test_the_numbers_are_those_of_the_code() -> None:
    drive = Drive(1)
    flags = {field.name: field.default for field in fields(Ros)}
    assert flags["stale_s"] == drive.stale_s
    for sentence in (
        f"resting action after `--stale-s` ({drive.stale_s:g} s); after {drive.patience_s:g} s the",
        f"sends resting actions and ends after {drive.patience_s:g} s",
        f"in `ros` {driving._DECIDES_IN:.0%} of a step".replace("%", " %"),
        f"waits at most {rosbridge._ANSWER_S:g} s until rosbridge has confirmed",
    ):
        assert sentence in PAGE, sentence


def test_the_guard_of_a_served_policy_stops_and_does_not_slow() -> None:
    reaction = {field.name: field.default for field in fields(GuardedPolicy)}["reaction"]
    assert reaction == "stop"
    assert "`slow` and `note` exist in Python alone" in PAGE


def test_a_decision_that_is_not_a_number_is_not_sent(folder: Path, monkeypatch) -> None:
    world = world_of_a_robot((-1.0, -1.0), (1.0, 1.0), 0.1, 4)
    session = Session(Decider.load(ModelSpec(folder, Planning("direct")), world))
    policy = session.decider.policy
    lost = np.array([np.nan, 0.0])
    monkeypatch.setattr(type(policy), "act", lambda self, seen, state: (lost, state))
    picture = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(WorldError, match=r"The policy decided \[nan, 0.0\], which is not a number"):
        session.decide({"observation/image": picture, "goal/image": picture})
    assert "| A decision is not a number | not sent; one sentence, and the connection" in PAGE
