"""Looks of the tabletop: the same scene in other colours, patterns and light.

``usual``: plain table and floor, their hues from yellow-green to violet; white light from above.
``new``: hues beside those, patterns, low and tinted light. Object 0 stays the warm-hued one, so
the task keeps its meaning.
``grey``: no hue at all; all that stands on the table has one grey, which is not the table's.
``textured``: usual things and light, strong patterns on table and floor.
``moving``: usual things, table and light; coloured noise drifts over the floor.

Axes: H W pattern or noise, in pixels.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8
from scipy import fft, ndimage

from armillary.worlds.tabletop.scene import TEXTURES, Rgb, Scene

_PATTERN_PX = TEXTURES["patterns"][0].side_px
_NOISE_PX = TEXTURES["noise"][0].side_px
# The greys of the grey look: of things and table, and of things and floor, at least so far apart.
_LEAST_TABLE_GAP = 0.2
_LEAST_FLOOR_GAP = 0.1
_DARKEST, _LIGHTEST = 0.05, 0.95
# Blur of each layer of noise and its share of the contrast: patches of about 5, 14 and 40 cm.
_NOISE_LAYERS = ((0.8, 45.0), (2.0, 60.0), (5.5, 60.0))
# Every layer moves by a whole pixel at least in one direction: no step leaves the noise as it was.
_DRIFT_PX_STEP = (1.5, 2.0)


def _new(scene: Scene, rng: np.random.Generator) -> Scene:
    """Hues that the usual look never has, patterns, low and tinted light."""
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
        textures="patterns",
    )


def _grey(scene: Scene, rng: np.random.Generator) -> Scene:
    """Without any hue; so dim that no grey is cut off at white, where greys would meet."""
    table = rng.uniform(0.3, 0.85)
    thing = _grey_beside(rng, ((table, _LEAST_TABLE_GAP),))
    floor = _grey_beside(rng, ((table, _LEAST_FLOOR_GAP), (thing, _LEAST_FLOOR_GAP)))
    return replace(
        scene,
        bodies=tuple(replace(body, rgb=(thing, thing, thing)) for body in scene.bodies),
        pusher_rgb=(thing, thing, thing),
        table_rgb=(table, table, table),
        floor_rgb=(floor, floor, floor),
        screen_rgb=(0.29, 0.29, 0.29),
        brightness=rng.uniform(0.65, 0.85),
    )


def _textured(scene: Scene, rng: np.random.Generator) -> Scene:
    """The floor is lighter than usual: on a dark one no pattern is strong."""
    hue, saturation, _ = colorsys.rgb_to_hsv(*scene.floor_rgb)
    return replace(
        scene,
        floor_rgb=_hsv(hue, saturation, rng.uniform(0.45, 0.8)),
        textures="patterns",
        pattern_shade=(0.4, 0.6),
    )


def _moving(scene: Scene, rng: np.random.Generator) -> Scene:
    """The noise is a texture, so the floor's own colour is white."""
    del rng
    return replace(scene, floor_rgb=(1.0, 1.0, 1.0), textures="noise")


_LOOKS: dict[str, Callable[[Scene, np.random.Generator], Scene]] = {
    "usual": lambda scene, _: scene,
    "new": _new,
    "grey": _grey,
    "textured": _textured,
    "moving": _moving,
}
APPEARANCES = tuple(_LOOKS)


def with_look(scene: Scene, appearance: str, rng: np.random.Generator) -> Scene:
    """Return the scene in one of ``APPEARANCES``; whatever stands somewhere stays there."""
    return _LOOKS[appearance](scene, rng)


class DriftingNoise:
    """Coloured noise of several scales, each of which drifts in its own direction.

    A function of the episode's chance and the time alone. It has no edges: it continues on its
    opposite side.

    Args:
        rng: chance of the episode.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._layers = [_noise_layer(rng, *layer) for layer in _NOISE_LAYERS]
        count = len(_NOISE_LAYERS)
        speed, way = rng.uniform(*_DRIFT_PX_STEP, count), rng.uniform(0, 2 * np.pi, count)
        self._drift = speed[:, None] * np.stack([np.cos(way), np.sin(way)], axis=-1)

    def at(self, step: int) -> UInt8[np.ndarray, "H W 3"]:
        """Return the noise at a step of the episode."""
        total = np.full((_NOISE_PX, _NOISE_PX, 3), 128, np.int16)
        for layer, drift in zip(self._layers, self._drift, strict=True):
            v, u = (np.rint(drift * step).astype(int) % _NOISE_PX).tolist()
            total += layer[v : v + _NOISE_PX, u : u + _NOISE_PX]
        return np.clip(total, 0, 255).astype(np.uint8)


def draw_patterns(
    rng: np.random.Generator, shade: tuple[float, float]
) -> tuple[UInt8[np.ndarray, "H W 3"], ...]:
    """Draw the patterns of table and floor: greys that their colours are multiplied with.

    Args:
        rng: chance of the episode.
        shade: least and largest share by which a pattern darkens.
    """
    kinds = list(_KINDS)
    drawn = []
    for _ in range(2):
        drawing = _KINDS[kinds[int(rng.integers(len(kinds)))]](rng)
        grey = 1.0 - rng.uniform(*shade) * drawing
        drawn.append(np.repeat((255 * grey).astype(np.uint8)[..., None], 3, axis=-1))
    return tuple(drawn)


def _grey_beside(rng: np.random.Generator, others: tuple[tuple[float, float], ...]) -> float:
    """Draw a grey evenly from all that are as far from the others as is said beside them."""
    while True:
        value = rng.uniform(_DARKEST, _LIGHTEST)
        if all(abs(value - other) >= gap for other, gap in others):
            return value


def _noise_layer(rng: np.random.Generator, blur_px: float, contrast: float) -> np.ndarray:
    """Return smooth noise of mean 0, int16, twice along both sides, so that it can be cut out.

    Args:
        rng: chance.
        blur_px: sigma of the Gaussian that smooths it.
        contrast: its standard deviation, of 255.
    """
    white = fft.rfft2(rng.standard_normal((3, _NOISE_PX, _NOISE_PX)))
    v, u = np.fft.fftfreq(_NOISE_PX)[:, None], np.fft.rfftfreq(_NOISE_PX)
    smooth = fft.irfft2(white * np.exp(-2 * (np.pi * blur_px) ** 2 * (u**2 + v**2)))
    smooth -= smooth.mean(axis=(1, 2), keepdims=True)
    smooth *= contrast / smooth.std(axis=(1, 2), keepdims=True)
    return np.tile(np.rint(smooth).astype(np.int16).transpose(1, 2, 0), (2, 2, 1))


def _checks(rng: np.random.Generator) -> np.ndarray:
    cell = _PATTERN_PX // int(rng.choice([2, 4]))
    v, u = np.mgrid[:_PATTERN_PX, :_PATTERN_PX] // cell
    return ((u + v) % 2).astype(float)


def _stripes(rng: np.random.Generator) -> np.ndarray:
    """Waves whose number along both sides is whole, so that tiles join."""
    waves = rng.integers(1, 4, 2)
    v, u = np.mgrid[:_PATTERN_PX, :_PATTERN_PX] / _PATTERN_PX
    return 0.5 + 0.5 * np.sin(2 * np.pi * (waves[0] * u + waves[1] * v))


def _marble(rng: np.random.Generator) -> np.ndarray:
    smooth = ndimage.gaussian_filter(
        rng.standard_normal((_PATTERN_PX, _PATTERN_PX)), rng.uniform(2.0, 5.0), mode="wrap"
    )
    return (smooth - smooth.min()) / np.ptp(smooth)


def _dots(rng: np.random.Generator) -> np.ndarray:
    cell, radius = _PATTERN_PX // int(rng.choice([2, 4])), rng.uniform(0.2, 0.4)
    v, u = (np.mgrid[:_PATTERN_PX, :_PATTERN_PX] % cell + 0.5) / cell - 0.5
    return (np.hypot(u, v) < radius).astype(float)


_KINDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "checks": _checks,
    "stripes": _stripes,
    "marble": _marble,
    "dots": _dots,
}


def _hsv(hue: float, saturation: float, value: float) -> Rgb:
    return colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
