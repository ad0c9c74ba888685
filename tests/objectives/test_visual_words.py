"""Maps of visual words: moments are places, colours have no names, a thing counts as one thing."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from armillary.objectives.visual_words import (
    Vocabulary,
    standing,
    standing_out,
    word_map,
    word_map_loss,
    word_target,
)

CELLS = 6


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(frames: int = 80) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pictures of two squares of different colours on a plain ground, and their places."""
    pictures = torch.full((frames, 32, 32, 3), 0.5)
    places = torch.randint(0, 24, (frames, 2, 2), generator=rng())
    for frame in range(frames):
        for thing, colour in enumerate(((0.9, 0.2, 0.3), (0.1, 0.3, 0.8))):
            row, column = places[frame, thing].tolist()
            pictures[frame, row : row + 6, column : column + 6] = torch.tensor(colour)
    return pictures, places.float()


def fitted_map(
    points: tuple[torch.Tensor, torch.Tensor, torch.Tensor], words: int = 6
) -> torch.Tensor:
    """Return the maps of places, features and weights, of words that are learned from them."""
    places, features, weights = points
    vocabulary = Vocabulary(features.shape[-1], words)
    vocabulary.fit(features, weights)
    return word_map(places, vocabulary(features) * weights[..., None], CELLS)


def seen_from_above(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the points of a plane on which the pictures' squares stand, all of one height."""
    side = torch.linspace(-1, 1, pictures.shape[1])
    y, x = torch.meshgrid(side, side, indexing="ij")
    squares = (pictures != 0.5).any(-1).to(pictures.dtype)
    scene = torch.stack([x.expand_as(squares), y.expand_as(squares), 0.6 * squares], -1)
    scene = scene.flatten(1, 2)
    return standing(scene, pictures.flatten(1, 2), torch.ones_like(scene[..., 0], dtype=torch.bool))


def picture_map(pictures: torch.Tensor) -> torch.Tensor:
    return fitted_map(standing_out(pictures))


def test_places_times_shares_is_where_a_word_is_on_average() -> None:
    places = 2 * torch.rand(5, 40, 2, generator=rng()) - 1
    shares = torch.rand(5, 40, 3, generator=rng(1))
    density = word_map(places, shares, CELLS).view(5, CELLS * CELLS, 3)
    side = torch.linspace(-1, 1, CELLS)
    y, x = torch.meshgrid(side, side, indexing="ij")
    grid = torch.stack([x, y], -1).flatten(0, 1)
    mean = (shares.mT @ places) / shares.sum(1)[..., None]
    torch.testing.assert_close(density.mT @ grid, mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(density.sum(1), torch.ones(5, 3))


ORDERS = list(itertools.permutations(range(3)))


@pytest.mark.parametrize("view", [standing_out, seen_from_above])
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_colours_in_another_order_give_the_same_maps(view: Callable, order: tuple) -> None:
    """Up to the order of words; no channel and no combination of channels has a role of its own."""
    pictures, _ = blobs()
    usual = fitted_map(view(pictures)).view(len(pictures), -1, 6)
    other = fitted_map(view(pictures[..., list(order)])).view(len(pictures), -1, 6)
    apart = (usual[..., :, None] - other[..., None, :]).abs().amax((0, 1))
    word, same = linear_sum_assignment(apart.numpy())
    assert float(apart[word, same].max()) < 2e-3
    assert float(usual.amax()) > 0.1  # the maps say something


def test_other_light_gives_the_same_maps() -> None:
    pictures, _ = blobs()
    other = 0.4 * pictures + torch.tensor([0.1, 0.3, 0.2])
    torch.testing.assert_close(picture_map(other), picture_map(pictures), atol=2e-3, rtol=0)


def test_the_places_of_both_things_are_a_linear_function_of_the_map() -> None:
    pictures, places = blobs(600)
    maps = picture_map(pictures)
    inputs = torch.cat([maps, torch.ones(len(maps), 1)], 1).double()
    truth = places.flatten(1).double()
    ridge = inputs[:400].T @ inputs[:400] + 1e-4 * torch.eye(inputs.shape[1], dtype=torch.double)
    guessed = inputs[400:] @ torch.linalg.solve(ridge, inputs[:400].T @ truth[:400])
    left = (guessed - truth[400:]).square().sum() / (truth[400:] - truth.mean(0)).square().sum()
    assert left < 0.1


def test_only_what_was_measured_and_stands_on_the_ground_counts() -> None:
    scene = torch.tensor([[[0.0, 0, 0.5], [0.2, 0, 0.05], [1.5, 0, 0.5], [0.1, 0.1, 0.7]]])
    valid = torch.tensor([[True, True, True, False]])
    places, features, weights = standing(scene, None, valid)
    assert weights.tolist() == [[1, 0, 0, 0]]
    assert features.shape == (1, 4, 1) and places.shape == (1, 4, 2)
    _, coloured, _ = standing(scene, torch.rand(1, 4, 3), valid)
    assert coloured.shape == (1, 4, 4)


def test_the_loss_of_the_mean_is_one_and_of_the_target_zero() -> None:
    maps = picture_map(blobs()[0])
    wanted = word_target(maps, CELLS)
    assert float(word_map_loss(wanted, maps, CELLS)) == 0
    mean = wanted.mean(0).expand_as(wanted)
    torch.testing.assert_close(word_map_loss(mean, maps, CELLS), torch.tensor(1.0))


def test_a_large_thing_counts_as_much_as_a_small_one() -> None:
    places = torch.tensor([[0.0, 0.0]]).repeat(1, 16, 1)
    spread = torch.rand(1, 16, 2, generator=rng()) * 1.8 - 0.9
    for points in (places, spread):
        found = word_target(word_map(points, torch.ones(1, 16, 1), CELLS), CELLS)
        assert float(found[:, : CELLS**2].square().sum()) == pytest.approx(1.0)


def test_where_nothing_stands_out_no_vocabulary_is_learned() -> None:
    vocabulary = Vocabulary(3, 4)
    vocabulary.fit(torch.rand(2, 10, 3), torch.zeros(2, 10))
    assert not vocabulary.fitted
