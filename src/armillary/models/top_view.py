"""Top view: colour and depth as points in the world, drawn anew as seen from straight above.

The patches of a camera's picture follow the camera: from another side the same thing falls into
other patches, in another order of pixels. Drawn from above, along the world's axes, it stays where
it is; only what the camera cannot see is missing.

Axes: F frames, H W picture, V channels of the view, G cells a side, N patches, C features.
Convention: rows of cells along y, columns along x, in the scene's coordinates
(``Normalizer.scene``), as in ``objectives.bird_view``. On a GPU the sums are not repeatable to the
bit, as of any ``scatter_add_`` there.
Source: Goyal et al. 2023, RVT (2306.14896): points of RGB-D cameras drawn from virtual cameras.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from armillary.models.tokenizers import compute_dtype

TOP_VIEW_CHANNELS = 4  # red, green, blue, height
_GREY = 127.5
_CONTRAST = 64  # as in ``RGBTokenizer``
_LOWEST, _HIGHEST = -1.0, 1.5  # of heights, in the scene's: a hole in the ground, a tower
_GROUND = 0.15  # lower than this share of the tallest is ground
_HIDING = 6.0
_LEAST = 1e-6
_EXACT = 1 << 24  # integers below it are exact in float32
_AT_ONCE = 32  # frames that are drawn together: what is worked on then stays in the cache


class TopViewTokenizer(nn.Module):
    """Patches of the scene's top view.

    Args:
        cells: G.
        patch: side of a patch in cells; divides ``cells``.
        width: C.
    """

    def __init__(self, cells: int, patch: int, width: int) -> None:
        super().__init__()
        self.cells, self.patch = cells, patch
        self.embed = nn.Linear(TOP_VIEW_CHANNELS * patch * patch, width)

    def forward(
        self,
        rgb: UInt8[Tensor, "F H W 3"],
        depth_m: Float[Tensor, "F H W"],
        intrinsics: Float[Tensor, "F 3 3"],
        world_from_camera: Float[Tensor, "F 4 4"],
        mean_m: Float[Tensor, " 3"],
        reach_m: Float[Tensor, " 3"],
    ) -> Float[Tensor, "F N C"]:
        """Return the features of every patch; the arguments are those of ``top_view``."""
        dtype = compute_dtype(self.embed)
        with torch.autocast(depth_m.device.type, enabled=False), torch.no_grad():
            geometry = depth_m, intrinsics, world_from_camera, mean_m, reach_m
            seen = top_view(rgb, *geometry, self.cells).to(dtype)
            side = self.cells // self.patch
            cut = seen.view(TOP_VIEW_CHANNELS, -1, side, self.patch, side, self.patch)
            cut = cut.permute(1, 2, 4, 0, 3, 5).flatten(3).flatten(1, 2)
        return self.embed(cut)


def top_view(
    rgb: UInt8[Tensor, "F H W 3"],
    depth_m: Float[Tensor, "F H W"],
    intrinsics: Float[Tensor, "F 3 3"],
    world_from_camera: Float[Tensor, "F 4 4"],
    mean_m: Float[Tensor, " 3"],
    reach_m: Float[Tensor, " 3"],
    cells: int,
) -> Float[Tensor, "V F G G"]:
    """Return the colour and height of what is on top in each cell of the scene.

    Args:
        rgb: pictures.
        depth_m: camera z in metres, 0 invalid.
        intrinsics: K in pixels.
        world_from_camera: camera pose.
        mean_m: centre of the scene, on the ground.
        reach_m: how far the scene reaches from there, along each axis; what lies farther out
            along x or y is left out.
        cells: G.

    Returns:
        Red, green and blue (about -2..2, grey is 0) and height (2 for what is tallest). What is not
        seen counts as ground of the ground's mean colour.
    """
    views, at_once = [], max(1, min(_AT_ONCE, (_EXACT - 1) // cells**2))
    for first in range(0, max(1, len(rgb)), at_once):
        some = slice(first, first + at_once)
        camera = depth_m[some], intrinsics[some], world_from_camera[some]
        views.append(_drawn(rgb[some], *camera, mean_m, reach_m, cells))
    return torch.cat(views, 1)


def _drawn(
    rgb: Tensor,
    depth_m: Tensor,
    intrinsics: Tensor,
    world_from_camera: Tensor,
    mean_m: Tensor,
    reach_m: Tensor,
    cells: int,
) -> Tensor:
    """Return the view of a few frames."""
    frames = len(rgb)
    x, y, height = _in_cells(depth_m, intrinsics, world_from_camera, mean_m, reach_m, cells)
    seen = (depth_m.flatten(1) > 0) & (x >= 0) & (x < cells) & (y >= 0) & (y < cells)
    first = torch.arange(frames, dtype=torch.float32, device=x.device)[:, None] * cells * cells
    nowhere = frames * cells * cells
    cell = y.floor_().mul_(cells).add_(x.floor_()).add_(first)  # below _EXACT
    cell = torch.where(seen, cell, nowhere).flatten().long()
    height = height.clamp_(_LOWEST, _HIGHEST).flatten()
    weight = (_HIDING * height).exp()  # what is higher hides what is lower
    sums = depth_m.new_zeros(TOP_VIEW_CHANNELS + 1, nowhere + 1)
    colours = (rgb.flatten(0, 2).float() - _GREY).unbind(1)
    # one channel after the other: half the time of rows of channels
    for into, value in zip(sums, (*colours, height), strict=False):
        into.scatter_add_(0, cell, value * weight)
    sums[-1].scatter_add_(0, cell, weight)
    sums = sums[:, :nowhere].unflatten(1, (frames, -1))
    told, total = sums[:-1], sums[-1]
    told.div_(total.clamp_min(_LEAST))
    colours, height = told[:3].div_(_CONTRAST), told[3].mul_(2)
    # The hole behind a thing lies where the camera wants it, and a model that may see it tells
    # things by it: the pusher was 0.8 cm off as in training and 5.8 from 60 degrees round, 2.7 with
    # holes filled, and 0.8 when the highest also hid the rest (one training each).
    ground = ((total > 0) & (height < 2 * _GROUND)).float()
    usual = (colours * ground).sum(-1, keepdim=True) / ground.sum(-1, keepdim=True).clamp_min(1)
    colours.addcmul_(usual, (total == 0).float())
    return told.unflatten(2, (cells, cells))


def _in_cells(
    depth_m: Tensor, intrinsics: Tensor, pose: Tensor, mean_m: Tensor, reach_m: Tensor, cells: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return where each pixel's point lies [F P]: x and y in cells, z in the scene's heights."""
    rows, columns = (
        torch.arange(side, dtype=torch.float32, device=pose.device) for side in depth_m.shape[1:]
    )
    v, u = torch.meshgrid(rows, columns, indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)]).flatten(1)
    unit_m = reach_m / reach_m.new_tensor([cells / 2, cells / 2, 1.0])
    rays = (pose[:, :3, :3] @ torch.linalg.inv(intrinsics) / unit_m[:, None]) @ pixels
    origin = (pose[:, :3, 3] - mean_m) / unit_m + unit_m.new_tensor([cells / 2, cells / 2, 0.0])
    depth = depth_m.flatten(1)
    x, y, z = (torch.addcmul(origin[:, axis, None], rays[:, axis], depth) for axis in range(3))
    return x, y, z
