"""Gymnasium environments as worlds, with one that counts its steps."""

import gymnasium
import numpy as np
import pytest

from armillary.core.errors import ConfigError, WorldError
from armillary.core.rng import generator
from armillary.worlds import check_world, make_world


class Counting(gymnasium.Env):
    """Shows a grey level that rises by one per step; ends after 20."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(-1, 1, (2, 2), np.float32)

    def __init__(self, render_mode=None, actions="box", raises_at=None):
        self.render_mode = render_mode
        high = np.inf if actions == "unbounded" else 1.0
        box = gymnasium.spaces.Box(-high, high, (3,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(3) if actions == "discrete" else box
        self.raises_at = raises_at
        self.taken = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = int(self.np_random.integers(50))
        self.begun = self.count
        return self._see(), {}

    def step(self, action):
        self.count += 1
        self.taken.append(action)
        if self.count - self.begun == self.raises_at:
            raise ValueError("the motor is hot")
        return self._see(), 0.0, self.count - self.begun >= 20, False, {}

    def render(self):
        return np.full((48, 80, 3), self.count, np.uint8)

    def _see(self):
        return np.full((2, 2), self.count / 100, np.float32)


class Blind(Counting):
    """Has no rgb_array."""

    def __init__(self, render_mode=None):
        super().__init__(None)


for name, entry in (("Counting", Counting), ("Blind", Blind)):
    gymnasium.register(f"Armillary{name}-v0", entry_point=entry)
ID = "gym:ArmillaryCounting-v0"


def test_keeps_the_contract_of_worlds():
    check_world(lambda: make_world(ID, image_size=32, sensors=("rgb", "proprio")))
    check_world(lambda: make_world(ID, env_settings={"actions": "discrete"}))


def test_counts_without_a_gap_and_ends():
    world = make_world(ID, image_size=16)
    levels = [int(world.reset(1).streams["rgb"][0, 0, 0])]
    while not world.ended:
        levels.append(int(world.step(np.zeros(3)).streams["rgb"][0, 0, 0]))
    assert levels == list(range(levels[0], levels[0] + 21))
    assert world.spec.step_s == 0.05
    with pytest.raises(WorldError, match="no episode is running"):
        world.step(np.zeros(3))


def test_discrete_takes_the_largest():
    world = make_world(ID, env_settings={"actions": "discrete"})
    world.reset(0)
    world.step(np.array([0.1, 0.2, 0.9]))
    assert world._env.unwrapped.taken == [2]


def test_what_cannot_be_used_is_one_sentence():
    with pytest.raises(ConfigError, match="no finite bounds"):
        make_world(ID, env_settings={"actions": "unbounded"})
    with pytest.raises(ConfigError, match="NoSuchThing"):
        make_world("gym:NoSuchThing-v0")
    with pytest.raises(ConfigError, match="no_such_module"):
        make_world("gym:no_such_module:Thing-v0")
    with pytest.raises(ConfigError, match="gives no pictures"):
        make_world("gym:ArmillaryBlind-v0")
    with pytest.raises(ConfigError, match="no goal tasks"):
        make_world(ID).draw_goal("reach", generator("goal", 0))


def test_a_world_that_raises_names_the_step():
    world = make_world(ID, env_settings={"raises_at": 3})
    world.reset(5)
    with pytest.raises(WorldError, match=r"ValueError after step 2 .*motor is hot"):
        for _ in range(5):
            world.step(np.zeros(3))
