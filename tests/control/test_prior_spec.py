"""A spec with a goal prior plans with it, names it, and says when it is not there."""

from dataclasses import replace

import point_world as toy
import pytest
from tiny_prior import CONFIG, prior

from armillary.control import ModelPolicy, ModelSpec, evaluate, make_manifest, redecide
from armillary.control.specs import PROPOSALS
from armillary.core.errors import CheckpointError, ConfigError
from armillary.models import save_model, save_prior, untrained
from armillary.planning import make_planner, proposal_steps

RULES = make_manifest("point", "reach", 3, 0, world_factory=toy.PointWorld)
SMALL = {"length": 3, "samples": 16}


@pytest.fixture
def spec(tmp_path):
    save_model(untrained(CONFIG, 0), tmp_path / "model")
    return ModelSpec(tmp_path / "model", "icem", SMALL, history=2)


def test_without_it_a_prior_beside_the_model_changes_nothing(spec):
    before, records = spec.identity(), evaluate(RULES, spec, toy.PointWorld)
    save_prior(prior(), spec.folder)
    assert spec.identity() == before and evaluate(RULES, spec, toy.PointWorld) == records


def test_with_it_the_identity_names_the_prior_and_how_it_is_used(spec):
    save_prior(prior(), spec.folder)
    guided = replace(spec, prior=True)
    names = [
        spec.identity(),
        guided.identity(),
        replace(guided, proposals=0).identity(),
        replace(guided, value_weight=0.0).identity(),
    ]
    save_prior(prior(seed=1), spec.folder)
    assert len({*names, guided.identity()}) == 5


def test_decisions_with_it_are_counted_and_can_be_made_again(spec):
    save_prior(prior(), spec.folder)
    guided = replace(spec, prior=True)
    records = evaluate(RULES, guided, toy.PointWorld)
    plain = evaluate(RULES, spec, toy.PointWorld)
    extra = records[0].decisions[1].model_steps - plain[0].decisions[1].model_steps
    assert extra == proposal_steps(PROPOSALS, SMALL["length"])
    assert records[0].actions != plain[0].actions
    policy = guided(toy.PointWorld().spec)
    assert redecide(records[1], 4, policy, RULES, toy.PointWorld) == 0
    assert evaluate(RULES, guided, toy.PointWorld, workers=2) == records


def test_a_batch_of_episodes_is_proposed_to_one_by_one(spec):
    save_prior(prior(), spec.folder)
    guided = replace(spec, prior=True, batch=2)
    records = evaluate(RULES, guided, toy.PointWorld)
    assert all(record.error == "" for record in records)


def test_a_prior_that_is_not_there_or_cannot_be_used_gets_a_sentence(spec):
    with pytest.raises(CheckpointError, match=r"contains no goal prior\. Train one with: arm"):
        evaluate(RULES, replace(spec, prior=True), toy.PointWorld)
    policy = ModelPolicy(toy.PointModel(), make_planner("cem"), toy.BOUNDS)
    with pytest.raises(ConfigError, match="proposals and value_weight must be at least 0; got -1"):
        replace(policy, proposals=-1)
    with pytest.raises(ConfigError, match="Proposals need a model with start and step"):
        replace(policy, prior=prior(), proposals=2)


def test_proposals_count_against_the_budget(spec):
    save_prior(prior(), spec.folder)
    fits = make_planner("icem", **SMALL).config.model_steps
    with pytest.raises(ConfigError, match=f"takes {fits + 32} model steps per decision"):
        evaluate(RULES, replace(spec, prior=True, budget_model_steps=fits), toy.PointWorld)
