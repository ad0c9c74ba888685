"""Changing settings: dotted names reach inner fields, and what cannot be gets one sentence."""

import pytest

from armillary.core.changing import changed
from armillary.core.errors import ConfigError
from armillary.recipes.world import world


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


def test_a_field_has_the_name_of_its_flag_and_the_one_that_is_stored():
    fewer = changed(world(), {"finetune.steps": 3, "finetune.lr": 0.5})
    assert fewer == changed(world(), {"settling.steps": 3, "settling.lr": 0.5}) != world()
    assert changed(world(), {"finetune": fewer.settling}) == fewer
    with pytest.raises(ConfigError, match="Did you mean 'finetune'"):
        changed(world(), {"finetuning.steps": 3})
    with pytest.raises(ConfigError, match=r"no setting called 'finetune\.steps'"):
        changed(world().optimizer, {"finetune.steps": 3})


def test_fields_that_are_right_together_come_in_any_order():
    sizes = {"model.encoder.image_size": 60, "model.encoder.patch": 4}
    assert changed(world(), sizes) == changed(world(), dict(reversed(sizes.items())))
    assert changed(world(), sizes).model.encoder.patch == 4
