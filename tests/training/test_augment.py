"""Varied clips are clips of the same geometry: points stay, or are mirrored, exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from armillary.core.errors import ConfigError
from armillary.core.rng import generator
from armillary.core.values import Batch
from armillary.spatial import point_map
from armillary.training.augment import AugmentConfig, augment, mirror, mirrored_actions, shift

SIDE, CLIPS, STEPS = 12, 3, 2
FLIPPED = AugmentConfig(mirrored_actions=(0,))
RISING = AugmentConfig(
    mirror=1.0, mirror_line="rising", swapped_actions=(0, 1), mirrored_actions=(0, 1)
)


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
    made = mirror(batch, chosen, FLIPPED, 1)
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
    again = mirror(mirror(batch, every, FLIPPED, 1), every, FLIPPED, 1)
    for name, value in batch.streams.items():
        torch.testing.assert_close(again.streams[name], value)


def test_over_a_rising_line_things_and_their_pushes_go_where_the_mirror_puts_them():
    """A dot that is pushed along, seen from above with y down: the same dot in the mirror."""
    start, push = np.array([[2, 9], [7, 3], [5, 5]]), np.array([[3, -2], [-4, 1], [0, 6]])

    def shown(places: np.ndarray) -> torch.Tensor:
        pictures = torch.zeros(CLIPS, STEPS, SIDE, SIDE, 3, dtype=torch.uint8)
        for clip, step in np.ndindex(CLIPS, STEPS):
            x, y = places[clip, step]
            pictures[clip, step, y, x] = 255
        return pictures

    places = np.stack([start, start + push], 1)
    valid = torch.ones(CLIPS, STEPS, dtype=torch.bool)
    batch = Batch({"rgb": shown(places)}, torch.from_numpy(push)[:, None].float(), valid)
    made = augment(batch, RISING, generator("test", 0), 1)
    mirrored = SIDE - 1 - places[..., ::-1]  # (x, y) over the line x + y = SIDE - 1
    assert torch.equal(made.streams["rgb"], shown(mirrored))
    assert made.actions is not None
    np.testing.assert_array_equal(made.actions[:, 0].numpy(), mirrored[:, 1] - mirrored[:, 0])
    again = augment(made, RISING, generator("test", 0), 1)
    assert torch.equal(again.streams["rgb"], batch.streams["rgb"])
    assert again.actions is not None and torch.equal(again.actions, batch.actions)


@pytest.mark.parametrize("config", [FLIPPED, RISING])
def test_every_world_step_of_a_model_step_is_mirrored(config):
    steps = torch.randn(CLIPS, 4, 2, generator=torch.Generator().manual_seed(1))
    each = mirrored_actions(steps, config, 1)
    assert not torch.equal(each, steps)
    held = mirrored_actions(steps.flatten(1), config, frame_skip=4)
    assert torch.equal(held, each.flatten(1))


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
    config = AugmentConfig(0.5, mirrored_actions=(0,), shift_px=2)
    one = augment(batch, config, generator("test", 1), 1)
    two = augment(batch, config, generator("test", 1), 1)
    for name, value in batch.streams.items():
        assert torch.equal(value, kept[name])
        assert torch.equal(one.streams[name], two.streams[name])


def test_what_cannot_be_mirrored_is_a_sentence():
    every = torch.ones(CLIPS, dtype=torch.bool)
    with pytest.raises(ConfigError, match="with proprioception"):
        mirror(clips(proprio=torch.zeros(CLIPS, STEPS, 4)), every, FLIPPED, 1)
    with pytest.raises(ConfigError, match="names dimension 5, an action of a world step has 2"):
        mirror(clips(), every, AugmentConfig(mirrored_actions=(5,)), 1)
    with pytest.raises(ConfigError, match=r"augment\.mirror must be in 0\.\.1"):
        AugmentConfig(mirror=2.0)
    with pytest.raises(
        ConfigError, match="'rising' is for square colour pictures alone; the clips"
    ):
        mirror(clips(), every, RISING, 1)
    unchecked = AugmentConfig()  # the type hook of these tests would speak first
    object.__setattr__(unchecked, "mirror_line", "fallng")
    with pytest.raises(ConfigError, match=r"mirror_line.*'fallng'"):
        unchecked.__post_init__()
    with pytest.raises(ConfigError, match="are dimensions from 0 on; got"):
        AugmentConfig(swapped_actions=(-1, 0))
    with pytest.raises(ConfigError, match="say which dimensions of an action they are"):
        mirrored_actions(torch.zeros(1, 2), AugmentConfig(mirror_line="rising"), 1)
    with pytest.raises(ConfigError, match="width 5 are not those of 2 world steps"):
        mirrored_actions(torch.zeros(1, 5), FLIPPED, 2)
    with pytest.raises(ConfigError, match="two by two, each once; got"):
        AugmentConfig(swapped_actions=(0, 1, 1))
