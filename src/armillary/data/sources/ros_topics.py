"""Topics of a bag: which of them are the cameras, their lenses, and what else is read.

All cameras of colour are taken, or those that are named. Of depth one is; where several would do,
a sentence lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int64

from armillary.core.errors import FormatError
from armillary.data.resize import Size
from armillary.data.sources.lens import Lens, checked, pinhole_of
from armillary.data.sources.ros_bag import Bag
from armillary.data.sources.ros_images import (
    COMPRESSED,
    ENCODINGS,
    IMAGE,
    Role,
    encoding_of,
    role_of,
)
from armillary.data.sources.ros_vectors import ODOMETRY, POSE, ROWS, SCAN
from armillary.data.sources.source import IngestOptions
from armillary.data.sources.stamps import period_ns

CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
CLOUD = "sensor_msgs/msg/PointCloud2"
TRANSFORMS = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
_PINHOLES = ("plumb_bob", "rational_polynomial", "")
_READ = {IMAGE, COMPRESSED, CAMERA_INFO, *TRANSFORMS, *ROWS, SCAN, CLOUD}


@dataclass(frozen=True)
class Lenses:
    """What a CameraInfo says: which of it holds depends on the size of the pictures.

    K and P are of the whole sensor. Pictures may be a part of it, and drivers are seen that tell of
    a part and send the whole.

    Attributes:
        whole: of the sensor, or of whatever its size is.
        part: in the pixels of the part that is sent (``roi``), if one is.
        binned: rows and columns of the sensor that make one of the picture.
    """

    whole: Lens
    part: Lens | None = None
    binned: tuple[int, int] = (1, 1)

    def at(self, size: Size, where: str) -> Lens:
        """Return the lens of pictures of a size.

        Raises:
            FormatError: of no part of the sensor that the message names, or of two.
        """
        part_size = self.part.size if self.part is not None else None
        if self.part is not None and part_size is not None:
            binned = part_size[0] // self.binned[0], part_size[1] // self.binned[1]
            if size in (part_size, binned) and size not in self._of_the_whole():
                return self.part.at(size, where)
            if size in (part_size, binned) and size != self.whole.size:
                raise FormatError(
                    f"{where}: pictures of {size[1]}x{size[0]} may be a part of the sensor (roi) "
                    "or all of it (binned); pass --intrinsics fx fy cx cy."
                )
        return self.whole.at(size, where)

    def _of_the_whole(self) -> tuple[Size, ...]:
        if self.whole.size is None:
            return ()
        rows, columns = self.whole.size
        return self.whole.size, (rows // self.binned[0], columns // self.binned[1])


@dataclass(frozen=True)
class Moments:
    """The messages of a topic that are taken: each is of a later time than the one before.

    Attributes:
        ordinals: which messages these are, counted from 0 [N].
        stamps_ns: their times, ascending [N].
        dropped: how many messages are not taken, as their time repeats or runs back.
        empty: how many messages are not taken, as nothing is in them.
    """

    ordinals: Int64[np.ndarray, " N"]
    stamps_ns: Int64[np.ndarray, " N"]
    dropped: int = 0
    empty: int = 0


@dataclass(frozen=True)
class Clock:
    """What gives the steps of a log.

    Attributes:
        topic: of the sensor.
        moments: which of its messages are the steps.
        step: what a message is, in a word: picture, cloud or scan.
    """

    topic: str
    moments: Moments
    step: str

    @property
    def times_ns(self) -> Int64[np.ndarray, " T"]:
        """Times of the steps, ascending."""
        return self.moments.stamps_ns


@dataclass(frozen=True)
class CameraTopic:
    """A camera of a bag.

    Attributes:
        name: the topic.
        frame: its optical frame.
        lenses: what its lens may be.
        moments: which of its messages are taken.
    """

    name: str
    frame: str
    lenses: Lenses
    moments: Moments


def cameras(bag: Bag, options: IngestOptions, lost: dict[str, str]) -> dict[str, CameraTopic]:
    """Return the colour and the depth cameras by stream name; none where the log has none.

    The colour cameras that are named are ``rgb``, ``rgb_1``, ... in that order. Where none is
    named, all are taken; one without intrinsics is then left out, unless there is no other.

    Args:
        bag: the log.
        options: what was chosen.
        lost: where the topics that are left out are added, with a sentence each.

    Raises:
        FormatError: several depth cameras would do, a camera has no intrinsics, or a topic that was
            named is not there or of no use.
    """
    _check_named(bag, options)
    roles: dict[Role, list[str]] = {"rgb": [], "grey": [], "depth": []}
    for name in _image_topics(bag):
        role = role_of(bag.first(name), name)
        if role is not None:
            roles[role].append(name)
    named = [name for name in options.topics if name in (*roles["rgb"], *roles["grey"])]
    colour = list(dict.fromkeys(named)) or roles["rgb"] or roles["grey"]
    depth = _one(bag, roles["depth"], "depth cameras", options)
    taken = [*colour, *([depth] if depth else [])]
    _check_used(bag, options, taken)
    found: list[CameraTopic] = []
    without: list[FormatError] = []
    for name in colour:
        try:
            found.append(_camera(bag, name, options))
        except FormatError as error:
            if name in named:
                raise
            without.append(error)
            lost[name] = left_out(error, "camera")
    if without and not found:
        raise without[0]
    streams = {numbered("rgb", at): camera for at, camera in enumerate(found)}
    return streams | ({"depth": _camera(bag, depth, options)} if depth else {})


def clock_of(
    bag: Bag,
    seen: Mapping[str, CameraTopic],
    clouds: Iterable[tuple[str, Moments]],
    options: IngestOptions,
    lost: Mapping[str, str],
) -> Clock:
    """Return what gives the steps: the slower one of the first colour and the depth camera.

    Without a camera it is the slowest one of the clouds; without these, of the laser scans, or of
    those that are named.

    Args:
        bag: the log.
        seen: its cameras by stream name.
        clouds: topics of its clouds.
        options: what was chosen.
        lost: sentences about the topics that were left out.

    Raises:
        FormatError: there is none of these.
    """
    main = [seen[name] for name in ("rgb", "depth") if name in seen]
    found = {"picture": [(camera.name, camera.moments) for camera in main], "cloud": [*clouds]}
    if not any(found.values()):
        scans = of_kind(bag, SCAN)
        named = [name for name in scans if name in options.topics]
        found["scan"] = [(name, moments(bag, name)) for name in named or scans]
    for step, topics in found.items():
        if topics:
            topic, taken = max(topics, key=lambda each: period_ns(each[1].stamps_ns))
            return Clock(topic, taken, step)
    said = "".join(f" {sentence}" for sentence in (*_images_left_out(bag, lost), *lost.values()))
    raise FormatError(
        f"{bag.path}: holds no image, laser scan or cloud that is read; its topics: {_list(bag)}."
        f"{said} The steps of a log are the pictures of a camera, or the clouds or scans of a "
        "sensor; record one of these as well."
    )


def of_kind(bag: Bag, kind: str) -> list[str]:
    """Return the topics of a message type that have a message, sorted."""
    return sorted(t.name for t in bag.topics.values() if t.kind == kind and t.count)


def moments(bag: Bag, topic: str, is_empty: Callable[[Any], bool] | None = None) -> Moments:
    """Return which messages of a topic are taken.

    Args:
        bag: the log.
        topic: its name.
        is_empty: says whether nothing is in a message; None where all are taken.

    Raises:
        FormatError: the bag is damaged, or the type is not the known one.
    """
    ordinals, stamps, dropped, empty = list[int](), list[int](), 0, 0
    for number, (stamp, message) in enumerate(bag.messages(topic)):
        if is_empty is not None and is_empty(message):
            empty += 1
        elif stamps and stamp <= stamps[-1]:  # a time that repeats or runs back is no new moment
            dropped += 1
        else:
            ordinals.append(number)
            stamps.append(stamp)
    return Moments(np.array(ordinals, np.int64), np.array(stamps, np.int64), dropped, empty)


def odometry_of(bag: Bag, options: IngestOptions) -> str | None:
    """Return the odometry to place the robot by: the only one, or the one that was named."""
    found = of_kind(bag, ODOMETRY) or of_kind(bag, POSE)
    named = [name for name in found if name in options.topics]
    return found[0] if len(found) == 1 else (named[0] if len(named) == 1 else None)


def unread(bag: Bag, options: IngestOptions, taken: Collection[str]) -> Iterator[str]:
    """Yield sentences about what is not read, if there is any.

    Args:
        bag: the log.
        options: what was chosen.
        taken: topics of the cameras.
    """
    topics = [t for t in bag.topics.values() if t.kind not in _READ and t.count]
    names = [f"{t.name} ({t.kind})" for t in topics if t.name != options.action_topic]
    if names:
        yield f"{bag.path}: these topics are not read: {', '.join(sorted(names))}."
    yield from (f"{bag.path}: {sentence}" for sentence in _images_left_out(bag, taken))


def _images_left_out(bag: Bag, taken: Collection[str]) -> Iterator[str]:
    others = [name for name in _image_topics(bag) if name not in taken]
    if others:
        said = ", ".join(f"{name} ({encoding_of(bag.first(name))})" for name in others)
        yield (
            f"these images are left out: {said}. Read are cameras of colour (of grey where there "
            f"is none, or where it is named) and one of depth, encoded as {', '.join(ENCODINGS)}."
        )


def left_out(error: FormatError, what: str) -> str:
    """Return an error as a note that a topic is left out."""
    return f"{str(error).removesuffix('.')}; the {what} is left out."


def numbered(stream: str, number: int) -> str:
    """Return the stream of one of several cameras, counted from 0: rgb, rgb_1, rgb_2."""
    return f"{stream}_{number}" if number else stream


def named_streams(topics: Sequence[str], single: str, options: IngestOptions) -> dict[str, str]:
    """Return topics by stream name: that of the only one, or the only one named, is given."""
    chosen = [topic for topic in topics if topic in options.topics] if len(topics) > 1 else topics
    main = chosen[0] if len(chosen) == 1 else ""
    return {single if topic == main else _stream_name(topic): topic for topic in topics}


def _stream_name(topic: str) -> str:
    return topic.strip("/").replace("/", "_")


def check_topic(bag: Bag, name: str) -> None:
    """Raise unless the bag has the topic."""
    if name not in bag.topics:
        raise FormatError(f"{bag.path}: has no topic {name}; its topics: {_list(bag)}.")


def _check_named(bag: Bag, options: IngestOptions) -> None:
    for name in (*options.topics, *filter(None, [options.action_topic])):
        check_topic(bag, name)


def _check_used(bag: Bag, options: IngestOptions, taken: Collection[str]) -> None:
    """Refuse a topic that was named and from which nothing would come."""
    for name in options.topics:
        topic = bag.topics[name]
        if topic.kind in (IMAGE, COMPRESSED) and name not in taken:
            why = "its encoding is not read, or it is the compressed twin of another topic"
        elif topic.kind == CAMERA_INFO:
            why = "a lens is found by the name of its camera"
        elif topic.kind not in _READ and name != options.action_topic:
            why = "messages of this type are not read"
        elif not topic.count:
            why = "it has no message"
        else:
            continue
        raise FormatError(
            f"{bag.path}: the topic {name} ({topic.kind}) was named with --topics and is not used: "
            f"{why}. Its topics: {_list(bag)}."
        )


def _image_topics(bag: Bag) -> list[str]:
    """Return the topics with pictures; what is only the compressed twin of another is left out."""
    found = of_kind(bag, IMAGE) + of_kind(bag, COMPRESSED)
    return [name for name in found if _base(name) == name or _base(name) not in found]


def _base(topic: str) -> str:
    return topic.removesuffix("/compressed").removesuffix("/compressedDepth")


def _one(bag: Bag, found: list[str], what: str, options: IngestOptions) -> str | None:
    if len(found) < 2:
        return found[0] if found else None
    named = [name for name in found if name in options.topics]
    if len(named) != 1:
        raise FormatError(
            f"{bag.path}: has several {what}: {', '.join(found)}; name one of them with --topics."
        )
    return named[0]


def _camera(bag: Bag, name: str, options: IngestOptions) -> CameraTopic:
    first = bag.first(name)
    lenses = _lenses(bag, name, first, options)
    return CameraTopic(name, first.header.frame_id, lenses, moments(bag, name))


def _lenses(bag: Bag, name: str, first: Any, options: IngestOptions) -> Lenses:
    if options.intrinsics is not None:
        return Lenses(Lens(options.intrinsics))
    infos = of_kind(bag, CAMERA_INFO)
    rectified = "rect" in _base(name).rsplit("/", 1)[-1]
    beside = f"{_base(name).rsplit('/', 1)[0]}/camera_info"
    if beside in infos:
        return _as_lenses(bag, beside, rectified=rectified)
    frames = {info: bag.first(info).header.frame_id for info in infos}
    same = [info for info in infos if frames[info] == first.header.frame_id]
    if len(same) != 1:
        raise FormatError(
            f"{bag.path}: the camera {name} has no intrinsics: {beside} was looked for, there is "
            f"{', '.join(infos) or 'no CameraInfo at all'}. Pass --intrinsics fx fy cx cy."
        )
    return _as_lenses(bag, same[0], rectified=rectified)


def _as_lenses(bag: Bag, topic: str, *, rectified: bool) -> Lenses:
    """Return the lenses of a CameraInfo; rectified pictures are pinholes with the matrix P."""
    info = bag.first(topic)
    # ROS 1 and ROS 2 spell the fields differently
    k, d, p = (np.asarray(getattr(info, n, getattr(info, n.upper(), ()))) for n in ("k", "d", "p"))
    size = (int(info.height), int(info.width)) if info.height and info.width else None
    matrix, distortion = k.reshape(3, 3), tuple(float(value) for value in d)
    if rectified:
        matrix = p.reshape(3, 4)[:, :3] if p[0] > 0 else matrix
        distortion = ()
    if any(distortion) and info.distortion_model not in _PINHOLES:
        raise FormatError(
            f"{bag.path}: {topic}: the distortion model {info.distortion_model} is not read; "
            "record the rectified images (image_rect) instead."
        )
    if any(distortion[8:]):
        raise FormatError(
            f"{bag.path}: {topic}: a lens of {len(distortion)} coefficients (thin prism, tilt) is "
            "not read; record the rectified images (image_rect) instead."
        )
    width = 8 if len(distortion) > 5 else 5
    padded = (*distortion, *(0.0,) * width)[:width]
    lens = checked(Lens(pinhole_of(matrix), padded, size), f"{bag.path}: {topic}")
    return Lenses(lens, _of_part(lens, info), _binned(info))


def _of_part(lens: Lens, info: Any) -> Lens | None:
    """Return the lens in the pixels of the part of the sensor that is sent (``roi``), if it is."""
    part = info.roi
    if not (part.width and part.height):
        return None
    fx, fy, cx, cy = lens.pinhole
    moved = fx, fy, cx - part.x_offset, cy - part.y_offset
    return replace(lens, pinhole=moved, size=(int(part.height), int(part.width)))


def _binned(info: Any) -> tuple[int, int]:
    """Return how many rows and columns of the sensor make one of the picture."""
    return max(1, int(info.binning_y)), max(1, int(info.binning_x))


def _list(bag: Bag) -> str:
    return ", ".join(f"{t.name} ({t.kind})" for t in bag.topics.values()) or "none"
