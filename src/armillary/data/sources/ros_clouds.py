"""Point clouds of ROS: PointCloud2 messages as clouds in metres, in the sensor's frame.

A message tells how many points it has, how many bytes a point takes, and where in these each
feature lies. All of it is held against the bytes that are there before memory is taken.

Axes: P points, F features of a point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from armillary.core.errors import FormatError
from armillary.data.sources.cloud import (
    FARTHEST_WITHOUT_UNIT,
    Cloud,
    assembled,
    check_count,
    is_feature,
    packed_colours,
)
from armillary.data.sources.ros_bag import Bag
from armillary.data.sources.ros_topics import (
    CLOUD,
    Moments,
    left_out,
    moments,
    named_streams,
    of_kind,
)
from armillary.data.sources.ros_vectors import UnevenError
from armillary.data.sources.source import IngestOptions

_KINDS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_PACKED = ("rgb", "rgba")
_MAX_FIELDS = 256


@dataclass(frozen=True)
class CloudTopic:
    """A topic of clouds.

    Attributes:
        name: the topic.
        frame: of the points of its first cloud.
        columns: names of the features of a point.
        moments: which of its messages are taken; those without a point are not.
    """

    name: str
    frame: str
    columns: tuple[str, ...]
    moments: Moments


def cloud_topics(bag: Bag, options: IngestOptions, lost: dict[str, str]) -> dict[str, CloudTopic]:
    """Return the topics of clouds by stream name: those that are named, or all.

    Args:
        bag: the log.
        options: what was chosen.
        lost: where the topics that are left out are added, with a sentence each.

    Raises:
        FormatError: the bag is damaged, or a topic that is named has no cloud that can be read.
    """
    topics = of_kind(bag, CLOUD)
    chosen = [topic for topic in topics if topic in options.topics] or topics
    for topic in [topic for topic in topics if topic not in chosen]:
        lost[topic] = f"{bag.path}: {topic}: is left out, as --topics names another cloud."
    found = {}
    for stream, topic in named_streams(chosen, "points", options).items():
        try:
            found[stream] = _cloud_topic(bag, topic)
        except UnevenError as error:
            if topic in options.topics:
                raise
            lost[topic] = left_out(error, "topic")
    return found


def _cloud_topic(bag: Bag, topic: str) -> CloudTopic:
    where = f"{bag.path}: {topic}"
    taken = moments(bag, topic, _is_empty)
    first = next((m for _, m in bag.messages(topic) if not _is_empty(m)), None)
    if first is None:
        raise UnevenError(f"{where}: none of its {taken.empty} clouds has a point.")
    return CloudTopic(topic, first.header.frame_id, _columns_of(first, where), taken)


def _is_empty(message: Any) -> bool:
    """Say whether a cloud says itself that it has no point, as that of a filter may."""
    return message.width * message.height == 0


def _columns_of(message: Any, where: str) -> tuple[str, ...]:
    try:
        rows = np.zeros(1, _point(message, where))
        return assembled(where, _columns(rows), 1.0, np.zeros(3)).columns
    except FormatError as error:
        raise UnevenError(str(error)) from error


def cloud_of(message: Any, where: str) -> Cloud:
    """Return the points of a PointCloud2; those that are NaN or infinite are left out.

    Args:
        message: of ROS.
        where: bag and topic, for the sentence.

    Raises:
        FormatError: another number of bytes than its size needs, fields that are not read, no
            point, or points farther away than any sensor sees.
    """
    point = _point(message, where)
    rows, columns = int(message.height), int(message.width)
    data = np.asarray(message.data, np.uint8)
    check_count(where, rows * columns, point.itemsize, len(data))
    if rows * columns * point.itemsize != len(data):
        data = _without_padding(message, data, columns * point.itemsize, where)
    values = _columns(data.view(point).reshape(-1))
    with np.errstate(invalid="ignore"):  # a NaN of a damaged message may signal
        _check_reach(values, where)
        return assembled(where, values, 1.0, np.zeros(3))


def _point(message: Any, where: str) -> np.dtype:
    """Return the type of one point: the fields that are kept, where they lie in its bytes."""
    step, order = int(message.point_step), ">" if message.is_bigendian else "<"
    if len(message.fields) > _MAX_FIELDS:
        raise FormatError(
            f"{where}: a cloud with {len(message.fields)} fields is refused, above {_MAX_FIELDS}."
        )
    found: dict[str, tuple[str, int]] = {}
    for field in message.fields:
        name = field.name.lower()
        if not (is_feature(name) or name in _PACKED) or name in found:
            continue
        kind = _KINDS.get(field.datatype, "")
        place = name in ("x", "y", "z")
        if not kind or (place and kind not in ("f4", "f8")):
            wanted = "7 (float32) or 8 (float64)" if place else "1 to 8"
            raise FormatError(
                f"{where}: the field {name} of a cloud has the datatype {field.datatype}; {wanted} "
                "was expected."
            )
        end = field.offset + np.dtype(kind).itemsize
        if end > step:
            raise FormatError(
                f"{where}: the field {name} of a cloud ends at byte {end}, but a point has {step} "
                "bytes; the message is damaged."
            )
        found[name] = order + kind, int(field.offset)
    lost = [name for name in ("x", "y", "z") if name not in found]
    if lost:
        known = ", ".join(str(field.name)[:40] for field in message.fields) or "none"
        raise FormatError(
            f"{where}: a cloud has no field {lost[0]}; x, y and z are needed, its fields: {known}."
        )
    if step > len(message.data):
        raise FormatError(
            f"{where}: a cloud was promised points of {step:,} bytes, {len(message.data):,} bytes "
            "were found; the message is damaged."
        )
    kinds, offsets = zip(*found.values(), strict=True)
    of = {"names": [*found], "formats": kinds, "offsets": offsets, "itemsize": step}
    return np.dtype(of)


def _columns(rows: np.ndarray) -> dict[str, np.ndarray]:
    found = {name: rows[name] for name in rows.dtype.names or ()}
    packed = [found.pop(name) for name in _PACKED if name in found]
    return {**(packed_colours(packed[0]) if packed else {}), **found}


def _check_reach(columns: dict[str, np.ndarray], where: str) -> None:
    for name in ("x", "y", "z"):
        reach = float(np.abs(columns[name][np.isfinite(columns[name])]).max(initial=0))
        if reach > FARTHEST_WITHOUT_UNIT:
            raise FormatError(
                f"{where}: a cloud reaches {reach:,.0f} m, farther than any sensor sees; the "
                "message is damaged, or a map."
            )


def _without_padding(message: Any, data: np.ndarray, used: int, where: str) -> np.ndarray:
    """Return the bytes of the points without what pads each row."""
    rows, step = int(message.height), int(message.row_step)
    if step < used or rows * step != len(data):
        raise FormatError(
            f"{where}: a cloud of {rows} rows of {used:,} bytes was promised, {len(data):,} bytes "
            "were found; the message is damaged."
        )
    return np.ascontiguousarray(data.reshape(rows, step)[:, :used]).reshape(-1)
