"""Weights depend on their seed alone, and nobody else's chance on them."""

from __future__ import annotations

import torch
from torch import nn

from armillary.models.seeding import seeded


def drawn(seed: int) -> torch.Tensor:
    with seeded(seed):
        return nn.Linear(3, 2).weight.detach()


def test_the_same_seed_draws_the_same_weights_and_leaves_torch_as_it_was():
    torch.default_generator.manual_seed(1)
    first = drawn(7)
    after = torch.rand(4)
    torch.default_generator.manual_seed(1)
    assert torch.equal(after, torch.rand(4))
    assert torch.equal(drawn(7), first)
    assert not torch.equal(drawn(8), first)


def test_an_error_inside_leaves_torch_as_it_was():
    before = torch.get_rng_state()
    try:
        with seeded(7):
            torch.rand(4)
            raise KeyError
    except KeyError:
        assert torch.equal(torch.get_rng_state(), before)
