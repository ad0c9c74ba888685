"""A goal policy acts alone or leads a search, within the bounds, and is named by what decides."""

import math
from dataclasses import asdict, replace

import point_world as toy
import pytest
from test_specs import CONFIG

from armillary.core.errors import CheckpointError, ConfigError, ShapeError
from armillary.evaluation import GoalConditionedPolicy, ModelSpec, evaluate, make_manifest
from armillary.evaluation.records import actions_of
from armillary.evaluation.specs import has_goal_policy
from armillary.models import save_model, untrained
from armillary.models.goal_policy import GoalPolicyConfig, untrained_goal_policy
from armillary.models.goal_policy_file import save_goal_policy
from armillary.planning import GuidedConfig, Planning

RULES = make_manifest("point", "reach", 4, 0, world_factory=toy.PointWorld)
MODEL = replace(CONFIG, action_width=2)


def direct(folder):
    return ModelSpec(folder, Planning("direct"))


def guided(folder, settings=None):
    return ModelSpec(folder, Planning("guided", settings or {}))


@pytest.fixture
def bare(tmp_path):
    save_model(untrained(MODEL, 0), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def folder(bare):
    made = untrained_goal_policy(GoalPolicyConfig(MODEL.latent_width, 2, hidden=16, layers=1), 0)
    save_goal_policy(made, bare)
    return bare


@pytest.mark.runs  # whole episodes of each way to act: 7 s
@pytest.mark.parametrize("kind", [direct, guided])
def test_it_acts_within_the_bounds_and_repeats(kind, folder):
    records = evaluate(RULES, kind(folder), toy.PointWorld)
    assert all(record.outcome in ("success", "failure") for record in records)
    assert evaluate(RULES, kind(folder), toy.PointWorld, workers=2) == records
    bounds = toy.PointWorld().spec.bounds
    for record in records:
        actions = actions_of(record)
        assert (bounds.low <= actions).all() and (actions <= bounds.high).all()


def test_it_looks_at_every_step_without_a_search_and_takes_no_model_step(folder):
    records = evaluate(RULES, direct(folder), toy.PointWorld)
    for record in records:
        assert [decision.step for decision in record.decisions] == list(range(record.steps))
        assert record.model_steps == 0


@pytest.mark.parametrize("kind", [direct, guided])
def test_it_decides_at_every_world_step_of_a_model_step(kind, tmp_path):
    shape = replace(MODEL, action_width=4, frame_skip=2)
    save_model(untrained(shape, 0), tmp_path / "model")
    made = untrained_goal_policy(GoalPolicyConfig(shape.latent_width, 4, hidden=16, layers=1), 0)
    save_goal_policy(made, tmp_path / "model")
    for record in evaluate(RULES, kind(tmp_path / "model"), toy.PointWorld):
        assert [decision.step for decision in record.decisions] == list(range(record.steps))


def test_a_search_begins_when_the_goal_is_within_its_reach_and_stays_below_600_model_steps(folder):
    spec = guided(folder, {"samples": 4, "longest": 3})
    policy = spec(toy.PointWorld().spec)
    policy.policy.farthest.fill_(40.0)
    save_goal_policy(policy.policy, folder)
    record = evaluate(replace(RULES, budget=10), spec, toy.PointWorld)[0]
    taken = [decision.model_steps for decision in record.decisions]
    left = [(10 - step) / 2 for step in range(len(taken))]
    assert taken == [4 * math.ceil(max(steps, 1)) if steps <= 3 else 0 for steps in left]
    assert GuidedConfig().model_steps <= 600


def test_a_search_begins_with_what_was_seen_in_the_last_model_steps(folder, monkeypatch):
    policy = guided(folder, {"samples": 2, "history": 3})(toy.PointWorld().spec)
    remembered, start = [], policy.model.start

    def started(latent, candidates):
        remembered.append(latent.tokens.shape[1])
        return start(latent, candidates)

    monkeypatch.setattr(policy.model, "start", started)
    world = toy.PointWorld()
    seen = world.reset(0)
    state = policy.init(seen, 0)
    for _ in range(6):
        action, state = policy.act(seen, state)
        seen = world.step(action)
    assert policy.frame_skip == 1 and remembered == [1, 2, 3, 3, 3, 3]


def test_a_search_that_may_take_more_than_the_budget_is_refused(folder):
    spec = replace(guided(folder, {"samples": 10, "longest": 5}), budget_model_steps=49)
    with pytest.raises(
        ConfigError, match="takes 50 model steps per decision, and its budget is 49"
    ):
        spec(toy.PointWorld().spec)
    assert replace(spec, budget_model_steps=50)(toy.PointWorld().spec).search.model_steps == 50
    assert replace(direct(folder), budget_model_steps=1)(toy.PointWorld().spec).search is None


def test_a_model_with_a_goal_policy_acts_by_it_unless_a_search_without_it_is_asked_for(
    bare, folder, tmp_path
):
    spec = toy.PointWorld().spec
    assert has_goal_policy(folder)
    assert isinstance(ModelSpec(folder)(spec), GoalConditionedPolicy)
    assert ModelSpec(folder)(spec).search == GuidedConfig()
    assert direct(folder)(spec).search is None
    assert ModelSpec(folder, Planning(replan=2)).chosen.planner == "icem"
    save_model(untrained(MODEL, 0), tmp_path / "none")
    assert ModelSpec(tmp_path / "none").chosen.planner == "icem"


def test_its_name_follows_files_and_settings_and_not_the_folder(folder, tmp_path):
    names = [direct(folder).identity(), guided(folder).identity()]
    names += [guided(folder, {"samples": 40}).identity()]
    assert len({*names}) == 3
    usual = asdict(GuidedConfig())
    assert guided(folder, usual).identity() == names[1], "all settings count, at their default, too"
    folder.rename(tmp_path / "elsewhere")
    assert direct(tmp_path / "elsewhere").identity() == names[0]
    save_goal_policy(
        untrained_goal_policy(GoalPolicyConfig(MODEL.latent_width, 2, hidden=16, layers=1), 1),
        tmp_path / "elsewhere",
    )
    assert direct(tmp_path / "elsewhere").identity() != names[0]


def test_what_cannot_be_gets_a_sentence(bare, tmp_path):
    with pytest.raises(CheckpointError, match=r"contains no goal policy\. Train one with: arm"):
        direct(bare)(toy.PointWorld().spec)
    with pytest.raises(ConfigError, match="there is no such folder"):
        direct(tmp_path / "none").identity()
    made = untrained_goal_policy(GoalPolicyConfig(MODEL.latent_width, 2, hidden=16, layers=1), 0)
    save_goal_policy(made, bare)
    with pytest.raises(ConfigError, match="no setting of the guided planner called 'sample'"):
        guided(bare, {"sample": 4})(toy.PointWorld().spec)
    wide = replace(MODEL, action_width=4)
    save_model(untrained(wide, 0), tmp_path / "wide")
    with pytest.raises(ShapeError, match="The model takes 4 action numbers per model step"):
        direct(tmp_path / "wide")(toy.PointWorld().spec)
