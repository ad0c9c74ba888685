"""Depth noise: what stereo and structured-light sensors do to a true depth picture.

Their error grows with the square of the depth, and they see nothing in three places: on the far
side of an edge (one of the two eyes is blocked there), and in blobs where a surface shines, is
black, or has no texture.

Numpy: data preparation; chance is an argument.

Axes: *B any batch axes, H W image.
Convention: depth is camera z in metres; NaN, infinity, 0 and below are invalid and stay as they
are; a hole is NaN.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from armillary.core.errors import ConfigError

_PICTURE = (-2, -1)


def noisy_depth(
    depth_m: Float[np.ndarray, "*B H W"],
    rng: np.random.Generator,
    share: float = 0.015,
    at_m: float = 1.0,
) -> Float[np.ndarray, "*B H W"]:
    """Return depth with noise whose sigma is ``share * z * (z / at_m)``, cut at three sigma.

    Args:
        depth_m: the truth.
        rng: chance.
        share: sigma over depth at the distance ``at_m``; sensors of one metre's reach have
            0.01 to 0.02.
        at_m: distance where the share holds; twice as far it is twice the share.

    Returns:
        Depth; NaN where noise would have put a point at or behind the camera.

    Raises:
        ConfigError: a share below 0, or a distance that is not positive.
    """
    if not (share >= 0 and at_m > 0):
        raise ConfigError(
            f"Depth noise has a share of 0 or more at a distance above 0 m, got {share} at {at_m}."
        )
    valid = _valid(depth_m)
    kind = np.float32 if depth_m.dtype == np.float32 else np.float64
    noise = rng.standard_normal(depth_m.shape, kind).clip(-3, 3)
    truth = np.where(valid, depth_m, kind(1))
    noisy = truth + noise * np.square(truth) * kind(share / at_m)
    return np.where(valid & (noisy > 0), noisy, np.where(valid, np.nan, depth_m)).astype(
        depth_m.dtype
    )


def depth_holes(
    depth_m: Float[np.ndarray, "*B H W"],
    rng: np.random.Generator,
    edge_share: float = 0.5,
    blob_share: float = 0.03,
    edge_px: int = 2,
    blob_px: float = 3.0,
    jump: float = 0.05,
) -> Float[np.ndarray, "*B H W"]:
    """Return depth with holes.

    Args:
        depth_m: camera z.
        rng: chance.
        edge_share: share of the pixels on the far side of edges that are lost.
        blob_share: share of each picture's pixels that lie in blobs.
        edge_px: how far from an edge its far side reaches.
        blob_px: size of blobs (sigma of the noise that shapes them).
        jump: a pixel is on the far side where something within ``edge_px`` is nearer by this
            share.

    Raises:
        ConfigError: a share outside 0..1, or sizes that are not positive.
    """
    if not (0 <= edge_share <= 1 and 0 <= blob_share <= 1):
        raise ConfigError(f"Shares of holes are within 0 to 1, got {edge_share} and {blob_share}.")
    if edge_px < 1 or blob_px <= 0 or jump <= 0:
        raise ConfigError(
            f"Holes have edge_px of 1 or more, blob_px and jump above 0; got {edge_px}, {blob_px} "
            f"and {jump}."
        )
    far = far_side(depth_m, edge_px, jump)
    lost = _lowest(_smooth(rng, depth_m.shape, 1.0), far, edge_share)
    lost |= hole_blobs(depth_m.shape, rng, blob_share, blob_px)
    return np.where(lost & _valid(depth_m), np.nan, depth_m).astype(depth_m.dtype)


def hole_blobs(
    shape: tuple[int, ...],
    rng: np.random.Generator,
    share: float,
    size_px: float = 3.0,
    tiles: bool = False,
) -> Bool[np.ndarray, "*B H W"]:
    """Return blobs by chance, which cover a share of each picture.

    Args:
        shape: of the pictures, with any batch axes before theirs.
        rng: chance.
        share: in 0..1.
        size_px: sigma of the noise that shapes them.
        tiles: whether blobs go on at the opposite edge, so that they may be moved round.
    """
    if not share:
        return np.zeros(shape, bool)
    edges = "wrap" if tiles else "reflect"
    return _lowest(_smooth(rng, shape, size_px, edges), np.ones(shape, bool), share)


def far_side(depth_m: Float[np.ndarray, "*B H W"], edge_px: int, jump: float) -> np.ndarray:
    """Return where a pixel has a neighbour within ``edge_px`` that is nearer by a share."""
    valid = _valid(depth_m)
    side = 2 * edge_px + 1
    near = ndimage.minimum_filter(np.where(valid, depth_m, np.inf), size=side, axes=_PICTURE)
    return valid & (np.where(valid, depth_m, 0.0) > near * (1 + jump))


def _smooth(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    sigma: float,
    edges: Literal["reflect", "wrap"] = "reflect",
) -> np.ndarray:
    return ndimage.gaussian_filter(rng.standard_normal(shape), sigma, mode=edges, axes=_PICTURE)


def _lowest(noise: np.ndarray, among: np.ndarray, share: float) -> np.ndarray:
    """Return, in each picture, the share of the pixels in ``among`` where noise is lowest."""
    flat = np.where(among, noise, np.inf).reshape(*noise.shape[:-2], -1)
    wanted = np.rint(share * among.sum(axis=_PICTURE)).astype(np.int64)[..., None]
    ranked = np.append(np.sort(flat, axis=-1), np.full_like(flat[..., :1], np.inf), axis=-1)
    return (flat < np.take_along_axis(ranked, wanted, axis=-1)).reshape(noise.shape)


def _valid(depth_m: np.ndarray) -> np.ndarray:
    return np.isfinite(depth_m) & (depth_m > 0)
