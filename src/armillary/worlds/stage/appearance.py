"""Appearance: what scenes look like. Training and evaluation draw from disjoint ranges.

Colours of things have one luminance, so that red and green differ in hue alone.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Literal

import numpy as np

from armillary.worlds.stage.scene import Colour, Shape

Split = Literal["train", "held_out"]
HUES = {"red": 0.0, "green": 0.33, "blue": 0.63, "yellow": 0.14}
SHAPES: tuple[Shape, ...] = ("disc", "square", "diamond")
_LUMINANCE = 118.0
_LUMA = np.array([0.299, 0.587, 0.114])
Bands = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Appearance:
    """Ranges to draw from; a number comes from any of its bands.

    Attributes:
        hue_off: added to a hue of ``HUES``, share of the circle.
        radius: of things, units.
        small, large: of things that differ in size alone.
        speed: units per step.
        background: grey level of the wall at the back.
        screen: grey level of screens.
        box: grey level of what stands.
    """

    hue_off: Bands
    radius: Bands
    small: Bands
    large: Bands
    speed: Bands
    background: Bands
    screen: Bands
    box: Bands

    def colour(self, hue: str, rng: np.random.Generator) -> Colour:
        """Draw a colour of a hue."""
        return _of_hue(HUES[hue] + draw(self.hue_off, rng))

    def grey(self, bands: Bands, rng: np.random.Generator) -> Colour:
        """Draw a grey with a little blue in it."""
        level = draw(bands, rng)
        return (0.96 * level, level, min(255.0, 1.06 * level))


TRAIN = Appearance(
    hue_off=((-0.035, -0.012), (0.012, 0.035)),
    radius=((3.8, 4.3), (4.7, 5.2)),
    small=((3.0, 3.2), (3.5, 3.7)),
    large=((5.2, 5.5), (5.8, 6.1)),
    speed=((1.7, 1.95), (2.1, 2.35), (2.5, 2.9)),
    background=((196.0, 212.0), (226.0, 244.0)),
    screen=((70.0, 84.0), (98.0, 112.0)),
    box=((128.0, 138.0), (150.0, 160.0)),
)
HELD_OUT = Appearance(
    hue_off=((-0.01, 0.01),),
    radius=((4.35, 4.65),),
    small=((3.25, 3.45),),
    large=((5.55, 5.75),),
    speed=((1.97, 2.08), (2.37, 2.48)),
    background=((214.0, 224.0),),
    screen=((86.0, 96.0),),
    box=((140.0, 148.0),),
)


def appearance(split: Split) -> Appearance:
    """Return the ranges of a split."""
    return TRAIN if split == "train" else HELD_OUT


def draw(bands: Bands, rng: np.random.Generator) -> float:
    """Draw a number from bands, each as likely as it is wide."""
    widths = np.array([high - low for low, high in bands])
    low, high = bands[int(rng.choice(len(bands), p=widths / widths.sum()))]
    return float(rng.uniform(low, high))


def _of_hue(hue: float) -> Colour:
    rgb = 255 * np.array(colorsys.hsv_to_rgb(hue % 1.0, 1.0, 1.0))
    luma = float(rgb @ _LUMA)
    if luma > _LUMINANCE:
        rgb = rgb * (_LUMINANCE / luma)
    else:  # towards white, which keeps the hue
        rgb = rgb + (255 - rgb) * (_LUMINANCE - luma) / (255 - luma)
    return (float(rgb[0]), float(rgb[1]), float(rgb[2]))
