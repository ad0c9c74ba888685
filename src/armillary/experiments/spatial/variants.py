"""Variants: the recipe ``world`` with other sensors, and models of the same size.

Each variant gives the encoder 64 tokens a picture, has the parameters of the base's model up to 2 %
(its hidden width is chosen for that), and learns by the same objective for as many steps. Its
visual words are of what it sees: from above where places are known, else in the picture. None has a
reconstruction, which only some of them could have.

A picture is read by its grid. Tokens that lie in space are read by their places.

The model of all sensors has all their tokens and is as wide, so larger, and learns for longer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

from armillary.core.errors import ConfigError
from armillary.models import JEPA, JEPAConfig
from armillary.models.config import STREAMS_OF, Sensor
from armillary.recipes.recipe import Recipe

TOLERANCE = 0.02
_MOST_HIDDEN = 1 << 14
_CLOUD_POINTS = 128  # of 4,096 pixels of the tabletop, 50 to 80 show things
_NEAR = 4  # of a group: 64 groups of 4 tell each point twice


@dataclass(frozen=True)
class Variant:
    """What one variant sees.

    Attributes:
        said: the same in words.
        sensors: of the model.
        reads: as in ``EncoderConfig``.
    """

    said: str
    sensors: tuple[Sensor, ...]
    reads: Literal["grid", "places"] = "grid"


VARIANTS: dict[str, Variant] = {
    "rgb": Variant("colour", ("rgb",)),
    "rgb_pose": Variant("colour and where the camera stands", ("rgb", "pose")),
    "rgb_depth": Variant("colour, and depth as a fourth channel", ("rgb", "depth")),
    "point_map_camera": Variant(
        "colour, and depth as points in the camera's frame", ("rgb", "points_camera"), "places"
    ),
    "point_map_world": Variant(
        "colour, and depth as points in the world", ("filled_cloud",), "places"
    ),
    "points": Variant("points in the world, without colour and order", ("depth_cloud",), "places"),
}
FUSED = Variant("all of it, any of it", ("rgb", "pose", "depth_cloud", "filled_cloud"))
# By the name of the variant that sees as much, where there is one.
SUBSETS: dict[str, tuple[Sensor, ...]] = {
    "all": FUSED.sensors,
    "rgb": ("rgb",),
    "rgb_pose": ("rgb", "pose"),
    "point_map_world": ("filled_cloud",),
    "points": ("depth_cloud",),
}


def variant_recipe(variant: Variant, base: Recipe, action_width: int = 2) -> Recipe:
    """Return the recipe that trains a variant.

    Args:
        variant: what it sees.
        base: training, adapted to the data, and the model whose size is aimed at.
        action_width: of a world step, which counts as parameters.

    Raises:
        ConfigError: no hidden width brings the parameters within ``TOLERANCE`` of the base's.
    """
    wanted = parameters(_fitted(base.model, action_width))
    augment = base.augment
    if not any("depth_m" in STREAMS_OF[sensor] for sensor in variant.sensors):
        # it would change nothing that is seen
        augment = replace(augment, world=augment.world.with_depth_as_it_is())
    model = _of_size(_seeing(variant, base.model), wanted, action_width)
    return replace(base, model=model, augment=augment)


def fused_recipe(base: Recipe, dropout: float) -> Recipe:
    """Return the recipe of one model for all sensors and any subset of them.

    It is as wide as the base's model and has all the tokenizers, so it is larger than a variant:
    with as many parameters it would be 0.55 times as wide as that of colour alone.

    Args:
        base: training, adapted to the data, and the model whose width it has.
        dropout: probability that a sensor is left out of a clip.
    """
    return replace(
        base,
        model=replace(_seeing(FUSED, base.model), optional_sensors=FUSED.sensors),
        objective=replace(base.objective, sensor_dropout=dropout),
    )


def _seeing(variant: Variant, base: JEPAConfig) -> JEPAConfig:
    encoder = replace(base.encoder, reads=variant.reads)
    return replace(
        base,
        sensors=variant.sensors,
        encoder=encoder,
        optional_sensors=(),
        cloud_tokens=encoder.num_patches,
        cloud_near=_NEAR,
        cloud_points=max(_CLOUD_POINTS, encoder.num_patches),
    )


def parameters(config: JEPAConfig) -> int:
    """Return how many weights a model of this shape has; no memory is taken for them."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in JEPA(config).parameters())


def _of_size(model: JEPAConfig, wanted: int, action_width: int) -> JEPAConfig:
    """Return the model with the hidden width whose number of parameters is nearest."""

    def sized(hidden: int) -> JEPAConfig:
        return replace(model, encoder=replace(model.encoder, hidden=hidden))

    def count(hidden: int) -> int:
        return parameters(_fitted(sized(hidden), action_width))

    low, high = 1, _MOST_HIDDEN
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= wanted else (low, middle)
    nearest = min((low, high), key=lambda hidden: abs(count(hidden) - wanted))
    if abs(count(nearest) - wanted) > TOLERANCE * wanted:
        raise ConfigError(
            f"A model with {', '.join(model.sensors)} cannot have {wanted:,} parameters within "
            f"{TOLERANCE:.0%}; the nearest has {count(nearest):,}. Use a larger base."
        )
    return sized(nearest)


def _fitted(model: JEPAConfig, action_width: int) -> JEPAConfig:
    return replace(model, action_width=action_width * model.frame_skip)
