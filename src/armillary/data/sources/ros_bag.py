"""Bags: ROS 1 ``.bag``, ROS 2 ``.db3`` and ``.mcap``, read without ROS.

Only message types that are known here are decoded; definitions that a bag brings along are never
compiled, since that would run code made from the file. A type whose definition differs from
the known one is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from armillary.core.errors import ArmillaryError, FormatError
from armillary.core.optional import require

SUFFIXES = (".bag", ".db3", ".mcap")
# Files of a ROS 2 folder; those packed whole are unpacked by the library.
_PARTS = (".db3", ".mcap", ".db3.zstd", ".mcap.zstd")
# What the library's store of ROS 1 lacks, though all of its robots publish it
_TRANSFORMS = "geometry_msgs/TransformStamped[] transforms"
_MISSING = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
_WHY = "read robots' logs"
_LONGEST_DEFINITION = 1 << 18


@dataclass(frozen=True)
class Topic:
    """A topic of a bag: its name, its message type, and how many messages it has."""

    name: str
    kind: str
    count: int


def is_bag(path: Path) -> bool:
    """Say whether a path is a bag: a file of it, or the folder of a ROS 2 bag."""
    if path.is_file():
        return path.suffix in SUFFIXES
    parts = (path.glob(f"*{suffix}") for suffix in _PARTS)
    return (path / "metadata.yaml").is_file() and any(any(files) for files in parts)


def find_bags(source: Path) -> list[Path]:
    """Return the path itself if it is a bag, else the bags directly below it."""
    if is_bag(source) or not source.is_dir():
        return [source] if is_bag(source) else []
    return [path for path in sorted(source.iterdir()) if is_bag(path)]


class Bag:
    """An open bag.

    Args:
        path: a file, or the folder of a ROS 2 bag.

    Raises:
        FormatError: it is damaged or cut off.
        MissingExtraError: the library for logs is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_first = path.suffix == ".bag"
        module = "rosbags.rosbag1" if self._is_first else "rosbags.rosbag2"
        typesys = require("rosbags.typesys", "logs", _WHY)
        stores = typesys.Stores
        kind = stores.ROS1_NOETIC if self._is_first else stores.LATEST
        self._types = typesys.get_typestore(kind)
        self._types_of = typesys.get_types_from_msg
        for name in _MISSING:
            if name not in self._types.fielddefs:
                self._types.register(typesys.get_types_from_msg(_TRANSFORMS, name))
        with self._reading():
            self._reader = require(module, "logs", _WHY).Reader(path)
            self._reader.open()

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.close()

    @property
    def topics(self) -> dict[str, Topic]:
        """Topics by name."""
        found: dict[str, Topic] = {}
        for connection in self._reader.connections:
            before = found[connection.topic].count if connection.topic in found else 0
            count = before + connection.msgcount
            found[connection.topic] = Topic(connection.topic, connection.msgtype, count)
        return found

    def messages(self, topic: str) -> Iterator[tuple[int, Any]]:
        """Yield the time and the message of everything on a topic, in the order it was recorded.

        The time is that of the header in nanoseconds; where there is none, when it was recorded.

        Raises:
            FormatError: the bag is damaged, or the type is not a known one.
        """
        connections = [c for c in self._reader.connections if c.topic == topic]
        for connection in connections:
            self._check_type(connection)
        with self._reading():
            for connection, recorded_ns, data in self._reader.messages(connections):
                message = self._decoded(data, connection.msgtype)
                yield _stamp(message) or recorded_ns, message

    def first(self, topic: str) -> Any:
        """Return the first message of a topic.

        Raises:
            FormatError: there is none, or it is damaged.
        """
        found = next(self.messages(topic), None)
        if found is None:
            raise FormatError(f"{self.path}: the topic {topic} has no message.")
        return found[1]

    def _decoded(self, data: bytes, kind: str) -> Any:
        if self._is_first:
            return self._types.deserialize_ros1(data, kind)
        return self._types.deserialize_cdr(data, kind)

    def _check_type(self, connection: Any) -> None:
        kind = connection.msgtype
        known = kind in self._types.fielddefs
        if known and self._is_first:
            known = connection.digest == self._types.generate_msgdef(kind)[1]
        elif known and str(connection.digest).startswith("RIHS01"):
            known = connection.digest == self._types.hash_rihs01(kind)
        elif known:
            known = self._is_as_defined(connection)
        if not known:
            raise FormatError(
                f"{self.path}: the topic {connection.topic} is of type {kind}, whose definition is "
                "not the one known here; republish it as a standard message."
            )

    def _is_as_defined(self, connection: Any) -> bool:
        """Say whether a definition that lies in the file has the fields that are known here.

        It is parsed and compared, never made a type. Older bags bring none.

        Raises:
            FormatError: it is written in a way that is not read here.
        """
        text = connection.msgdef.data
        if not text:
            return True
        if connection.msgdef.format.name != "MSG" or len(text) > _LONGEST_DEFINITION:
            raise self._not_compared(connection)
        try:
            types = self._types_of(text, connection.msgtype)
        except Exception as error:  # on odd text, too, the library raises whatever comes up
            raise self._not_compared(connection) from error
        return all(
            name in self._types.fielddefs and fields == self._types.fielddefs[name][1]
            for name, (_, fields) in types.items()
        )

    def _not_compared(self, connection: Any) -> FormatError:
        return FormatError(
            f"{self.path}: the definition of {connection.msgtype} that the topic "
            f"{connection.topic} brings along is not plain text of ROS (.msg), so it cannot be "
            "compared with the one known here; republish it as a standard message."
        )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except ArmillaryError:
            raise
        except KeyError as error:  # the library looks up what a file says about itself
            raise FormatError(
                f"{self.path}: says {error} of its messages, which the library for logs does not "
                "know: of ROS 1 and 2 (ros1msg in .bag, cdr elsewhere) logs alone are read."
            ) from error
        except Exception as error:  # on damaged bytes the library raises whatever comes up
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise FormatError(
                f"{self.path}: cannot be read as a ROS bag ({reason}); if the recording was cut "
                "off, repair it first (rosbag reindex, ros2 bag reindex, mcap recover)."
            ) from error


def _stamp(message: Any) -> int:
    header = getattr(message, "header", None)
    return 0 if header is None else header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
