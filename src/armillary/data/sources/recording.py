"""Recording: what folders of pictures and clouds, and logs, come to before it is written.

A source says for each step when it was and which pictures and poses belong to it, already in our
units and axes. Here the recording is cut where time is missing or a picture cannot be read, and
written episode by episode.

Axes: T steps, A action, H W image, P points, F features of a point.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64

from armillary.core.errors import DatasetError, FormatError, ShapeError
from armillary.core.files import replacing_folder, storage_errors
from armillary.core.progress import Progress
from armillary.core.values import Episode, Stream, StreamKind
from armillary.data.clouds import Clouds
from armillary.data.resize import Size, resized, resized_lens, within_side
from armillary.data.sources.ego_motion import ego_motion, motion_said, moves
from armillary.data.sources.source import KEPT, IngestOptions, IngestSummary
from armillary.data.sources.stamps import period_ns, stretches, thinned
from armillary.data.stills import Still, StillForm, repacked
from armillary.data.writer import DatasetWriter, Frames
from armillary.spatial import check_pose, nearest_rotation, pose_from_parts

_ROTATION_TOLERANCE = 1e-3  # text files round; what is within is made exact
_MIN_STEPS = 2
_WORLD_FROM = "world_from_"
_FASTER = 1.1  # clocks do not tick evenly: 30 may be asked of 29.97
_MOST_BROKEN = 20  # pictures of a recording; where more are, something else is wrong

T = TypeVar("T")


class _BrokenPictureError(FormatError):
    """A picture or cloud that cannot be read; ``step`` is whose it is."""

    def __init__(self, sentence: str, step: int) -> None:
        super().__init__(sentence)
        self.step = step


Picture = np.ndarray | Still


@dataclass(frozen=True)
class Camera:
    """One camera of a recording.

    Attributes:
        kind: ``rgb`` or ``depth``.
        read: gives the pictures of some steps, ascending: rgb uint8 [H W 3] or depth uint16
            millimetres [H W], all of one size. The second argument says whether those that need no
            change may be stills.
        intrinsics: K of these pictures [3 3]; None where the lens is not known.
    """

    kind: StreamKind
    read: Callable[[Sequence[int], bool], Iterator[Picture]]
    intrinsics: np.ndarray | None = None


@dataclass(frozen=True)
class Sweeps:
    """One sensor of points of a recording.

    Attributes:
        read: gives the clouds of some steps, ascending: float32 [P F], x y z in metres first.
        columns: names of the F features.
        frame: of the points; their pose is the stream ``world_from_FRAME``.
    """

    read: Callable[[Sequence[int]], Iterator[np.ndarray]]
    columns: tuple[str, ...]
    frame: str


@dataclass(frozen=True)
class Recording:
    """T steps of a source.

    Attributes:
        name: kept as the episodes' source.
        time_ns: of each step, ascending.
        usable: whether everything of a step is there; the others are left out.
        cameras: by stream name.
        others: streams without pictures by name, values [T ...].
        actions: the command that holds from each step on.
        named: names of the joints that a stream's numbers are about, or those of ``action``; they
            are compared between recordings, and not stored.
        left_out: sentences about what could not be used.
        fps: steps per second, where steps are counted and times are made of them; None takes the
            rate that the times have.
        clouds: sensors of points by stream name.
        task: what is done in it, as an instruction says it; empty where nothing says it.
        one_motion: whether the sensor went from each step to the next; photographs are in any
            order.
    """

    name: str
    time_ns: Int64[np.ndarray, " T"]
    usable: Bool[np.ndarray, " T"]
    cameras: Mapping[str, Camera]
    others: Mapping[str, Stream] = field(default_factory=dict)
    actions: Float[np.ndarray, "T A"] | None = None
    left_out: tuple[str, ...] = ()
    named: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fps: float | int | None = None
    clouds: Mapping[str, Sweeps] = field(default_factory=dict)
    one_motion: bool = True
    task: str = ""

    @property
    def rate(self) -> float:
        """Usable steps per second; a sensor slower than the camera leaves out every few."""
        return float(self.fps or 1e9 / period_ns(self.time_ns[self.usable]))


# What must be the same in all episodes: rows and columns, or how many numbers of which joints
# (of points: of which features).
Layout = Size | tuple[tuple[str, ...], int]
Found = Sequence[tuple[Path, Callable[[], Recording]]]


def sequences(source: Path, is_one: Callable[[Path], bool]) -> list[Path]:
    """Return the folder itself if it is a sequence, else those directly below it that are."""
    if is_one(source):
        return [source]
    below = sorted(source.iterdir()) if source.is_dir() else []
    return [child for child in below if not child.name.startswith(".") and is_one(child)]


def write_sequences(
    name: str,
    source: Path,
    is_one: Callable[[Path], bool],
    read: Callable[[Path, IngestOptions], Recording],
    missing: str,
    out: Path,
    progress: Progress,
    options: IngestOptions,
) -> IngestSummary:
    """Write a dataset of one folder that is a sequence, or of a folder of them.

    Args:
        name: of the format.
        source: the folder.
        is_one: tells whether a folder is a sequence.
        read: reads one.
        missing: what is not there where none is, for the sentence.
        out: folder of the dataset.
        progress: called with recordings done and in all.
        options: what was chosen.

    Raises:
        FormatError: no sequence there, or none that is usable.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    found = sequences(source, is_one)
    if not found:
        raise FormatError(f"{source}: has no {missing}.")
    loads = [(folder, partial(read, folder, options)) for folder in found]
    return write_recordings(loads, out, progress, options, {"ingested": name})


def rigid(pose: Float[np.ndarray, "4 4"], where: str, expected: str) -> Float[np.ndarray, "4 4"]:
    """Return a pose with an exact rotation.

    Args:
        pose: 4x4.
        where: file and line, for the sentence.
        expected: the source's convention, for the sentence.

    Raises:
        FormatError: NaN, a rotation that is none (scale, mirror), or a wrong last row.
    """
    found = torch.from_numpy(np.array(pose, np.float64))
    try:
        check_pose(found, where, _ROTATION_TOLERANCE)
    except ShapeError as error:
        raise FormatError(f"{error} Expected: {expected}.") from error
    return pose_from_parts(nearest_rotation(found[:3, :3]), found[:3, 3]).numpy()


def write_recordings(
    found: Found,
    out: Path,
    progress: Progress,
    options: IngestOptions,
    about: Mapping[str, Any],
) -> IngestSummary:
    """Write recordings as one dataset, complete or not at all.

    Args:
        found: where each recording comes from, and how it is read.
        out: folder of the dataset.
        progress: called with recordings done and in all.
        options: frame rate, size, licence.
        about: kept beside the dataset; ``ingested`` names the format.

    Raises:
        FormatError: no recording is usable; says what was wrong with the first.
    """
    skipped: list[tuple[Path, str]] = []
    left_out: list[tuple[Path, str]] = []
    with replacing_folder(out) as beside:
        border = _Border(beside, options, about)
        for done, (path, load) in enumerate(found):
            try:
                recording = load()
                said = [*recording.left_out, *border.write(recording)]
                left_out += [(path, sentence) for sentence in said]
            except (FormatError, DatasetError) as error:
                skipped.append((path, str(error)))
            progress(done + 1, len(found), path.name)
        if not border.written or border.writer is None:
            why = skipped[0][1] if skipped else "there is nothing in it"
            raise FormatError(why if len(found) == 1 else f"Nothing is usable; the first: {why}")
        border.writer.finalize()
    return IngestSummary(
        border.written,
        tuple(skipped),
        border.frames,
        out,
        notes=border.notes,
        left_out=tuple(left_out),
    )


class _Border:
    """Where recordings become episodes; all of a dataset have the streams of the first."""

    def __init__(self, path: Path, options: IngestOptions, about: Mapping[str, Any]) -> None:
        self.path, self.options, self.about = path, options, about
        self.writer: DatasetWriter | None = None
        self.written = self.frames = 0
        self._rate = 0.0  # steps per second of the first recording
        self._streams: dict[str, Layout] = {}
        self._forms: dict[str, StillForm | None] = {}  # of each camera whose pictures are kept
        self._moving = ""  # pose of the sensor whose motion is the action

    @property
    def notes(self) -> tuple[str, ...]:
        """What holds for all recordings, in sentences."""
        if not self._moving:
            return ()
        sensor = self._moving.removeprefix(_WORLD_FROM)
        return (motion_said(sensor),)

    def write(self, recording: Recording) -> list[str]:
        """Write the stretches of a recording; return sentences about what was left out."""
        try:
            return self._write(recording)
        except (FormatError, DatasetError):
            if not self.written:  # what was left out decides neither rate nor streams
                self._begin_anew()
            raise

    def _begin_anew(self) -> None:
        self.writer, self._streams, self._forms, self._moving = None, {}, {}, ""
        with storage_errors(self.path):
            for entry in self.path.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def _write(self, recording: Recording) -> list[str]:
        parts = stretches(recording.time_ns, recording.usable)
        long = [part for part in parts if len(part) >= _MIN_STEPS]
        if not long:
            raise FormatError(f"{_lost(recording, 0)}; no two steps in a row are whole.")
        kept, broken = self._write_parts(recording, long)
        if not kept and broken:
            raise FormatError(broken[0])
        if not kept:
            raise FormatError(
                f"{recording.name}: --fps {self.options.fps:g} leaves fewer than two of its steps; "
                "ask for more."
            )
        if kept == len(recording.time_ns):
            return []
        lost = f"{_lost(recording, kept)} and were left out; long gaps cut the episode."
        return [*broken, lost]

    def _write_parts(
        self, recording: Recording, parts: Sequence[np.ndarray]
    ) -> tuple[int, list[str]]:
        """Write stretches; a picture that cannot be read is left out, which cuts its stretch.

        Returns:
            How many steps were kept, and what is wrong with pictures.
        """
        kept, broken, waiting = 0, list[str](), list(parts)
        while waiting:
            part = waiting.pop(0)
            steps = part[self._taken(recording, part)]
            if len(steps) < _MIN_STEPS:
                continue
            try:
                self._write_part(recording, steps, whole=len(parts) == 1 and not broken)
            except _BrokenPictureError as error:
                broken.append(str(error))
                if len(broken) > _MOST_BROKEN:
                    broken.append(
                        f"{recording.name}: more than {_MOST_BROKEN} of its pictures or clouds "
                        "cannot be read; what comes after them is left out."
                    )
                    break
                around = part[part < error.step], part[part > error.step]
                waiting[:0] = [rest for rest in around if len(rest) >= _MIN_STEPS]
            else:
                kept += len(part)
        return kept, broken

    def _taken(self, recording: Recording, part: np.ndarray) -> np.ndarray:
        """Return which steps of a part are taken at the rate that was asked for."""
        fps = self.options.fps
        if fps == recording.fps:  # times are made of it, and rounded
            fps = None
        if fps is not None and fps > _FASTER * recording.rate:
            raise FormatError(
                f"{recording.name}: has {recording.rate:.3g} steps per second, fewer than "
                f"--fps {fps:g}; "
                "leave it out, or ask for fewer."
            )
        return thinned(recording.time_ns[part], fps)

    def _write_part(self, recording: Recording, steps: np.ndarray, *, whole: bool) -> None:
        name = recording.name
        cameras = {n: self._frames(name, n, c, steps) for n, c in recording.cameras.items()}
        sizes: dict[str, Layout] = {name: size for name, (size, _) in cameras.items()}
        sizes |= {n: (each.columns, len(each.columns)) for n, each in recording.clouds.items()}
        numbers = {name: stream.values for name, stream in recording.others.items()}
        if recording.actions is not None:
            numbers["action"] = recording.actions
        elif self.options.ego_motion and recording.one_motion:
            if self.writer is None:
                self._moving = moving_sensor(recording, steps)
            if self._moving in recording.others:
                numbers["action"] = ego_motion(recording.others[self._moving].values[steps])
        for name, values in numbers.items():
            sizes[name] = recording.named.get(name, ()), int(np.prod(values.shape[1:]))
        self._check_same(recording.name, sizes)
        self._check_rate(recording.name, recording.rate)
        if self.writer is None:
            self._rate = recording.rate
            fps = self.options.fps or recording.fps or _whole(recording.name, recording.rate)
            kind = str(self.about["ingested"])
            self.writer = DatasetWriter(self.path, fps, kind, about=dict(self.about))
            self._streams = sizes
            self._forms = {name: camera.form for name, (_, camera) in cameras.items()}
        own = numbers["action"] if recording.actions is None and "action" in numbers else None
        episode = _episode(recording, steps, self.options.license, whole, own)
        frames: dict[str, Frames | Clouds] = {name: each for name, (_, each) in cameras.items()}
        for name, each in recording.clouds.items():
            chosen = [int(step) for step in steps]
            clouds = _located(each.read(chosen), chosen)
            frames[name] = Clouds(clouds, each.columns, "m", each.frame)
        self.writer.write_frames(self.written, frames, lambda: episode)
        self.written += 1
        self.frames += len(steps)

    def _frames(
        self, where: str, name: str, camera: Camera, steps: np.ndarray
    ) -> tuple[Size, Frames]:
        chosen = [int(step) for step in steps]
        first = next(_pictures(camera, chosen[:1], self.options.pictures == KEPT))
        before = (first.shape[0], first.shape[1])
        size = within_side(before, self.options.max_side)
        form = first.form if isinstance(first, Still) and size == before else None
        if self.writer is not None:
            form = self._forms.get(name)
        colour = camera.kind == "rgb"
        pictures = _pictures(camera, chosen, form is not None)
        if form is None:
            images = (resized(np.asarray(picture), size, colour) for picture in pictures)
        else:
            images = _alike(pictures, size, form, f"{where}: {name}")
        lens = camera.intrinsics
        lens = None if lens is None else resized_lens(lens, before, size)
        unit = "" if colour else "m"
        return size, Frames(camera.kind, images, unit, "camera", lens, form)

    def _check_rate(self, name: str, rate: float) -> None:
        chosen = self.writer is None or self.options.fps is not None
        if chosen or 1 / _FASTER <= rate / self._rate <= _FASTER:
            return
        raise FormatError(
            f"{name}: has {rate:.3g} steps per second, the first recording has {self._rate:.3g}; "
            "all episodes of a dataset have one rate. Pass --fps, or ingest it on its own."
        )

    def _check_same(self, name: str, sizes: Mapping[str, Layout]) -> None:
        if self.writer is None or sizes == self._streams:
            return
        odd = sorted(n for n in {*sizes, *self._streams} if sizes.get(n) != self._streams.get(n))
        raise FormatError(
            f"{name}: its {odd[0]!r} is {_said(sizes.get(odd[0]))}, the first recording's is "
            f"{_said(self._streams.get(odd[0]))}; all episodes of a dataset have the same "
            "streams and sizes. Ingest it on its own."
        )


def _pictures(camera: Camera, steps: Sequence[int], stills: bool) -> Iterator[Picture]:
    """Yield the pictures of some steps; what goes wrong says at which of them."""
    for picture, step in zip(_located(camera.read(steps, stills), steps), steps, strict=False):
        if isinstance(picture, Still):
            yield replace(picture, decode=partial(_decoded, picture, step))
        else:
            yield picture


def _located(items: Iterator[T], steps: Sequence[int]) -> Iterator[T]:
    """Yield what was measured at some steps; what goes wrong says at which of them."""
    done = 0
    try:
        for item in items:
            yield item
            done += 1
    except FormatError as error:
        raise _BrokenPictureError(str(error), steps[min(done, len(steps) - 1)]) from error


def _decoded(still: Still, step: int) -> np.ndarray:
    try:
        return still.decode()
    except FormatError as error:
        raise _BrokenPictureError(str(error), step) from error


def _alike(pictures: Iterator[Picture], size: Size, form: StillForm, where: str) -> Iterator[Still]:
    """Yield stills of one form; a picture of another form is encoded anew."""
    for picture in pictures:
        if isinstance(picture, Still) and picture.form == form:
            yield picture
            continue
        try:
            yield repacked(resized(np.asarray(picture), size, not form.metres_per_unit), form)
        except FormatError as error:
            raise FormatError(f"{where}: {error}") from error


def moving_sensor(recording: Recording, steps: Int64[np.ndarray, " T"]) -> str:
    """Return the name of the first stream of poses that move over some steps; empty for none."""
    for name, stream in recording.others.items():
        posed = stream.kind == "pose" and name.startswith(_WORLD_FROM)
        if posed and moves(stream.values[steps]):
            return name
    return ""


def _lost(recording: Recording, kept: int) -> str:
    lost = len(recording.time_ns) - kept
    first = int(np.argmin(recording.usable)) if not recording.usable.all() else 0
    return (
        f"{recording.name}: {lost} of {len(recording.time_ns)} steps (first: step {first}) lack a "
        "picture, a depth, a cloud or a pose, or stand alone"
    )


def _episode(
    recording: Recording,
    steps: np.ndarray,
    license_: str,
    whole: bool,
    own_motion: Float[np.ndarray, "moves 6"] | None,
) -> Episode:
    times_ns = recording.time_ns[steps]
    actions = own_motion if recording.actions is None else recording.actions[steps[:-1]]
    others = {n: replace(s, values=s.values[steps]) for n, s in recording.others.items()}
    stretch = "" if whole else f", steps {steps[0]} to {steps[-1]}"
    source = f"{recording.name}{stretch}"
    return Episode(others, times_ns - times_ns[0], actions, source, license_, recording.task)


def _said(layout: Layout | None) -> str:
    if layout is None:
        return "missing"
    first, last = layout
    if isinstance(first, int):
        return f"{last}x{first} pixels"
    return f"{last} numbers" + (f" of {', '.join(first)}" if first else "")


def _whole(name: str, fps: float) -> float | int:
    """Return the whole rate near a measured one; clocks do not tick evenly."""
    near = round(fps) if fps >= 1 else round(fps, 3)
    if not 0 < near < 10_000:
        raise FormatError(f"{name}: a rate of {fps:.3g} steps per second was measured; pass --fps.")
    return near
