"""Trunk: a frozen network that turns a picture into features of places, and facts about it.

A trunk is no part of a model's weights. A model keeps its name and digest, and what it reads of it:
a fixed projection. So checkpoints stay small, and a trunk of a billion weights lies on a disk once.

Axes: F frames, H W image, S cells a side, C features of the trunk.
Source: DINO-WM (2411.04983), features of places from a frozen encoder under a world model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

CELLS = 8  # places a side at which features are kept, as the size tiny has patches
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_AT_ONCE = 64  # pictures in one pass: memory stays small


@dataclass(frozen=True)
class TrunkFacts:
    """What is known of a trunk.

    Attributes:
        kind: its class: mobilenet_v2, dinov2, dinov3_vit or vjepa2.
        channels: C, features at each place.
        image_size: side of the pictures that it sees, in pixels: eight of its cells.
        sha256: of the weights.
        source: file, folder or repository of the weights.
        revision: of the repository; empty where there is none.
        licence: of the weights, as their source says; "unknown" where it does not.
    """

    kind: str
    channels: int
    image_size: int
    sha256: str
    source: str
    revision: str = ""
    licence: str = "unknown"


class Trunk:
    """A frozen network. It is no ``nn.Module``, so that no model counts its weights as its own.

    Args:
        network: evaluated as it is; its weights never change.
        places: returns features [F C S S] of normalised pictures [F 3 H W].
        facts: about it.
        mean: of red, green and blue (0..1) in the pictures that it was trained on.
        std: their spread.
    """

    def __init__(
        self,
        network: nn.Module,
        places: Callable[[nn.Module, Tensor], Tensor],
        facts: TrunkFacts,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.facts = facts
        self._places = places
        self._mean, self._std = torch.tensor(mean), torch.tensor(std)

    def __repr__(self) -> str:
        facts = self.facts
        return f"Trunk({facts.kind} of {facts.source}; {facts.channels} features)"

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the features: the weights, and how pictures are scaled."""
        scales = {"mean": self._mean.tolist(), "std": self._std.tolist()}
        return {
            name: getattr(self.facts, name) for name in ("kind", "image_size", "sha256")
        } | scales

    @torch.no_grad()
    def __call__(
        self, rgb: UInt8[Tensor, "F H W 3"], cells: int = CELLS
    ) -> Float[Tensor, "F places C"]:
        """Return the features of places, rows first, averaged to so many cells a side.

        Args:
            rgb: pictures; those of another size are resized with antialiasing.
            cells: S, places a side.
        """
        device = rgb.device
        self.network.to(device)
        with torch.autocast(device.type, enabled=False):
            parts = [self._seen(some, cells) for some in rgb.split(_AT_ONCE)]
        return torch.cat(parts)

    def _seen(self, rgb: Tensor, cells: int) -> Tensor:
        pictures = rgb.permute(0, 3, 1, 2).float() / 255
        side = self.facts.image_size
        if pictures.shape[-2:] != (side, side):
            pictures = functional.interpolate(
                pictures, (side, side), mode="bilinear", antialias=True
            )
        mean, std = self._mean.to(rgb.device), self._std.to(rgb.device)
        pictures = (pictures - mean[:, None, None]) / std[:, None, None]
        found = self._places(self.network, pictures)
        return functional.adaptive_avg_pool2d(found, cells).flatten(2).mT.contiguous()
