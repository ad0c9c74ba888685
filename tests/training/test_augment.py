"""Varied clips are clips of the same geometry: points stay, or are mirrored, exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from armillary.core.errors import ConfigError
from armillary.core.rng import generator
from armillary.core.values import Batch
from armillary.spatial import point_map
from armillary.training.augment import AugmentConfig, augment, mirror, shift

SIDE, CLIPS, STEPS = 12, 3, 2


def clips(**more: torch.Tensor) -> Batch:
    rng = torch.Generator().manual_seed(0)
    pose = torch.eye(4).repeat(CLIPS, STEPS, 1, 1)
    turn, _ = torch.linalg.qr(torch.randn(CLIPS, STEPS, 3, 3, generator=rng))
    pose[..., :3, :3] = turn
    pose[..., :3, 3] = torch.randn(CLIPS, STEPS, 3, generator=rng)
    lens = torch.tensor([[9.0, 0, 5.0], [0, 9.0, 5.5], [0, 0, 1]])
    shape = (CLIPS, STEPS, SIDE, SIDE)
    streams = {
        "rgb": torch.randint(0, 255, (*shape, 3), generator=rng).to(torch.uint8),
        "depth_m": torch.rand(shape, generator=rng) + 0.5,
        "world_from_camera": pose,
        "intrinsics": lens.expand(CLIPS, STEPS, 3, 3),
    }
    actions = torch.randn(CLIPS, STEPS - 1, 2, generator=rng)
    return Batch(streams | more, actions, torch.ones(CLIPS, STEPS, dtype=torch.bool))


def points(batch: Batch) -> torch.Tensor:
    streams = batch.streams
    return point_map(streams["depth_m"], streams["intrinsics"], streams["world_from_camera"])[0]


def test_a_mirrored_clip_shows_the_mirrored_points_in_the_flipped_picture():
    batch = clips()
    chosen = torch.tensor([True, False, True])
    made = mirror(batch, chosen, (0,))
    wanted = (points(batch) * torch.tensor([-1.0, 1, 1])).flip(3)
    torch.testing.assert_close(points(made)[chosen], wanted[chosen], atol=1e-5, rtol=0)
    torch.testing.assert_close(points(made)[~chosen], points(batch)[~chosen])
    assert torch.equal(made.streams["rgb"][0], batch.streams["rgb"][0].flip(2))
    assert batch.actions is not None and made.actions is not None
    torch.testing.assert_close(
        made.actions[chosen], batch.actions[chosen] * torch.tensor([-1.0, 1])
    )
    assert torch.equal(made.actions[~chosen], batch.actions[~chosen])


def test_mirroring_twice_changes_nothing():
    batch, every = clips(), torch.ones(CLIPS, dtype=torch.bool)
    again = mirror(mirror(batch, every, (0,)), every, (0,))
    for name, value in batch.streams.items():
        torch.testing.assert_close(again.streams[name], value)


@pytest.mark.parametrize("down,right", [(0, 0), (2, -3), (-4, 1)])
def test_a_shifted_clip_shows_the_same_points(down, right):
    batch = clips()
    made = shift(batch, np.tile([down, right], (CLIPS, 1)))
    rows = slice(max(down, 0), SIDE + min(down, 0))
    columns = slice(max(right, 0), SIDE + min(right, 0))
    before = points(batch)[:, :, rows.start - down : rows.stop - down]
    before = before[:, :, :, columns.start - right : columns.stop - right]
    torch.testing.assert_close(points(made)[:, :, rows, columns], before, atol=1e-5, rtol=0)
    outside = torch.ones(SIDE, SIDE, dtype=torch.bool)
    outside[rows, columns] = False
    assert not made.streams["depth_m"][:, :, outside].any()


def test_the_batch_that_came_in_is_untouched_and_chance_is_an_argument():
    batch = clips()
    kept = {name: value.clone() for name, value in batch.streams.items()}
    config = AugmentConfig(0.5, (0,), 2)
    one = augment(batch, config, generator("test", 1))
    two = augment(batch, config, generator("test", 1))
    for name, value in batch.streams.items():
        assert torch.equal(value, kept[name])
        assert torch.equal(one.streams[name], two.streams[name])


def test_what_cannot_be_mirrored_is_a_sentence():
    every = torch.ones(CLIPS, dtype=torch.bool)
    with pytest.raises(ConfigError, match="with proprioception"):
        mirror(clips(proprio=torch.zeros(CLIPS, STEPS, 4)), every, (0,))
    with pytest.raises(ConfigError, match="names dimension 5, the data have 2"):
        mirror(clips(), every, (5,))
    with pytest.raises(ConfigError, match=r"augment\.mirror must be in 0\.\.1"):
        AugmentConfig(mirror=2.0)
