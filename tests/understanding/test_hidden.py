"""Where hidden things are: the baselines are what they say, and nothing hidden is looked at."""

from __future__ import annotations

import numpy as np
import torch

from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, untrained
from armillary.understanding.suites.hidden import AHEAD, _vanishing, watch_vanish
from armillary.worlds.stage import paint

TINY = JEPAConfig(
    ("rgb",), EncoderConfig(patch=32, patch_hidden=8, patch_width=8, hidden=8, tokens=2, width=4),
    PredictorConfig(8, 8), action_width=0,
)  # fmt: skip


def test_things_are_hidden_all_the_while_and_bounce():
    model = untrained(TINY, 0)
    found = watch_vanish(model, "held_out", 6, seed=3)
    assert found.states.shape == (6, 16)
    straight = np.linalg.norm(found.straight - found.truth, axis=1)
    assert (straight > 1).all(), "what bounced is not where constant velocity would have it"
    np.testing.assert_allclose(found.thrown_back, found.truth, atol=1e-6)
    for index in range(6):
        scene, step = _vanishing("held_out", 3, index)
        pictures = paint(scene)
        for hidden in range(step, step + AHEAD + 1):
            np.testing.assert_array_equal(pictures[hidden], pictures[step])
        np.testing.assert_allclose(found.truth[index], scene.things[0].path[step + AHEAD])
        np.testing.assert_allclose(found.last_seen[index], scene.things[0].path[step - 1])


def test_what_comes_after_it_vanished_changes_nothing(monkeypatch):
    model, seen = untrained(TINY, 0), []

    def painted(scene):
        clip = paint(scene).copy()
        step = next(s for s in range(scene.steps) if scene.hidden(scene.things[0], s))
        clip[step + 1 :] = 255 * seen.count("flip")
        return clip

    monkeypatch.setattr("armillary.understanding.suites.rolling.paint", painted)
    one = watch_vanish(model, "train", 3, seed=1).states
    seen.append("flip")
    two = watch_vanish(model, "train", 3, seed=1).states
    assert torch.equal(torch.from_numpy(one), torch.from_numpy(two))
