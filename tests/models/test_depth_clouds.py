"""Clouds made of depth hold what stands, where it stands, whatever the camera loses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_model import tiny_batch, tiny_config

from armillary.core.values import Batch
from armillary.models import untrained
from armillary.models.depth_clouds import depth_cloud, filled_cloud
from armillary.spatial import point_map
from armillary.training.augment import AugmentConfig, mirror
from armillary.worlds import make_world

MEAN_M = torch.tensor([0.1, -0.2, 0.05])
REACH_M = torch.tensor([0.5, 0.4, 0.2])
SCENE = MEAN_M, REACH_M
BLOCK = slice(8, 14)


def block(lost: slice | None = None) -> tuple[torch.Tensor, ...]:
    """Return colour, depth, lens and pose of a camera over grey ground with a white block on it."""
    rgb = torch.full((1, 20, 20, 3), 90, dtype=torch.uint8)
    depth_m = torch.full((1, 20, 20), 0.95)
    rgb[:, BLOCK, BLOCK], depth_m[:, BLOCK, BLOCK] = 200, 0.8
    if lost is not None:
        depth_m[:, lost, lost] = 0
    lens = torch.tensor([[[18.0, 0, 9.5], [0, 18.0, 9.5], [0, 0, 1]]])
    pose = torch.eye(4)[None]
    pose[:, :3, :3] = torch.tensor([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])  # straight down
    pose[:, :3, 3] = torch.tensor([0.1, -0.2, 1.0])
    return rgb, depth_m, lens, pose


def shuffled(seed: int = 0) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(seed)
    rgb, depth_m, lens, pose = block()
    rgb = torch.randint(0, 256, rgb.shape, generator=rng).to(torch.uint8)
    return rgb, 0.7 + 0.3 * torch.rand(depth_m.shape, generator=rng), lens, pose


def test_they_are_the_highest_points_of_the_point_map_inside_the_scene():
    rgb, *geometry = shuffled()
    points, _ = point_map(*geometry)
    every = torch.cat([points, torch.zeros(1, 20, 20, 1)], -1).flatten(0, 2)
    inside = ((every[:, :2] - MEAN_M[:2]).abs() <= REACH_M[:2]).all(1)
    assert 50 < inside.sum() < len(every)
    wanted = every[inside][every[inside][:, 2].argsort(descending=True)][:50]
    made = filled_cloud(rgb, *geometry, *SCENE, 50)[0]
    made = made[made[:, 2].argsort(descending=True)]
    torch.testing.assert_close(made, wanted)
    plain = depth_cloud(*geometry, *SCENE, 50)[0]
    torch.testing.assert_close(plain[plain[:, 2].argsort(descending=True)], wanted[:, :3])


def test_what_is_lost_of_a_thing_is_guessed_by_its_colour():
    rgb, *geometry = block()
    whole = filled_cloud(rgb, *geometry, *SCENE, 36)[0]
    rgb, *geometry = block(slice(10, 18))  # a part of the block, and ground
    holed = filled_cloud(rgb, *geometry, *SCENE, 36)[0]
    assert holed[:, 3].sum() == 16 and not whole[:, 3].any()
    rank = [np.lexsort(one[:, :2].numpy().round(2).T) for one in (holed, whole)]
    torch.testing.assert_close(holed[rank[0], :3], whole[rank[1], :3], atol=0.02, rtol=0)
    bare = depth_cloud(*geometry, *SCENE, 36)[0]
    assert (bare[:, 2] > 0.15).sum() == 20  # without colour it is lost


def test_what_is_lost_as_a_whole_stands_where_its_rays_lead():
    rgb, *geometry = block(slice(5, 17))
    cloud = filled_cloud(rgb, *geometry, *SCENE, 36)[0]
    assert cloud[:, 3].all()
    height_m = MEAN_M[2] + 0.4 * REACH_M[2]
    torch.testing.assert_close(cloud[:, 2], height_m.expand(36), atol=1e-3, rtol=0)
    centre = cloud[:, :2].mean(0)
    torch.testing.assert_close(
        centre, torch.tensor([0.1 + 1 / 18 * 0.87, -0.2 - 1 / 18 * 0.87]), atol=0.02, rtol=0
    )


@pytest.mark.parametrize("coloured", [True, False])
def test_many_frames_are_as_each_alone(coloured):
    def clouds(*shown: torch.Tensor) -> torch.Tensor:
        return (filled_cloud if coloured else depth_cloud)(*shown[not coloured :], *SCENE, 30)

    every = [shuffled(seed) for seed in range(70)]
    for number, (_, depth_m, _, pose) in enumerate(every):
        depth_m[:, : number % 20, 3:9] = 0  # none in every twentieth
        pose[:, 0, 3] += 0.001 * number
    together = clouds(*(torch.cat(parts) for parts in zip(*every, strict=True)))
    alone = torch.cat([clouds(*shown) for shown in every])
    torch.testing.assert_close(together, alone, rtol=0, atol=0, equal_nan=True)
    assert clouds(*(part[:0] for part in every[0])).shape == (0, 30, 4 if coloured else 3)


@pytest.mark.parametrize("coloured", [True, False])
def test_without_any_depth_there_is_no_point(coloured):
    rgb, depth_m, *camera = block()
    geometry = torch.zeros_like(depth_m), *camera, *SCENE, 9
    cloud = filled_cloud(rgb, *geometry) if coloured else depth_cloud(*geometry)
    assert cloud.shape == (1, 9, 4 if coloured else 3) and cloud.isnan().all()


@pytest.mark.parametrize("sensor", ["depth_cloud", "filled_cloud"])
def test_a_model_encodes_what_has_no_depth(sensor):
    model, batch = untrained(tiny_config((sensor,)), 0), tiny_batch()
    batch.streams["depth_m"].zero_()
    assert model.encode(batch).tokens.isfinite().all()


def test_a_table_is_the_same_cloud_from_wherever_it_is_seen():
    def seen(azimuth_deg: float) -> torch.Tensor:
        world = make_world("tabletop", azimuth_deg=(azimuth_deg, azimuth_deg), num_objects=(1, 1))
        streams = world.reset(3).streams
        world.close()
        names = ("rgb", "depth", "intrinsics", "world_from_camera")
        rgb, *geometry = (torch.from_numpy(streams[name])[None].nan_to_num() for name in names)
        scene = torch.zeros(3), torch.tensor([0.24, 0.24, 0.07])
        return filled_cloud(rgb, *(one.float() for one in geometry), *scene, 40)[0]

    usual, aside = seen(0), seen(60)
    gaps = torch.cdist(usual[:, :2], aside[:, :2]).amin(1)
    assert gaps.median() < 0.01
    turned = torch.cdist(usual[:, :2], aside[:, :2].flip(1)).amin(1)
    assert turned.median() > 0.02  # a test that can fail


def test_a_mirrored_clip_has_the_mirrored_cloud():
    names = ("rgb", "depth_m", "intrinsics", "world_from_camera")
    shown = shuffled()
    batch = Batch(
        dict(zip(names, (part[None] for part in shown), strict=True)),
        None,
        torch.ones(1, 1, dtype=torch.bool),
    )
    flipped = mirror(batch, torch.tensor([True]), AugmentConfig(), 1).streams
    across = torch.tensor([-1.0, 1, 1])  # the mirror is the world's x = 0
    seen = filled_cloud(*(flipped[name][0] for name in names), MEAN_M * across, REACH_M, 50)[0]
    usual = filled_cloud(*shown, *SCENE, 50)[0]
    seen, usual = (one[one[:, 2].argsort()] for one in (seen, usual))
    torch.testing.assert_close(seen[:, :3], usual[:, :3] * across)
    assert torch.equal(seen[:, 3:], usual[:, 3:])
