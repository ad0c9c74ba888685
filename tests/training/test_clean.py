"""What is asked of a changed clip is what the clip was before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_run import CONFIG, MODEL, tiny_windows

from armillary.core.rng import generator
from armillary.models import untrained
from armillary.training import TERMS, AugmentConfig, EncodedClips, Processes
from armillary.training.augment import augment
from armillary.training.clean import clean
from armillary.training.colour_changes import ColourChanges
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


@pytest.mark.parametrize("config", [COLOUR, DEPTH], ids=["colour", "depth"])
def test_targets_are_those_of_the_clean_clip(config):
    """At the same latents, visual words have the same loss with and without the change."""
    batch = tiny_windows().gather(np.arange(4))
    changed = augment(batch, config, generator("clean", 0), 1)
    bare = replace(changed, streams={k: v for k, v in changed.streams.items() if "clean" not in k})
    model, alone = untrained(MODEL, 0), Processes(0, 1, torch.device("cpu"))
    latents = model.encode(batch).tokens.flatten(2)

    def loss(seen):
        with torch.random.fork_rng():
            torch.manual_seed(0)  # of the head
            term = TERMS["visual_words"](MODEL, CONFIG.objective)
        return term(EncodedClips(model, seen, latents, batch.actions, 0, 0, alone))

    assert torch.equal(loss(changed), loss(batch))
    assert not torch.equal(loss(bare), loss(batch))  # it can fail
