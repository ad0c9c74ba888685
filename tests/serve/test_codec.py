"""Bytes are those of openpi-client; what cannot be read is a sentence, never an array."""

import contextlib

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from armillary.core.errors import FormatError
from armillary.serve.codec import MAX_BYTES, pack, unpack

KINDS = st.sampled_from(["<f4", "<f8", "|u1", "<i2", "<i8", "|b1", ">f4", "<u4"]).map(np.dtype)


@given(arrays.arrays(KINDS, arrays.array_shapes(max_dims=4, max_side=5, min_side=0)))
def test_arrays_come_back(values):
    found = unpack(pack({"a": values}))["a"]
    assert found.shape == values.shape and found.dtype == values.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, values)


def test_the_bytes_are_those_of_openpi_client():
    # as openpi-client 0.1.2 packs {"a": np.float32([1, 2]), "n": np.int64(3)}
    wanted = msgpack.packb(
        {
            "a": {
                b"__ndarray__": True,
                b"data": b"\0\0\x80?\0\0\0@",
                b"dtype": "<f4",
                b"shape": (2,),
            },
            "n": {b"__npgeneric__": True, b"data": 3, b"dtype": "<i8"},
        }
    )
    value = {"a": np.float32([1, 2]), "n": np.int64(3)}
    assert pack(value) == wanted
    assert unpack(wanted)["n"] == 3


def array(**changes):
    whole = {"__ndarray__": True, "data": b"\0" * 4, "dtype": "<f4", "shape": [1], **changes}
    return msgpack.packb({"a": {k.encode(): v for k, v in whole.items() if v is not None}})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xff" * 20,
        msgpack.packb([1, 2]),
        msgpack.packb({1: 2}),
        msgpack.packb({b"a": 2}),
        msgpack.packb("text"),
        msgpack.packb({"a": msgpack.ExtType(5, b"x")}),
        pack({"a": 1}) + b"more",
        array(dtype="|O"),
        array(dtype="<c8"),
        array(dtype="|S4"),
        array(dtype="<M8[s]", data=b"\0" * 8),
        array(dtype="f4,f4", data=b"\0" * 8),
        array(dtype="(2,)f4", data=b"\0" * 8),
        array(dtype="nonsense"),
        array(dtype=7),
        array(shape=[2]),
        array(shape=[-1]),
        array(shape=[1.0]),
        array(shape=[True]),
        array(shape=[1 << 60, 1 << 60]),
        array(shape=[1] * 9),
        array(shape=7),
        array(data="text"),
        array(data=None),
        array(dtype=None),
        msgpack.packb({"a": {b"__npgeneric__": True, b"data": [1]}}),
        msgpack.packb({"a": [[[[[[[[[[1]]]]]]]]]]}),
        msgpack.packb({"a": "x" * 100_000}),
        msgpack.packb({"a": [0] * 2000}),
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x81\xa1a" + b"\x91" * 3000 + b"\x01",
    ],
)
def test_what_cannot_be_read_is_a_sentence(data):
    with pytest.raises(FormatError):
        unpack(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_map_or_a_sentence(data):
    with contextlib.suppress(FormatError):
        assert isinstance(unpack(data), dict)


def test_what_is_too_long_or_cannot_be_sent():
    with pytest.raises(FormatError, match="6,815,744 are read"):
        unpack(b"\0" * (MAX_BYTES + 1))
    for value in (np.array([object()]), np.zeros(1, "c8"), object(), 1 << 70):
        with pytest.raises(FormatError, match="cannot be sent"):
            pack({"a": value})
