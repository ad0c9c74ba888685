"""What is asked of a state is true of its scene, and what a state holds is read from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from armillary.core.rng import generator
from armillary.core.values import Batch
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, untrained
from armillary.understanding.suites import stage_probes
from armillary.understanding.suites.rolling import Moment, states_at
from armillary.worlds.stage import paint

TINY = JEPAConfig(
    sensors=("rgb",),
    encoder=EncoderConfig(patch=16, patch_hidden=8, patch_width=4, hidden=8, tokens=2, width=4),
    predictor=PredictorConfig(memory=8, hidden=8),
    action_width=2,
)


def questions(draw, count=40, split="train"):
    return [draw(split, generator("test questions", index)) for index in range(count)]


def test_a_thing_is_whole_in_view_and_all_of_it_hidden_when_asked_about():
    for question in questions(stage_probes._crossing):
        thing, (screen,) = question.scene.things[0], question.scene.screens
        looks, asked, truth = question.moments["in_view"]
        assert looks == asked
        assert thing.path[asked, 0] + thing.radius < screen.left
        assert truth["place"] == tuple(thing.path[asked])
        seen = asked
        looks, asked, truth = question.moments["hidden"]
        assert seen <= looks < asked
        assert question.scene.hidden(thing, asked)
        assert not question.scene.hidden(thing, looks)
        assert np.allclose(truth["velocity"], thing.path[asked] - thing.path[asked - 1])


def test_contact_behind_a_screen_is_not_told_by_how_long_ago_the_last_look_was():
    asked = questions(stage_probes._hidden_strike, 200)
    assert len({after - looks for one in asked for looks, after, _ in one.moments.values()}) == 1
    reached = np.mean([one.moments["hidden"][2]["contact"][1] for one in asked])
    assert 0.35 < reached < 0.75


def test_who_has_reached_something_touches_it():
    for question in questions(stage_probes._open_strike):
        *_, runner = question.scene.things
        asked = question.moments["in_view"][1]
        apart = min(
            np.linalg.norm(thing.path[asked] - runner.path[asked]) - thing.radius - runner.radius
            for thing in question.scene.things[:-1]
            if abs(thing.path[0, 1] - runner.path[0, 1]) < 1e-9
        )
        moves = runner.path[asked, 0] != runner.path[asked - 1, 0]
        assert (question.moments["in_view"][2]["contact"][1] == 1) == (not moves)
        assert apart > -1e-6


def test_a_state_that_is_rolled_on_is_what_the_model_predicts():
    model = untrained(TINY, 0).eval()
    scenes = [question.scene for question in questions(stage_probes._crossing, 3)]
    looks, asked = [4, 6, 5], [9, 6, 12]
    (found,) = states_at(model, scenes, [Moment(looks, asked)])
    for place, (scene, last, step) in enumerate(zip(scenes, looks, asked, strict=True)):
        clip = torch.from_numpy(paint(scene)[None, : last + 1])
        seen = model.encode(
            Batch({"rgb": clip}, torch.zeros(1, last, 2), torch.ones(1, last + 1).bool())
        )
        wanted = seen.tokens[:, -1]
        if step > last:
            wanted = model.rollout(seen, torch.zeros(1, 1, step - last, 2))[:, 0, -1]
        np.testing.assert_allclose(found.latent[place], wanted.detach().flatten(), atol=1e-5)


@pytest.mark.parametrize("target", ["place", "shape", "contact"])
def test_what_a_state_holds_is_read_and_what_it_lacks_is_not(target):
    rng = np.random.default_rng(0)
    if target == "place":
        truth = rng.uniform(0, 64, (400, 2))
    else:
        width = 3 if target == "shape" else 2
        truth = np.eye(width)[rng.integers(0, width, 400)]
    holds = np.concatenate([truth, rng.normal(size=(400, 3))], axis=1)
    lacks = rng.normal(size=(400, 5))
    layers = {"latent": lacks, "memory": holds, "both": lacks}

    def answers(part, layers):
        return stage_probes._Answers(
            {name: values[part] for name, values in layers.items()},
            lacks[part],
            {target: truth[part]},
        )

    first, second = slice(0, 250), slice(250, 400)
    row = stage_probes._read(
        target,
        (answers(first, layers), answers(second, layers)),
        (
            answers(first, dict.fromkeys(layers, lacks)),
            answers(second, dict.fromkeys(layers, lacks)),
        ),
        seed=0,
    )
    assert row["layer"] == "memory"
    best, worst = (100.0, 65.0) if target != "place" else (0.0, 20.0)
    assert row["model"] == pytest.approx(best, abs=0.5)
    for name in ("untrained", "shuffled", "last_picture", "without_looking"):
        assert row[name] < worst if target != "place" else row[name] > worst, name
