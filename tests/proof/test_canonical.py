"""Canonical JSON: the examples of RFC 8785, and what is refused."""

from __future__ import annotations

import hashlib
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armillary.core.errors import FormatError
from armillary.proof.canonical import (
    Limits,
    canonical_bytes,
    digest,
    parse_canonical,
    parse_json,
    read_bytes,
    refuse_floats,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_example_of_the_standard() -> None:
    value = json.loads(
        '{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],'
        '"string":"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/",'
        '"literals":[null,true,false]}'
    )
    # RFC 8785, section 3.2.4
    wanted = (
        "7b226c69746572616c73223a5b6e756c6c2c747275652c66616c73655d2c226e756d62657273223a5b333333"
        "3333333333332e333333333333332c31652b33302c342e352c302e3030322c31652d32375d2c22737472696e"
        "67223a22e282ac245c75303030665c6e4127425c225c5c5c5c5c222f227d"
    )
    assert canonical_bytes(value).hex() == wanted
    assert digest(value) == hashlib.sha256(bytes.fromhex(wanted)).hexdigest()


@pytest.mark.parametrize(
    ("bits", "text"),
    [  # RFC 8785, appendix B
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555555", "333333333.3333333"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
    ],
)
def test_numbers_of_the_standard(bits: str, text: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_bytes(value).decode() == text


@given(JSON)
def test_a_value_survives_and_has_one_text(value) -> None:
    text = canonical_bytes(value)
    assert parse_canonical(text, "x") == value
    assert canonical_bytes(parse_json(text, "x")) == text


@pytest.mark.parametrize("value", [2**53, -(2**53), float("nan"), float("inf"), {1: 2}, b"x"])
def test_what_other_readers_would_round_is_refused(value) -> None:
    with pytest.raises(FormatError, match="has no canonical JSON"):
        canonical_bytes(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a":1,"a":2}', "the key 'a' stands twice"),
        (b"9007199254740992", "not below 2"),
        (b"1" * 5000, "not below 2"),
        (b"NaN", "NaN is no JSON number"),
        (b"-Infinity", "-Infinity is no JSON number"),
        (b"1e999", "not finite"),
        (b"[" * 100, "depth 100"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "depth 40"),
        (b"\xff", "not JSON"),
        (b'"\\', "not JSON"),
        (b"", "not JSON"),
    ],
)
def test_damaged_text_is_one_sentence(text: bytes, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        parse_json(text, "x")


def test_sizes_are_bounded_before_reading() -> None:
    with pytest.raises(FormatError, match="more than 10 JSON values"):
        parse_json(b"[" + b"0," * 20 + b"0]", "x", Limits(values=10))
    with pytest.raises(FormatError, match="at most 4"):
        parse_json(b"[1,2]", "x", Limits(bytes=4))
    # brackets and commas inside strings do not count
    assert parse_json(b'["[[[[,,,,\\"[[[["]', "x", Limits(depth=1, values=1)) == ['[[[[,,,,"[[[[']


def test_many_quotes_take_linear_time() -> None:
    with pytest.raises(FormatError, match="not JSON"):
        parse_json(b'"' + b'\\"' * 2_000_000, "x")


def test_another_text_of_the_same_value_is_refused() -> None:
    with pytest.raises(FormatError, match="not written as canonical JSON"):
        parse_canonical(b'{"b":1, "a":2}', "x")


def test_floats_are_found_wherever_they_are() -> None:
    refuse_floats({"a": [1, "0.5", None, True]}, "card")
    with pytest.raises(FormatError, match=r"card\.a\[1\]: 0\.5 is a float"):
        refuse_floats({"a": [1, 0.5]}, "card")


def test_links_are_not_followed(tmp_path) -> None:
    (tmp_path / "real").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(FormatError, match="links are not followed"):
        read_bytes(tmp_path / "link")
    with pytest.raises(FormatError, match="larger than 0 bytes"):
        read_bytes(tmp_path / "real", 0)
