"""Sensor tokenizers: each turns what a sensor gave into one feature per image patch.

All sensors share one patch grid, so a missing sensor is a missing summand and nothing else.
Axes: F frames (B times T flattened), N patches, C features.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

_FOURIER_OCTAVES = 3
FOURIER_WIDTH = 3 * (1 + 2 * _FOURIER_OCTAVES)


def patches(
    image: Tensor,  # [F H W C]
    size: int,
) -> Tensor:
    """Cut images [F H W C] into patches [F N size*size*C], rows of patches first."""
    frames, height, width, channels = image.shape
    grid = image.view(frames, height // size, size, width // size, size, channels)
    return grid.transpose(2, 3).reshape(frames, -1, size * size * channels)


class RGBTokenizer(nn.Module):
    """Colour patches, linearly embedded.

    Args:
        patch: side of a patch in pixels.
        width: features per patch.
    """

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.patch = patch
        self.embed = nn.Linear(patch * patch * 3, width)

    def forward(
        self,
        rgb: UInt8[Tensor, "F H W 3"],
        mean: Float[Tensor, " 3"],
        whitening: Float[Tensor, "3 3"],
    ) -> Float[Tensor, "F N C"]:
        """Return the features of every patch.

        Args:
            rgb: pictures.
            mean: of colours.
            whitening: what their differences from it are multiplied by.
        """
        dtype = compute_dtype(self.embed)
        # both are folded into the weights: two passes over all pixels less
        weight = (self.embed.weight.unflatten(1, (-1, 3)) @ whitening).flatten(1)
        bias = self.embed.bias - weight @ mean.repeat(self.patch**2)
        return nn.functional.linear(patches(rgb, self.patch).to(dtype), weight, bias)


class ConvolutionalRGBTokenizer(nn.Module):
    """Colour through overlapping convolutions, one feature per patch.

    A thin or small thing looks the same wherever it lies on the grid of patches, so it is learned
    from fewer pictures: docs/concepts/recipe.md, "Convolutions". Each stage halves the picture; a
    last one, at the size of the grid, joins neighbours.

    Args:
        patch: side of a patch in pixels, a power of two of at least 4.
        width: features per patch.
    """

    _FIRST = 16  # channels after the first stage; they double with each

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        stages = patch.bit_length() - 1
        channels = [3, *(self._FIRST << stage for stage in range(stages)), width]
        kernels = [(4, 2), *[(3, 2)] * (stages - 1), (3, 1)]
        self.stages = nn.ModuleList(
            nn.Conv2d(before, after, kernel, stride, padding=1)
            for before, after, (kernel, stride) in zip(
                channels[:-1], channels[1:], kernels, strict=True
            )
        )

    def forward(
        self,
        rgb: UInt8[Tensor, "F H W 3"],
        mean: Float[Tensor, " 3"],
        whitening: Float[Tensor, "3 3"],
    ) -> Float[Tensor, "F N C"]:
        """Return the features of every patch; arguments as in ``RGBTokenizer``."""
        first = self.stages[0]
        assert isinstance(first, nn.Conv2d)
        dtype = compute_dtype(first)
        # memory stays as the pictures came, channels last, which is also the faster way on a CPU
        seen = (rgb.to(dtype) - mean.to(dtype)).permute(0, 3, 1, 2)
        # folded into the weights; what lies outside the picture has the mean colour
        weight = torch.einsum("oihw,ij->ojhw", first.weight, whitening.to(first.weight.dtype))
        seen = functional.conv2d(seen, weight, first.bias, first.stride, padding=1).relu()
        for stage in self.stages[1:-1]:
            seen = stage(seen).relu()
        return self.stages[-1](seen).flatten(2).mT


class PointMapTokenizer(nn.Module):
    """Patches of world points: shape relative to the patch's centroid, and where that is.

    The centroid enters through Fourier features and the shape without it, so that absolute
    coordinates are known but are never the only feature.

    Convention: world frame, metres, z up; depth is camera z, 0 where invalid.
    Source: Sonata 2503.16429 (the geometric shortcut); point maps as in DUSt3R.

    Args:
        patch: side of a patch in pixels.
        stride: every stride-th pixel of depth becomes a point.
        width: features per patch.
    """

    def __init__(self, patch: int, stride: int, width: int) -> None:
        super().__init__()
        self.patch, self.stride = patch, stride
        points = (patch // stride) ** 2
        self.embed = nn.Linear(points * 3 + FOURIER_WIDTH + 1, width)

    def forward(
        self,
        depth_m: Float[Tensor, "F H W"],
        intrinsics: Float[Tensor, "F 3 3"],
        world_from_camera: Float[Tensor, "F 4 4"],
        mean_m: Float[Tensor, " 3"],
        scale_m: Float[Tensor, ""],
    ) -> tuple[Float[Tensor, "F N C"], Float[Tensor, "F N 3"]]:
        """Return the features of every patch, and its centroid in scene units.

        Args:
            depth_m: camera z in metres, 0 invalid.
            intrinsics: K in pixels of the full image.
            world_from_camera: camera pose.
            mean_m: centre of the scene.
            scale_m: typical distance from that centre.
        """
        dtype = compute_dtype(self.embed)
        with torch.autocast(depth_m.device.type, enabled=False), torch.no_grad():
            shape, position, share = self._geometry(
                depth_m, intrinsics, world_from_camera, mean_m, scale_m
            )
            # narrow numbers before they are moved around: half the memory to pass over
            local = shape.to(dtype).permute(0, 2, 1, 3).flatten(2)
            features = torch.cat(
                [local, fourier(position).to(dtype), share[..., None].to(dtype)], -1
            )
        return self.embed(features), position

    def _geometry(
        self, depth_m: Tensor, intrinsics: Tensor, pose: Tensor, mean_m: Tensor, scale_m: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return shape about the centroid [F 3 N P], centroid [F N 3] and valid share [F N]."""
        depth = patches(depth_m[:, :: self.stride, :: self.stride, None], self.patch // self.stride)
        rays = self._world_rays(depth_m.shape, intrinsics, pose, scale_m)  # [F 3 N P]
        origin = ((pose[:, :3, 3] - mean_m) / scale_m)[:, :, None]
        valid = (depth > 0).float()
        points = rays.mul_(depth[:, None])
        centroid = points.sum(-1) / valid.sum(-1).clamp_min(1)[:, None]
        # 4: an object of a tenth of the scene then has features of order one.
        shape = points.sub_(centroid[..., None]).mul_(4 * valid[:, None])
        share = valid.mean(-1)
        position = ((centroid + origin) * (share > 0)[:, None]).transpose(1, 2)
        return shape, position, share

    def _world_rays(
        self, shape: torch.Size, intrinsics: Tensor, pose: Tensor, scale_m: Tensor
    ) -> Tensor:
        """Return what one metre of depth adds to a point, per pixel: [F 3 N P] in scene units."""
        rows = torch.arange(0, shape[1], self.stride, dtype=torch.float32, device=pose.device)
        columns = torch.arange(0, shape[2], self.stride, dtype=torch.float32, device=pose.device)
        v, u = torch.meshgrid(rows, columns, indexing="ij")
        pixels = torch.stack([u, v, torch.ones_like(u)], -1)[None]
        pixels = patches(pixels, self.patch // self.stride)  # [1 N P*3]
        count = pixels.shape[1]
        pixels = pixels.view(count, -1, 3).permute(2, 0, 1).flatten(1)  # [3 N*P]
        world_from_pixel = pose[:, :3, :3] @ torch.linalg.inv(intrinsics) / scale_m
        return (world_from_pixel @ pixels).unflatten(-1, (count, -1))


def grid_places(image_size: int, patch: int) -> Float[Tensor, "N 3"]:
    """Return places of patches on the picture itself (x, y in -1..1, 0), where depth is unknown."""
    count = image_size // patch
    side = (torch.arange(count, dtype=torch.float32) + 0.5) / count * 2 - 1
    y, x = torch.meshgrid(side, side, indexing="ij")
    return torch.stack([x, y, torch.zeros_like(x)], -1).flatten(0, 1)


class DepthTokenizer(nn.Module):
    """Depth as one more channel of the picture: the naive way, which knows no geometry.

    Args:
        patch: side of a patch in pixels.
        width: features per patch.
    """

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.patch = patch
        self.embed = nn.Linear(patch * patch, width)

    def forward(
        self,
        depth_m: Float[Tensor, "F H W"],
        mean_m: Float[Tensor, ""],
        scale_m: Float[Tensor, ""],
    ) -> Float[Tensor, "F N C"]:
        """Return the features of every patch; depth that is invalid counts as the mean."""
        centred = torch.where(depth_m > 0, (depth_m - mean_m) / scale_m, 0.0)
        return self.embed(patches(centred[..., None], self.patch).to(compute_dtype(self.embed)))


class RaysTokenizer(nn.Module):
    """Where the camera stands, and where in the world each patch looks.

    Convention: a ray has its origin in scene units, a unit direction, and their cross product
    (Pluecker coordinates, which do not change when the origin moves along the ray).
    Source: Light Field Networks (2106.02634).

    Args:
        patch: side of a patch in pixels.
        width: features per patch.
    """

    _NUMBERS = 9

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.patch = patch
        self.embed = nn.Linear(self._NUMBERS, width)

    def forward(
        self,
        intrinsics: Float[Tensor, "F 3 3"],
        world_from_camera: Float[Tensor, "F 4 4"],
        image_size: int,
        mean_m: Float[Tensor, " 3"],
        scale_m: Float[Tensor, ""],
    ) -> Float[Tensor, "F N C"]:
        """Return the features of every patch of a picture of ``image_size`` pixels a side."""
        with torch.autocast(intrinsics.device.type, enabled=False), torch.no_grad():
            side = torch.arange(image_size // self.patch, device=intrinsics.device)
            side = (side + 0.5) * self.patch - 0.5
            v, u = torch.meshgrid(side, side, indexing="ij")
            pixels = torch.stack([u, v, torch.ones_like(u)], -1).flatten(0, 1).mT
            world_from_pixel = world_from_camera[:, :3, :3] @ torch.linalg.inv(intrinsics)
            rays = nn.functional.normalize((world_from_pixel @ pixels).mT, dim=-1)
            origin = ((world_from_camera[:, :3, 3] - mean_m) / scale_m)[:, None].expand_as(rays)
            told = torch.cat([origin, rays, torch.linalg.cross(origin, rays)], -1)
        return self.embed(told.to(compute_dtype(self.embed)))


class ProprioTokenizer(nn.Module):
    """Proprioception as one feature vector that is added to every patch.

    Args:
        proprio_width: Q.
        width: features per patch.
    """

    def __init__(self, proprio_width: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(proprio_width, width)

    def forward(self, proprio: Float[Tensor, "F Q"]) -> Float[Tensor, "F 1 C"]:
        """Return the features of normalised proprioception."""
        return self.embed(proprio.to(compute_dtype(self.embed)))[:, None]


def fourier(position: Float[Tensor, "*F 3"]) -> Float[Tensor, "*F X"]:
    """Return position and its sines and cosines at rising frequencies: [... 3(1 + 2 octaves)]."""
    octaves = 2.0 ** torch.arange(_FOURIER_OCTAVES, device=position.device)
    phases = (position[..., None] * octaves).flatten(-2)
    return torch.cat([position, phases.sin(), phases.cos()], -1)


def compute_dtype(layer: nn.Module) -> torch.dtype:
    """Return the type that a layer computes in: autocast's where it is on, else its weights'."""
    weight = next(layer.parameters())
    device = weight.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return weight.dtype
