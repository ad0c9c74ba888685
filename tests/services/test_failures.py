"""Failures: models that fail for a known reason are told by it, on episodes made anew."""

from dataclasses import dataclass, replace

import numpy as np
import point_world as toy
import pytest
import torch

from armillary.core.values import Latent
from armillary.evaluation import evaluate, make_manifest
from armillary.services.failures import CAUSES, _cause, _prediction_fails, _Seen, why_failed


class SeesOnlyX(toy.PointModel):
    """Its latent lacks y, so what is beside the goal looks as if it were there."""

    def encode(self, batch):
        latent = super().encode(batch)
        return Latent(latent.tokens * torch.tensor([1.0, 0.0]), latent.actions)

    def rollout(self, latent, plans):
        return super().rollout(latent, plans * torch.tensor([1.0, 0.0]))


class PredictsBackwards(toy.PointModel):
    """It expects that every action leads the other way."""

    def rollout(self, latent, plans):
        return super().rollout(latent, -plans)


@dataclass(frozen=True)
class Spec:
    model: type

    def __call__(self, world):
        return replace(toy.PointModelSpec(history=1)(world), model=self.model())

    def identity(self):
        return self.model.__name__


def told(model, budget=None):
    rules = make_manifest("point", "reach", 8, 0, budget=budget, world_factory=toy.PointWorld)
    records = evaluate(rules, Spec(model), toy.PointWorld)
    return records, why_failed(records, rules, Spec(model), toy.PointWorld)


@pytest.mark.parametrize(
    ("model", "cause", "budget"),
    [
        (SeesOnlyX, "sight", None),
        (PredictsBackwards, "prediction", None),
        (toy.PointModel, "search", 2),
    ],
)
def test_the_cause_that_was_built_in_is_told(model, cause, budget):
    records, found = told(model, budget)
    failed = sum(record.outcome == "failure" for record in records)
    assert found.failed == found.looked_at == failed >= 4
    assert found.causes[cause] >= 0.7 * failed, found
    assert sum(found.causes.values()) == failed and tuple(found.causes) == CAUSES
    assert f"{cause} {found.causes[cause]}" in str(found)


def test_nothing_is_told_where_nothing_failed():
    records, found = told(toy.PointModel)
    assert {record.outcome for record in records} == {"success"} and found is None


def test_episodes_that_the_simulator_does_not_repeat_have_no_cause():
    rules = make_manifest("point", "reach", 8, 0, budget=2, world_factory=toy.PointWorld)
    records = evaluate(rules, Spec(toy.PointModel), toy.PointWorld)
    other = [replace(one, distances=tuple(far + 0.1 for far in one.distances)) for one in records]
    found = why_failed(other, rules, Spec(toy.PointModel), toy.PointWorld)
    assert found.unrepeatable == found.looked_at > 0 and not sum(found.causes.values())
    assert "not repeatable" in str(found)


def test_a_simulator_that_breaks_in_the_replay_costs_no_rows():
    rules = make_manifest("point", "reach", 8, 0, budget=2, world_factory=toy.PointWorld)
    records = evaluate(rules, Spec(toy.PointModel), toy.PointWorld)
    found = why_failed(records, rules, Spec(toy.PointModel), lambda: toy.PointWorld(break_at=1))
    even = sum(record.seed % 2 == 0 and record.outcome == "failure" for record in records)
    assert found.unrepeatable == even > 0


def test_a_cost_that_grows_on_the_way_to_the_goal_misleads():
    rules = make_manifest("point", "reach", 1, 0, budget=6, world_factory=toy.PointWorld)
    (record,) = evaluate(rules, toy.Fixed(np.array([0.1, 0.0])), toy.PointWorld)
    places = torch.cumsum(torch.tensor([[0.0, 0.0]] + [[0.1, 0.0]] * 6), 0)
    ahead = torch.tensor([[1.0, 0.0]])  # of latents: they come nearer
    seen = _Seen(places, ahead[0], (1, 2))
    policy = Spec(toy.PointModel)(toy.PointWorld().spec)
    nearer, farther = ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3], [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    assert _cause(policy, replace(record, distances=tuple(nearer)), seen, 0.0) == "search"
    assert _cause(policy, replace(record, distances=tuple(farther)), seen, 0.0) == "cost"


class NeedsMemory(toy.PointModel):
    """It predicts well what it has seen moving, and the other way what it has seen once."""

    def rollout(self, latent, plans):
        known = latent.tokens.shape[1] > 1 and latent.actions is not None
        return super().rollout(latent, plans if known else -plans)


def test_a_prediction_is_judged_with_the_memory_that_the_policy_has():
    actions = np.random.default_rng(0).uniform(-0.1, 0.1, (12, 2))
    places = torch.from_numpy(np.concatenate([np.zeros((1, 2)), actions.cumsum(0)])).float()
    seen = _Seen(places, places[-1], (1, 2))
    for history, fails in ((1, True), (2, False)):
        made = replace(toy.PointModelSpec(history=history)(toy.PointWorld().spec))
        assert _prediction_fails(replace(made, model=NeedsMemory()), actions, seen) == fails
