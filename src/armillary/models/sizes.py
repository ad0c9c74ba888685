"""Sizes: the shapes that one word chooses, and which modules a shape is made of."""

from __future__ import annotations

from typing import Literal

from armillary.models.encoder import Encoder, EncoderConfig
from armillary.models.predictor import Predictor, PredictorConfig
from armillary.models.token_predictor import TokenPredictor
from armillary.models.vit import VisionTransformer

Size = Literal["tiny", "small", "base", "large"]


def _vit(width: int, depth: int, heads: int) -> EncoderConfig:
    return EncoderConfig(
        image_size=224, patch=16, patch_hidden=width, depth=depth, heads=heads, tokens=64, width=32
    )


def _blocks(width: int, depth: int, heads: int) -> PredictorConfig:
    return PredictorConfig(memory=32, hidden=width, depth=depth, heads=heads)


# The shapes of ViT-S, ViT-B and ViT-L, each with a predictor of half its depth. ``tiny`` is
# not here: its encoder and predictor are as the recipe gives them.
SIZES: dict[str, tuple[EncoderConfig, PredictorConfig]] = {
    "small": (_vit(384, 12, 6), _blocks(256, 6, 4)),
    "base": (_vit(768, 12, 12), _blocks(384, 6, 6)),
    "large": (_vit(1024, 24, 16), _blocks(512, 12, 8)),
}


def make_encoder(
    config: EncoderConfig, grid: bool, loose: bool, cameras: int = 1
) -> Encoder | VisionTransformer:
    """Return the encoder of a shape.

    Args:
        config: its shape.
        grid: whether there are patches of a picture.
        loose: whether there are tokens in no order.
        cameras: how many pictures have patches, one after another.

    Raises:
        ConfigError: a vision transformer cannot see these sensors.
    """
    kind = VisionTransformer if config.depth else Encoder
    return kind(config, grid, loose, cameras)


def make_predictor(
    config: PredictorConfig, encoder: EncoderConfig, action_width: int
) -> Predictor | TokenPredictor:
    """Return the predictor of a shape.

    Args:
        config: its shape.
        encoder: shape of the encoder, whose tokens are predicted.
        action_width: A; 0 for plain video.
    """
    if config.depth:
        return TokenPredictor(config, encoder.tokens, encoder.width, action_width)
    return Predictor(config, encoder.tokens * encoder.width, action_width)
