"""A goal policy acts alone or leads a search, within the bounds, and is named by what decides."""

from dataclasses import replace

import point_world as toy
import pytest
from test_specs import CONFIG

from armillary.control import DirectPolicy, ModelSpec, evaluate, make_manifest
from armillary.control.model_policy import ModelPolicy
from armillary.control.records import actions_of
from armillary.control.specs import has_goal_policy
from armillary.core.errors import CheckpointError, ConfigError, ShapeError
from armillary.models import save_model, untrained
from armillary.models.goal_policy import GoalPolicyConfig, untrained_goal_policy
from armillary.models.goal_policy_file import save_goal_policy
from armillary.planning import Planning

RULES = make_manifest("point", "reach", 4, 0, world_factory=toy.PointWorld)
MODEL = replace(CONFIG, action_width=2)


def direct(folder):
    return ModelSpec(folder, Planning("direct"))


def guided(folder, settings=None, proposals=8):
    return ModelSpec(folder, Planning("guided", settings or {}, proposals))


@pytest.fixture
def bare(tmp_path):
    save_model(untrained(MODEL, 0), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def folder(bare):
    made = untrained_goal_policy(GoalPolicyConfig(MODEL.latent_width, 2, hidden=16, layers=1), 0)
    made.cost_error.fill_(0.25)
    save_goal_policy(made, bare)
    return bare


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


def test_a_search_counts_its_proposals_and_stays_below_600_model_steps(folder):
    policy = guided(folder)(toy.PointWorld().spec)
    record = evaluate(RULES, guided(folder), toy.PointWorld)[0]
    steps = record.decisions[0].model_steps
    assert steps == policy.planner.config.model_steps + 8 * 4 <= 600


def test_the_margin_is_the_error_of_the_models_cost_over_a_plan(folder):
    policy = guided(folder)(toy.PointWorld().spec)
    assert isinstance(policy, ModelPolicy)
    assert policy.planner.config.margin == pytest.approx(0.25 * policy.planner.config.length)
    free = guided(folder, {"margin": 0.0})(toy.PointWorld().spec)
    assert free.planner.config.margin == 0


def test_a_model_with_a_goal_policy_acts_by_it_unless_a_search_is_asked_for(bare, folder, tmp_path):
    spec = toy.PointWorld().spec
    assert has_goal_policy(folder)
    assert isinstance(ModelSpec(folder)(spec), DirectPolicy)
    assert isinstance(guided(folder)(spec), ModelPolicy)
    assert ModelSpec(folder, Planning(replan=2)).chosen.planner == "icem"
    save_model(untrained(MODEL, 0), tmp_path / "none")
    assert ModelSpec(tmp_path / "none").chosen.planner == "icem"


def test_its_name_follows_files_and_settings_and_not_the_folder(folder, tmp_path):
    names = [direct(folder).identity(), guided(folder).identity()]
    names += [guided(folder, {"samples": 40}).identity(), guided(folder, proposals=4).identity()]
    assert len({*names}) == 4
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
