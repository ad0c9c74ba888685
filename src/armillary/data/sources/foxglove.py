"""Foxglove's messages in MCAP logs, JSON or protobuf, as those of ROS that mean the same.

The numbers of the fields are those of Foxglove's published schemas; definitions that a file brings
along are not read.

Source: Foxglove SDK, schemas/proto/foxglove.
"""

from __future__ import annotations

import base64
import json
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

import numpy as np

from armillary.core.errors import FormatError
from armillary.data.sources.damaged import damaged
from armillary.data.sources.mcap_file import Channel, profile_of, read_messages
from armillary.data.sources.protobuf_wire import (
    BYTES,
    FIXED_32,
    FIXED_64,
    VARINT,
    varint,
    wire_fields,
)
from armillary.data.sources.ros_bag import Bag, Topic
from armillary.data.sources.ros_images import COMPRESSED, IMAGE
from armillary.data.sources.ros_topics import CAMERA_INFO, CLOUD, TRANSFORMS
from armillary.data.sources.ros_vectors import POSE, SCAN, UnevenError

_ENCODINGS = ("json", "protobuf")
# By message: the number of each field, its name, and its type; [] are lists of messages.
_TYPES: dict[str, dict[int, tuple[str, str]]] = {
    "Time": {1: ("sec", "whole"), 2: ("nsec", "whole")},
    "Vector3": {1: ("x", "float"), 2: ("y", "float"), 3: ("z", "float")},
    "Quaternion": {1: ("x", "float"), 2: ("y", "float"), 3: ("z", "float"), 4: ("w", "float")},
    "Pose": {1: ("position", "Vector3"), 2: ("orientation", "Quaternion")},
    "PackedElementField": {1: ("name", "text"), 2: ("offset", "whole"), 3: ("type", "whole")},
    "CompressedImage": {
        1: ("timestamp", "Time"), 4: ("frame_id", "text"), 2: ("data", "bytes"),
        3: ("format", "text"),
    },
    "RawImage": {
        1: ("timestamp", "Time"), 7: ("frame_id", "text"), 2: ("width", "whole"),
        3: ("height", "whole"), 4: ("encoding", "text"), 5: ("step", "whole"), 6: ("data", "bytes"),
    },
    "CameraCalibration": {
        1: ("timestamp", "Time"), 9: ("frame_id", "text"), 2: ("width", "whole"),
        3: ("height", "whole"), 4: ("distortion_model", "text"), 5: ("D", "floats"),
        6: ("K", "floats"), 8: ("P", "floats"),
    },
    "LaserScan": {
        1: ("timestamp", "Time"), 2: ("frame_id", "text"), 3: ("pose", "Pose"),
        4: ("start_angle", "float"), 5: ("end_angle", "float"), 6: ("ranges", "floats"),
    },
    "PointCloud": {
        1: ("timestamp", "Time"), 2: ("frame_id", "text"), 3: ("pose", "Pose"),
        4: ("point_stride", "whole"), 5: ("fields", "[PackedElementField]"), 6: ("data", "bytes"),
    },
    "PoseInFrame": {1: ("timestamp", "Time"), 2: ("frame_id", "text"), 3: ("pose", "Pose")},
    "FrameTransform": {
        1: ("timestamp", "Time"), 2: ("parent_frame_id", "text"), 3: ("child_frame_id", "text"),
        4: ("translation", "Vector3"), 5: ("rotation", "Quaternion"),
    },
    "FrameTransforms": {1: ("transforms", "[FrameTransform]")},
}  # fmt: skip
_KINDS = {
    "CompressedImage": COMPRESSED, "RawImage": IMAGE, "CameraCalibration": CAMERA_INFO,
    "LaserScan": SCAN, "PointCloud": CLOUD, "FrameTransform": TRANSFORMS[0],
    "FrameTransforms": TRANSFORMS[0], "PoseInFrame": POSE,
}  # fmt: skip
# Numeric types of a point's fields: those of ROS by Foxglove's
_NUMERIC = {1: 2, 2: 1, 3: 4, 4: 3, 5: 6, 6: 5, 7: 7, 8: 8}
_WIRES = {
    "float": (FIXED_64,), "floats": (FIXED_64, BYTES), "whole": (VARINT, FIXED_32),
}  # fmt: skip
_EMPTY = {"whole": 0, "float": 0.0, "text": "", "bytes": b""}
_MOST_FIELDS = 1 << 20  # of one message
_MOST_SECONDS = 1 << 33


def open_log(path: Path) -> Bag:
    """Open a robot's log: a ROS bag, or an MCAP file with Foxglove's messages.

    Args:
        path: a file, or the folder of a ROS 2 bag.

    Raises:
        FormatError: it is damaged or cut off, or its messages are of another kind.
        MissingExtraError: the library for logs is not installed.
    """
    profile = profile_of(path) if path.is_file() else None
    return Bag(path) if profile in (None, "ros2") else FoxgloveLog(path, profile)


class FoxgloveLog(Bag):
    """An MCAP file whose messages are Foxglove's; they are given as those of ROS.

    Args:
        path: the file.
        profile: what the file says its messages are, for the sentence.

    Raises:
        FormatError: it is damaged or cut off, or holds no message that is read.
        MissingExtraError: the library for logs is not installed.
    """

    def __init__(self, path: Path, profile: str) -> None:
        self.path = path
        counts = Counter(message.channel for message in read_messages(path))
        self._topics: dict[str, Topic] = {}
        for channel, count in counts.items():
            kind = _KINDS[_name(channel)] if _is_read(channel) else channel.schema
            before = self._topics[channel.topic].count if channel.topic in self._topics else 0
            self._topics[channel.topic] = Topic(channel.topic, kind, before + count)
        if not any(_is_read(channel) for channel in counts):
            found = [f"{c.topic} ({c.schema or 'no schema'}, {c.encoding})" for c in counts]
            raise FormatError(
                f"{path}: is an MCAP log of profile {profile[:40]!r} without a message that is "
                f"read; its topics: {', '.join(sorted(found)) or 'none'}. Read are logs of ROS 2 "
                f"(profile 'ros2') and Foxglove's {', '.join(_KINDS)} in JSON or protobuf; record "
                "the topics as one of these."
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is kept open."""

    @property
    def topics(self) -> dict[str, Topic]:
        """Topics by name; the kind is that of ROS, where the message is read."""
        return self._topics

    def messages(self, topic: str) -> Iterator[tuple[int, Any]]:
        """Yield the time in nanoseconds and the message of everything on a topic, as ROS has it.

        Raises:
            FormatError: the file or a message is damaged.
        """
        where = f"{self.path}: {topic}"
        for message in read_messages(self.path):
            if message.channel.topic != topic or not _is_read(message.channel):
                continue
            name = _name(message.channel)
            with damaged(where, f"foxglove.{name}", struct.error):
                if message.channel.encoding == "json":
                    found = _of_json(json.loads(bytes(message.data)), name)
                else:
                    found = _of_wire(message.data, name, where)
                time_ns = _ns(getattr(found, "timestamp", None)) or message.logged_ns
                made = _MAKERS[name](found, time_ns, where)
            yield time_ns, made


def _name(channel: Channel) -> str:
    return channel.schema.removeprefix("foxglove.")


def _is_read(channel: Channel) -> bool:
    known = channel.schema.startswith("foxglove.") and _name(channel) in _KINDS
    return known and channel.encoding in _ENCODINGS


# --- messages as they are encoded --------------------------------------------------------------


def _of_json(value: Any, kind: str) -> Any:
    """Return a value of a type from parsed JSON; what is missing is zero or empty."""
    if kind in _TYPES:
        value = {} if value is None else value
        if not isinstance(value, dict):
            raise ValueError(f"an object was expected for {kind}")
        of = _TYPES[kind].values()
        return SimpleNamespace(**{name: _of_json(value.get(name), inner) for name, inner in of})
    if kind.startswith("["):
        return [_of_json(one, kind.strip("[]")) for one in value or []]
    if kind == "floats":
        return np.array([] if value is None else value, np.float64).reshape(-1)
    if value is None:
        return _EMPTY[kind]
    if kind == "bytes":
        return base64.b64decode(value, validate=True)
    if kind == "text":
        return str(value)
    return int(value) if kind == "whole" else float(value)


def _of_wire(data: memoryview, kind: str, where: str) -> Any:
    """Return a message of a type from protobuf; what is missing is zero or empty."""
    found = _of_json({}, kind)
    floats: dict[str, list[memoryview]] = {}
    what, of = f"foxglove.{kind}", _TYPES[kind]
    for count, (number, wire, value) in enumerate(wire_fields(data, where, what)):
        if count >= _MOST_FIELDS:
            raise FormatError(f"{where}: a message has more than {_MOST_FIELDS:,} fields; refused.")
        name, inner = of.get(number, ("", ""))
        if not name:
            continue
        if wire not in _WIRES.get(inner, (BYTES,)):
            raise ValueError(f"{name} is of another type")
        if inner.startswith("["):
            getattr(found, name).append(_of_wire(value, inner.strip("[]"), where))
        elif inner == "floats":  # packed, or one at a time
            floats.setdefault(name, []).append(value)
        elif inner in _TYPES:
            setattr(found, name, _of_wire(value, inner, where))
        else:
            setattr(found, name, _plain(value, wire, inner))
    for name, parts in floats.items():
        setattr(found, name, np.frombuffer(b"".join(parts), "<f8"))
    return found


def _plain(value: memoryview, wire: int, kind: str) -> Any:
    if kind == "float":
        return struct.unpack("<d", value)[0]
    if kind == "whole":
        return varint(value, 0, "", "")[0] if wire == VARINT else int.from_bytes(value, "little")
    return bytes(value) if kind == "bytes" else bytes(value).decode()


# --- messages as ROS has them ------------------------------------------------------------------


def _ns(stamp: Any) -> int:
    if stamp is None:
        return 0
    if not 0 <= stamp.sec < _MOST_SECONDS or not 0 <= stamp.nsec < 10**9:
        raise ValueError("its timestamp is no time")
    return stamp.sec * 10**9 + stamp.nsec


def _header(time_ns: int, frame: str) -> SimpleNamespace:
    stamp = SimpleNamespace(sec=time_ns // 10**9, nanosec=time_ns % 10**9)
    return SimpleNamespace(stamp=stamp, frame_id=frame)


def _compressed(found: Any, time_ns: int, where: str) -> SimpleNamespace:
    header = _header(time_ns, found.frame_id)
    return SimpleNamespace(header=header, format=found.format, data=found.data)


def _raw(found: Any, time_ns: int, where: str) -> SimpleNamespace:
    return SimpleNamespace(
        header=_header(time_ns, found.frame_id),
        height=found.height,
        width=found.width,
        encoding=found.encoding,
        is_bigendian=0,
        step=found.step,
        data=np.frombuffer(found.data, np.uint8),
    )


def _calibration(found: Any, time_ns: int, where: str) -> SimpleNamespace:
    if len(found.K) != 9 or len(found.P) not in (0, 12):
        raise FormatError(
            f"{where}: a calibration has K of 9 and P of 12 numbers, got {len(found.K)} and "
            f"{len(found.P)}; pass --intrinsics fx fy cx cy."
        )
    return SimpleNamespace(
        header=_header(time_ns, found.frame_id),
        height=found.height,
        width=found.width,
        distortion_model=found.distortion_model,
        k=found.K,
        d=found.D,
        p=found.P if len(found.P) else np.zeros(12),
        roi=SimpleNamespace(x_offset=0, y_offset=0, height=0, width=0),
        binning_x=0,
        binning_y=0,
    )


def _scan(found: Any, time_ns: int, where: str) -> SimpleNamespace:
    _check_pose(found.pose, where)
    between = max(1, len(found.ranges) - 1)
    return SimpleNamespace(
        header=_header(time_ns, found.frame_id),
        angle_min=found.start_angle,
        angle_increment=(found.end_angle - found.start_angle) / between,
        range_min=0.0,
        range_max=np.inf,
        ranges=found.ranges,
    )


def _cloud(found: Any, time_ns: int, where: str) -> SimpleNamespace:
    _check_pose(found.pose, where)
    stride, data = found.point_stride, np.frombuffer(found.data, np.uint8)
    if len(data) and not 0 < stride <= len(data):
        raise FormatError(
            f"{where}: a cloud of {len(data):,} bytes was promised points of {stride:,} bytes; the "
            "message is damaged."
        )
    fields = [
        SimpleNamespace(name=f.name, offset=f.offset, datatype=_NUMERIC.get(f.type, 0), count=1)
        for f in found.fields
    ]
    return SimpleNamespace(
        header=_header(time_ns, found.frame_id),
        height=1,
        width=len(data) // stride if len(data) else 0,
        fields=fields,
        is_bigendian=False,
        point_step=stride,
        row_step=len(data),
        data=data,
    )


def _transforms(found: Any, time_ns: int, where: str) -> SimpleNamespace:
    several = getattr(found, "transforms", [found])
    return SimpleNamespace(
        transforms=[
            SimpleNamespace(
                header=_header(_ns(one.timestamp) or time_ns, one.parent_frame_id),
                child_frame_id=one.child_frame_id,
                transform=SimpleNamespace(translation=one.translation, rotation=one.rotation),
            )
            for one in several
        ]
    )


def _pose(found: Any, time_ns: int, where: str) -> SimpleNamespace:
    """Return a pose as odometry has it, of a frame that is named after the topic."""
    return SimpleNamespace(
        header=_header(time_ns, found.frame_id),
        child_frame_id=where,
        pose=SimpleNamespace(pose=found.pose),
    )


def _check_pose(pose: Any, where: str) -> None:
    place, turn = pose.position, pose.orientation
    if any((place.x, place.y, place.z, turn.x, turn.y, turn.z)):
        raise UnevenError(
            f"{where}: a message has a pose of its own in its frame, which is not read; send the "
            "pose as a FrameTransform."
        )


_MAKERS = {
    "CompressedImage": _compressed, "RawImage": _raw, "CameraCalibration": _calibration,
    "LaserScan": _scan, "PointCloud": _cloud, "FrameTransform": _transforms,
    "FrameTransforms": _transforms, "PoseInFrame": _pose,
}  # fmt: skip
