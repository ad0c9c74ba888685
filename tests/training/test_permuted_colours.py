"""No colour has a name: a recording with its channels in another order teaches the same.

A model whose first weights (and those that draw colours) are in the other order too must have the
same losses, step by step, but for rounding. So the objective, the scales, the words and the
fine-tuning treat red, green and blue alike. Other first weights are only another draw of the same
distribution.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from armillary.core.changing import changed
from armillary.data import open_dataset
from armillary.recipes.recipe import fitted, prepared, train_on
from armillary.recipes.world import adapted, world
from armillary.training import loop
from armillary.training.log import read_log
from armillary.training.terms.reconstruction import Reconstruction
from armillary.worlds import record

pytestmark = pytest.mark.runs  # whole trainings: 5 to 8 s each

ORDER = [2, 0, 1]
SHORT = {
    "steps": 8,
    "passes": 0.0,
    "batch_size": 8,
    "held_out": 0.0,
    "finetune.steps": 2,  # rounding grows: after four it was 0.1 to 0.8 %, as processors have it
    "finetune.passes": 0.0,
    "log_every": 1,
    "threads": 1,
    "precision": "float32",  # rounding would hide what differs
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp("permuted") / "data"
    record("tabletop", out, 12, 12, seed=5)
    return open_dataset(out)


def losses(data, run, sensors, order=None):
    """Train, and return the loss of every step."""
    settings = SHORT | ({"model.sensors": sensors} if sensors else {})
    recipe = adapted(changed(world(), settings), data)
    cache = prepared(data, recipe.model)
    if order is not None:
        colours = np.ascontiguousarray(cache.arrays["rgb"][..., order])
        cache = replace(cache, arrays={**cache.arrays, "rgb": colours})
    episodes = np.arange(cache.num_episodes)
    train_on(cache, episodes, episodes[:0], fitted(recipe, cache), run)
    told = read_log(run / "log.jsonl")
    names = ("train/loss", "train/settling")
    return np.array([entry[name] for entry in told for name in names if name in entry])


def reordered(made, draws, order):
    """Put the channels of what a model reads, or draws, in another order."""
    with torch.no_grad():
        made.weight.copy_(made.weight[order] if draws == 0 else made.weight[:, order])
        if made.bias is not None and made.bias.shape[0] == len(order):
            made.bias.copy_(made.bias[order])


@pytest.mark.parametrize("sensors", [None, ("rgb",)], ids=["from above", "in the picture"])
def test_channels_in_another_order_teach_the_same(data, tmp_path, monkeypatch, sensors):
    usual = losses(data, tmp_path / "usual", sensors)
    unlike = losses(data, tmp_path / "unlike", sensors, ORDER)
    untrained, build = loop.untrained, Reconstruction.__init__

    def other_first_weights(config, seed):
        model = untrained(config, seed)
        reordered(model.tokenizers["rgb"].stages[0], 1, ORDER)
        return model

    def other_last_weights(self, *args):
        build(self, *args)
        reordered(self.layers[-1], 1, ORDER)

    monkeypatch.setattr(loop, "untrained", other_first_weights)
    monkeypatch.setattr(Reconstruction, "__init__", other_last_weights)
    found = losses(data, tmp_path / "found", sensors, ORDER)
    assert len(found) == len(usual) == SHORT["steps"] + SHORT["finetune.steps"]
    assert found == pytest.approx(usual, rel=2e-3)
    # the order is seen: with the first weights as they were, the losses are others
    assert np.abs(unlike / usual - 1).max() > 2e-2
