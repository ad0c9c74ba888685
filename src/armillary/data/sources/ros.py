"""Robots' logs: ROS bags as recordings, with the slowest camera as the clock.

Every other topic gives what is nearest to the camera's time within the tolerance; commands give
what holds at that time (the last one sent). Poses come from tf, and from odometry where tf does
not say where the robot is; they are in the frame of the root of the tree.

Laser scans are vectors named after their topic, ranges in metres; what their angles are is kept
in ``meta/armillary/dataset.json``. Point clouds are not read here.

Axes: T steps, Q numbers, A action.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64

from armillary.core.errors import FormatError
from armillary.core.progress import Progress
from armillary.core.values import Stream
from armillary.data.resize import Size
from armillary.data.sources.lens import Rectifier
from armillary.data.sources.recording import Camera, Recording, write_recordings
from armillary.data.sources.ros_bag import Bag, find_bags, is_bag
from armillary.data.sources.ros_frames import FrameTree
from armillary.data.sources.ros_images import colour_of, depth_of
from armillary.data.sources.ros_topics import (
    TRANSFORMS,
    CameraTopic,
    cameras,
    odometry_of,
    of_kind,
    stream_name,
    unread,
)
from armillary.data.sources.ros_vectors import (
    COMMANDS,
    JOINTS,
    ODOMETRY,
    ROWS,
    SCAN,
    read_vectors,
    scan_geometry,
)
from armillary.data.sources.source import IngestOptions, IngestSummary
from armillary.data.sources.stamps import held, matched, period_ns
from armillary.data.sources.video_folder import SUFFIXES

OPTIONS = (
    "fps", "max_side", "tolerance_s", "depth_scale", "intrinsics", "topics", "action_topic",
)  # fmt: skip


def detect(path: Path) -> bool:
    """Say whether a path is a ROS bag, or a folder of them without videos beside them."""
    beside = path.iterdir() if path.is_dir() and not is_bag(path) else []
    return bool(find_bags(path)) and not any(file.suffix.lower() in SUFFIXES for file in beside)


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write a dataset of a ROS bag, or of a folder of them: an episode each.

    Raises:
        FormatError: no bag there, damaged, or without a camera.
        MissingExtraError: the library for logs is not installed.
    """
    found = find_bags(source)
    if not found:
        raise FormatError(f"{source}: is no ROS bag (.bag, .db3, .mcap or a ROS 2 folder).")
    loads = [(path, lambda path=path: read(path, options)) for path in found]
    about = {"ingested": "ros", "scans": _scans(found)}
    return write_recordings(loads, out, progress, options, about)


def read(path: Path, options: IngestOptions) -> Recording:
    """Return the recording of one bag; its pictures are read when they are asked for.

    Raises:
        FormatError: damaged, no camera, several that would do, or clocks that do not meet.
    """
    with Bag(path) as bag:
        topics = cameras(bag, options)
        clock = max(topics.values(), key=lambda topic: period_ns(topic.stamps_ns))
        times_ns = clock.stamps_ns
        usable = np.ones(len(times_ns), bool)
        notes = list(unread(bag, options))
        seen = {}
        for name, topic in topics.items():
            step = _nearest(bag, times_ns, topic.stamps_ns, topic.name, options, notes)
            usable &= step >= 0
            seen[name] = _camera(bag, topic, topic.ordinals[step], name, options)
        others = {}
        for name, (stream, known) in _poses(bag, topics, times_ns, options, notes).items():
            others[name] = stream
            usable &= known
        for name, topic in _vector_topics(bag, options).items():
            stamps_ns, rows = read_vectors(bag, topic, ROWS[bag.topics[topic].kind])
            step = _nearest(bag, times_ns, stamps_ns, topic, options, notes)
            usable &= step >= 0
            unit = "m" if bag.topics[topic].kind == SCAN else ""
            others[name] = Stream("proprio", rows[step], unit, bag.first(topic).header.frame_id)
        actions, known = _actions(bag, times_ns, options)
    return Recording(path.name, times_ns, usable & known, seen, others, actions, tuple(notes))


def _nearest(
    bag: Bag,
    times_ns: Int64[np.ndarray, " T"],
    stamps_ns: Int64[np.ndarray, " N"],
    topic: str,
    options: IngestOptions,
    notes: list[str],
) -> np.ndarray:
    """Return which message belongs to each time, -1 where none does, which is noted."""
    where = f"{bag.path}: {topic}"
    step = matched(times_ns, stamps_ns, options.tolerance_s, f"messages of {topic}", where)
    lost = int((step < 0).sum())
    if lost:
        notes.append(
            f"{where}: has no message within {options.tolerance_s:g} s of {lost} of the "
            f"{len(times_ns)} pictures; these steps are left out."
        )
    return step


def _camera(
    bag: Bag, topic: CameraTopic, ordinals: np.ndarray, name: str, options: IngestOptions
) -> Camera:
    path, where = bag.path, f"{bag.path}: {topic.name}"

    def picture(message: Any) -> np.ndarray:
        if name == "rgb":
            return colour_of(message, where)
        return depth_of(message, options.depth_scale, where)

    first = picture(bag.first(topic.name))
    rectify = Rectifier(replace(topic.lens.at(_size(first), where), distortion=()))

    def read_some(steps: Sequence[int]) -> Iterator[np.ndarray]:
        with Bag(path) as again:
            for message in _numbered(again, topic.name, [int(ordinals[step]) for step in steps]):
                image = picture(message)
                lens = topic.lens.at(_size(image), where)
                yield rectify(image, lens, average=name == "rgb")

    return Camera("rgb" if name == "rgb" else "depth", read_some, rectify.intrinsics)


def _numbered(bag: Bag, topic: str, wanted: Sequence[int]) -> Iterator[Any]:
    """Yield the messages with these numbers, which ascend and may repeat."""
    at = 0
    for number, (_, message) in enumerate(bag.messages(topic)):
        while at < len(wanted) and wanted[at] == number:
            yield message
            at += 1
        if at == len(wanted):
            return


Known = tuple[Stream, Bool[np.ndarray, " T"]]


def _poses(
    bag: Bag,
    topics: dict[str, CameraTopic],
    times_ns: Int64[np.ndarray, " T"],
    options: IngestOptions,
    notes: list[str],
) -> dict[str, Known]:
    """Return ``world_from_camera``, and ``world_from_depth`` if that camera is elsewhere."""
    tree = FrameTree(str(bag.path))
    for topic in [name for kind in TRANSFORMS for name in of_kind(bag, kind)]:
        for _, message in bag.messages(topic):
            tree.add(message, moves="static" not in topic)
    odometry = odometry_of(bag, options)
    if odometry is not None:
        tree.add_odometry(message for _, message in bag.messages(odometry))
    main = topics.get("rgb") or topics["depth"]
    frames = {"world_from_camera": main.frame}
    if "depth" in topics and topics["depth"].frame != main.frame:
        frames["world_from_depth"] = topics["depth"].frame
    found = {}
    for name, frame in frames.items():
        if tree.knows(frame):
            root, poses, known = tree.poses(frame, times_ns, options.tolerance_s)
            found[name] = Stream("pose", poses, "m", root), known
        else:
            notes.append(
                f"{bag.path}: neither tf nor odometry says where the frame {frame!r} is; its "
                "camera has no pose."
            )
    return found


def _vector_topics(bag: Bag, options: IngestOptions) -> dict[str, str]:
    """Return topics with rows of numbers by stream name; a single state is ``proprio``."""
    states = [t for kind in (ODOMETRY, JOINTS) for t in of_kind(bag, kind)]
    states = [topic for topic in states if topic != options.action_topic]
    named = {"proprio" if len(states) == 1 else stream_name(topic): topic for topic in states}
    return named | {stream_name(topic): topic for topic in of_kind(bag, SCAN)}


def _actions(
    bag: Bag, times_ns: Int64[np.ndarray, " T"], options: IngestOptions
) -> tuple[Float[np.ndarray, "T A"] | None, Bool[np.ndarray, " T"]]:
    """Return the command that holds at each step, and where there was one yet."""
    topic = options.action_topic
    if not topic:
        return None, np.ones(len(times_ns), bool)
    kind = bag.topics[topic].kind
    if kind not in COMMANDS:
        raise FormatError(
            f"{bag.path}: {topic} is of type {kind}, which is no command that is read; known: "
            f"{', '.join(COMMANDS)}."
        )
    stamps_ns, rows = read_vectors(bag, topic, COMMANDS[kind])
    step = held(times_ns, stamps_ns)
    if (step < 0).all():
        matched(times_ns, stamps_ns, 0.0, "commands", f"{bag.path}: {topic}")
    return rows[step], step >= 0


def _size(image: np.ndarray) -> Size:
    return image.shape[0], image.shape[1]


def _scans(found: Sequence[Path]) -> dict[str, dict[str, float | str]]:
    """Return the geometry of the scans of the first bag that can be read."""
    for path in found:
        try:
            with Bag(path) as bag:
                topics = of_kind(bag, SCAN)
                return {stream_name(t): scan_geometry(bag.first(t)) for t in topics}
        except FormatError:  # it is named when its turn comes
            continue
    return {}
