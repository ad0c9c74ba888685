"""Memory: remembered pictures of a scene with their latents. It draws, reads and measures.

A model like ours makes no pictures. A latent is drawn with the remembered pictures whose latents
are nearest, blended; so a thing between two remembered places appears twice, and faintly. The same
pictures give linear read-outs of recorded places, and what prediction error is usual.

Axes: F remembered frames, Z flattened latent, K principal directions, H W image, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from armillary.core.errors import DatasetError
from armillary.data import Cache, Windows
from armillary.data.layout import first_of_kind
from armillary.models import JEPA
from armillary.play.picture_map import PictureMap, by_camera, by_motion
from armillary.understanding import Calibration, calibrate
from armillary.understanding.probe_suite import encode_frames, frame_targets
from armillary.understanding.read_out import ReadOut, read_out_of_latents
from armillary.understanding.recorded_places import place_streams

_EXPLAINED, _DIRECTIONS = 0.98, 16
_BLENDED = 6
_SHARP, _SHARPER = 0.3, 0.05  # widths of the blend: of the usual distance, and of this one
_HELD_OUT = 4  # one episode in so many judges the read-outs
_LEAST_R2 = 0.5  # a worse read-out tells no place
_MOVES = 1e-6
_CLIPS, _CLIP_STEPS = 24, 20  # that tell what prediction error is usual


@dataclass(frozen=True)
class Place:
    """A recorded place that can be read from the latent, and lies on the picture.

    Attributes:
        read_out: of the place, in the recording's unit.
        on_picture: where it lies.
    """

    read_out: ReadOut
    on_picture: PictureMap


@dataclass(frozen=True)
class Memory:
    """What is remembered of a scene.

    Attributes:
        pictures: uint8.
        middle: mean latent.
        directions: in which latents differ here.
        coordinates: of each picture's latent along them.
        spacing: usual squared distance from a picture to its nearest.
        calibration: what prediction error is usual here.
        places: by the name of the truth stream.
        read_alone: names of places that are read, but of which nobody knows where they lie.
    """

    pictures: UInt8[np.ndarray, "F H W 3"]
    middle: Float[np.ndarray, " Z"]
    directions: Float[np.ndarray, "K Z"]
    coordinates: Float[np.ndarray, "F K"]
    spacing: float
    calibration: Calibration
    places: Mapping[str, Place]
    read_alone: tuple[str, ...]

    def draw(self, state: Float[np.ndarray, " Z"]) -> tuple[UInt8[np.ndarray, "H W 3"], float]:
        """Return the picture of a latent, and its distance from what is remembered.

        The distance is that to the nearest remembered latent; 1 is usual between neighbours.
        """
        apart = self._apart(state)
        nearest = np.argsort(apart, kind="stable")[:_BLENDED]
        least = float(apart[nearest[0]])
        width = _SHARP * self.spacing + _SHARPER * least
        shares = np.exp(-(apart[nearest] - least) / width)
        blend = np.tensordot(shares / shares.sum(), self.pictures[nearest].astype(np.float32), 1)
        return blend.round().astype(np.uint8), float(np.sqrt(least / self.spacing))

    def nearest(self, state: Float[np.ndarray, " Z"]) -> int:
        """Return the number of the picture whose latent is nearest, the first of equal ones."""
        return int(self._apart(state).argmin())

    def _apart(self, state: Float[np.ndarray, " Z"]) -> Float[np.ndarray, " F"]:
        here = (state - self.middle) @ self.directions.T
        return ((self.coordinates - here) ** 2).sum(1)


def remember(model: JEPA, cache: Cache, others: Cache | None = None) -> Memory:
    """Return a memory of the episodes of a cache.

    Args:
        model: encodes.
        cache: pictures of one scene, at the model's size.
        others: episodes that tell places and usual errors, of this scene or not; None for the same.

    Raises:
        DatasetError: there are no pictures, or no episode of two model steps.
    """
    latents, groups = encode_frames(model, cache, np.arange(cache.num_episodes))
    pictures = pictures_of(cache)
    middle = latents.mean(0)
    directions = _directions(latents - middle)
    coordinates = (latents - middle) @ directions.T
    labelled = cache if others is None else others
    if others is not None:
        latents, groups = encode_frames(model, others, np.arange(others.num_episodes))
    read = _read_outs(labelled, latents, groups)
    found, alone = _places(read, cache, pictures)
    return Memory(
        pictures,
        middle,
        directions,
        coordinates,
        _spacing(coordinates),
        _calibrated(model, labelled),
        found,
        alone,
    )


def pictures_of(cache: Cache) -> UInt8[np.ndarray, "F H W 3"]:
    """Return a picture of every frame: of the first camera, else depth in grey.

    Raises:
        DatasetError: there is no camera.
    """
    colour, depth = first_of_kind(cache.kinds), first_of_kind(cache.kinds, "depth")
    if colour is not None:
        return np.asarray(cache.arrays[colour])
    if depth is None:
        raise DatasetError(
            "There is no picture to draw: play needs a stream of colour or depth. Record one with "
            "--sensors."
        )
    millimetres = np.asarray(cache.arrays[depth], np.float32)
    known = millimetres[millimetres > 0]
    near, far = np.quantile(known, [0.01, 0.99]) if len(known) else (0.0, 1.0)
    grey = 255 * (far - millimetres) / max(far - near, 1.0)
    grey = np.where(millimetres > 0, grey.clip(0, 255), 0).astype(np.uint8)
    return np.repeat(grey[..., None], 3, -1)


def _directions(centred: np.ndarray) -> Float[np.ndarray, "K Z"]:
    """Return the principal directions that hold nearly all of the variance."""
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    held = np.cumsum(sizes**2) / max(float((sizes**2).sum()), 1e-12)
    return directions[: min(_DIRECTIONS, 1 + int((held < _EXPLAINED).sum()))]


def _spacing(coordinates: np.ndarray) -> float:
    lengths = (coordinates**2).sum(1)
    apart = lengths[:, None] + lengths - 2 * coordinates @ coordinates.T
    np.fill_diagonal(apart, np.inf)
    nearest = apart.min(1)
    moved = nearest[nearest > 1e-9]
    return float(np.median(moved)) if len(moved) else 1e-9


def _calibrated(model: JEPA, cache: Cache) -> Calibration:
    stride = model.config.frame_skip
    middle = int(np.median(cache.lengths))
    steps = min(_CLIP_STEPS, 1 + (middle - 1) // stride)
    if steps < 2:
        raise DatasetError(
            f"Half of the {len(cache)} episodes have {middle} steps at most, and a model step "
            f"takes {stride}. Give longer recordings."
        )
    windows = Windows(cache, None, steps, stride)
    count = min(_CLIPS, len(windows))
    clips = windows.gather(np.linspace(0, len(windows) - 1, count).astype(np.int64))
    return calibrate(model, clips)


def _places(
    read: Mapping[str, ReadOut], cache: Cache, pictures: np.ndarray
) -> tuple[dict[str, Place], tuple[str, ...]]:
    """Return the places that are read and drawn, and the names of those that are read alone."""
    camera = by_camera(cache)
    maps = {name: camera or _by_motion(cache, name, pictures) for name in read}
    found = {name: Place(read[name], made) for name, made in maps.items() if made is not None}
    return found, tuple(name for name, made in maps.items() if made is None)


def _by_motion(cache: Cache, name: str, pictures: np.ndarray) -> PictureMap | None:
    return by_motion(pictures, np.asarray(cache.arrays[name], np.float64))


def _read_outs(cache: Cache, latents: np.ndarray, groups: np.ndarray) -> dict[str, ReadOut]:
    """Return the read-outs of single places in the plane that hold in other episodes."""
    found = {}
    for name in place_streams(cache):
        truth = frame_targets(cache, np.arange(cache.num_episodes), name)
        read_out = _read_out(name, latents, truth, groups) if truth.shape[1] == 2 else None
        if read_out is not None:
            found[name] = read_out
    return found


def _read_out(
    name: str, latents: np.ndarray, truth: np.ndarray, groups: np.ndarray
) -> ReadOut | None:
    """Return a read-out that tells a place of other episodes, or None."""
    known = np.asarray(np.isfinite(truth).all(1))
    latents, truth, groups = latents[known], truth[known], groups[known]
    names = np.unique(groups)
    judge = np.isin(groups, names[::_HELD_OUT])
    if len(names) < _HELD_OUT or not (truth[judge].std(0) > _MOVES).all():
        return None
    found = read_out_of_latents(name, latents, truth, groups, judge)
    return found if found.r2 >= _LEAST_R2 else None
