"""Looks of the tabletop: the same scene in colours, patterns and light that training never saw.

The usual table and floor are plain, their hues from yellow-green to violet, the light is white and
comes from above. In the new look hues lie beside those, table and floor have patterns, the light
is low and tinted. Object 0 stays the warm-hued one, so the task keeps its meaning.

Axes: H W pattern, in pixels.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8
from scipy import ndimage

from armillary.worlds.tabletop_scene import PATTERN_PX, Rgb, Scene

APPEARANCES = ("usual", "new")


def new_look(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return the scene with another look; whatever stands somewhere stays there."""
    turn, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(1.1, 1.7)
    table_value = rng.uniform(0.45, 0.95)
    warm = rng.uniform(-1.0, 1.0)
    bodies = tuple(
        replace(
            body,
            rgb=_hsv(
                rng.uniform(0.0, 0.12) if index == 0 else rng.uniform(0.36, 0.74),
                rng.uniform(0.55, 0.75),
                rng.uniform(0.6, 0.78),
            ),
        )
        for index, body in enumerate(scene.bodies)
    )
    return replace(
        scene,
        bodies=bodies,
        pusher_rgb=_hsv(rng.uniform(0.8, 0.9), 0.6, 0.35 if table_value > 0.65 else 1.0),
        table_rgb=_hsv(rng.uniform(0.66, 1.05), rng.uniform(0.18, 0.4), table_value),
        floor_rgb=_hsv(rng.uniform(0.05, 0.45), rng.uniform(0.2, 0.5), rng.uniform(0.45, 0.8)),
        light_dir=(float(tilt * np.cos(turn)), float(tilt * np.sin(turn)), -1.0),
        light_rgb=(1.0 + 0.25 * max(warm, 0), 1.0, 1.0 + 0.25 * max(-warm, 0)),
        brightness=rng.uniform(0.7, 1.15),
        ambient=rng.uniform(0.3, 0.5),
        patterned=True,
    )


def draw_patterns(rng: np.random.Generator) -> tuple[UInt8[np.ndarray, "H W 3"], ...]:
    """Draw the patterns of table and floor: greys that their colours are multiplied with."""
    kinds = list(_KINDS)
    drawn = []
    for _ in range(2):
        shade = _KINDS[kinds[int(rng.integers(len(kinds)))]](rng)
        grey = 1.0 - rng.uniform(0.25, 0.5) * shade
        drawn.append(np.repeat((255 * grey).astype(np.uint8)[..., None], 3, axis=-1))
    return tuple(drawn)


def _checks(rng: np.random.Generator) -> np.ndarray:
    cell = PATTERN_PX // int(rng.choice([2, 4]))
    v, u = np.mgrid[:PATTERN_PX, :PATTERN_PX] // cell
    return ((u + v) % 2).astype(float)


def _stripes(rng: np.random.Generator) -> np.ndarray:
    """Waves whose number along both sides is whole, so that tiles join."""
    waves = rng.integers(1, 4, 2)
    v, u = np.mgrid[:PATTERN_PX, :PATTERN_PX] / PATTERN_PX
    return 0.5 + 0.5 * np.sin(2 * np.pi * (waves[0] * u + waves[1] * v))


def _marble(rng: np.random.Generator) -> np.ndarray:
    smooth = ndimage.gaussian_filter(
        rng.standard_normal((PATTERN_PX, PATTERN_PX)), rng.uniform(2.0, 5.0), mode="wrap"
    )
    return (smooth - smooth.min()) / np.ptp(smooth)


def _dots(rng: np.random.Generator) -> np.ndarray:
    cell, radius = PATTERN_PX // int(rng.choice([2, 4])), rng.uniform(0.2, 0.4)
    v, u = (np.mgrid[:PATTERN_PX, :PATTERN_PX] % cell + 0.5) / cell - 0.5
    return (np.hypot(u, v) < radius).astype(float)


_KINDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "checks": _checks,
    "stripes": _stripes,
    "marble": _marble,
    "dots": _dots,
}


def _hsv(hue: float, saturation: float, value: float) -> Rgb:
    return colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
