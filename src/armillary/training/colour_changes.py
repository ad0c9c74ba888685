"""Colour changes: clips of the same scene in other colours and another light.

A clip's change is drawn once and applied to all its pictures of all its cameras, so that what moves
in it moves as before. All but the shade is one affine map of red, green and blue.

Axes: B clips, T steps, H W image.
Source: colour jitter as in Chen et al. 2020 (SimCLR, 2002.05709), appendix A. Colours turn about
the luminance axis, in the YIQ plane.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float64, UInt8

from armillary.core.errors import ConfigError
from armillary.core.values import Batch
from armillary.training.clean import with_clean

_LUMA = (0.299, 0.587, 0.114)
_IN_YIQ = np.array([_LUMA, (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135)])
_MIDDLE = 127.5
_WAVES = 3  # most waves of a shade along a side


@dataclass(frozen=True)
class ColourChanges:
    """How far the colours of a clip are changed.

    Attributes:
        brightness: all of it brighter or darker by up to this share.
        contrast: differences from the middle value larger or smaller by up to this share.
        saturation: distances from the luminance axis larger or smaller by up to this share.
        colour_turns: turned round the colour circle by up to so much to either side; 0.5: to any.
        tint: red, green and blue each stronger or weaker by up to this share, as under coloured
            light.
        shade: a wave of light and dark over the picture takes away up to this share.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    colour_turns: float = 0.0
    tint: float = 0.0
    shade: float = 0.0

    def __post_init__(self) -> None:
        shares = self.brightness, self.contrast, self.saturation, self.tint, self.shade
        if not all(0 <= share < 1 for share in shares) or not 0 <= self.colour_turns <= 0.5:
            raise ConfigError(
                "augment.colour: brightness, contrast, saturation, tint and shade lie within 0 to "
                f"1, colour_turns within 0 to 0.5 turns; got {shares} and {self.colour_turns}."
            )


def change_colours(batch: Batch, config: ColourChanges, rng: np.random.Generator) -> Batch:
    """Return the clips in other colours.

    Args:
        batch: clips.
        config: how far.
        rng: one generator for the whole batch.
    """
    maps = [draw_map(config, rng) for _ in range(len(batch.valid))]
    shades = [draw_shade(config.shade, rng) for _ in range(len(batch.valid))]
    streams = with_clean(batch.streams, "rgb")
    for name in [name for name in streams if name.startswith("rgb")]:
        pictures = streams[name].numpy()
        clips = [_changed(*one) for one in zip(pictures, maps, shades, strict=True)]
        streams[name] = torch.from_numpy(np.stack(clips))
    return Batch(streams, batch.actions, batch.valid)


def draw_map(config: ColourChanges, rng: np.random.Generator) -> Float64[np.ndarray, "3 4"]:
    """Draw an affine map of colours in 0 to 255: a matrix, and in its last column what is added."""
    brightness, contrast, saturation = (
        1 + share * rng.uniform(-1, 1)
        for share in (config.brightness, config.contrast, config.saturation)
    )
    angle = 2 * math.pi * config.colour_turns * rng.uniform(-1, 1)
    turn = np.eye(3)
    turn[1:, 1:] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    flat = np.tile(_LUMA, (3, 1))
    linear = (saturation * np.eye(3) + (1 - saturation) * flat) @ np.linalg.inv(_IN_YIQ) @ turn
    gains = brightness * (1 + config.tint * rng.uniform(-1, 1, (3, 1)))
    added = np.full((3, 1), (1 - contrast) * _MIDDLE)
    return gains * np.concatenate([contrast * (linear @ _IN_YIQ), added], axis=1)


def draw_shade(most: float, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Draw a wave: its share, its waves along rows and columns, and its phase in radians."""
    down, right = rng.uniform(-_WAVES, _WAVES, 2)
    return most * rng.uniform(), down, right, rng.uniform(0, 2 * math.pi)


def _changed(
    clip: UInt8[np.ndarray, "T H W 3"],
    linear: Float64[np.ndarray, "3 4"],
    wave: tuple[float, float, float, float],
) -> UInt8[np.ndarray, "T H W 3"]:
    steps, height, width, _ = clip.shape
    # rounds and saturates; a clip is one tall picture to it
    changed = cv2.transform(clip.reshape(steps * height, width, 3), linear)
    if wave[0]:
        light = np.tile(_light(wave, height, width), (steps, 1, 1))
        changed = cv2.multiply(changed, light, scale=1 / 255)
    return changed.reshape(clip.shape)


def _light(
    wave: tuple[float, float, float, float], height: int, width: int
) -> UInt8[np.ndarray, "H W 3"]:
    """Return what is left of the light at each pixel, of 255."""
    share, down, right, phase = wave
    rows = np.linspace(0, 2 * math.pi * down, height)[:, None]
    columns = np.linspace(0, 2 * math.pi * right, width)
    left = 1 - share * (0.5 + 0.5 * np.sin(rows + columns + phase))
    return np.repeat((255 * left).astype(np.uint8)[..., None], 3, axis=-1)
