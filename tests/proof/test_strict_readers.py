"""Keys, times, manifests and headers of strangers, each read strictly."""

from __future__ import annotations

import json
import struct
import time

import pytest

from armillary.core.errors import CheckpointError, FormatError
from armillary.evaluation import make_manifest
from armillary.proof.agent import _check_header
from armillary.proof.entry import check_time, utc_now
from armillary.proof.keys import PublicKey, public_key, small_order
from armillary.proof.manifests import read_manifest

PRIME = 2**255 - 19
# y of all points whose order divides 8, with p added where that fits in 255 bits.
ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
YS = [0, 1, PRIME - 1, ORDER_8, PRIME - ORDER_8, PRIME, PRIME + 1]


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", YS)
def test_a_key_for_which_anybody_can_sign_is_refused(y, sign):
    raw = (y | sign << 255).to_bytes(32, "little")
    assert small_order(raw)
    with pytest.raises(FormatError, match=r"small order|not an Ed25519"):
        public_key(raw.hex())
    anybody = bytes([1]) + bytes(63)
    assert not PublicKey(raw).verify(anybody, b"whatever")


def test_the_usual_base_point_is_no_key_of_small_order():
    base = 4 * pow(5, PRIME - 2, PRIME) % PRIME
    assert not small_order(base.to_bytes(32, "little"))


@pytest.mark.parametrize(
    "text", ["2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z"]
)
def test_a_time_that_no_calendar_has_is_refused(text):
    with pytest.raises(FormatError, match="there is no such time"):
        check_time(text, "entry 1")


def test_the_clock_s_own_time_is_one():
    check_time(utc_now(), "now")
    check_time("2028-02-29T23:59:59Z", "a leap day")


def test_a_manifest_with_nan_or_a_key_twice_is_refused(tmp_path):
    file = tmp_path / "manifest.json"
    made = make_manifest("two_rooms", None, 2, 0, {"image_size": 16})
    made.save(file)
    assert read_manifest(file) == made
    value = json.loads(file.read_text())
    file.write_text(json.dumps({**value, "decision_limit_s": float("nan")}))
    with pytest.raises(FormatError, match="NaN is no JSON number"):
        read_manifest(file)
    file.write_text(json.dumps({**value, "settings": "none"}))
    with pytest.raises(FormatError, match="not a manifest"):
        read_manifest(file)
    file.write_text(json.dumps(value).replace('"budget":', '"budget": 1, "budget":'))
    with pytest.raises(FormatError, match="stands twice"):
        read_manifest(file)


def test_a_header_of_a_million_tensors_is_refused_at_once(tmp_path):
    empty = '"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = ("{" + ",".join(empty % number for number in range(1_000_000)) + "}").encode()
    file = tmp_path / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header)
    began = time.process_time()
    with pytest.raises(CheckpointError, match="its header takes"):
        _check_header(file)
    assert time.process_time() - began < 0.1
