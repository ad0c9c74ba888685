"""What is sent is what comes; whatever else comes is one sentence and takes next to no memory."""

from __future__ import annotations

import io
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from armillary.core.errors import FormatError
from armillary.evaluation.carry import Decision
from armillary.proof import messages
from armillary.proof.wire import DTYPES, MAGIC, PREFIX, ClosedError, Message, encode, read_message

LIMIT = 1 << 20
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
NAMES = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8)
ARRAYS = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0))
)


def read(raw: bytes, limit: int = LIMIT) -> Message:
    return read_message(io.BytesIO(raw).read, limit)


def framed(head: bytes, body: bytes = b"", said: int | None = None) -> bytes:
    return PREFIX.pack(MAGIC, len(head), len(body) if said is None else said) + head + body


def head_of(arrays: object, kind: object = "see", **more: object) -> bytes:
    return json.dumps({"kind": kind, "fields": {}, "arrays": arrays, **more}).encode()


@given(NAMES, st.dictionaries(NAMES, JSON, max_size=4), st.dictionaries(NAMES, ARRAYS, max_size=4))
def test_a_message_comes_as_it_was_sent(kind, fields, arrays):
    got = read(encode(Message(kind, fields, arrays)))
    assert got.kind == kind and got.fields == fields and got.arrays.keys() == arrays.keys()
    for name, values in arrays.items():
        came = got.arrays[name]
        assert (came.dtype, came.shape) == (values.dtype, values.shape)
        assert came.tobytes() == values.tobytes()
        assert came.flags.writeable and came.flags.aligned


@given(st.integers(1, 7), st.binary(max_size=200))
def test_messages_in_a_row_come_one_by_one_however_the_pipe_cuts_them(cut, text):
    sent = [Message("see", {"at": i}, {"x": np.frombuffer(text, np.uint8)}) for i in range(3)]
    pipe = io.BytesIO(b"".join(encode(one) for one in sent))
    for one in sent:
        got = read_message(lambda count: pipe.read(min(count, cut)), LIMIT)
        assert got.fields == one.fields and got.arrays["x"].tobytes() == text


@given(st.binary(max_size=300))
def test_any_bytes_are_a_sentence(raw):
    with pytest.raises(FormatError, match=r"^(A message|The pipe)"):
        read(raw)


@given(st.binary(max_size=200), st.binary(max_size=50), st.integers(0, 2**64 - 1))
def test_any_head_behind_a_good_prefix_is_a_sentence(head, body, said):
    for raw in (framed(head, body), framed(head, body, said)):
        with pytest.raises(FormatError, match=r"^(A message|The pipe)"):
            read(raw)


@given(JSON, JSON, JSON)
def test_any_json_in_a_head_is_a_message_or_a_sentence(kind, fields, arrays):
    head = json.dumps({"kind": kind, "fields": fields, "arrays": arrays}).encode()
    try:
        got = read(framed(head))
    except FormatError:
        return
    assert (got.kind, got.fields, arrays) == (kind, fields, [])


@given(st.data())
def test_a_changed_byte_is_a_message_or_a_sentence(data):
    raw = bytearray(encode(Message("see", {"seed": 7}, {"rgb": np.arange(12, dtype=np.uint8)})))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    try:
        read(bytes(raw))
    except FormatError:
        return


def test_a_cut_off_message_is_said_to_be_cut_off():
    raw = encode(Message("see", {}, {"x": np.zeros(9)}))
    for until in range(len(raw)):
        with pytest.raises(ClosedError, match="The pipe was closed before a whole message"):
            read(raw[:until])


@pytest.mark.parametrize(
    "raw",
    [
        PREFIX.pack(MAGIC, 1 << 31, 0) + bytes(100),
        PREFIX.pack(MAGIC, 10, 1 << 62) + bytes(100),
        framed(head_of([["x", "float64", [1 << 31]]]), said=1 << 34),
        framed(head_of([["x", "float64", [1 << 17]]]), said=1 << 20),
        framed(head_of([["x", "uint8", [0, (1 << 32) - 1, (1 << 32) - 1]]])),
        framed(b"[" * 60_000),
        framed(b'{"kind":' + b"9" * 60_000 + b"}"),
    ],
    ids=["head", "body", "claimed array", "array that never comes", "zero", "deep", "long number"],
)
def test_what_is_announced_takes_no_memory(raw):
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            read(raw)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", r"A message begins with b'arw1'; b'GET ' came"),
        (framed(b"{}", said=LIMIT + 1), rf"announces 2 \+ {LIMIT + 1} bytes; at most 65536 \+"),
        (framed(b"{}"), "has kind, fields and arrays, and nothing else"),
        (framed(head_of([], extra=1)), "has kind, fields and arrays, and nothing else"),
        (framed(head_of([], kind=3)), "kind is a word"),
        (framed(b'{"kind":"a","fields":{"x":NaN},"arrays":[]}'), "NaN is not a number"),
        (framed(b'{"kind":"a","kind":"b","fields":{},"arrays":[]}'), "a key comes twice"),
        (framed(head_of([["x", "object", [1]]])), "lists arrays as name, dtype"),
        (framed(head_of([["x", "uint8", [-1]]])), "lists arrays as name, dtype"),
        (framed(head_of([["x", "uint8", [True]]])), "lists arrays as name, dtype"),
        (framed(head_of([["x", "uint8", [1]]]), b"ab"), "lists arrays of 1 bytes and announces 2"),
        (framed(head_of([["x", "uint8", [0]]] * 2)), "names an array twice"),
        (framed(head_of([["x", "uint8", [0]]] * 33)), "at most 32 arrays; 33 came"),
    ],
)
def test_sentences(raw, sentence):
    with pytest.raises(FormatError, match=sentence):
        read(raw)


def test_objects_do_not_travel():
    with pytest.raises(FormatError, match=r"The array 'x' is object; between processes go only"):
        encode(Message("see", {}, {"x": np.array([{}])}))
    with pytest.raises(FormatError, match="at most 65536 are allowed"):
        encode(Message("see", {"long": "x" * 70_000}))


def test_a_decision_comes_as_it_was_made():
    carry = {
        "mean": {"shape": [1, 2, 1], "float32": "AACAPwAAwH8="},  # 1 and a NaN, to the bit
        "kept": {"shape": [1, 0, 2, 1], "float32": ""},
    }
    for cost in (0.1, None):
        made = Decision(4, 1032, cost, carry)
        said = read(encode(messages.acted(np.float32([0.1, -0.2]), True, made)))
        assert messages.decision_of(said, 4) == made
        assert messages.action_of(said).tolist() == np.float32([0.1, -0.2]).tolist()
    plain = read(encode(messages.acted(np.zeros(2), False, Decision(0, 1, 0.5, {}))))
    assert messages.decision_of(plain, 0) == Decision(0, 1, 0.5, {})
    assert messages.decision_of(read(encode(messages.acted(np.zeros(2), True, None))), 3) is None


@given(st.dictionaries(st.sampled_from(["step", "model_steps", "cost", "carry"]), JSON) | JSON)
def test_any_decision_is_one_or_a_sentence(said):
    message = Message("acted", {"looks": True, "decision": said}, {})
    try:
        found = messages.decision_of(message, 2)
    except FormatError:
        return
    assert found is None or (found.step == 2 and found.model_steps >= 0 and found.carry == {})


@given(st.text(max_size=2000))
def test_what_a_policy_says_is_safe_to_print(text):
    said = messages.sentence({"sentence": text})
    assert said.isprintable() and len(said) <= messages.MAX_SENTENCE
