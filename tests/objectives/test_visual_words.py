"""Maps of visual words: moments are places, colours have no names, a thing counts as one thing."""

from __future__ import annotations

import torch

from armillary.objectives.visual_words import (
    Vocabulary,
    standing,
    standing_out,
    word_map,
    word_map_loss,
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


def picture_map(pictures: torch.Tensor, words: int = 6) -> torch.Tensor:
    places, features, weights = standing_out(pictures)
    vocabulary = Vocabulary(features.shape[-1], words)
    vocabulary.fit(features, weights)
    return word_map(places, vocabulary(features) * weights[..., None], CELLS)


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


def test_colours_in_another_order_give_the_same_maps() -> None:
    pictures, _ = blobs()
    torch.testing.assert_close(
        picture_map(pictures[..., [2, 0, 1]]), picture_map(pictures), atol=2e-3, rtol=0
    )


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
    assert float(word_map_loss(maps, maps, CELLS)) == 0
    mean = maps.mean(0).expand_as(maps)
    torch.testing.assert_close(word_map_loss(mean, maps, CELLS), torch.tensor(1.0))


def test_where_nothing_stands_out_no_vocabulary_is_learned() -> None:
    vocabulary = Vocabulary(3, 4)
    vocabulary.fit(torch.rand(2, 10, 3), torch.zeros(2, 10))
    assert not vocabulary.fitted
