"""Zarr replay buffers of robots' demonstrations: as Diffusion Policy and UMI write them.

A folder ``*.zarr`` or a ``*.zarr.zip`` has ``data/NAME``, arrays with all steps of all episodes one
after another, and ``meta/episode_ends``, the number of steps up to the end of each. Extra ``zarr``.

Convention: the action of a step leads from its observation to the next one, so the action of the
last step of an episode leads nowhere and is left out. What no sensor of a robot sees is truth:
``keypoint`` and ``n_contacts`` of Push-T, ``state`` where these are beside it (there it is where
the block is), and where UMI's demonstrations begin and end.

Axes: N steps of all episodes, T of one, E episodes, Q numbers, H W image.

Source: Diffusion Policy, ``replay_buffer.py``; UMI, ``README.md`` of its data.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from armillary.core.errors import ConfigError, FormatError
from armillary.core.progress import Progress
from armillary.core.values import Stream
from armillary.data.sources.counted_steps import (
    MAX_WIDTH,
    at_own_rate,
    camera_streams,
    cameras_note,
    check_steps,
    joined,
    parts_note,
    plain_text,
    proprio,
    times_ns,
    with_notes,
)
from armillary.data.sources.recording import Camera, Recording, write_recordings
from armillary.data.sources.source import IngestOptions, IngestSummary, natural
from armillary.data.sources.zarr_chunks import JPEG_XL
from armillary.data.sources.zarr_entries import Entries, opened, zarr_errors
from armillary.data.sources.zarr_file import (
    MAX_CHUNK_BYTES,
    MAX_NUMBERS,
    Described,
    Opened,
    described,
    is_array,
    open_array,
    zarr_module,
)
from armillary.data.video import MAX_PIXELS

LOOKS_FOR = ("*.zarr/ or *.zarr.zip or meta/episode_ends/",)
OPTIONS = ("fps", "max_side", "pictures")
_ENDS = "meta/episode_ends"
_MARKERS = (f"{_ENDS}/.zarray", f"{_ENDS}/zarr.json")
_ZIP = ".zarr.zip"
_MAX_EPISODES = 1 << 20
_ACTION = "action"
_PUSH_T = ("keypoint", "n_contacts")
_TRUTH = re.compile(r"keypoint|n_contacts|robot\d+_demo_(start|end)_pose")
_CLOCKS = ("timestamp",)
_LOAD = Callable[[], Recording]


def detect(path: Path) -> bool:
    """Say whether there is a Zarr: a folder of one, or a file or folder of that name."""
    try:
        return bool(_buffers(path))
    except OSError:
        return False


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write a dataset of a replay buffer, or of all directly in a folder.

    Raises:
        FormatError: no replay buffer, or no episode that is usable.
        ConfigError: no rate was given.
        MissingExtraError: zarr, or the codec of the pictures, is not installed.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    buffers = _buffers(source)
    if not buffers:
        raise FormatError(f"{source}: holds no Zarr; *.zarr/ or *{_ZIP} was looked for.")
    zarr_module()
    if options.fps is None:
        raise ConfigError(
            f"{source}: a replay buffer does not say how many steps a second has; pass --fps, e.g. "
            "10 for Push-T of Diffusion Policy or 60 for UMI."
        )
    notes: list[str] = []
    found: list[tuple[Path, _LOAD]] = []
    with ExitStack() as stack:
        for path in buffers:
            try:
                entries = stack.enter_context(opened(path, _MARKERS))
                buffer = _examined(path, entries, notes)
            except FormatError as error:
                found.append((path, partial(_refuse, error)))
                continue
            first = 0
            for number, end in enumerate(buffer.ends.tolist()):
                found.append((path, partial(_read, buffer, number, first, end, options.fps)))
                first = end
        about = {"ingested": "zarr"}
        summary = write_recordings(found, out, progress, at_own_rate(options), about)
    return with_notes(summary, notes)


def _buffers(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.name.lower().endswith(_ZIP) else []
    if not path.is_dir() or _is_zarr(path):
        return [path] if path.is_dir() else []
    found = [each for each in path.iterdir() if not each.name.startswith(".")]
    named = [f for f in found if f.name.lower().endswith((_ZIP, ".zarr"))]
    kept = [f for f in named if f.is_dir() or f.name.lower().endswith(_ZIP)]
    return sorted(kept, key=lambda each: natural(each.name))


def _is_zarr(folder: Path) -> bool:
    if folder.name.lower().endswith(".zarr"):
        return True
    return any((folder / name).is_file() for name in (".zgroup", ".zarray", "zarr.json", *_MARKERS))


@dataclass
class _Buffer:
    """A replay buffer whose arrays were sorted.

    Attributes:
        path: folder or zip.
        ends: steps up to the end of each episode, ascending.
        images: cameras by the names of their arrays.
        state: vectors of the robot [N ...].
        truth: vectors that no sensor sees [N ...].
        actions: [N A], or None.
    """

    path: Path
    ends: Int64[np.ndarray, " E"]
    images: dict[str, Opened] = field(default_factory=dict)
    state: dict[str, np.ndarray] = field(default_factory=dict)
    truth: dict[str, np.ndarray] = field(default_factory=dict)
    actions: np.ndarray | None = None


def _examined(path: Path, entries: Entries, notes: list[str]) -> _Buffer:
    """Return what a replay buffer has; its vectors are read, its pictures are not.

    Raises:
        FormatError: of another layout, damaged, or its arrays do not fit together.
        MissingExtraError: the codec of its pictures is not installed.
    """
    with zarr_errors(str(path)):
        _check_layout(path, entries)
        buffer = _Buffer(path, _ends(path, entries))
        names = entries.names("data")
        for name in names:
            if _is_passed(name, entries):
                continue
            about = _described(path, f"data/{name}", entries)
            if name in _CLOCKS:
                notes.append(f"{name} is left out: it is a time, and the rate makes the times.")
                continue
            why = about if isinstance(about, str) else _kind_refusal(name, about, buffer.ends)
            if isinstance(about, str) or why:
                if name == _ACTION:
                    raise FormatError(f"{path}: its actions have {why}; vectors [N A] are read.")
                notes.append(f"{plain_text(name)} is left out: {why}.")
                continue
            _sort_in(buffer, name, about, entries, names, notes)
    if not (buffer.images or buffer.state):
        raise FormatError(f"{path}: has no observation that can be read. {' '.join(notes)}".strip())
    _note(buffer, notes)
    return buffer


def _check_layout(path: Path, entries: Entries) -> None:
    if any(entries.read(marker, MAX_CHUNK_BYTES) is not None for marker in _MARKERS):
        return
    raise FormatError(
        f"{path}: is a Zarr of another layout: {_ENDS} and data/ of a replay buffer (Diffusion "
        "Policy, UMI) were looked for."
    )


def _is_passed(name: str, entries: Entries) -> bool:
    """Say whether something in ``data/`` is no array: a file of settings, or a group."""
    return name.startswith(".") or not is_array(entries, f"data/{name}")


def _described(path: Path, name: str, entries: Entries) -> Described | str:
    try:
        return described(entries, name)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


def _ends(path: Path, entries: Entries) -> Int64[np.ndarray, " E"]:
    about = _described(path, _ENDS, entries)
    if isinstance(about, str):
        raise FormatError(f"{path}: {_ENDS} has {about}.")
    if about.dtype.kind not in "iu" or len(about.shape) != 1:
        raise FormatError(
            f"{path}: {_ENDS} must be whole numbers [E], it is {about.dtype} {list(about.shape)}."
        )
    if not 1 <= about.shape[0] <= _MAX_EPISODES:
        raise FormatError(
            f"{path}: {_ENDS} has {about.shape[0]:,} episodes; 1 to {_MAX_EPISODES:,} can be read."
        )
    where = f"{path}: {_ENDS}"
    stored_ends = open_array(entries, _ENDS, about, where, strict=True).read(0, about.shape[0])
    ends = [int(end) for end in stored_ends]
    odd = next((n for n, end in enumerate(ends) if end <= (ends[n - 1] if n else 0)), None)
    if odd is not None or ends[-1] > 1 << 62:
        raise FormatError(
            f"{where} must ascend from above 0; its number {odd or 0} is {ends[odd or 0]}."
        )
    return np.array(ends, np.int64)


def _is_picture(about: Described) -> bool:
    shape = about.shape
    pictures = about.dtype == np.uint8 or about.dtype.kind == "f"
    return pictures and len(shape) == 4 and shape[3] == 3 and min(shape[1:3]) > 1


def _kind_refusal(name: str, about: Described, ends: np.ndarray) -> str:
    """Return why an array is no pictures or vectors of all steps, in words."""
    shape, width, steps = about.shape, math.prod(about.shape[1:]), int(ends[-1])
    if shape[0] != steps:
        return f"{shape[0]:,} steps, where {_ENDS} ends at {steps:,}"
    if about.codec == JPEG_XL and (not _is_picture(about) or about.chunks[0] != 1):
        return "JPEG XL of something else than one picture a chunk"
    if _is_picture(about):
        most = math.prod(shape[1:3])
        return f"pictures of {most:,} pixels, larger than what is read" if most > MAX_PIXELS else ""
    deepest = 4 if _TRUTH.fullmatch(name) else 2
    if len(shape) > deepest or not 0 < width <= MAX_WIDTH:
        return f"{about.dtype} {list(shape)}; colour [N H W 3] of 0 to 255, or vectors, are read"
    if math.prod(shape) > MAX_NUMBERS:
        return f"shape {list(shape)}, more than what is read at once"
    return ""


def _sort_in(
    buffer: _Buffer,
    name: str,
    about: Described,
    entries: Entries,
    names: Sequence[str],
    notes: list[str],
) -> None:
    where, place = f"{buffer.path}: {plain_text(name)}", f"data/{name}"
    if _is_picture(about):
        buffer.images[name] = open_array(entries, place, about, where, strict=True)
        return
    array = open_array(entries, place, about, where, strict=False)
    rows = array.read(0, about.shape[0])
    if array.lost:
        notes.append(
            f"{plain_text(name)}: {len(array.lost)} of its chunks are not there. Zarr leaves out "
            f"chunks that hold nothing but {about.settings['fill_value']}, and so they are read; "
            "a copy that broke off looks the same."
        )
    if name == _ACTION:
        if rows.ndim != 2:
            raise FormatError(f"{where} is {list(rows.shape)}; actions [N A] were expected.")
        buffer.actions = joined({name: rows})[0]
    elif _TRUTH.fullmatch(name) or (name == "state" and {*_PUSH_T} & {*names}):
        buffer.truth[name] = rows
    else:
        buffer.state[name] = rows


def _note(buffer: _Buffer, notes: list[str]) -> None:
    notes += [cameras_note(camera_streams(buffer.images))] if buffer.images else []
    widths = {name: math.prod(rows.shape[1:]) for name, rows in buffer.state.items()}
    notes += [parts_note("proprio", widths)] if widths else []
    if buffer.truth:
        known = ", ".join(sorted(buffer.truth))
        notes.append(f"truth: {known}, which no sensor of the robot gives.")
    notes += [] if buffer.actions is not None else ["There are no actions."]


def _read(buffer: _Buffer, number: int, first: int, end: int, fps: float | int) -> Recording:
    """Return the recording of one episode.

    Raises:
        FormatError: it has fewer than two steps, or too many.
    """
    name, steps = f"{buffer.path.name}, episode {number}", end - first
    check_steps(steps, f"{buffer.path}, episode {number}")
    streams = camera_streams(buffer.images)
    cameras = {
        streams[n]: _camera(array, first, f"{buffer.path}: {plain_text(n)}")
        for n, array in buffer.images.items()
    }
    others = proprio({n: rows[first:end] for n, rows in buffer.state.items()})
    for n, rows in buffer.truth.items():
        others[n] = Stream("truth", joined({n: rows[first:end]})[0])
    actions = None if buffer.actions is None else buffer.actions[first:end]
    usable = np.ones(steps, bool)
    return Recording(
        name, times_ns(steps, fps), usable, _main_first(cameras), others, actions, fps=fps
    )  # fmt: skip


def _main_first(cameras: Mapping[str, Camera]) -> dict[str, Camera]:
    return {name: cameras[name] for name in sorted(cameras, key=lambda name: name != "rgb")}


def _camera(array: Opened, first: int, where: str) -> Camera:
    """Return the camera of one array; a chunk is unpacked once for all of its steps."""
    about = array.about
    together = about.chunks[0] if about.chunks[0] * about.row_bytes <= MAX_CHUNK_BYTES else 1

    def read(steps: Sequence[int], _stills: bool) -> Iterator[np.ndarray]:
        rows, start = np.empty((0,)), 0
        for step in steps:
            at = first + step
            if not start <= at < start + len(rows):
                start = at // together * together
                rows = array.read(start, min(start + together, about.shape[0]))
            yield _picture(rows[at - start], f"{where}, step {at}")

    return Camera("rgb", read)


def _picture(values: np.ndarray, where: str) -> UInt8[np.ndarray, "H W 3"]:
    """Return a picture of 8 bits; floats must be 0 to 255, and are rounded."""
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    least, most = float(values.min()), float(values.max())
    if not (least >= 0 and most <= 255):  # NaN is neither
        raise FormatError(
            f"{where}: holds numbers from {least:g} to {most:g}; 0 to 255 were expected."
        )
    if 0 < most <= 1 and np.any(values != np.rint(values)):
        raise FormatError(
            f"{where}: holds fractions up to {most:g}, as if 1 were white; write the pictures anew "
            "from 0 to 255."
        )
    return np.rint(values).astype(np.uint8)


def _refuse(error: FormatError) -> Recording:
    raise error
