"""A hole is told by its rim: nearer pixels say more, those of like colour nearly all."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armillary.spatial import fill_holes

ALONE = 0.4


def drawn(seed: int, share: float = 0.3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return values, where they are known, and colours of two pictures."""
    rng = torch.Generator().manual_seed(seed)
    values = torch.randn(2, 9, 12, generator=rng)
    known = torch.rand(2, 9, 12, generator=rng) > share
    rgb = torch.randint(0, 256, (2, 9, 12, 3), generator=rng).to(torch.uint8)
    return values, known, rgb


def by_hand(values: torch.Tensor, known: torch.Tensor, rgb: torch.Tensor) -> np.ndarray:
    """Return the same, hole by hole, as the docstring has it."""
    filled = values.double().numpy().copy()
    colour, bins = rgb.double().numpy(), rgb.numpy() // 32
    for picture, row, column in np.argwhere(~known.numpy()):
        alike = (bins[picture] == bins[picture, row, column]).all(-1) & known[picture].numpy()
        of_colour = [ALONE, *values[picture].double().numpy()[alike]]
        told, weights = 0.1 * np.mean(of_colour), 0.1
        for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            i, j, away = row, column, 0
            while 0 <= i < values.shape[1] and 0 <= j < values.shape[2]:
                if known[picture, i, j]:
                    unlike = np.square(colour[picture, i, j] - colour[picture, row, column]).sum()
                    weight = np.exp(-unlike / (2 * 20**2)) / away
                    told += weight * float(values[picture, i, j])
                    weights += weight
                    break
                i, j, away = i + down, j + right, away + 1
        filled[picture, row, column] = told / weights if known[picture].any() else np.nan
    return filled


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.3, 0.8, 1.0]))
@settings(max_examples=20, deadline=None)
def test_it_is_what_is_filled_hole_by_hole(seed, share):
    pictures = drawn(seed, share)
    filled = fill_holes(*pictures, ALONE).numpy()
    np.testing.assert_allclose(filled, by_hand(*pictures), atol=1e-5)


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_a_turned_picture_is_filled_alike(seed):
    pictures = drawn(seed)
    turned = (part.rot90(1, (1, 2)) for part in pictures)
    usual = fill_holes(*pictures, ALONE).rot90(1, (1, 2))
    torch.testing.assert_close(fill_holes(*turned, ALONE), usual, equal_nan=True)


def test_what_is_flat_stays_flat():
    _, known, rgb = drawn(0)
    flat = torch.where(known, 0.7, torch.nan)  # whatever stands in holes is not looked at
    filled = fill_holes(flat, known, torch.full_like(rgb, 50), 0.7)
    torch.testing.assert_close(filled, torch.full_like(flat, 0.7))


def hole_across_an_edge() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    high = torch.zeros(1, 8, 8)
    high[..., 4:] = 1
    rgb = torch.full((1, 8, 8, 3), 60, dtype=torch.uint8)
    rgb[..., 4:, :] = 200
    known = torch.ones(1, 8, 8, dtype=torch.bool)
    known[:, 2:6, 2:6] = False
    return high, known, rgb


def test_a_hole_across_an_edge_keeps_the_edge_that_its_colours_have():
    high, known, rgb = hole_across_an_edge()
    torch.testing.assert_close(fill_holes(high, known, rgb, 0.5), high, atol=0.02, rtol=0)
    same = fill_holes(high, known, torch.zeros_like(rgb), 0.5)
    assert (same - high).abs().max() > 0.1  # a test that can fail


def test_what_is_like_nothing_that_is_known_stands_alone():
    high, known, rgb = hole_across_an_edge()
    rgb[:, 3, 3] = torch.tensor([250, 0, 0])
    filled = fill_holes(high, known, rgb, 0.5)
    assert abs(float(filled[0, 3, 3]) - 0.5) < 1e-3


def test_what_is_like_nothing_around_it_is_as_high_as_its_colour_is_elsewhere():
    high, known, rgb = hole_across_an_edge()
    rgb[:, 3, 3] = torch.tensor([250, 0, 0])
    rgb[:, 0], high[:, 0] = torch.tensor([250, 0, 0]), 0.2  # eight pixels, of no row of the hole's
    rgb[:, 0, 3], high[:, 0, 3] = torch.tensor([60, 60, 60], dtype=torch.uint8), 0.0
    filled = fill_holes(high, known, rgb, 0.5)
    assert abs(float(filled[0, 3, 3]) - (7 * 0.2 + 0.5) / 8) < 1e-3


def test_a_picture_may_be_very_wide_and_there_may_be_none():
    wide = torch.arange(40_000.0)[None, None]
    known = torch.ones(1, 1, 40_000, dtype=torch.bool)
    known[..., 39_990] = False
    rgb = torch.zeros(1, 1, 40_000, 3, dtype=torch.uint8)
    filled = fill_holes(wide, known, rgb, 0.0)
    assert abs(float(filled[0, 0, 39_990]) - 39_990) < 0.05 * 20_000  # a little is of the mean
    assert fill_holes(wide[:0], known[:0], rgb[:0], 0.0).shape == (0, 1, 40_000)


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_pictures_know_nothing_of_each_other(seed):
    pair, other = drawn(seed), drawn(seed + 1)
    both = [torch.cat(parts) for parts in zip(pair, other, strict=True)]
    together, count = fill_holes(*both, ALONE), len(pair[0])
    torch.testing.assert_close(together[:count], fill_holes(*pair, ALONE), equal_nan=True)
    torch.testing.assert_close(together[count:], fill_holes(*other, ALONE), equal_nan=True)


def test_a_picture_of_which_nothing_is_known_stays_unknown():
    high, known, rgb = hole_across_an_edge()
    lost = torch.zeros_like(known)
    both = torch.cat([high, high]), torch.cat([lost, known | True]), torch.cat([rgb, rgb])
    told = fill_holes(*both, 0.5)
    assert told[0].isnan().all()
    torch.testing.assert_close(told[1], high[0])
