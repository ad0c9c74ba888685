"""The view from above shows what is on top, where it is, whoever looks at it."""

from __future__ import annotations

import numpy as np
import torch
from tiny_model import tiny_batch, tiny_config

from armillary.core.values import Batch
from armillary.models import narrowed, untrained
from armillary.models.top_view import TOP_VIEW_CHANNELS, top_view
from armillary.spatial import point_map
from armillary.training.augment import mirror
from armillary.worlds import make_world

CELLS = 8
MEAN_M = torch.tensor([0.1, -0.2, 0.05])
REACH_M = torch.tensor([0.5, 0.4, 0.2])


def pictures(seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Return colour, depth with holes, lens and pose of two cameras that look at the scene."""
    rng = torch.Generator().manual_seed(seed)
    rgb = torch.randint(0, 256, (2, 20, 20, 3), generator=rng).to(torch.uint8)
    depth_m = 0.8 + 0.3 * torch.rand(2, 20, 20, generator=rng)
    depth_m[torch.rand(2, 20, 20, generator=rng) < 0.2] = 0
    lens = torch.tensor([[18.0, 0, 9.5], [0, 18.0, 9.5], [0, 0, 1]]).expand(2, 3, 3)
    pose = torch.eye(4).repeat(2, 1, 1)
    pose[:, :3, :3] = torch.tensor([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])  # straight down
    pose[:, :3, 3] = torch.tensor([[0.1, -0.2, 1.0], [0.2, -0.1, 1.05]])
    return rgb, depth_m, lens, pose


def by_hand(rgb, depth_m, lens, pose) -> np.ndarray:
    """Return the same, point by point, as the docstring has it."""
    places, valid = point_map(depth_m, lens, pose)
    scene = ((places - MEAN_M) / REACH_M).numpy()
    made = np.zeros((TOP_VIEW_CHANNELS, 2, CELLS, CELLS))
    for frame in range(2):
        sums, weights = np.zeros((CELLS, CELLS, TOP_VIEW_CHANNELS)), np.zeros((CELLS, CELLS))
        for row, column in np.argwhere(valid[frame].numpy()):
            x, y, z = scene[frame, row, column]
            i, j = int(np.floor((x + 1) * CELLS / 2)), int(np.floor((y + 1) * CELLS / 2))
            if 0 <= i < CELLS and 0 <= j < CELLS:
                z = np.clip(z, -1, 1.5)
                colour = (rgb[frame, row, column].numpy().astype(float) - 127.5) / 64
                sums[j, i] += np.exp(6 * z) * np.array([*colour, 2 * z])
                weights[j, i] += np.exp(6 * z)
        seen = weights > 0
        sums[seen] /= weights[seen][:, None]
        ground = seen & (sums[..., 3] < 0.3)
        sums[~seen, :3] = sums[ground][:, :3].mean(0) if ground.any() else 0
        made[:, frame] = sums.transpose(2, 0, 1)
    return made


def test_it_is_what_is_drawn_point_by_point():
    shown = pictures()
    made = top_view(*shown, MEAN_M, REACH_M, CELLS)
    np.testing.assert_allclose(made.numpy(), by_hand(*shown), atol=2e-3)


def test_many_frames_are_drawn_as_each_is():
    shown = [part.repeat(40, *[1] * (part.ndim - 1)) for part in pictures()]
    many = top_view(*shown, MEAN_M, REACH_M, CELLS)
    assert torch.equal(many[:, -2:], top_view(*pictures(), MEAN_M, REACH_M, CELLS))


def test_a_mirrored_clip_has_the_mirrored_view():
    rgb, depth_m, lens, pose = (part[None] for part in pictures())
    streams = {"rgb": rgb, "depth_m": depth_m, "intrinsics": lens, "world_from_camera": pose}
    batch = Batch(streams, None, torch.ones(1, 2, dtype=torch.bool))
    names = ("rgb", "depth_m", "intrinsics", "world_from_camera")
    flipped = mirror(batch, torch.tensor([True]), ()).streams
    middle = MEAN_M * torch.tensor([-1.0, 1, 1])  # the mirror is the world's x = 0
    seen = top_view(*(flipped[name][0] for name in names), middle, REACH_M, CELLS)
    usual = top_view(*pictures(), MEAN_M, REACH_M, CELLS)
    torch.testing.assert_close(seen, usual.flip(3), atol=2e-3, rtol=1e-3)


def test_what_is_higher_hides_what_is_lower():
    rgb, depth_m, lens, pose = (one[:1].clone() for one in pictures())
    rgb[:], depth_m[:] = 50, 0.95
    rgb[0, ::2], depth_m[0, ::2] = 200, 0.75  # every second row is a whole scene's height higher
    made = top_view(rgb, depth_m, lens, pose, MEAN_M, REACH_M, CELLS)
    tall = made[3, 0] > 1.5
    assert tall.sum() >= 16
    assert made[0, 0][tall].min() > (190 - 127.5) / 64


def test_nothing_seen_is_grey_ground():
    rgb, depth_m, lens, pose = pictures()
    made = top_view(rgb, torch.zeros_like(depth_m), lens, pose, MEAN_M, REACH_M, CELLS)
    assert torch.equal(made, torch.zeros_like(made))


def test_a_lost_pixel_leaves_no_mark():
    rgb, depth_m, lens, pose = pictures()
    rgb[:], depth_m[:] = 90, 1.0
    whole = top_view(rgb, depth_m, lens, pose, MEAN_M, REACH_M, CELLS)
    depth_m[:, 5:12, 5:12] = 0
    holed = top_view(rgb, depth_m, lens, pose, MEAN_M, REACH_M, CELLS)
    torch.testing.assert_close(holed[:3], whole[:3])


def test_a_table_looks_the_same_from_wherever_it_is_seen():
    def seen(azimuth_deg: float) -> torch.Tensor:
        world = make_world("tabletop", azimuth_deg=(azimuth_deg, azimuth_deg), num_objects=(1, 1))
        streams = world.reset(3).streams
        shown = (
            torch.from_numpy(streams[name])[None]
            for name in ("rgb", "depth", "intrinsics", "world_from_camera")
        )
        rgb, *geometry = (one.nan_to_num() for one in shown)
        world.close()
        scene = torch.tensor([0.0, 0, 0]), torch.tensor([0.24, 0.24, 0.07])
        return top_view(rgb, *(one.float() for one in geometry), *scene, 16)[3, 0]

    usual, aside = seen(0), seen(60)
    both = np.corrcoef(usual.flatten(), aside.flatten())[0, 1]
    assert both > 0.8
    turned = np.corrcoef(usual.flatten(), aside.rot90().flatten())[0, 1]
    assert both > turned + 0.3  # a test that can fail


def test_a_model_reads_it_alone_and_beside_a_picture():
    both = untrained(tiny_config(("rgb", "top_view")), 0)
    batch = tiny_batch()
    alone = narrowed(both, ["top_view"])
    seen = both.encode(batch, {"rgb": False}).tokens
    torch.testing.assert_close(alone.encode(batch).tokens, seen)
    assert not torch.equal(both.encode(batch).tokens, seen)


def test_the_order_of_the_pixels_does_not_matter():
    """A camera that is turned about its axis has the same points in another order."""
    rgb, depth_m, lens, pose = pictures()
    turn = torch.eye(4)
    turn[:2, :2] = torch.tensor([[0.0, 1], [-1, 0]])
    usual = top_view(rgb, depth_m, lens, pose, MEAN_M, REACH_M, CELLS)
    turned = rgb.rot90(1, (1, 2)), depth_m.rot90(1, (1, 2)), lens, pose @ turn.T
    torch.testing.assert_close(
        top_view(*turned, MEAN_M, REACH_M, CELLS), usual, atol=2e-3, rtol=1e-3
    )
