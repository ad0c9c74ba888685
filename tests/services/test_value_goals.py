"""Goals by value: what a text says, how far a value is outside, and what the cost counts."""

import pytest
import torch

from armillary.core.errors import ConfigError
from armillary.services.value_goals import ValueGoal, value_cost
from armillary.understanding.read_out import ReadOut


def read_out(width=2, error=0.1, target="place"):
    return ReadOut(target, torch.eye(4)[:, :width], torch.zeros(width), 0.9, error, 3)


@pytest.mark.parametrize(
    "text", ["place=0.3,0.1", "place=0.2..0.3,any", "angle=-1..1", "place=-0.1,-2..-1.5"]
)
def test_a_goal_is_said_as_it_was_read(text):
    assert str(ValueGoal.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("place", "A goal is NAME=VALUE,VALUE, where each value is a number"),
        ("=0.3", "A goal is NAME=VALUE"),
        ("place=", "A goal is NAME=VALUE"),
        ("place=a", "number, LOW..HIGH or any; got 'a' in 'place=a'"),
        ("place=0.3..0.2", "or any; got '0.3..0.2'"),
        ("place=nan", "or any; got 'nan'"),
        ("place=0..inf", "or any; got '0..inf'"),
        ("place=1e300", "or any; got '1e300'"),
        ("place=1,,2", "or any; got ''"),
        ("place=" + ",".join("1" * 1025), "A goal is NAME=VALUE"),
    ],
)
def test_what_is_no_goal_gets_a_sentence(text, said):
    with pytest.raises(ConfigError, match=said):
        ValueGoal.parse(text)


def test_the_distance_is_to_the_nearest_point_of_the_region():
    goal = ValueGoal.parse("place=0..1,2")
    values = torch.tensor([[0.5, 2.0], [1.0, 5.0], [4.0, 6.0], [-3.0, 2.0]])
    assert goal.outside(values).tolist() == [0, 3, 5, 3]
    assert ValueGoal.parse("place=any,any").outside(values).tolist() == [0, 0, 0, 0]


def test_the_cost_counts_errors_of_the_read_outs_and_adds_goals():
    latents = torch.zeros(3, 5, 2, 2)
    latents[..., 0, 0] = 0.4
    far, near = ValueGoal.parse("place=0.1,0"), ValueGoal.parse("place=0.3..0.5,any")
    cost = value_cost([(read_out(), far), (read_out(), near)])
    torch.testing.assert_close(cost(latents), torch.full((3, 5), 9.0))
    rough = value_cost([(read_out(error=0.3), far)])
    torch.testing.assert_close(rough(latents), torch.full((3, 5), 1.0))
    exact = value_cost([(read_out(error=0.0), far)])
    assert torch.isfinite(exact(latents)).all()


def test_a_goal_of_another_width_than_its_read_out_gets_a_sentence():
    with pytest.raises(ConfigError, match="place has 2 values, and the goal place=1 gives 1"):
        value_cost([(read_out(), ValueGoal.parse("place=1"))])
