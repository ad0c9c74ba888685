"""Bird's view: where things of each kind stand in the world, seen from above."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.models import JEPAConfig
from armillary.models.config import STREAMS_OF
from armillary.objectives import BIRD_VIEW_KINDS, bird_view, bird_view_loss
from armillary.spatial import points_from_depth, transform_points
from armillary.training.terms.encoded_clips import EncodedClips
from armillary.training.terms.term import Term, TermConfig

# Of a clip's frames every eighth is drawn from above, at every second pixel: what stands moves
# slowly, and the view is then a small part of the step instead of a third.
_EVERY = 8
_PIXEL = 2
_STREAMS = ("rgb", *STREAMS_OF["points"])


@dataclass(frozen=True)
class BirdViewConfig(TermConfig):
    """Weight and grid of the view from above.

    Attributes:
        bird_view: unexplained share of what stands where, seen from above (needs depth).
        bird_view_cells: grid places a side of either view.
    """

    bird_view: float = 0.0
    bird_view_cells: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(2, "bird_view_cells")


class BirdView(Term):
    """Where things of each kind stand in the world, read from the latent by a linear head.

    Formula: squared error divided by the target's variance over frames, of a density map
    (``objectives/bird_view.py``).

    Source: bird's-eye targets as in AD-L-JEPA (2501.04969).
    """

    name = "bird_view"

    def __init__(self, model: JEPAConfig, config: BirdViewConfig) -> None:
        super().__init__(model, config)
        self.cells = config.bird_view_cells
        # linear: where things stand shall be read from the latent without further layers
        self.head = nn.Linear(model.latent_width, BIRD_VIEW_KINDS * self.cells**2)

    @classmethod
    def streams(cls, model: JEPAConfig) -> tuple[str, ...]:
        """Return colour, depth, and where the camera stands."""
        return _STREAMS

    def forward(self, clips: EncodedClips) -> Float[Tensor, ""]:
        """Return the unexplained share."""
        predicted = self.head(clips.latents[:, ::_EVERY].flatten(0, 1))
        with torch.no_grad(), torch.autocast(clips.latents.device.type, enabled=False):
            target = self._from_above(clips)
        return bird_view_loss(predicted, target, self.cells)

    def _from_above(self, clips: EncodedClips) -> Tensor:
        streams = {name: clips.stream(name)[:, ::_EVERY].flatten(0, 1) for name in _STREAMS}
        pixels = slice(None, None, _PIXEL)
        depth_m, rgb = streams["depth_m"][:, pixels, pixels], streams["rgb"][:, pixels, pixels]
        # every second pixel is kept, so pixel (u, v) is now (u/2, v/2), with no shift of centres
        fewer = streams["intrinsics"].new_tensor([1 / _PIXEL, 1 / _PIXEL, 1.0])
        lens = streams["intrinsics"] * fewer[:, None]
        camera = points_from_depth(depth_m, lens).flatten(1, 2)
        world = transform_points(streams["world_from_camera"], camera)
        colours = rgb.flatten(1, 2).float() / 255
        scene = clips.model.normalizer.scene(world)
        return bird_view(scene, colours, (depth_m > 0).flatten(1), self.cells)
