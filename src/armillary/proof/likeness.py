"""Likeness: is a picture a near copy of another? Thumbnails and a hash of 256 bits.

A 64-bit hash is no evidence on simulator video: independent pictures of one world are nearer than
its usual threshold. Every threshold here is set on pictures of the same world.

Axes: M sought pictures, N seen pictures, H W image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from scipy.fft import dctn

from armillary.core.errors import ConfigError

RUN = 5  # so many pictures in a row must match; single ones match by chance
SIDE = 32
_HASH_SIDE, _HASH_FROM = 16, 64
_SOUGHT_AT_ONCE = 2048

Picture = UInt8[np.ndarray, "H W 3"]


@dataclass(frozen=True)
class Prints:
    """What is kept of pictures.

    Attributes:
        thumbnails: [M 32*32*3], levels.
        hashes: [M 32]: 256 bits each.
    """

    thumbnails: UInt8[np.ndarray, "M _"]
    hashes: UInt8[np.ndarray, "M 32"]

    def __len__(self) -> int:
        return len(self.hashes)


def prints(pictures: Iterable[Picture]) -> Prints:
    """Return the prints of pictures."""
    thumbnails, small = [], []
    for picture in pictures:
        grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
        thumbnails.append(_resized(picture, SIDE).reshape(-1))
        small.append(_resized(grey, _HASH_FROM))
    if not thumbnails:
        return Prints(np.zeros((0, SIDE * SIDE * 3), np.uint8), np.zeros((0, 32), np.uint8))
    return Prints(np.stack(thumbnails), _hashes(np.stack(small)))


def joined(parts: Sequence[Prints]) -> Prints:
    """Return prints one after another."""
    return Prints(
        np.concatenate([part.thumbnails for part in parts]),
        np.concatenate([part.hashes for part in parts]),
    )


def rmse(a: Prints, b: Prints) -> Float[np.ndarray, "M N"]:
    """Return the root mean square difference of every pair of thumbnails, in levels of 255."""
    x, y = (p.thumbnails.astype(np.float32) for p in (a, b))
    squares = (x * x).sum(1)[:, None] + (y * y).sum(1)[None] - 2 * (x @ y.T)
    return np.sqrt(np.maximum(squares, 0) / x.shape[1])


def hamming(a: Prints, b: Prints) -> Float[np.ndarray, "M N"]:
    """Return how many of 256 bits differ, for every pair."""
    x, y = (np.ascontiguousarray(p.hashes).view(np.uint64) for p in (a, b))
    bits = sum(np.bitwise_count(x[:, None, k] ^ y[None, :, k]).astype(np.int32) for k in range(4))
    return np.asarray(bits, np.float32)


@dataclass(frozen=True)
class Unit:
    """How far near copies are from what they copy: within this in both measures is one.

    Attributes:
        rmse: of thumbnails, levels of 255.
        bits: of 256.
    """

    rmse: float
    bits: float


def near_copy_unit(pairs: Iterable[tuple[Prints, Prints]], share: float = 0.95) -> Unit:
    """Return how far near copies stay from what they copy, over runs of pictures.

    Args:
        pairs: prints of an episode's pictures, and of near copies of them.
        share: of the runs that stay within.

    Raises:
        ConfigError: no episode has enough pictures for a run.
    """
    runs = [
        [run_distance(np.diag(measure(*pair))) for measure in (rmse, hamming)]
        for pair in pairs
        if len(pair[0]) >= RUN
    ]
    if not runs:
        raise ConfigError(f"Near copies need an episode of at least {RUN} pictures; none came.")
    levels, bits = np.quantile(np.array(runs), share, axis=0).tolist()
    return Unit(max(levels, 1e-3), max(bits, 1.0))


class Nearest:
    """How near every sought picture came to any picture seen so far; 1 is a near copy.

    Both measures must agree: the distance of two pictures is the larger of the two.

    Args:
        sought: their prints.
        unit: of the distances.
    """

    def __init__(self, sought: Prints, unit: Unit) -> None:
        self._sought, self._unit = sought, unit
        self.distances = np.full(len(sought), np.inf, np.float32)

    def see(self, seen: Prints) -> None:
        """Hold seen pictures against all that are sought."""
        for start in range(0, len(self._sought), _SOUGHT_AT_ONCE):
            part = slice(start, start + _SOUGHT_AT_ONCE)
            some = Prints(self._sought.thumbnails[part], self._sought.hashes[part])
            levels, bits = rmse(some, seen) / self._unit.rmse, hamming(some, seen) / self._unit.bits
            nearest = np.maximum(levels, bits).min(axis=1)
            self.distances[part] = np.minimum(self.distances[part], nearest)


def run_distance(distances: Float[np.ndarray, " M"], run: int = RUN) -> float:
    """Return the least distance within which ``run`` pictures in a row all matched.

    Args:
        distances: of consecutive pictures of one episode to whatever they are nearest to.
        run: how many; an episode with fewer pictures has none, and infinity is returned.
    """
    if len(distances) < run:
        return float("inf")
    windows = np.lib.stride_tricks.sliding_window_view(distances, run)
    return float(windows.max(axis=1).min())


def near_copies(pictures: Iterable[Picture], rng: np.random.Generator) -> Iterator[Picture]:
    """Yield what somebody would make of pictures to hide that they are copies.

    Brightness and contrast change a little, every pixel gets noise, and JPEG does the rest.
    """
    for picture in pictures:
        contrast, brightness = rng.uniform(0.97, 1.03), rng.uniform(-4.0, 4.0)
        noisy = picture * contrast + brightness + rng.normal(0.0, 3.0, picture.shape)
        yield jpeg(np.clip(noisy, 0, 255).astype(np.uint8), quality=int(rng.integers(60, 91)))


def jpeg(picture: Picture, quality: int) -> Picture:
    """Return a picture after JPEG."""
    bgr = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.cvtColor(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)


def _resized(picture: np.ndarray, side: int) -> np.ndarray:
    shrinks = min(picture.shape[:2]) >= side
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(picture), (side, side), interpolation=method)


def _hashes(grey: UInt8[np.ndarray, "M _ _"]) -> UInt8[np.ndarray, "M 32"]:
    """Return the low frequencies above their median, the mean left out of it.

    Source: Zauner 2010, "Implementation and benchmarking of perceptual image hash functions".
    """
    low = dctn(grey.astype(np.float64), axes=(1, 2))[:, :_HASH_SIDE, :_HASH_SIDE]
    flat = low.reshape(len(grey), -1)
    middle = np.median(flat[:, 1:], axis=1, keepdims=True)
    return np.packbits(flat > middle, axis=1)
