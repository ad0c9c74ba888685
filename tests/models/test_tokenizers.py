"""Sensor tokenizers put what was seen where it was seen: on the patch grid and in the world."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_model import SIDE, lens, normal, poses, tiny_batch, tiny_model, with_streams

from armillary.core.errors import ConfigError
from armillary.core.values import Observation
from armillary.data import batch_from_observations
from armillary.models.encoder import EncoderConfig
from armillary.models.tokenizers import (
    ConvolutionalRGBTokenizer,
    PointMapTokenizer,
    RGBTokenizer,
    grid_places,
)

PATCH = 8
FIXED = torch.full((3,), 127.5), torch.eye(3) / 64  # scales of colours that are not whitened


def features(pose, mean, depth=None, scale=1.5, stride=2):
    torch.manual_seed(0)
    tokenizer = PointMapTokenizer(PATCH, stride, 16)
    depth = normal(len(pose), SIDE, SIDE).abs() + 0.5 if depth is None else depth
    lenses = lens().expand(len(pose), 3, 3)
    return tokenizer(depth, lenses, pose, mean, torch.tensor(scale))


def plane_depth(pose: torch.Tensor) -> torch.Tensor:
    """Depth of the world's plane z = 0 in cameras at these poses."""
    v, u = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)], -1).double()
    rays = pixels @ torch.linalg.inv(lens().double()).T
    down = torch.einsum("hwk,fk->fhw", rays, pose[:, 2, :3].double())
    return (-pose[:, 2, 3, None, None].double() / down).float()


def looking_down(count: int) -> torch.Tensor:
    """Cameras above the plane, turned about the vertical and tilted a little."""
    pose = torch.eye(4).repeat(count, 1, 1)
    for index in range(count):
        turn, tilt = 0.7 * index, 0.1 * index
        about = torch.tensor(
            [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
        )
        over = torch.tensor(
            [[1, 0, 0], [0, -np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), -np.cos(tilt)]]
        )
        pose[index, :3, :3] = (about @ over).float()
        pose[index, :3, 3] = torch.tensor([0.3 * index, -0.2, 2.0 + index])
    return pose


@pytest.mark.parametrize("patch", [4, 8, 16])
def test_convolutions_see_a_thing_alike_wherever_it_lies(patch):
    torch.manual_seed(0)
    tokenizer = ConvolutionalRGBTokenizer(patch, 12)
    side = 12 * patch
    generator = torch.Generator().manual_seed(1)
    thing = torch.randint(0, 256, (patch, patch, 3), dtype=torch.uint8, generator=generator)
    pictures = torch.full((2, side, side, 3), 90, dtype=torch.uint8)
    pictures[0, 5 * patch : 6 * patch, 4 * patch : 5 * patch] = thing
    pictures[1, 6 * patch : 7 * patch, 6 * patch : 7 * patch] = thing  # a patch down, two right
    with torch.no_grad():
        seen = tokenizer(pictures, *FIXED)
    assert seen.shape == (2, 144, 12)
    one, other = seen.unflatten(1, (12, 12))
    # within two patches of the border, the border is seen
    torch.testing.assert_close(one[3:8, 2:7], other[4:9, 4:9], rtol=0, atol=1e-5)
    assert (one[5, 4] - one[8, 8]).abs().max() > 1e-3


def test_a_grey_picture_has_no_border_for_convolutions():
    tokenizer = ConvolutionalRGBTokenizer(8, 12)
    grey = torch.cat([torch.full((1, 32, 32, 3), value, dtype=torch.uint8) for value in (127, 128)])
    with torch.no_grad():
        for stage in tokenizer.stages:
            stage.bias.zero_()
        seen = tokenizer(grey, *FIXED)
    assert seen.abs().max() < 0.02  # half a grey value over 64


@pytest.mark.parametrize("patch", [2, 6])
def test_convolutions_halve_a_patch_until_it_is_one(patch):
    with pytest.raises(ConfigError, match="must be a power of two of at least 4"):
        EncoderConfig(image_size=48, patch=patch, stem="convolutions")


def test_colour_patches_are_rows_first_and_whitened():
    tokenizer = RGBTokenizer(2, 12)
    mean = torch.tensor([90.0, 120.0, 30.0])
    whitening = torch.tensor([[0.02, 0.0, -0.01], [0.0, 0.05, 0.0], [-0.01, 0.0, 0.03]])
    with torch.no_grad():
        tokenizer.embed.weight.copy_(torch.eye(12))
        tokenizer.embed.bias.zero_()
    rgb = tiny_batch().streams["rgb"][0, :2, :4, :6]
    found = tokenizer(rgb, mean, whitening)
    for row in range(2):
        for column in range(3):
            patch = rgb[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].flatten(1)
            expected = (patch.float().unflatten(1, (4, 3)) - mean) @ whitening.T
            torch.testing.assert_close(found[:, 3 * row + column], expected.flatten(1))


def test_convolutions_read_whitened_colours_and_the_mean_colour_around():
    torch.manual_seed(0)
    tokenizer = ConvolutionalRGBTokenizer(4, 12)
    mean = torch.tensor([90.0, 120.0, 30.0])
    whitening = torch.tensor([[0.02, 0.0, -0.01], [0.0, 0.05, 0.0], [-0.01, 0.0, 0.03]])
    rgb = tiny_batch().streams["rgb"][0]
    with torch.no_grad():
        found = tokenizer(rgb, mean, whitening)
        seen = ((rgb.float() - mean) @ whitening.T).permute(0, 3, 1, 2)
        for stage in tokenizer.stages[:-1]:
            seen = stage(seen).relu()
        expected = tokenizer.stages[-1](seen).flatten(2).mT
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_places_on_the_picture_are_rows_first_too():
    places = grid_places(SIDE, PATCH).tolist()
    assert places == [[-0.5, -0.5, 0], [0.5, -0.5, 0], [-0.5, 0.5, 0], [0.5, 0.5, 0]]


def test_points_of_a_plane_lie_on_it_whatever_the_camera():
    pose, scale, mean = looking_down(4), 1.5, torch.tensor([0.1, 0.2, 0.0])
    depth = plane_depth(pose)
    assert (depth > 0).all()
    _, places = features(pose, mean, depth, scale)
    assert places[..., 2].abs().max() < 1e-5
    _, single = features(pose, mean, depth, scale, stride=PATCH)
    corner = torch.tensor([0.0, 0.0, 1.0]) @ torch.linalg.inv(lens()).T * depth[:, 0, 0, None]
    world = torch.einsum("fij,fj->fi", pose[:, :3, :3], corner) + pose[:, :3, 3]
    torch.testing.assert_close(single[:, 0], (world - mean) / scale, rtol=1e-4, atol=1e-5)


def test_where_the_worlds_origin_lies_does_not_matter():
    pose, mean, shift = poses(3), normal(3, seed=1), torch.tensor([10.0, -7, 3])
    moved = pose.clone()
    moved[:, :3, 3] += shift
    for one, other in zip(features(pose, mean), features(moved, mean + shift), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_places_turn_with_the_world():
    pose, mean, turn = poses(3), normal(3, seed=1), poses(1, seed=2)[0]
    _, places = features(pose, mean)
    _, turned = features(turn @ pose, turn[:3, :3] @ mean + turn[:3, 3])
    torch.testing.assert_close(turned, places @ turn[:3, :3].T, rtol=1e-4, atol=1e-4)


def test_a_larger_scene_in_a_larger_unit_is_the_same():
    pose, mean, depth = poses(3), normal(3, seed=1), normal(3, SIDE, SIDE).abs() + 0.5
    larger = pose.clone()
    larger[:, :3, 3] *= 10
    small, large = features(pose, mean, depth), features(larger, 10 * mean, 10 * depth, 15.0)
    for one, other in zip(small, large, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("hole", ["pixels", "patch", "all"])
def test_invalid_depth_is_never_a_number_gone_wrong(hole):
    depth = normal(2, SIDE, SIDE).abs() + 0.5
    if hole == "pixels":
        depth[:, ::3] = 0
    else:
        depth[:, : SIDE if hole == "all" else PATCH] = 0
    found, places = features(poses(2), torch.zeros(3), depth)
    assert found.isfinite().all() and places.isfinite().all()
    if hole == "all":
        assert not places.any()
        torch.testing.assert_close(found[0, 0], found[1, 3])


def test_invalid_pixels_do_not_move_the_place_of_a_patch():
    pose, mean = looking_down(2), torch.zeros(3)
    depth = plane_depth(pose)
    depth[:, ::3, ::2] = 0
    _, places = features(pose, mean, depth)
    assert places[..., 2].abs().max() < 1e-5


def test_a_picture_with_nan_depth_is_encoded():
    rgb = tiny_batch().streams["rgb"][0, 0].numpy()
    depth = np.full((SIDE, SIDE), np.nan, np.float32)
    depth[:5] = 1
    camera = {"world_from_camera": np.eye(4), "intrinsics": lens().double().numpy()}
    batch = batch_from_observations([Observation({"rgb": rgb, "depth": depth, **camera})])
    tokens = tiny_model(("rgb", "points")).encode(batch).tokens
    assert tokens.isfinite().all()


def test_a_camera_that_moves_over_a_resting_plane_sees_it_rest():
    """Two poses, one world: what is seen of the world differs, the plane's height does not."""
    batch = tiny_batch(2, 3)
    pose = looking_down(6).unflatten(0, (2, 3))
    depth = plane_depth(pose.flatten(0, 1)).unflatten(0, (2, 3))
    model = tiny_model(("points",))
    still = model.encode(with_streams(batch, {"world_from_camera": pose, "depth_m": depth}))
    assert still.tokens.isfinite().all()
