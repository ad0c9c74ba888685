"""tf.train.Example: named lists of bytes, floats or integers, read from their wire format.

An Example holds Features (field 1), which hold a map (field 1) from a key (1) to a Feature (2),
which is a list of bytes (1), of float32 (2) or of int64 (3). That is four messages deep, and no
message is looked into any deeper. Slices of the record are kept, and become values when asked for.

Source: tensorflow/core/example/{example,feature}.proto; protobuf's encoding guide.

Axes: N values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from armillary.core.errors import FormatError
from armillary.data.sources.protobuf_wire import (
    BYTES,
    FIXED_32,
    LONGEST_VARINT,
    VARINT,
    wire_fields,
)

MAX_FEATURES = 10_000
MAX_VALUES = 1_000_000  # strings, pictures, or numbers that are not packed, of one feature
MAX_INTEGERS = 1 << 24  # packed; a byte becomes eight
_KINDS = {1: "bytes", 2: "float", 3: "int64"}


@dataclass(frozen=True)
class Feature:
    """One named list of an Example.

    Attributes:
        kind: ``bytes``, ``float``, ``int64``, or empty where the list is empty.
        body: the list, still encoded.
        where: what sentences call it.
    """

    kind: str
    body: memoryview
    where: str

    def texts(self) -> list[bytes]:
        """Return a list of byte strings.

        Raises:
            FormatError: it holds something else, is damaged, or has more than a million values.
        """
        self._check("bytes")
        return [bytes(value) for value in self._values(BYTES)]

    def numbers(self) -> Float32[np.ndarray, " N"] | Int64[np.ndarray, " N"]:
        """Return a list of numbers.

        Raises:
            FormatError: it holds byte strings, is damaged, or has more numbers than are read.
        """
        self._check("float", "int64")
        floats = self.kind != "int64"
        # a packed list is one value of bytes, an unpacked one has a value for each number
        alone = FIXED_32 if floats else VARINT
        data = b"".join(self._values(BYTES, alone))
        if not floats:
            return self._integers(np.frombuffer(data, np.uint8))
        if len(data) % 4:
            raise self._damaged()
        return np.frombuffer(data, "<f4").astype(np.float32)

    def _integers(self, data: np.ndarray) -> Int64[np.ndarray, " N"]:
        """Return packed numbers: seven bits a byte, the lowest first, the last byte below 128."""
        ends = np.flatnonzero(data < 128)
        if not len(ends) and not len(data):
            return np.zeros(0, np.int64)
        if not len(ends) or ends[-1] != len(data) - 1:
            raise self._damaged()
        if len(ends) > MAX_INTEGERS:
            raise self._too_many(MAX_INTEGERS)
        starts = np.concatenate([[0], ends[:-1] + 1])
        if (ends - starts).max() >= LONGEST_VARINT:
            raise self._damaged()
        values = np.zeros(len(ends), np.uint64)
        for place in range(int((ends - starts).max()) + 1):
            reach = starts + place <= ends
            bits = (data[starts[reach] + place] & 0x7F).astype(np.uint64)
            values[reach] |= bits << np.uint64(7 * place)
        return values.view(np.int64)

    def _values(self, *wires: int) -> Iterator[memoryview]:
        for count, (number, wire, value) in enumerate(_fields(self.body, self.where)):
            if count >= MAX_VALUES:
                raise self._too_many(MAX_VALUES)
            if number == 1:
                if wire not in wires:
                    raise self._damaged()
                yield value

    def _too_many(self, most: int) -> FormatError:
        return FormatError(f"{self.where}: has more than {most} values; refused.")

    def _check(self, *kinds: str) -> None:
        if self.kind and self.kind not in kinds:
            raise FormatError(
                f"{self.where}: holds {self.kind} values where {' or '.join(kinds)} were expected."
            )

    def _damaged(self) -> FormatError:
        return FormatError(f"{self.where}: its list of values is damaged.")


def read_example(data: bytes, where: str) -> dict[str, Feature]:
    """Return the features of an encoded Example by their keys.

    Args:
        data: the message.
        where: what sentences call it.

    Raises:
        FormatError: it is damaged, or has more than 10,000 features.
    """
    found: dict[str, Feature] = {}
    for features in _messages(memoryview(data), 1, where):
        for entry in _messages(features, 1, where):
            if len(found) >= MAX_FEATURES:
                raise FormatError(f"{where}: has more than {MAX_FEATURES} features; refused.")
            key = _key(entry, where)
            found[key] = _feature(entry, f"{where}: {key!r}")
    return found


def _key(entry: memoryview, where: str) -> str:
    key = b"".join(list(_messages(entry, 1, where))[-1:])  # the last one holds
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{where}: the name of a feature is no text; it is damaged.") from error


def _feature(entry: memoryview, where: str) -> Feature:
    kind, body = "", memoryview(b"")
    for feature in _messages(entry, 2, where):
        for number, wire, value in _fields(feature, where):
            if number in _KINDS and wire == BYTES:
                kind, body = _KINDS[number], value
    return Feature(kind, body, where)


def _messages(data: memoryview, wanted: int, where: str) -> Iterator[memoryview]:
    """Yield the messages or byte strings that a message holds in one of its fields."""
    for number, wire, value in _fields(data, where):
        if number == wanted and wire == BYTES:
            yield value


def _fields(data: memoryview, where: str) -> Iterator[tuple[int, int, memoryview]]:
    return wire_fields(data, where, "tf.train.Example")
