"""What is asked of a changed clip is what the clip was before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_run import CONFIG, MODEL, tiny_windows

from armillary.core.rng import generator
from armillary.models import untrained
from armillary.training import AugmentConfig
from armillary.training.augment import augment
from armillary.training.clean import clean
from armillary.training.colour_changes import ColourChanges
from armillary.training.learner import Learner
from armillary.training.world_changes import WorldChanges

COLOUR = AugmentConfig(colour=ColourChanges(0.4, 0.4, 0.4, 0.3, 0.3, 0.5))
DEPTH = AugmentConfig(world=WorldChanges(depth_noise=0.02, depth_holes=0.3, depth_edge_holes=0.2))


def test_what_was_changed_is_kept_beside_it():
    batch = tiny_windows().gather(np.arange(4))
    for config, name in ((COLOUR, "rgb"), (DEPTH, "depth_m")):
        changed = augment(batch, config, generator("clean", 0), 1)
        assert not torch.equal(changed.streams[name], batch.streams[name])
        assert torch.equal(clean(changed, name), batch.streams[name])
    bare = replace(batch, streams={k: v for k, v in batch.streams.items() if k != "proprio"})
    mirrored = augment(bare, AugmentConfig(mirror=1.0), generator("clean", 0), 1)
    assert torch.equal(clean(mirrored, "rgb"), mirrored.streams["rgb"])  # targets follow it


@pytest.mark.parametrize(
    ("config", "sees", "terms"),
    [
        (COLOUR, "points", ("bird_view", "picture_view", "glimpse")),
        (DEPTH, "rgb", ("bird_view",)),
    ],
    ids=["colour", "depth"],
)
def test_targets_are_those_of_the_clean_clip(config, sees, terms):
    """A model that does not see the change has the same loss with and without it."""
    model = untrained(replace(MODEL, sensors=(sees,)), 0)
    learner = Learner(model, CONFIG.objective, 0)
    batch = tiny_windows().gather(np.arange(4))
    changed = augment(batch, config, generator("clean", 0), 1)
    before, after = learner(batch, 0)[0], learner(changed, 0)[0]
    for term in terms:
        assert torch.equal(before[term], after[term])
    bare = replace(changed, streams={k: v for k, v in changed.streams.items() if "clean" not in k})
    assert not torch.equal(learner(bare, 0)[0][terms[0]], before[terms[0]])  # it can fail
