"""Without a search: what a prior means to do is done, inside the bounds, once per model step."""

from dataclasses import dataclass, replace

import point_world as toy
import pytest
import torch
from tiny_prior import CONFIG, prior

from armillary.control import (
    NoOpPolicy,
    PriorPolicy,
    PriorSpec,
    evaluate,
    make_manifest,
    replay,
    summarise,
)
from armillary.core.errors import CheckpointError, ConfigError
from armillary.models import save_model, save_prior, untrained
from armillary.recipes.acting import ActConfig, act

RULES = make_manifest("point", "reach", 8, 0, world_factory=toy.PointWorld)


@dataclass(frozen=True)
class Straight:
    """Means to go straight to the goal, in as many world steps as a model step has."""

    steps: int = 1

    def intent(self, latent, goal, rng):
        return ((goal - latent) / self.steps).repeat(self.steps)


def straight(steps=1, executed=None):
    return lambda spec: PriorPolicy(
        toy.PointModel(), Straight(steps), spec.bounds, frame_skip=steps, executed=executed
    )


@pytest.fixture
def folder(tmp_path):
    save_model(untrained(CONFIG, 0), tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("steps", [1, 3])
def test_a_prior_that_knows_the_way_is_followed_to_every_goal(steps):
    records = evaluate(RULES, straight(steps), toy.PointWorld)
    assert summarise(records).success == 1
    for record in records:
        looks = [decision.step for decision in record.decisions]
        assert looks == list(range(0, len(record.actions), steps))
        assert len(record.ms_per_decision) == len(looks) and record.model_steps == 0
    assert all(replay(record, RULES, toy.PointWorld).ok for record in records)
    idle = evaluate(RULES, lambda spec: NoOpPolicy(spec.bounds), toy.PointWorld)
    assert summarise(idle).success < 1


@pytest.mark.parametrize(("executed", "every"), [(None, 3), (3, 3), (2, 2), (1, 1)])
def test_it_looks_once_per_model_step_or_after_what_is_executed_of_it(executed, every):
    policy, world = straight(3, executed)(toy.PointWorld().spec), toy.PointWorld()
    observation = world.reset(0)
    state, looked = policy.init(observation, 0), []
    for _ in range(7):
        looked.append(policy.looks(state))
        action, state = policy.act(observation, state)
        observation = world.step(action)
    assert looked == [step % every == 0 for step in range(7)]
    assert policy.model.frames == 1 + sum(looked)


def test_between_looks_the_plan_goes_on_where_it_was():
    @dataclass(frozen=True)
    class Counting:
        def intent(self, latent, goal, rng):
            return torch.arange(6.0) / 100  # three world steps of two numbers

    spec = toy.PointWorld().spec
    policy = PriorPolicy(toy.PointModel(), Counting(), spec.bounds, frame_skip=3, executed=2)
    seen = toy.PointWorld().reset(0)
    state, sent = policy.init(seen, 0), []
    for _ in range(4):
        action, state = policy.act(seen, state)
        sent.append(round(100 * float(action[0])))
    assert sent == [0, 2, 0, 2]


def test_it_repeats_and_another_seed_draws_otherwise(folder):
    save_prior(prior(), folder)
    records = evaluate(RULES, PriorSpec(folder), toy.PointWorld)
    assert evaluate(RULES, PriorSpec(folder), toy.PointWorld, workers=2) == records
    policy, seen = PriorSpec(folder)(toy.PointWorld().spec), toy.PointWorld().reset(0)
    drawn = [tuple(policy.act(seen, policy.init(seen, seed))[0]) for seed in range(20)]
    assert 1 < len({*drawn}) <= policy.prior.config.components


def test_its_name_is_that_of_model_and_prior(folder, tmp_path):
    save_prior(prior(), folder)
    first = PriorSpec(folder).identity()
    folder.rename(tmp_path / "elsewhere")
    spec = PriorSpec(tmp_path / "elsewhere")
    assert spec.identity() == first
    save_prior(prior(seed=1), spec.folder)
    assert spec.identity() != first
    assert len({replace(spec, executed=executed).identity() for executed in (None, 1, 2)}) == 3


def test_what_is_missing_gets_a_sentence(folder, tmp_path):
    with pytest.raises(
        CheckpointError, match=r"contains no goal prior\. Train one with: armillary"
    ):
        evaluate(RULES, PriorSpec(folder), toy.PointWorld)
    with pytest.raises(ConfigError, match="there is no such folder; a model folder was expected"):
        PriorSpec(tmp_path / "none").identity()
    config = ActConfig(planner="none", episodes=1)
    with pytest.raises(ConfigError, match="--planner none needs --prior"):
        act(folder, "tabletop", tmp_path / "act", config)
    asked = replace(config, prior=True, replan=2, hold=True)
    with pytest.raises(ConfigError, match="Without a planner, replan, hold has no effect"):
        act(folder, "tabletop", tmp_path / "act", asked)
    with pytest.raises(ConfigError, match=r"'nome'.*none"):
        act(folder, "tabletop", tmp_path / "act", replace(config, planner="nome"))
    with pytest.raises(ConfigError, match="--executed is for --planner none"):
        act(folder, "tabletop", tmp_path / "act", replace(config, planner="icem", executed=1))
    save_prior(prior(), folder)
    with pytest.raises(ConfigError, match="executed is 1 to 1, the world steps of a model step"):
        evaluate(RULES, PriorSpec(folder, executed=2), toy.PointWorld)


def test_what_is_meant_beyond_the_bounds_is_clipped():
    policy, seen = straight()(toy.PointWorld().spec), toy.PointWorld().reset(0)
    state = policy.init(seen, 0)
    action, _ = policy.act(seen, replace(state, goal=torch.tensor([9.0, -9.0])))
    assert action.tolist() == [0.1, -0.1]
