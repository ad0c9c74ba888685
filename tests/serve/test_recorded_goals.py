"""A goal that is given as values is a recorded moment that has them."""

import numpy as np
import pytest

from armillary.core.errors import ConfigError, FormatError
from armillary.core.values import Observation
from armillary.data import open_dataset
from armillary.evaluation import ModelSpec, WorldFactory
from armillary.models import load_model
from armillary.serve import Decider, Session
from armillary.services.recorded_goals import NEAREST, RecordedGoals
from armillary.worlds import record

SETTINGS = {"image_size": 16}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("values") / "data"
    record("two_rooms", path, 4, 9, workers=1, seed=2, settings=SETTINGS)
    return path


@pytest.fixture(scope="module")
def goals(dataset, folder):
    return RecordedGoals(load_model(folder), dataset)


def test_the_moment_has_the_values_and_is_the_nearest_to_the_present(goals, dataset):
    whole = open_dataset(dataset)
    name = next(iter(goals.truth))
    places = np.concatenate([e.streams[name].values for e in whole])
    now = whole[1].observation(4)
    place = whole[1].streams[name].values[4]
    found, which = goals.find(f"{name}={place[0]},{place[1]}", now)
    # the present itself has these values, and nothing is nearer to it
    assert (which["episode"], which["step"], which["off"]) == (1, 4, 0.0)
    np.testing.assert_array_equal(found.streams["rgb"], now.streams["rgb"])
    middle = places.mean(0)
    _, which = goals.find(f"{name}={middle[0]},{middle[1]}", now)
    off = np.sort(np.linalg.norm(places - middle, axis=1))
    assert off[0] <= which["off"] <= off[NEAREST - 1]
    _, which = goals.find(f"{name}=any,any", whole[3].observation(2))
    assert which["off"] == 0.0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nothing=1,2", "There is no recorded truth called 'nothing'"),
        ("agent_xy=1", "agent_xy has 2 values"),
        ("agent_xy", "A goal is NAME=VALUE"),
        ("", "A goal is NAME=VALUE"),
    ],
)
def test_what_is_no_goal_is_one_sentence(goals, dataset, text, sentence):
    with pytest.raises(ConfigError, match=sentence):
        goals.find(text, open_dataset(dataset)[0].observation(0))


def test_a_served_policy_takes_values(folder, goals):
    world = WorldFactory("two_rooms", SETTINGS)()
    now = {"observation/image": world.reset(1).streams["rgb"]}
    bare = Decider.load(ModelSpec(folder), world.spec)
    with pytest.raises(ConfigError, match="serve with --values DATASET"):
        Session(bare).decide({**now, "goal_value": "agent_xy=0,0"})
    session = Session(Decider.load(ModelSpec(folder), world.spec, values=goals))
    reply = session.decide({**now, "goal_value": "agent_xy=0,0"})
    assert reply["plan"]["goal"].keys() == {"episode", "step", "off"}
    assert "goal" not in session.decide(now)["plan"]
    moment, _ = goals.find("agent_xy=0,0", Observation({"rgb": now["observation/image"]}))
    pictured = Session(bare).decide({**now, "goal/image": moment.streams["rgb"]})
    np.testing.assert_array_equal(pictured["actions"], reply["actions"])
    for wrong in ({"goal_value": 3}, {"goal_value": "agent_xy=0,0", "goal/image": moment}):
        with pytest.raises(FormatError, match=r"goal_value is a text|lacks|no array"):
            session.decide({**now, **wrong})
    world.close()
