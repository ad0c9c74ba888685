"""Clouds and scans as tokens: groups of neighbouring points, in no order.

A cloud is cut into groups around far-apart centres; what a group looks like about its centre goes
through a small PointNet, where the centre is through Fourier features, as in point maps. A scan's
groups are neighbouring beams, which need no search.

The bias of the last layer is what tells a sensor's tokens from another's (modality embedding).

Axes: F frames, P points, M groups, K points of a group, N beams, C features.
Convention: metres, NaN for what is not there; places in units of the scene.
Source: PointNet (1612.00593); groups as in Point-MAE (2203.06604); LayerNorm as in DP3
(2403.03954), whose three layers are all on points.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from armillary.models.tokenizers import FOURIER_WIDTH, compute_dtype, fourier
from armillary.models.tokens import Tokens

# two layers see each point and one their group: all three on points take 1.37 times as long
_POINT_WIDTHS = (32, 64)
_GROUP_WIDTH = 64
# an object of a tenth of the scene then has features of order one, as in point maps
_ENLARGED = 4.0


class CloudTokenizer(nn.Module):
    """Groups of a cloud.

    Args:
        groups: M; a cloud of fewer points has fewer.
        near: K; a cloud of fewer points has fewer.
        features: numbers of a point after x y z.
        width: C.
    """

    def __init__(self, groups: int, near: int, features: int, width: int) -> None:
        super().__init__()
        self.groups, self.near, self.features = groups, near, features
        self.point_network = _layers(3 + features, *_POINT_WIDTHS)
        self.group_network = _layers(_POINT_WIDTHS[-1], _GROUP_WIDTH)
        self.embed = nn.Linear(_GROUP_WIDTH + FOURIER_WIDTH, width)

    def forward(
        self,
        points_m: Float[Tensor, "F P X"],
        mean_m: Float[Tensor, " 3"],
        scale_m: Float[Tensor, ""],
    ) -> Tokens:
        """Return a token for every group.

        Args:
            points_m: x y z in metres first; a row with NaN is no point.
            mean_m: centre of the scene.
            scale_m: typical distance from that centre.
        """
        dtype = compute_dtype(self.embed)
        with torch.autocast(points_m.device.type, enabled=False), torch.no_grad():
            valid = points_m.isfinite().all(-1)
            places = (points_m[..., :3] - mean_m) / scale_m
            places = torch.where(valid[..., None], places, 0.0)
            rest = torch.where(valid[..., None], points_m[..., 3:], 0.0)
            rows, present = farthest(places, valid, min(self.groups, places.shape[1]))
            centres = _rows_of(places, rows)
            members, there = _nearest(places, valid, centres, min(self.near, places.shape[1]))
            about = _rows_of(places, members.flatten(1)).unflatten(1, members.shape[1:])
            about = (about - centres[:, :, None]) * _ENLARGED
            own = _rows_of(rest, members.flatten(1)).unflatten(1, members.shape[1:])
            group = torch.cat([about, own], -1).to(dtype)
        said = self.point_network(group).masked_fill(~there[..., None], 0.0)  # ReLU: 0 is the least
        said = self.group_network(said.amax(2))
        told = torch.cat([said, fourier(centres).to(said.dtype)], -1)
        return Tokens(self.embed(told), centres, present)


class ScanTokenizer(nn.Module):
    """Patches of neighbouring beams, as points in the sensor's frame.

    Args:
        azimuths_rad: of every beam, from x towards y.
        elevations_rad: from the xy plane towards z; empty for zeros.
        patch: neighbouring beams of a token.
        width: C.
    """

    directions: Tensor

    def __init__(
        self,
        azimuths_rad: tuple[float, ...],
        elevations_rad: tuple[float, ...],
        patch: int,
        width: int,
    ) -> None:
        super().__init__()
        self.patch = patch
        turn = torch.tensor(azimuths_rad, dtype=torch.float32)
        up = torch.tensor(elevations_rad or (0.0,) * len(azimuths_rad), dtype=torch.float32)
        directions = torch.stack([turn.cos() * up.cos(), turn.sin() * up.cos(), up.sin()], -1)
        self.register_buffer("directions", directions, persistent=False)
        self.embed = nn.Linear(patch * 3 + FOURIER_WIDTH + 1, width)

    def forward(self, ranges_m: Float[Tensor, "F N"], scale_m: Float[Tensor, ""]) -> Tokens:
        """Return a token for every patch of beams.

        Args:
            ranges_m: NaN where nothing came back.
            scale_m: typical range.
        """
        dtype = compute_dtype(self.embed)
        with torch.autocast(ranges_m.device.type, enabled=False), torch.no_grad():
            valid = ranges_m.isfinite() & (ranges_m > 0)
            lengths = torch.where(valid, ranges_m, 0.0) / scale_m
            points = lengths[..., None] * self.directions
            missing = -len(self.directions) % self.patch
            points = nn.functional.pad(points, (0, 0, 0, missing)).unflatten(1, (-1, self.patch))
            there = nn.functional.pad(valid, (0, missing)).unflatten(1, (-1, self.patch))
            count = there.sum(-1, keepdim=True)
            centres = points.sum(2) / count.clamp_min(1)
            about = (points - centres[:, :, None]) * there[..., None] * _ENLARGED
            share = count / self.patch
            told = torch.cat([about.flatten(2), fourier(centres), share], -1).to(dtype)
        return Tokens(self.embed(told), centres, there.any(-1))


def _layers(before: int, *widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for after in widths:
        layers += [nn.Linear(before, after), nn.LayerNorm(after), nn.ReLU()]
        before = after
    return nn.Sequential(*layers)


def thinned(points_m: Float[Tensor, "F P X"], count: int) -> Float[Tensor, "F Q X"]:
    """Return at most ``count`` points of each cloud, taken at equal strides."""
    total = points_m.shape[1]
    if total <= count:
        return points_m
    return points_m[:, torch.arange(count, device=points_m.device) * total // count]


def farthest(
    places: Float[Tensor, "F P 3"], valid: Bool[Tensor, "F P"], count: int
) -> tuple[Int64[Tensor, "F M"], Bool[Tensor, "F M"]]:
    """Return rows of each cloud, each the farthest from those before it, and which are new places.

    The first is the farthest from the mean, so that the order of the points does not matter.

    Source: Gonzalez 1985, as ``spatial.farthest_points``, here for many small clouds at once.
    """
    some = valid.sum(1).clamp_min(1)[:, None]
    middle = (places * valid[..., None]).sum(1) / some
    from_middle = (places - middle[:, None]).square().sum(-1).masked_fill(~valid, -1.0)
    row = from_middle.argmax(1)
    gap = torch.full_like(from_middle, torch.inf).masked_fill(~valid, -1.0)
    columns = places.permute(
        2, 0, 1
    ).contiguous()  # one coordinate after the other: 10 times faster
    away = torch.empty_like(columns)
    rows, new = [], []
    for _ in range(count):
        rows.append(row)
        new.append(gap.gather(1, row[:, None])[:, 0] > 0)
        here = columns.gather(2, row[:, None].expand(3, -1, -1))
        torch.sub(columns, here, out=away).square_()
        torch.minimum(gap, away[0].add_(away[1]).add_(away[2]), out=gap)
        row = gap.argmax(1)
    return torch.stack(rows, 1), torch.stack(new, 1)


def _nearest(
    places: Tensor, valid: Tensor, centres: Tensor, count: int
) -> tuple[Int64[Tensor, "F M K"], Bool[Tensor, "F M K"]]:
    """Return rows of the nearest points of each centre, and which of them are points."""
    gaps = torch.cdist(centres, places, compute_mode="donot_use_mm_for_euclid_dist")
    near = gaps.masked_fill(~valid[:, None], torch.inf).topk(count, largest=False, sorted=False)
    return near.indices, near.values.isfinite()


def _rows_of(values: Tensor, rows: Tensor) -> Tensor:
    """Return rows [F M] of values [F P X]: [F M X]."""
    return values.gather(1, rows[..., None].expand(-1, -1, values.shape[-1]))
