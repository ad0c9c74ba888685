"""Goals in environments that nobody wrote rules for: where random actions lead."""

from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest

from armillary.core.errors import ConfigError, WorldError
from armillary.core.rng import generator
from armillary.core.values import Goal, Observation
from armillary.evaluation import NoOpSpec, OracleSpec, evaluate, make_manifest
from armillary.worlds import check_world, make_world


class Cart(gymnasium.Env):
    """A cart on a plane that stands still without a push."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(-9, 9, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, render_mode=None, slips=0.0):
        self.render_mode, self.slips = render_mode, slips

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = self.np_random.uniform(-1, 1, 2)
        return self.see(), self.info()

    def step(self, action):
        self.at = self.at + 0.1 * np.asarray(action)
        if self.slips:
            self.at = self.at + np.random.default_rng().normal(0, self.slips, 2)
        return self.see(), 0.0, False, False, self.info()

    def info(self):
        return {}

    def see(self):
        return self.at.astype(np.float32)

    def render(self):
        shade = np.clip(128 + 20 * self.at, 0, 255).astype(np.uint8)
        return np.broadcast_to([*shade, 0], (8, 8, 3)).astype(np.uint8)


class Told(Cart):
    """Tells places, of which one rests."""

    metadata = {**Cart.metadata, "truth_units": {"cart_xy": ("m", "world")}}  # noqa: RUF012

    def info(self):
        return {"truth": {"cart_xy": self.at, "post_xy": np.zeros(2), "charge": [1.0]}}


class Judging(Told):
    """Has a rule of its own: only x counts."""

    def goal_gap(self, now, goal):
        return abs(now["cart_xy"][0] - goal["cart_xy"][0])


class Keyed(Cart):
    """Observes by name."""

    box = Cart.observation_space
    observation_space = gymnasium.spaces.Dict(
        {"hand": box, "far": gymnasium.spaces.Dict({"a": box})}
    )

    def see(self):
        return {"hand": self.at.astype(np.float32), "far": {"a": 2 * self.at.astype(np.float32)}}


class Silent(Cart):
    """Observes its picture and tells nothing."""

    observation_space = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)

    def see(self):
        return self.render()


class Chosen(Cart):
    """Goes one of four ways; ends after 30 steps."""

    action_space = gymnasium.spaces.Discrete(4)

    def reset(self, *, seed=None, options=None):
        self.count = 0
        return super().reset(seed=seed)

    def step(self, action):
        self.count += 1
        way = [(1, 0), (-1, 0), (0, 1), (0, -1)][action]
        return *super().step(way)[:2], self.count >= 30, False, {}


class Flickering(Silent):
    """Observes its picture, and tells a place that is not always known."""

    def info(self):
        return {"truth": {"cart_xy": self.at, "lost_xy": [np.nan, np.nan]}}


class Turning(Cart):
    """Joints as MuJoCo has them: a hinge without a limit, one with, a slide and a free body."""

    def __init__(self, render_mode=None):
        super().__init__(render_mode)
        self.data = SimpleNamespace(qpos=np.zeros(10))
        self.model = SimpleNamespace(
            jnt_type=np.array([3, 3, 2, 0]),
            jnt_limited=np.array([0, 1, 0, 0]),
            jnt_qposadr=np.array([0, 1, 2, 3]),
        )


MADE = (Cart, Told, Judging, Keyed, Silent, Chosen, Flickering, Turning)
for kind in MADE:
    gymnasium.register(f"ArmillaryAny{kind.__name__}-v0", entry_point=kind)


def name_of(kind):
    return f"gym:ArmillaryAny{kind.__name__}-v0"


@pytest.mark.runs  # thousands of steps to find goals: 10 s
@pytest.mark.parametrize("kind", [Cart, Told, Judging, Keyed, Chosen, Flickering])
def test_keeps_the_contract_of_worlds(kind):
    check_world(lambda: make_world(name_of(kind), image_size=8))


@pytest.mark.parametrize("kind", [Cart, Told, Judging, Keyed, Flickering])
def test_the_way_that_led_to_a_goal_reaches_it_and_resting_does_not(kind):
    manifest = make_manifest(name_of(kind), None, 8, 0, {"image_size": 8})
    assert manifest.task == "ahead_25" and manifest.budget == 50
    assert manifest.distance_unit == "of the way" and manifest.success_distance == 0.25
    for policy, outcome in ((OracleSpec(), "success"), (NoOpSpec(), "failure")):
        records = evaluate(manifest, policy, workers=1)
        assert {record.outcome for record in records} == {outcome}


def test_a_goal_may_be_judged_by_a_distance_in_the_unit_of_its_places():
    world = make_world(name_of(Told), goal_distance=0.05)
    assert world.spec.success_distance == 0.05 and world.spec.distance_unit == "m"
    world.reset(1)
    goal = world.draw_goal("ahead_50", generator("goal"))
    away = np.linalg.norm(world.truth()["cart_xy"] - goal.truth["cart_xy"])
    assert world.distance(goal) == pytest.approx(away)
    with pytest.raises(ConfigError, match="goal_distance is 0 or more, got -1"):
        make_world(name_of(Told), goal_distance=-1.0)


def test_an_episode_that_ends_stands_still_and_is_judged_there():
    world = make_world(name_of(Chosen))
    for seed in range(4):
        world.reset(seed)
        goal = world.draw_goal("ahead_25", generator("goal", seed))
        way, rng = [], generator("rest")
        for _ in range(world.spec.budget):
            world.step(world.expert(goal, rng))
            way.append(world.distance(goal))
        assert way[24] < 1e-6  # there, if not held
        assert world.ended and len({*way[29:]}) == 1
    records = evaluate(make_manifest(name_of(Chosen), None, 3, 0), NoOpSpec(), workers=1)
    assert {record.outcome for record in records} <= {"success", "failure"}
    world.reset(0)  # a recording still ends
    for _ in range(30):
        world.step(np.eye(4)[0])
    with pytest.raises(WorldError, match="no episode is running"):
        world.step(np.eye(4)[0])
    with pytest.raises(WorldError, match="ends within lead_steps"):
        make_world(name_of(Chosen), lead_steps=90).reset(0)
    with pytest.raises(ConfigError, match="no task of gym:ArmillaryAnyChosen-v0 called 'any'"):
        make_world(name_of(Chosen), task="any")


def test_an_environment_may_have_a_rule_of_its_own():
    world = make_world(name_of(Judging))
    world.reset(1)
    goal = world.draw_goal("ahead_25", generator("goal"))
    assert world.distance(goal) == pytest.approx(1)
    aside = goal.truth["cart_xy"][0] - world.truth()["cart_xy"][0]
    for _ in range(2):
        world.step(np.array([np.clip(5 * aside, -1, 1), 1.0]))
    left = abs(goal.truth["cart_xy"][0] - world.truth()["cart_xy"][0])
    assert world.distance(goal) == pytest.approx(left / abs(aside))


def test_an_observation_by_name_is_proprioception_in_one_row():
    world = make_world(name_of(Keyed), sensors=("proprio",))
    row = world.reset(2).streams["proprio"]
    at = world.truth()["state"]
    assert row.shape == (4,)
    assert np.array_equal(row, at) and np.array_equal(np.sort(row)[[0, -1]], np.sort(at)[[0, -1]])


def test_where_nothing_repeats_itself_or_tells_no_goal_is_drawn():
    slipping = make_world(name_of(Cart), env_settings={"slips": 0.01})
    slipping.reset(0)
    with pytest.raises(WorldError, match="lead elsewhere the next time"):
        slipping.draw_goal("ahead_25", generator("goal"))
    silent = make_world(name_of(Silent))
    assert silent.spec.tasks == ()
    silent.reset(0)
    with pytest.raises(ConfigError, match="nothing tells where it is"):
        silent.draw_goal("ahead_25", generator("goal"))


def test_whole_turns_of_a_hinge_without_limit_do_not_count_and_a_quaternion_has_no_sign():
    world = make_world(name_of(Turning), goal_distance=0.1)
    world.reset(0)
    half = [0.0, 0.0, 0.0, 1.0]  # of the free body, turned by half a circle
    world._env.unwrapped.data.qpos[:] = [0.1, 0, 0, 1, 2, 3, *half]

    def distance(hinge, limited, slide, quaternion):
        qpos = np.array([hinge, limited, slide, 1.0, 2.0, 3.0, *quaternion])
        return world.distance(Goal("ahead_25", Observation({}), {"qpos": qpos}))

    turn = 2 * np.pi
    assert distance(0.1 + 3 * turn, 0, 0, half) < 1e-6
    assert distance(0.4 - 2 * turn, 0, 0, half) == pytest.approx(0.3)
    assert distance(0.1 + np.pi, 0, 0, half) == pytest.approx(np.pi)
    assert distance(0.1, turn, 0, half) == pytest.approx(turn), "a limited hinge cannot turn there"
    assert distance(0.1, 0, turn, half) == pytest.approx(turn), "a slide is no angle"
    assert distance(0.1, 0, 0, [-0.0, -0.0, -0.0, -1.0]) < 1e-6
