"""Goal tasks of Gymnasium environments: a toy with inertia, and stable-worldmodel's where it is."""

import importlib
import warnings

import gymnasium
import numpy as np
import pytest

from armillary.core.errors import ConfigError, WorldError
from armillary.core.rng import generator
from armillary.evaluation import evaluate, make_manifest
from armillary.evaluation.specs import OracleSpec
from armillary.worlds import check_world, make_world
from armillary.worlds.gym.goal_world import GymGoalWorld
from armillary.worlds.gym.goals import GROUNDS
from armillary.worlds.policies import explore_policy
from armillary.worlds.recording import record_episode

# The packages behind these environments warn about themselves and each other.
pytestmark = pytest.mark.filterwarnings("ignore")


class Sled(gymnasium.Env):
    """A point with inertia: its picture shows the place, not the speed."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.v = float(self.np_random.uniform(20, 80)), 0.0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.v = 0.5 * self.v + float(action[0])
        self.x = float(np.clip(self.x + self.v, 0, 100))
        return np.zeros(1, np.float32), 0.0, abs(self.x - 50) < 1, False, {}

    def render(self):
        return np.full((32, 32, 3), round(self.x * 2), np.uint8)


class SledGround:
    settings = {}  # noqa: RUF012
    collection = "pushes"
    success_distance, distance_unit, units = 2.0, "px", {"x": ("px", "")}
    step_s, any_is_reachable, most_steps = 0.1, True, 400

    def begin(self, env, rng):
        return {}

    def truth(self, env):
        return {"x": np.array([env.unwrapped.x])}

    def explore(self, env, rng, state):
        push = rng.uniform(-1, 1) if state is None or rng.uniform() < 0.1 else state
        return np.array([push]), push

    def quicken(self, env):
        pass

    def gap(self, now, goal):
        return abs(float(now["x"][0] - goal["x"][0]))

    def towards(self, env, goal, rng):
        return np.clip(goal["x"] - env.unwrapped.x, -1, 1) - 0.5 * env.unwrapped.v


gymnasium.register("ArmillarySled-v0", entry_point=Sled)


def has_stable_worldmodel():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            importlib.import_module("stable_worldmodel.envs")
        except ImportError:
            return False
    return True


class Makes:
    """Makes a world; its name is the test's."""

    def __init__(self, name):
        self.name = name

    def __call__(self, **settings):
        if self.name == "sled":
            return GymGoalWorld("ArmillarySled-v0", SledGround(), **settings)
        env_id, _, collection = self.name.partition(" ")
        return make_world(f"gym:stable_worldmodel:{env_id}", collection=collection, **settings)


# The cube's picture takes 0.2 s of processor time.
SLOW = ("swm/OGBCube-v0 oracle",)
WORLDS = [f"{env_id} {collection}" for env_id, made in GROUNDS.items() for collection in made]


@pytest.fixture(
    params=["sled", *(pytest.param(i, marks=[pytest.mark.slow] * (i in SLOW)) for i in WORLDS)]
)
def make(request):
    if request.param != "sled" and not has_stable_worldmodel():
        pytest.skip("stable_worldmodel is not installed")
    return Makes(request.param)


def drawn(make, task="ahead_25", seed=5):
    world = make()
    return world, world.reset(seed), world.draw_goal(task, generator("test.goal", seed))


def steps(world, count):
    rng = generator("test.steps")
    bounds = world.spec.bounds
    return [world.step(rng.uniform(bounds.low, bounds.high)).streams["rgb"] for _ in range(count)]


def test_keeps_the_contract_of_worlds(make):
    check_world(make)


@pytest.mark.parametrize("task", ["ahead_100", "any"])
@pytest.mark.parametrize("before", [0, 3])
def test_drawing_a_goal_leaves_no_trace(make, task, before):
    one, other = make(), make()
    for world in (one, other):
        world.reset(5)
        steps(world, before)
    one.draw_goal(task, generator("test.goal"))
    for name, value in one.truth().items():
        np.testing.assert_array_equal(value, other.truth()[name])
    np.testing.assert_array_equal(steps(one, 8), steps(other, 8))


def test_expert_repeats_the_way_to_a_goal_ahead_and_stays(make):
    world, _, goal = drawn(make)
    distances = []
    for step in range(world.spec.extra["budget"]["ahead_25"]):
        action = world.expert(goal, generator("test.expert", step)).astype(np.float32)
        seen = world.step(action)
        distances.append(world.distance(goal))
        if step == 24:
            np.testing.assert_array_equal(seen.streams["rgb"], goal.observation.streams["rgb"])
    assert distances[24] == 0
    assert distances[-1] <= world.spec.success_distance


def test_goals_come_from_their_rng_alone(make):
    once, again = drawn(make)[2], drawn(make)[2]
    np.testing.assert_array_equal(once.observation.streams["rgb"], again.observation.streams["rgb"])
    world, _, goal = drawn(make, "any")
    other = world.draw_goal("any", generator("test.goal", 6))
    assert any(not np.array_equal(other.truth[name], goal.truth[name]) for name in goal.truth)


def test_a_recorded_episode_depends_on_its_number_alone(make):
    world, fresh = make(), make()
    record_episode(world, explore_policy, 0, 5, seed=1)
    ours = record_episode(world, explore_policy, 1, 12, seed=1)
    theirs = record_episode(fresh, explore_policy, 1, 12, seed=1)
    assert len(ours) == 12
    for name, stream in ours.streams.items():
        np.testing.assert_array_equal(stream.values, theirs.streams[name].values)
    np.testing.assert_array_equal(ours.actions, theirs.actions)


def test_starts_lie_in_the_middle_of_a_recording():
    places = {lead: Makes("sled")(lead_steps=lead) for lead in (0, 50)}
    for world in places.values():
        world.reset(5)
    assert places[0].truth()["x"] != places[50].truth()["x"]
    assert places[0]._env.unwrapped.v == 0
    with pytest.raises(ConfigError, match="lead_steps"):
        Makes("sled")(lead_steps=-1)


def test_the_oracle_solves_a_manifest_of_goals_ahead():
    manifest = make_manifest("sled", "ahead_50", 10, seed=0, world_factory=Makes("sled"))
    assert manifest.budget == 100
    records = evaluate(manifest, OracleSpec(), world_factory=Makes("sled"), workers=1)
    assert [record.outcome for record in records] == ["success"] * 10


def test_an_end_of_the_environments_own_task_ends_nothing():
    world = Makes("sled")(lead_steps=0)
    world.reset(1)
    world._env.unwrapped.x = 50.0
    world.step(np.zeros(1))
    assert not world.ended
    steps(world, 399)
    assert world.ended
    with pytest.raises(WorldError):
        world.step(np.zeros(1))


def test_tasks_are_a_closed_list():
    with pytest.raises(ConfigError, match="ahead_25"):
        Makes("sled")(task="ahead_26")
    world = Makes("sled")(task="any")
    assert world.spec.tasks[0] == "any" and world.spec.budget == 200
    world.reset(0)
    with pytest.raises(ConfigError):
        world.draw_goal("far", generator("test.goal"))


def require(env_id, **settings):
    if not has_stable_worldmodel():
        pytest.skip("stable_worldmodel is not installed")
    return make_world(f"gym:stable_worldmodel:{env_id}", **settings)


def test_push_t_success_is_the_environments_own():
    world = require("swm/PushT-v1")
    world.reset(0)
    rng, agreed = generator("test.push_t"), []
    env = world._env.unwrapped
    for _ in range(300):
        goal = rng.uniform(0, [500, 500, 500, 500, 6.28, 0, 0])
        state = goal + rng.uniform(-15, 15, 7) * [1, 1, 1, 1, 0.04, 0, 0]
        state[4] %= 2 * np.pi
        ours = world._ground.gap(*(_push_t_truth(values) for values in (state, goal))) <= 1
        assert ours == env.eval_state(goal, state)[0]
        agreed.append(ours)
    assert 0.1 < np.mean(agreed) < 0.9


def _push_t_truth(values):
    return {"agent_xy": values[:2], "block_xy": values[2:4], "block_angle": values[4:5]}


def test_two_room_success_is_the_environments_own():
    world = require("swm/TwoRoom-v1")
    world.reset(0)
    goal = world.draw_goal("any", generator("test.goal"))
    env = world._env.unwrapped
    env._set_goal_state(goal.truth["agent_xy"])
    solved = []
    for step in range(60):
        action = world.expert(goal, generator("test.expert", step)).astype(np.float32)
        terminated = env.step(action)[2]
        assert terminated == (world.distance(goal) <= world.spec.success_distance)
        solved.append(terminated)
    assert not solved[0] and solved[-1]


def test_the_mazes_start_is_of_the_seed_and_its_expert_goes_round_walls():
    world = require("swm/OGBMaze-v0", quick_pictures=True)
    starts = []
    for _ in range(2):
        world.reset(3)
        starts.append(world.truth()["agent_xy"])
    assert np.array_equal(*starts)
    maze = world._env.unwrapped
    for seed in range(3):
        world.reset(seed)
        goal = world.draw_goal("any", generator("test.goal", seed))
        for step in range(300):
            cell = maze.xy_to_ij(world.truth()["agent_xy"])
            assert maze.maze_map[cell] == 0
            if world.distance(goal) <= world.spec.success_distance:
                break
            world.step(world.expert(goal, generator("test.expert", step)))
        maze.set_goal(goal_xy=goal.truth["agent_xy"])
        assert maze.compute_success() == (world.distance(goal) <= world.spec.success_distance)
        assert world.distance(goal) <= world.spec.success_distance
