"""The present that the looks agree on: one that is far off moves nothing."""

import pytest
import torch

from armillary.core.values import Latent
from armillary.planning.consensus import consensus, consensus_steps


class Walker:
    """Foresees exactly: the state moves by the action. Counts its steps."""

    def __init__(self):
        self.steps = 0

    def encode(self, batch):
        raise NotImplementedError("what agrees is latents; nothing is seen here")

    def rollout(self, latent, plans):
        assert latent.tokens.shape[1] == 1, "each look is led on alone"
        self.steps += plans.shape[0] * plans.shape[1] * plans.shape[2]
        return latent.tokens[:, None, -1:] + plans.cumsum(2)[..., None, :]


def walked(wrong=(), looks=5, batch=3, noise=0.0):
    """Return what was seen on a walk, far off at some steps, and where it ended."""
    rng = torch.Generator().manual_seed(0)
    moves = torch.randn(batch, looks - 1, 2, generator=rng)
    places = torch.cat([torch.zeros(batch, 1, 2), moves.cumsum(1)], 1)
    seen = places + noise * torch.randn(places.shape, generator=rng)
    for step in wrong:
        seen[:, step] += 10 * torch.randn(batch, 2, generator=rng).sign()
    return Latent(seen[:, :, None], moves), places[:, -1:, None]


@pytest.mark.parametrize("wrong", [(), (4,), (0,), (1, 3), (0, 4)])
def test_a_minority_of_looks_that_are_far_off_moves_nothing(wrong):
    latent, present = walked(wrong)
    agreed = consensus(Walker(), latent)
    assert agreed.actions is None
    torch.testing.assert_close(agreed.tokens, present)


def test_it_is_a_state_that_was_seen_and_of_two_the_later():
    latent, _ = walked(looks=2, noise=0.1)
    assert torch.equal(consensus(Walker(), latent).tokens, latent.tokens[:, 1:])
    one = Latent(latent.tokens[:, :1])
    assert torch.equal(consensus(Walker(), one).tokens, one.tokens)


def test_it_is_less_far_off_than_a_look():
    latent, present = walked(looks=7, batch=400, noise=1.0)
    agreed = consensus(Walker(), latent)
    seen = (latent.tokens[:, -1:] - present).norm(dim=-1).mean()
    assert (agreed.tokens - present).norm(dim=-1).mean() < 0.75 * seen


@pytest.mark.parametrize("looks", [1, 2, 6])
def test_steps_are_counted(looks):
    model = Walker()
    consensus(model, walked(looks=looks, batch=1)[0])
    assert model.steps == consensus_steps(looks)
