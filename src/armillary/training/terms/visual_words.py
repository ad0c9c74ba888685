"""Visual words: where each kind of local appearance is, seen from above and in the picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.core.errors import ConfigError
from armillary.models import JEPAConfig
from armillary.objectives.visual_words import (
    Vocabulary,
    standing,
    standing_out,
    word_map,
    word_map_loss,
)
from armillary.spatial import points_from_depth, transform_points
from armillary.training.terms.encoded_clips import EncodedClips
from armillary.training.terms.term import Term, TermConfig

# One frame in eight is compared, and of the depth every second pixel: what stands moves slowly, and
# the target is then a small part of a training step.
_EVERY = 8
_PIXEL = 2
_COLOURED = {"rgb", "filled_cloud"}
_IN_WORLD = {"points", "depth_cloud", "filled_cloud"}  # depth whose place in the world is known
_DEPTH = {"depth", "points_camera"}
# Few words of height hold a thing together where colour says nothing; more tell things apart.
_WORDS = {"heights": 4, "above": 8, "picture": 16}


@dataclass(frozen=True)
class VisualWordsConfig(TermConfig):
    """Weight and grid of the maps of visual words.

    Attributes:
        visual_words: unexplained share of where each kind of local appearance is.
        visual_words_cells: grid places a side.
    """

    visual_words: float = 0.0
    visual_words_cells: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(2, "visual_words_cells")


class VisualWords(Term):
    """Where each kind of local appearance is, predicted from the latent by linear heads.

    Formula: for each view, squared error divided by the target's variance over frames, of the roots
    of maps of densities and of the maps' first moments; the mean over views. A model that sees
    points in the world is asked for two views from above: of heights, and of heights with colour
    where it sees colour. Any other is asked for the view of the picture.

    Source: ``objectives/visual_words.py``; bags of visual words as targets (2002.12247).
    """

    name = "visual_words"

    def __init__(self, model: JEPAConfig, config: VisualWordsConfig) -> None:
        super().__init__(model, config)
        self.cells = config.visual_words_cells
        self.sensors = {*model.sensors}
        channels = _channels(model)
        if not channels:
            raise ConfigError(
                "objective.visual_words needs a model that sees colour, depth or a cloud, and this "
                f"one sees {', '.join(model.sensors)}. Set it to 0."
            )
        self.vocabularies = nn.ModuleDict(
            {view: Vocabulary(count, _WORDS[view]) for view, count in channels.items()}
        )
        # linear: where things are shall be read from the latent without further layers
        self.heads = nn.ModuleDict(
            {
                view: nn.Linear(model.latent_width, _WORDS[view] * (self.cells**2 + 2))
                for view in channels
            }
        )

    @classmethod
    def streams(cls, model: JEPAConfig) -> tuple[str, ...]:
        """Return the streams that the views are made of."""
        sensors, names = {*model.sensors}, []
        if sensors & _COLOURED:
            names.append("rgb")
        if "cloud" in sensors:
            names.append("points")
        elif sensors & _IN_WORLD:
            names += ["depth_m", "world_from_camera", "intrinsics"]
        if sensors & _DEPTH:
            names.append("depth_m")
        return tuple(dict.fromkeys(names))

    def forward(self, clips: EncodedClips) -> Float[Tensor, ""]:
        """Return the unexplained share, the mean over views."""
        seen = clips.latents[:, ::_EVERY].flatten(0, 1)
        loss = seen.new_zeros(())
        above = None
        for view, head in self.heads.items():
            with torch.no_grad(), torch.autocast(seen.device.type, enabled=False):
                if view == "picture":
                    points = self._picture(clips)
                else:
                    above = points = above or self._above(clips)
                target = self._target(view, *points)
            loss = loss + word_map_loss(head(seen), target, self.cells) / len(self.heads)
        return loss

    def _target(self, view: str, places: Tensor, features: Tensor, weights: Tensor) -> Tensor:
        if view == "heights":
            features = features[..., -1:]
        vocabulary = self.vocabularies[view]
        assert isinstance(vocabulary, Vocabulary)
        if not vocabulary.fitted:
            vocabulary.fit(features, weights)
        return word_map(places, vocabulary(features) * weights[..., None], self.cells)

    def _above(self, clips: EncodedClips) -> tuple[Tensor, Tensor, Tensor]:
        if "cloud" in self.sensors:
            world = _some(clips, "points")[..., :3]
            valid = world.isfinite().all(-1)
            scene = clips.model.normalizer.scene(world.nan_to_num())
            return standing(scene, None, valid)
        depth_m = _some(clips, "depth_m")[:, ::_PIXEL, ::_PIXEL]
        # every second pixel is kept, so pixel (u, v) is now (u/2, v/2), with no shift of centres
        fewer = depth_m.new_tensor([1 / _PIXEL, 1 / _PIXEL, 1.0])
        lens = _some(clips, "intrinsics") * fewer[:, None]
        camera = points_from_depth(depth_m, lens).flatten(1, 2)
        world = transform_points(_some(clips, "world_from_camera"), camera)
        colours = None
        if self.sensors & _COLOURED:
            colours = _some(clips, "rgb")[:, ::_PIXEL, ::_PIXEL].flatten(1, 2).float() / 255
        return standing(clips.model.normalizer.scene(world), colours, (depth_m > 0).flatten(1))

    def _picture(self, clips: EncodedClips) -> tuple[Tensor, Tensor, Tensor]:
        channels = []
        if self.sensors & _COLOURED:
            channels.append(_some(clips, "rgb").float() / 255)
        if self.sensors & _DEPTH:
            depth_m = _some(clips, "depth_m")
            # what was not measured is as far as the rest, so that a hole does not stand out
            usual = depth_m.flatten(1).median(1).values[:, None, None]
            channels.append(torch.where(depth_m > 0, depth_m, usual)[..., None])
        return standing_out(torch.cat(channels, -1))


def _channels(model: JEPAConfig) -> dict[str, int]:
    """Return how many numbers a point has in each view that a model's sensors allow."""
    sensors = {*model.sensors}
    coloured, channels = bool(sensors & _COLOURED), {}
    if "cloud" in sensors or sensors & _IN_WORLD:
        channels["heights"] = 1
    if sensors & _IN_WORLD and coloured:
        channels["above"] = 1 + 3
    if not channels and (coloured or sensors & _DEPTH):
        channels["picture"] = 3 * coloured + bool(sensors & _DEPTH)
    return channels


def _some(clips: EncodedClips, name: str) -> Tensor:
    """Return the frames of a stream that are compared."""
    return clips.stream(name)[:, ::_EVERY].flatten(0, 1)
