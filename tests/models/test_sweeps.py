"""A mixture of ranges says what it means; the network starts as the warp and has no favourites."""

import math

import numpy as np
import torch

from armillary.models.range_mixture import RangeMixture, mixture_nll, mixture_quantile
from armillary.models.sweeps import SweepConfig, SweepView, untrained_sweeps

ANGLES = torch.linspace(-1.5, 1.5, 41)


def mixture(weights, ranges_m, scale):
    shape = (1, len(weights), 1)
    return RangeMixture(
        torch.tensor(weights).log().reshape(shape),
        torch.tensor(ranges_m).log().reshape(shape),
        torch.full(shape, math.log(scale)),
    )


def test_the_density_is_the_formula_and_open_beams_do_not_count():
    two = mixture([0.25, 0.75], [2.0, 8.0], 0.1)
    density = sum(w / 0.2 * np.exp(-abs(np.log(2.5 / r)) / 0.1) for w, r in ((0.25, 2), (0.75, 8)))
    assert np.isclose(float(mixture_nll(two, torch.tensor([[2.5]]))), -np.log(density))
    wide = RangeMixture(
        *(part.expand(1, 2, 2) for part in (two.log_weight, two.log_range, two.log_scale))
    )
    both = mixture_nll(wide, torch.tensor([[2.5, math.nan]]))
    assert np.isclose(float(both), -np.log(density))


def test_the_median_stays_on_the_likelier_surface():
    assert abs(float(mixture_quantile(mixture([1.0], [7.0], 0.2))) - 7) < 1e-4
    assert abs(float(mixture_quantile(mixture([0.3, 0.7], [2.0, 8.0], 0.01))) - 8) < 0.1
    assert abs(float(mixture_quantile(mixture([0.6, 0.4], [2.0, 8.0], 0.01))) - 2) < 0.1
    low, high = (float(mixture_quantile(mixture([1.0], [7.0], 0.2), q)) for q in (0.1, 0.9))
    assert low < 7 < high


def view(seed=0, count=3):
    chance = torch.Generator().manual_seed(seed)
    seen = 1 + 9 * torch.rand(count, 4, 41, generator=chance)
    return SweepView(
        seen,
        torch.rand(count, 3, 41, generator=chance).round(),
        torch.randn(count, 5, generator=chance),
    )


def test_untrained_it_believes_its_first_channel_most():
    model = untrained_sweeps(SweepConfig(4, 3, 5, width=8), ANGLES, seed=0)
    looked = view()
    found = model(looked)
    assert torch.allclose(found.log_weight.exp().sum(1), torch.ones(3, 41))
    assert (found.log_weight.argmax(1) == 0).double().mean() > 0.99
    assert torch.allclose(found.log_range[:, 0].exp(), looked.seen_m[:, 0], rtol=0.05)


def test_weights_depend_on_the_seed_alone_and_every_part_learns():
    shape = SweepConfig(4, 3, 5, width=8)
    torch.manual_seed(1)
    one, same = untrained_sweeps(shape, ANGLES, 5), untrained_sweeps(shape, ANGLES, 5)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
    for seed in range(4):  # what begins with zeros passes gradients on only after its first steps
        truth = view(seed + 10).seen_m[:, 0]
        optimizer.zero_grad()
        mixture_nll(one(view(seed)), truth).mean().backward()
        optimizer.step()
    moved = {
        name: not torch.equal(value, dict(same.named_parameters())[name])
        for name, value in one.named_parameters()
    }
    assert all(moved.values()), [name for name, value in moved.items() if not value]


def test_a_far_beam_changes_nothing_near():
    """The network sees a neighbourhood; only the pooled correction, zero at first, sees all."""
    shape = SweepConfig(4, 3, 5, width=8)
    angles = torch.linspace(-1.5, 1.5, 201)
    model = untrained_sweeps(shape, angles, 0)
    wide = SweepView(torch.full((1, 4, 201), 5.0), torch.ones(1, 3, 201), torch.zeros(1, 5))
    changed = wide.seen_m.clone()
    changed[..., 150:] = 9.0
    latent = model.embed(torch.cat([wide.seen_m, wide.hints, torch.zeros(1, 5, 201)], 1))
    other = model.embed(torch.cat([changed, wide.hints, torch.zeros(1, 5, 201)], 1))
    assert torch.equal(latent[..., :148], other[..., :148])
    assert not torch.equal(latent[..., 148:], other[..., 148:])
