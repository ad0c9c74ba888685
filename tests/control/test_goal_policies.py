"""A goal policy acts alone or leads a search, within the bounds, and is named by what decides."""

from dataclasses import replace

import point_world as toy
import pytest
from tiny_prior import CONFIG

from armillary.control import evaluate, make_manifest
from armillary.control.goal_policies import DirectSpec, GuidedSpec, has_goal_policy
from armillary.control.model_policy import ModelPolicy
from armillary.control.records import actions_of
from armillary.core.errors import CheckpointError, ConfigError, ShapeError
from armillary.models import save_model, untrained
from armillary.models.goal_policy import GoalPolicyConfig, untrained_goal_policy
from armillary.models.goal_policy_file import save_goal_policy
from armillary.recipes.acting import ActConfig, actor_spec, planner_of

RULES = make_manifest("point", "reach", 4, 0, world_factory=toy.PointWorld)
MODEL = replace(CONFIG, action_width=2)


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


@pytest.mark.parametrize("kind", [DirectSpec, GuidedSpec])
def test_it_acts_within_the_bounds_and_repeats(kind, folder):
    records = evaluate(RULES, kind(folder), toy.PointWorld)
    assert all(record.outcome in ("success", "failure") for record in records)
    assert evaluate(RULES, kind(folder), toy.PointWorld, workers=2) == records
    bounds = toy.PointWorld().spec.bounds
    for record in records:
        actions = actions_of(record)
        assert (bounds.low <= actions).all() and (actions <= bounds.high).all()


def test_it_looks_at_every_step_without_a_search_and_takes_no_model_step(folder):
    records = evaluate(RULES, DirectSpec(folder), toy.PointWorld)
    for record in records:
        assert [decision.step for decision in record.decisions] == list(range(record.steps))
        assert record.model_steps == 0


def test_a_search_counts_its_proposals_and_stays_below_600_model_steps(folder):
    policy = GuidedSpec(folder)(toy.PointWorld().spec)
    record = evaluate(RULES, GuidedSpec(folder), toy.PointWorld)[0]
    steps = record.decisions[0].model_steps
    assert steps == policy.planner.config.model_steps + 16 * 7 <= 600


def test_the_margin_is_the_error_of_the_models_cost_over_a_plan(folder):
    policy = GuidedSpec(folder)(toy.PointWorld().spec)
    assert isinstance(policy, ModelPolicy)
    assert policy.planner.config.margin == pytest.approx(0.25 * policy.planner.config.length)
    free = GuidedSpec(folder, {"margin": 0.0})(toy.PointWorld().spec)
    assert free.planner.config.margin == 0


def test_a_model_with_a_goal_policy_acts_by_it_unless_a_search_is_asked_for(bare, folder, tmp_path):
    assert has_goal_policy(folder)
    assert isinstance(actor_spec(folder, ActConfig()), DirectSpec)
    assert isinstance(actor_spec(folder, ActConfig(planner="guided")), GuidedSpec)
    assert planner_of(folder, ActConfig(replan=2)) == "icem"
    assert planner_of(folder, ActConfig(prior=True)) == "icem"
    save_model(untrained(MODEL, 0), tmp_path / "none")
    assert planner_of(tmp_path / "none", ActConfig()) == "icem"


def test_its_name_follows_files_and_settings_and_not_the_folder(folder, tmp_path):
    direct, guided = DirectSpec(folder).identity(), GuidedSpec(folder).identity()
    other = GuidedSpec(folder, {"samples": 40}).identity()
    assert len({direct, guided, other, GuidedSpec(folder, proposals=4).identity()}) == 4
    folder.rename(tmp_path / "elsewhere")
    assert DirectSpec(tmp_path / "elsewhere").identity() == direct
    save_goal_policy(
        untrained_goal_policy(GoalPolicyConfig(MODEL.latent_width, 2, hidden=16, layers=1), 1),
        tmp_path / "elsewhere",
    )
    assert DirectSpec(tmp_path / "elsewhere").identity() != direct


def test_what_cannot_be_gets_a_sentence(bare, tmp_path):
    with pytest.raises(CheckpointError, match=r"contains no goal policy\. Train one with: arm"):
        DirectSpec(bare)(toy.PointWorld().spec)
    with pytest.raises(ConfigError, match="there is no such folder"):
        DirectSpec(tmp_path / "none").identity()
    with pytest.raises(ConfigError, match="With --planner direct, replan, hold has no effect"):
        actor_spec(bare, ActConfig(planner="direct", replan=2, hold=True))
    with pytest.raises(ConfigError, match="With --planner guided, executed has no effect"):
        actor_spec(bare, ActConfig(planner="guided", executed=1))
    made = untrained_goal_policy(GoalPolicyConfig(MODEL.latent_width, 2, hidden=16, layers=1), 0)
    save_goal_policy(made, bare)
    with pytest.raises(ConfigError, match="no setting of the guided planner called 'sample'"):
        GuidedSpec(bare, {"sample": 4})(toy.PointWorld().spec)
    with pytest.raises(ConfigError, match="needs at least 1 proposal; got 0"):
        GuidedSpec(bare, proposals=0)(toy.PointWorld().spec)
    wide = replace(MODEL, action_width=4)
    save_model(untrained(wide, 0), tmp_path / "wide")
    with pytest.raises(ShapeError, match="The model takes 4 action numbers per model step"):
        DirectSpec(tmp_path / "wide")(toy.PointWorld().spec)
