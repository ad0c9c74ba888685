"""``check_format``: what a dataset format promises, tried on it. For everyone who writes one.

    check_format(write, read)    # write(path, episodes), read(path) -> episodes

Episodes that count are written and read back: picture, depth, labels, points, ranges, pose, vectors
and actions of a step all say the step's number, so whatever is out of place by one step, row or
channel is seen. Pictures may be lossy; everything else may not.

Axes: T time, A action, H W image, P points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import Float, Float32, Integer, UInt8

from armillary.core.errors import CheckFailedError
from armillary.core.values import Episode, Stream

FPS = 20
_LENGTHS = (9, 12, 10)
_ROWS, _COLUMNS = 32, 48
_SIDE = 4  # a number is drawn as 4 x 4 blocks, one bit each
_DARK, _BRIGHT = 40, 200
_FEATURES = ("x", "y", "z", "ring")
_BEAMS = np.stack([np.linspace(-1.5, 1.5, 11), np.full(11, 0.1)], 1)
_LENS = np.array([[40.0, 0.0, 23.5], [0.0, 41.0, 15.5], [0.0, 0.0, 1.0]])

Write = Callable[[Path, Sequence[Episode]], object]
Read = Callable[[Path], Iterable[Episode]]


def check_format(write: Write, read: Read, without: Sequence[str] = ()) -> None:
    """Try a format: what is written comes back, each thing in its place, twice the same bytes.

    Args:
        write: writes episodes of about 20 steps per second below a path that does not exist yet
            (as a folder or a file).
        read: gives the episodes that lie there, in the order of writing.
        without: names of streams that the format does not carry; they are not written. There are
            ``rgb``, ``depth``, ``segmentation``, ``points``, ``lidar``, ``world_from_camera``,
            ``proprio``, ``count``.

    Raises:
        CheckFailedError: names the first promise that did not hold.
    """
    with TemporaryDirectory() as scratch:
        first, second, plain = (Path(scratch) / name / "dataset" for name in ("a", "b", "plain"))
        for path in (first, second):
            path.parent.mkdir()
            write(path, counting_episodes(without))
        _check_episodes(list(read(first)), counting_episodes(without))
        _check_bytes(first, second)
        plain.parent.mkdir()
        write(plain, counting_episodes(without, actions=False))
        none = all(episode.actions is None for episode in read(plain))
        _hold(none, "actions: plain video is read back without actions")


def counting_episodes(without: Sequence[str] = (), *, actions: bool = True) -> list[Episode]:
    """Return three episodes in which everything says the number of its step.

    Args:
        without: names of streams to leave out.
        actions: whether there are any; action t is (number of step t, number of step t+1).
    """
    return [_episode(index, without, actions) for index in range(len(_LENGTHS))]


def _episode(index: int, without: Sequence[str], actions: bool) -> Episode:
    number = _numbers(index)
    steps, column = np.arange(len(number)), number[:, None].astype(np.float32)
    pictures = np.stack([_draw(int(n)) for n in number])
    streams = {
        "rgb": Stream("rgb", pictures, "", "camera", _LENS + index),
        "depth": Stream("depth", _depth(number), "m", "camera", _LENS + index),
        "segmentation": Stream("segmentation", pictures[..., 0] // 100 + 3),
        "points": Stream("points", _points(number), "m", "lidar", columns=_FEATURES),
        "lidar": Stream("lidar", _ranges(number), "m", "lidar", beams_rad=_BEAMS),
        "world_from_camera": Stream("pose", _poses(number), "m", "world"),
        "proprio": Stream("proprio", np.concatenate([column, -column, column / 2], 1), "rad", ""),
        "count": Stream("truth", column, "m", "world"),
    }
    return Episode(
        streams={name: stream for name, stream in streams.items() if name not in without},
        # not quite regular, as clocks are: what is made up from the rate would not pass
        time_ns=(steps * 50_000_000 + steps % 3 * 1_000_003).astype(np.int64),
        actions=np.stack([number[:-1], number[1:]], 1).astype(np.float32) if actions else None,
        source=f"counting, episode {index}",
        license="CC0-1.0",
    )


def _numbers(index: int) -> Integer[np.ndarray, " T"]:
    return 1000 * (index + 1) + np.arange(_LENGTHS[index])


def _draw(number: int) -> UInt8[np.ndarray, "H W 3"]:
    """Draw 16 bits: 1 is red, 0 is blue."""
    bits = (number >> np.arange(_SIDE**2) & 1).reshape(_SIDE, _SIDE)
    red = np.kron(bits, np.ones((_ROWS // _SIDE, _COLUMNS // _SIDE), np.int64))
    red = _DARK + (_BRIGHT - _DARK) * red
    return np.stack([red, np.full_like(red, 100), _DARK + _BRIGHT - red], -1).astype(np.uint8)


def _read_numbers(pictures: np.ndarray) -> list[int]:
    shape = (len(pictures), _SIDE, _ROWS // _SIDE, _SIDE, _COLUMNS // _SIDE, 3)
    blocks = pictures.reshape(shape).astype(np.float64).mean((2, 4))
    bits = (blocks[..., 0] > blocks[..., 2]).reshape(len(pictures), -1)
    return (bits << np.arange(_SIDE**2)).sum(-1).tolist()


def _depth(number: np.ndarray) -> Float32[np.ndarray, "T H W"]:
    """The number in millimetres and a slope; the top rows are invalid, one pixel is far away."""
    slope = np.arange(_ROWS)[:, None] + 100 * np.arange(_COLUMNS)
    depth_m = (number[:, None, None] + slope).astype(np.float32) / np.float32(1000.0)
    depth_m[:, :2] = np.nan
    depth_m[:, 5, 7] = 20.001
    return depth_m


def _points(number: np.ndarray) -> Float32[np.ndarray, "T P 4"]:
    """As many points as the last digit, each saying the number and its own place; then NaN."""
    points = np.full((len(number), 9, 4), np.nan, np.float32)
    for row, value in zip(points, number, strict=True):
        count = int(value) % 10
        row[:count, 0], row[:count, 2] = value, -value
        row[:count, 1] = row[:count, 3] = np.arange(count)
    return points[:, : int((number % 10).max())]


def _ranges(number: np.ndarray) -> Float32[np.ndarray, "T N"]:
    ranges = number[:, None] / np.float32(100) + np.arange(11, dtype=np.float32)
    ranges[number % 2 == 0, 3] = np.nan
    return ranges.astype(np.float32)


def _poses(number: np.ndarray) -> Float[np.ndarray, "T 4 4"]:
    angle = number / 100.0
    poses = np.tile(np.eye(4), (len(number), 1, 1))
    poses[:, 0, 0] = poses[:, 1, 1] = np.cos(angle)
    poses[:, 1, 0], poses[:, 0, 1] = np.sin(angle), -np.sin(angle)
    poses[:, :3, 3] = number[:, None] / 1000.0 * np.array([1.0, 2.0, -1.0])
    return poses


def _check_episodes(found: Sequence[Episode], wanted: Sequence[Episode]) -> None:
    lengths = [len(episode) for episode in found]
    right = lengths == list(_LENGTHS)
    _hold(right, f"lengths: episodes of {list(_LENGTHS)} steps come back so (got {lengths})")
    for index, (got, want) in enumerate(zip(found, wanted, strict=True)):
        _check_names(index, got, want)
        for name, stream in want.streams.items():
            _check_stream(index, name, got.streams[name], stream)
        _check_actions(index, got)
        exact = got.time_ns.dtype == np.int64 and np.array_equal(got.time_ns, want.time_ns)
        _hold(exact, f"times: episode {index} keeps its times to the nanosecond, as int64")
        same_source = (got.source, got.license) == (want.source, want.license)
        _hold(same_source, f"source: episode {index} keeps its source and licence")


def _check_names(index: int, got: Episode, want: Episode) -> None:
    names, wanted = sorted(got.streams), sorted(want.streams)
    _hold(names == wanted, f"names: episode {index} has the streams {wanted} (got {names})")
    for name, stream in want.streams.items():
        other = got.streams[name]
        said = (other.kind, other.unit, other.frame)
        expected = (stream.kind, stream.unit, stream.frame)
        _hold(
            said == expected, f"units: {name!r} keeps kind, unit and frame {expected} (got {said})"
        )
        lens, known = other.intrinsics, stream.intrinsics
        same = lens is None if known is None else lens is not None and np.allclose(lens, known)
        _hold(same, f"intrinsics: {name!r} of episode {index} keeps its 3x3 K, or its lack of one")
        named = other.columns == stream.columns
        _hold(named, f"columns: {name!r} of episode {index} keeps its columns {stream.columns}")
        fan, beams = other.beams_rad, stream.beams_rad
        same = fan is None if beams is None else fan is not None and np.array_equal(fan, beams)
        _hold(same, f"beams: {name!r} of episode {index} keeps the directions of its beams")


def _check_stream(index: int, name: str, got: Stream, want: Stream) -> None:
    values, wanted = got.values, want.values
    right = values.shape == wanted.shape and values.dtype == wanted.dtype
    found = f"{values.dtype} {list(values.shape)}"
    _hold(right, f"{name}: is {wanted.dtype} {list(wanted.shape)} (got {found})")
    if want.kind == "rgb":
        numbers, drawn = _read_numbers(values), _read_numbers(wanted)
        _hold(numbers == drawn, f"{name}: frames of episode {index} show {drawn} (got {numbers})")
    elif want.kind == "depth":
        _check_depth(index, values, wanted)
    else:
        # poses pass through float32 in some formats: a micrometre is no loss
        atol = 1e-6 if want.kind == "pose" else 0
        close = np.allclose(values, wanted, rtol=0, atol=atol, equal_nan=True)
        _hold(close, f"{name}: {_first_apart(index, values, wanted)} comes back as it was written")


def _check_depth(index: int, got_m: np.ndarray, want_m: np.ndarray) -> None:
    gaps = np.array_equal(np.isnan(got_m), np.isnan(want_m))
    _hold(gaps, f"depth: invalid pixels of episode {index}, and only these, are NaN")
    got_mm, want_mm = (np.rint(np.nan_to_num(d) * 1000.0) for d in (got_m, want_m))
    exact = np.array_equal(got_mm, want_mm)
    _hold(exact, f"depth: {_first_apart(index, got_mm, want_mm)} is exact to the millimetre")


def _check_actions(index: int, got: Episode) -> None:
    number = _numbers(index)
    actions = np.empty(0) if got.actions is None else got.actions
    wanted = np.stack([number[:-1], number[1:]], 1)
    shape = list(actions.shape)
    right = actions.shape == wanted.shape
    _hold(right, f"actions: {len(number)} steps have {len(wanted)} actions of 2 (got {shape})")
    wrong = (actions != wanted).any(1)
    step = int(np.argmax(wrong))
    promise = f"action {step} of episode {index} leads from step {step} to step {step + 1}"
    _hold(not wrong.any(), f"actions: {promise}")


def _check_bytes(first: Path, second: Path) -> None:
    one, other = _files(first), _files(second)
    _hold(bool(one), "bytes: something is written at the path that was given")
    differing = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
    _hold(not differing, f"bytes: written twice, all files are the same (not {differing[:3]})")


def _files(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def _first_apart(index: int, got: np.ndarray, want: np.ndarray) -> str:
    alike = (got == want) | (np.isnan(got) & np.isnan(want))
    apart = ~alike.reshape(len(want), -1).all(1)
    return f"step {int(np.argmax(apart))} of episode {index}"


def _hold(holds: bool, promise: str) -> None:
    if not holds:
        raise CheckFailedError(f"check_format: this does not hold: {promise}.")
