"""A spec that adapts or holds its actions: named, repeatable, and refused as an agent."""

from dataclasses import replace

import numpy as np
import point_world as toy
import pytest
import tiny_prior

from armillary.control import ModelPolicy, ModelSpec, evaluate, make_manifest, redecide
from armillary.core.errors import ConfigError
from armillary.models import (
    GoalPriorConfig,
    PredictorConfig,
    save_model,
    save_prior,
    untrained,
    untrained_prior,
)
from armillary.planning import make_planner
from armillary.planning.adaptation import UNIT_STEPS
from armillary.planning.experience import AdaptationConfig
from armillary.proof.agent import pack_agent

_PREDICTOR = PredictorConfig(memory=0, hidden=8, layers=2)
CONFIG = replace(tiny_prior.CONFIG, predictor=_PREDICTOR, frame_skip=2, action_width=4)
RULES = make_manifest("point", "reach", 3, 0, world_factory=toy.PointWorld)
SMALL = {"length": 3, "samples": 16}


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapting") / "model"
    save_model(untrained(CONFIG, 0), folder)
    save_prior(untrained_prior(GoalPriorConfig(CONFIG.latent_width, 4, 8, 16), 0), folder)
    return ModelSpec(folder, "icem", SMALL, prior=True, proposals=2)


def test_its_identity_says_that_it_holds_and_how_it_adapts(spec):
    adapts = replace(spec, adapt=AdaptationConfig())
    specs = (spec, replace(spec, hold=True), adapts, replace(adapts, adapt=AdaptationConfig(0.5)))
    specs += (replace(spec, consensus=2), replace(spec, consensus=3))
    specs += (replace(spec, together=True),)
    assert len({one.identity() for one in specs}) == 7


def test_a_held_action_is_sent_for_every_world_step_of_a_model_step(spec):
    policy = replace(spec, hold=True)(toy.PointWorld().spec)
    records = evaluate(RULES, replace(spec, hold=True), toy.PointWorld)
    actions = np.asarray(records[0].actions)
    pairs = actions[: len(actions) // 2 * 2].reshape(-1, 2, actions.shape[1])
    assert np.array_equal(pairs[:, 0], pairs[:, 1])
    assert redecide(records[0], 1, policy, RULES, toy.PointWorld) == 0


@pytest.mark.parametrize("hold", [False, True])
def test_episodes_that_adapt_do_not_know_of_each_other(spec, hold):
    adapts = replace(spec, adapt=AdaptationConfig(), hold=hold)
    records = evaluate(RULES, adapts, toy.PointWorld)
    assert all(record.error == "" for record in records)
    assert evaluate(RULES, adapts, toy.PointWorld, workers=2) == records
    together = evaluate(RULES, replace(adapts, batch=2), toy.PointWorld)
    assert all(record.error == "" for record in together)
    still = evaluate(RULES, replace(spec, hold=hold), toy.PointWorld)
    assert [one.actions for one in records] != [one.actions for one in still]


def test_what_it_takes_more_is_counted(spec):
    adapts = evaluate(RULES, replace(spec, adapt=AdaptationConfig()), toy.PointWorld)[0]
    still = evaluate(RULES, spec, toy.PointWorld)[0]
    both = zip(adapts.decisions, still.decisions, strict=True)
    more = [one.model_steps - other.model_steps for one, other in both]
    assert more[0] == UNIT_STEPS + SMALL["length"] and {*more[1:]} == {1 + SMALL["length"]}


def test_one_decision_of_it_cannot_be_made_again_and_no_agent_is_packed_of_it(spec, tmp_path):
    adapts = replace(spec, adapt=AdaptationConfig())
    record = evaluate(RULES, adapts, toy.PointWorld)[0]
    with pytest.raises(ConfigError, match="Run the whole episode"):
        redecide(record, 0, adapts(toy.PointWorld().spec), RULES, toy.PointWorld)
    more = replace(spec, hold=True), replace(spec, consensus=2), replace(spec, together=True)
    for one in (adapts, *more):
        with pytest.raises(ConfigError, match="neither holds its actions, nor compares"):
            pack_agent(spec.folder, one, tmp_path / "agent")


def test_a_model_that_cannot_be_led_step_by_step_gets_a_sentence():
    with pytest.raises(ConfigError, match="hold and adapt need a model with start and step"):
        ModelPolicy(toy.PointModel(), make_planner("cem"), toy.BOUNDS, adapt=AdaptationConfig())
