"""Gymnasium environments as worlds, with one that counts its steps."""

import gymnasium
import numpy as np
import pytest

from armillary.core.errors import ConfigError, WorldError
from armillary.core.rng import generator
from armillary.data import open_dataset, verify
from armillary.worlds import check_world, make_world, record


class Counting(gymnasium.Env):
    """Shows a grey level that rises by one per step; ends after 20."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(-1, 1, (2, 2), np.float32)

    def __init__(self, render_mode=None, actions="box", raises_at=None):
        self.render_mode = render_mode
        high = np.inf if actions == "unbounded" else 1.0
        dtype = np.int64 if actions == "whole" else np.float32
        box = gymnasium.spaces.Box(-high, high, (3,), dtype)
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


class Reusing(Counting):
    """Gives one array at every step and cannot be closed before it was reset, as many do."""

    def __init__(self, render_mode=None):
        super().__init__(render_mode)
        self.state = np.zeros((2, 2), np.float32)

    def close(self):
        del self.begun

    def _see(self):
        self.state[:] = super()._see()
        return self.state


class Telling(Counting):
    """Tells where a ball is; ``tells`` chooses what is wrong with that."""

    metadata = {**Counting.metadata, "truth_units": {"ball_xy": ("m", "world")}}  # noqa: RUF012

    def __init__(self, render_mode=None, tells="ball_xy"):
        super().__init__(render_mode)
        self.tells, self.place = tells, np.zeros(2)

    def reset(self, *, seed=None, options=None):
        raw, _ = super().reset(seed=seed)
        self.place[:] = 0
        return raw, {"truth": {self.tells.removesuffix(" late"): self.place}}

    def step(self, action):
        self.place += np.asarray(action)[:2]
        truth = {
            "nothing late": {},
            "sentence": {"ball_xy": "in the corner"},
            "list": [("ball_xy", self.place)],
        }.get(self.tells, {self.tells: self.place})
        return *super().step(action)[:4], {"truth": truth}


class Blind(Counting):
    """Has no rgb_array."""

    def __init__(self, render_mode=None):
        super().__init__(None)


for name, entry in (
    ("Counting", Counting),
    ("Reusing", Reusing),
    ("Telling", Telling),
    ("Blind", Blind),
):
    gymnasium.register(f"Armillary{name}-v0", entry_point=entry)
ID = "gym:ArmillaryCounting-v0"


@pytest.mark.runs  # thousands of steps to find goals, 30 s where shapes are checked
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


def test_what_was_seen_is_kept_where_the_environment_reuses_its_state(tmp_path):
    sensors = ("rgb", "proprio")
    record("gym:ArmillaryReusing-v0", tmp_path / "d", 1, 6, sensors=sensors, workers=1)
    levels = open_dataset(tmp_path / "d").read(0).streams["proprio"].values[:, 0]
    assert np.diff(levels) == pytest.approx(0.01, abs=1e-6)


@pytest.mark.runs  # the same: 10 s
def test_what_an_environment_tells_as_truth_is_recorded_and_not_shown(tmp_path):
    check_world(lambda: make_world("gym:ArmillaryTelling-v0", image_size=32))
    record("gym:ArmillaryTelling-v0", tmp_path / "d", 1, 6, workers=1)
    episode = open_dataset(tmp_path / "d").read(0)
    ball = episode.streams["ball_xy"]
    assert (ball.kind, ball.unit, ball.frame) == ("truth", "m", "world")
    wanted = np.cumsum(np.vstack([np.zeros(2), episode.actions[:, :2]]), axis=0)
    assert ball.values == pytest.approx(wanted, abs=1e-6)
    assert set(episode.observation(0).streams) == {"rgb"}


@pytest.mark.parametrize(
    ("tells", "said"),
    [
        ("rgb", "info.'truth'. holds 'rgb', which is a sensor's name; choose another"),
        ("nothing late", "holds {} after step 1 and {'nothing': 2} before; give the same names"),
        ("sentence", "no mapping of names to numbers .*write for example {'ball_xy'"),
        ("list", "no mapping of names to numbers"),
    ],
)
def test_a_truth_that_cannot_be_recorded_is_one_sentence(tells, said):
    world = make_world("gym:ArmillaryTelling-v0", env_settings={"tells": tells})
    with pytest.raises(WorldError, match=said):
        world.reset(0)
        world.step(np.zeros(3))


@pytest.mark.parametrize("units", [{"ball_xy": "m"}, {"ball_xy": ("m",)}, "m", {"ball_xy": (1, 2)}])
def test_units_that_are_none_are_one_sentence(units, monkeypatch):
    monkeypatch.setitem(Telling.metadata, "truth_units", units)
    with pytest.raises(ConfigError, match="names a unit and a frame for each truth, such as"):
        make_world("gym:ArmillaryTelling-v0")


def test_an_environment_that_cannot_be_closed_ends_no_recording(tmp_path):
    make_world("gym:ArmillaryReusing-v0").close()
    record("gym:ArmillaryReusing-v0", tmp_path / "d", 1, 4, workers=1)
    assert verify(tmp_path / "d").hashed


def test_whose_pictures_they_are_is_said_of_our_own_worlds_alone(tmp_path):
    record(ID, tmp_path / "theirs", 1, 3, workers=1)
    record("perturbed", tmp_path / "ours", 1, 3, workers=1, settings={"base": "two_rooms"})
    licenses = [open_dataset(tmp_path / name).read(0).license for name in ("theirs", "ours")]
    assert licenses == ["", "CC0-1.0"]


def test_a_perturbed_world_ends_with_its_base():
    world = make_world("perturbed", base=ID, kind="stuck")
    world.reset(0)
    for step in range(20):
        assert not world.ended, step
        world.step(np.zeros(3))
    assert world.ended
    assert not make_world("perturbed", base="two_rooms").ended


def test_choices_cannot_be_stuck():
    with pytest.raises(ConfigError, match="cannot show 'stuck'; possible in it: nothing"):
        make_world("perturbed", base=ID, env_settings={"actions": "discrete"})


def test_discrete_takes_the_largest():
    world = make_world(ID, env_settings={"actions": "discrete"})
    world.reset(0)
    world.step(np.array([0.1, 0.2, 0.9]))
    assert world._env.unwrapped.taken == [2]


def test_what_cannot_be_used_is_one_sentence():
    with pytest.raises(ConfigError, match="no finite bounds"):
        make_world(ID, env_settings={"actions": "unbounded"})
    with pytest.raises(ConfigError, match="a Box of int64; Box of floats and Discrete are supp"):
        make_world(ID, env_settings={"actions": "whole"})
    with pytest.raises(ConfigError, match="NoSuchThing"):
        make_world("gym:NoSuchThing-v0")
    with pytest.raises(ConfigError, match="no_such_module"):
        make_world("gym:no_such_module:Thing-v0")
    with pytest.raises(ConfigError, match="gives no pictures"):
        make_world("gym:ArmillaryBlind-v0")
    with pytest.raises(ConfigError, match="no task of gym:ArmillaryCounting-v0 called 'reach'"):
        make_world(ID).draw_goal("reach", generator("goal", 0))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"env_settings": 5}, "env_settings takes the environment's keyword arguments by name"),
        ({"sensors": 5}, "sensors takes names, got 5"),
        ({"sensors": "rbg"}, "no sensor of gym:ArmillaryCounting-v0 called 'rbg'"),
        ({"image_size": "big"}, "image_size takes a whole number, got 'big'"),
        ({"imagesize": 5}, "Did you mean 'image_size'"),
        ({"ground": 5}, "no setting of gym:ArmillaryCounting-v0 called 'ground'"),
    ],
)
def test_a_setting_of_another_kind_is_one_sentence(setting, said):
    with pytest.raises(ConfigError, match=said):
        make_world(ID, **setting)


def test_one_name_is_one_sensor():
    assert set(make_world(ID, sensors="rgb").spec.sensors) == {"rgb"}


def test_a_world_that_raises_names_the_step():
    world = make_world(ID, env_settings={"raises_at": 3})
    world.reset(5)
    with pytest.raises(WorldError, match=r"ValueError after step 2 .*motor is hot"):
        for _ in range(5):
            world.step(np.zeros(3))


def test_an_environment_is_named_once():
    """As a setting it would silently be another environment than the world's name says."""
    with pytest.raises(ConfigError, match="is named as the world"):
        make_world("gym:Counting-v0", env_id="CartPole-v1")
