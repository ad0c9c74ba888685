"""Changing settings: dotted names reach inner fields, and what cannot be gets one sentence."""

import pytest

from armillary.core.errors import ConfigError
from armillary.recipes.changing import changed
from armillary.recipes.peers import make_config
from armillary.recipes.world import world
from armillary.training.prior import imitation


def test_inner_fields_change_and_nothing_else_does():
    base = world()
    new = changed(base, {"model.frame_skip": 5, "model.encoder.width": 8, "optimizer.lr": 1})
    assert (new.model.frame_skip, new.model.encoder.width, new.optimizer.lr) == (5, 8, 1)
    assert changed(new, {"model": base.model, "optimizer": base.optimizer}) == base


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("model.frame_skip", "abc", "'frame_skip' takes a whole number; got 'abc'"),
        ("model.frame_skip", True, "'frame_skip' takes a whole number; got True"),
        ("model.frame_skip.x", 1, "'frame_skip' has no parts"),
        ("model", 3, "'model' takes JEPAConfig; got 3"),
        ("optimizer.lr", float("inf"), "'lr' takes a number; got inf"),
        ("precision", "float8", "takes one of 'auto', 'bfloat16', 'float32'; got 'float8'"),
        ("model.sensors", "rgb", "'sensors' takes a list of"),
        ("model.magic", 1, "unknown setting 'magic'|no setting called 'magic'"),
    ],
)
def test_what_cannot_be_gets_a_sentence(name, value, sentence):
    with pytest.raises(ConfigError, match=sentence):
        changed(world(), {name: value})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"recorded": "abc"}, "'recorded' takes a whole number"),
        ({"workers": 0}, "at least 1"),
        ({"held_out": 5}, "held_out must lie between 0 and 1"),
        ({"seconds": float("inf")}, "'seconds' takes a number"),
        ({"act": {"replan": "abc"}}, "'replan' takes a whole number"),
        ({"act": {"zzz": 1}}, "zzz"),
        ({"act": {"planner": "zzz"}}, "planner"),
        ({"training": {"batch_size": "abc"}}, "'batch_size' takes a whole number"),
        ({"world": "tabletop"}, "world cannot be set so"),
    ],
)
def test_a_bench_of_peers_refuses_nonsense_before_anything_is_made(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make_config("two_room", **settings)


def test_fields_that_are_right_together_come_in_any_order():
    shares = {"goals.same_episode": 0.5, "goals.later": 0.5}
    assert changed(imitation(), shares) == changed(imitation(), dict(reversed(shares.items())))
    assert changed(imitation(), shares).goals.later == 0.5


def test_an_unknown_environment_is_refused():
    with pytest.raises(ConfigError, match="environment"):
        make_config("nope")
