"""Deciding for several episodes at once gives every episode what it would get alone."""

from dataclasses import dataclass, replace
from typing import Any

import point_world as toy
import pytest

from armillary.core.errors import ConfigError
from armillary.core.values import WorldSpec
from armillary.evaluation import ModelPolicy, ModelSpec, evaluate, make_manifest, read_records
from armillary.evaluation.replay import redecide


@dataclass(frozen=True)
class Together(toy.PointModelSpec):
    """The toy policy, for ``batch`` episodes at once."""

    batch: int = 4

    def __call__(self, world: WorldSpec) -> ModelPolicy:
        return replace(super().__call__(world), batch=self.batch)

    def identity(self) -> str:
        return f"toy batch {self.batch}"


@pytest.fixture
def manifest():
    return make_manifest("point", "reach", 6, 0, world_factory=toy.PointWorld)


def outcomes(records: Any) -> list[Any]:
    return [replace(record, policy="", ms_per_decision=()) for record in records]


@pytest.mark.parametrize(("planner", "replan"), [("icem", 1), ("icem", 3), ("gradient", 4)])
def test_every_episode_gets_what_it_would_get_alone(manifest, planner, replan):
    # The toy model is exact to the bit in any shape; only a planner could mix its elements.
    alone = evaluate(manifest, toy.PointModelSpec(planner, replan=replan), toy.PointWorld)
    four = evaluate(manifest, Together(planner, replan=replan), toy.PointWorld)
    assert outcomes(alone) == outcomes(four)


@pytest.mark.runs  # processes start: 9 s
def test_neither_processes_nor_order_nor_early_ends_change_a_record(manifest):
    early = replace(manifest, stop_at_hit=True)
    one = evaluate(early, Together(), toy.PointWorld)
    two = evaluate(early, Together(), toy.PointWorld, workers=2, order=[5, 2, 0, 1, 3, 4])
    assert one == two
    assert len({record.steps for record in one}) > 1


def test_the_planner_always_sees_the_whole_batch(manifest, monkeypatch):
    seen = set()
    monkeypatch.setattr(
        toy.PointModel,
        "rollout",
        lambda self, latent, plans, then=toy.PointModel.rollout: (
            seen.add(len(plans)) or then(self, latent, plans)
        ),
    )
    evaluate(replace(manifest, stop_at_hit=True), Together(), toy.PointWorld)
    assert seen == {4}


def test_a_broken_world_costs_its_own_episode(manifest):
    alone = evaluate(manifest, toy.PointModelSpec(), toy.breaking_world)
    four = evaluate(manifest, Together(), toy.breaking_world)
    assert outcomes(alone) == outcomes(four)
    assert {record.outcome for record in four} > {"crash"}


def test_what_the_policy_raises_costs_the_episodes_that_were_decided_for(manifest, monkeypatch):
    def broken(self, latent, plans):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(toy.PointModel, "rollout", broken)
    records = evaluate(manifest, Together(), toy.PointWorld)
    assert {record.error for record in records} == {
        "The policy raised ZeroDivisionError: division by zero"
    }


def test_a_killed_evaluation_goes_on_group_by_group(manifest, tmp_path):
    out = tmp_path / "records.jsonl"
    whole = evaluate(manifest, Together(), toy.PointWorld, out=out)
    out.write_text("".join(out.read_text().splitlines(keepends=True)[:5]))
    again = evaluate(manifest, Together(), toy.PointWorld, out=out)
    assert again == whole == read_records(out)


def test_a_decision_of_a_batch_can_be_made_again(manifest):
    record = evaluate(manifest, Together(), toy.PointWorld)[1]
    policy = Together()(toy.PointWorld().spec)
    assert redecide(record, 3, policy, manifest, toy.PointWorld) == 0.0


def test_the_identity_of_a_model_names_the_batch(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert ModelSpec(tmp_path, batch=4).identity() == ModelSpec(tmp_path).identity() + " batch 4"


def test_a_batch_of_none_gets_a_sentence(manifest):
    with pytest.raises(ConfigError, match="batch must be at least 1; got 0"):
        evaluate(manifest, Together(batch=0), toy.PointWorld)
