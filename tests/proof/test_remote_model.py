"""The same agent here and behind the boundary: records are equal to the bit, audits pass."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import armillary
from armillary.core.errors import ConfigError
from armillary.core.values import ActionBounds, WorldSpec
from armillary.evaluation import ModelSpec, NoOpSpec, RandomSpec, evaluate, make_manifest, redecide
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, save_model, untrained
from armillary.planning import Planning
from armillary.proof.grader import RemoteSpec
from armillary.proof.sandbox import PolicyProcessError
from armillary.worlds import make_world

ROOT = str(Path(armillary.__file__).parents[1])
CONFIG = JEPAConfig(
    sensors=("rgb",),
    encoder=EncoderConfig(
        image_size=16, patch=8, patch_hidden=16, patch_width=8, hidden=16, tokens=2, width=4
    ),
    predictor=PredictorConfig(memory=8, hidden=8),
)
# pictures of another size than the model's: they are resized behind the boundary
RULES = make_manifest("two_rooms", "reach", 3, 3, settings={"image_size": 24}, budget=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("agent") / "model"
    save_model(untrained(CONFIG, 0), folder)
    return folder


def same_but_name(here, there) -> bool:
    return all(
        replace(far, policy=near.policy).body() == near.body()
        for near, far in zip(here, there, strict=True)
    )


@pytest.mark.parametrize(
    ("planner", "settings"),
    [("icem", {"length": 3, "samples": 16}), ("gradient", {"length": 2})],
)
def test_a_model_acts_here_as_it_does_behind_the_boundary(folder, planner, settings):
    spec = ModelSpec(folder, Planning(planner, settings, history=2, replan=2))
    here, there = evaluate(RULES, spec), evaluate(RULES, RemoteSpec(spec))
    assert same_but_name(here, there)
    assert [record.error for record in there] == [""] * 3
    assert all(len(record.decisions) == 3 for record in there)
    policy = spec(RULES.ruled(make_world("two_rooms").spec))
    assert [redecide(there[1], at, policy, RULES) for at in range(3)] == [0.0] * 3


def test_floors_act_here_as_they_do_behind_the_boundary():
    here, there = evaluate(RULES, RandomSpec()), evaluate(RULES, RemoteSpec(RandomSpec()))
    assert same_but_name(here, there)
    assert {record.policy.split(" (")[0] for record in there} == {"random behind a boundary"}


def test_what_a_policy_prints_is_not_heard_and_what_it_raises_is():
    script = str(Path(__file__).with_name("talkative.py"))
    spec = RemoteSpec(RandomSpec(), command=(sys.executable, "-I", script, ROOT))
    here, there = evaluate(RULES, RandomSpec()), evaluate(RULES, spec)
    crashed = [record for record in there if record.outcome == "crash"]
    assert 0 < len(crashed) < len(there)
    assert {one.error for one in crashed} == {
        "The policy stopped: ZeroDivisionError: division by zero"
    }
    for near, far in zip(here, there, strict=True):
        assert far.actions == near.actions[: 2 if far in crashed else None]


def test_a_model_that_does_not_fit_is_one_sentence(folder):
    bounds = ActionBounds(np.full(3, -1.0), np.full(3, 1.0))
    world = WorldSpec("w", bounds, 0.1, (), 1, 0.1, "m", {"rgb": "rgb"})
    with pytest.raises(PolicyProcessError) as caught:
        RemoteSpec(ModelSpec(folder))(world)
    assert str(caught.value) == (
        "ShapeError: The model takes 2 action numbers per model step, and this world has 3. "
        "Use the world it was trained in."
    )


def test_decisions_are_made_one_by_one(folder):
    with pytest.raises(ConfigError, match="decides for one episode at a time; use batch 1"):
        RemoteSpec(ModelSpec(folder, batch=2))


def test_the_name_is_the_local_one_and_what_is_enforced(folder):
    spec = ModelSpec(folder)
    assert RemoteSpec(spec).identity().startswith(f"{spec.identity()} behind a boundary (enforced:")
    assert RemoteSpec(NoOpSpec()).identity() != RemoteSpec(RandomSpec()).identity()
