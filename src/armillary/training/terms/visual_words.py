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
    standing_out,
    word_map,
    word_map_loss,
)
from armillary.training.terms.encoded_clips import EncodedClips
from armillary.training.terms.term import Term, TermConfig
from armillary.training.terms.views import (
    EVERY,
    colours_from_above,
    from_above,
    further_pictures,
    picture,
    picture_channels,
    streams_of,
    view_of,
)

# Few words of height hold a thing together where colour says nothing; more tell things apart.
_WORDS = {"heights": 4, "above": 8, "picture": 16}
_CAMERA = "camera_"  # and its number: the view of a further camera's picture


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
    where it sees colour. Any other is asked for the view of the picture. Each further camera is a
    view of its own picture.

    Source: ``objectives/visual_words.py``; bags of visual words as targets (2002.12247).
    """

    name = "visual_words"

    def __init__(self, model: JEPAConfig, config: VisualWordsConfig) -> None:
        super().__init__(model, config)
        self.cells = config.visual_words_cells
        channels = _channels(model)
        if not channels:
            raise ConfigError(
                "objective.visual_words needs a model that sees colour, depth or a cloud, and this "
                f"one sees {', '.join(model.sensors)}. Set it to 0."
            )
        self.vocabularies = nn.ModuleDict(
            {view: Vocabulary(count, _words(view)) for view, count in channels.items()}
        )
        # linear: where things are shall be read from the latent without further layers
        self.heads = nn.ModuleDict(
            {
                view: nn.Linear(model.latent_width, _words(view) * (self.cells**2 + 2))
                for view in channels
            }
        )

    @classmethod
    def streams(cls, model: JEPAConfig) -> tuple[str, ...]:
        """Return the streams that the views are made of."""
        return streams_of(model)

    def forward(self, clips: EncodedClips) -> Float[Tensor, ""]:
        """Return the unexplained share, the mean over views."""
        seen = clips.latents[:, ::EVERY].flatten(0, 1)
        loss = seen.new_zeros(())
        for view, head in self.heads.items():
            with torch.no_grad(), torch.autocast(seen.device.type, enabled=False):
                points = _points(clips, view)
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


def _points(clips: EncodedClips, view: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return places, features and weights of what is compared in a view."""
    if view.startswith(_CAMERA):
        pictures = clips.shared("further pictures", lambda: further_pictures(clips))
        return standing_out(pictures[int(view.removeprefix(_CAMERA))] / 255)
    return _picture(clips) if view == "picture" else from_above(clips)


def _words(view: str) -> int:
    return _WORDS["picture" if view.startswith(_CAMERA) else view]


def _picture(clips: EncodedClips) -> tuple[Tensor, Tensor, Tensor]:
    colours, depth_m = picture(clips)
    channels = [] if colours is None else [colours / 255]
    if depth_m is not None:
        channels.append(depth_m[..., None])
    return standing_out(torch.cat(channels, -1))


def _channels(model: JEPAConfig) -> dict[str, int]:
    """Return how many numbers a point has in each view that a model's sensors allow."""
    view, cameras = view_of(model), {f"{_CAMERA}{n}": 3 for n in range(len(model.cameras))}
    if view == "picture":
        return {"picture": picture_channels(model)} | cameras
    coloured = {"above": 1 + 3} if colours_from_above(model) else {}
    return {"heights": 1} | coloured | cameras if view == "above" else cameras
