"""Every message is checked; what is wrong gets a sentence, and changes nothing."""

from __future__ import annotations

import json
import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from armillary.core.errors import FormatError
from armillary.play.controls import Controls, read_message
from armillary.play.frames import pack_frame
from armillary.play.session import Frame
from armillary.play.showing import Points

START = Controls((0.0, 0.0))


def told(**message):
    return read_message(json.dumps(message), START)


def test_messages_change_the_controls() -> None:
    assert told(type="drive", axes=[0.5, -1], key=7)[0].axes == (0.5, -1.0)
    assert told(type="drive", axes=[0.5, -1], key=7)[0].key == 7
    assert told(type="mode", mode="real")[0].mode == "real"
    assert told(type="show", sensor="points")[0].sensor == "points"
    assert told(type="rate", hz=5)[0].hz == 5
    assert told(type="pause", on=True)[0].paused
    goal = told(type="goal", place="a_xy", at=[0.1, 0.2])[0]
    assert goal.goal == ("a_xy", (0.1, 0.2))
    following, _ = read_message('{"type": "follow", "on": true}', goal)
    assert following.follow and not told(type="follow", on=True)[0].follow
    cleared, _ = read_message('{"type": "goal", "at": null}', following)
    assert cleared.goal is None and not cleared.follow


def test_events_leave_the_controls_as_they_are() -> None:
    assert told(type="reset", seed=4) == (START, {"type": "reset", "seed": 4})
    assert told(type="reset") == (START, {"type": "reset"})
    assert told(type="shown", frame=9) == (START, {"type": "shown", "frame": 9})
    assert told(type="depart") == (START, {"type": "depart"})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "not JSON"),
        ("[" * 4000, "not JSON"),
        ("[1]", "JSON object"),
        (b"x", "JSON text of at most 4,096 bytes"),
        (" " * 5000, "JSON text of at most 4,096 bytes"),
        ('{"type": "open", "path": "/etc/passwd"}', "There is no message 'open'. Known: depart"),
        ('{"type": ["drive"]}', "There is no message"),
        ('{"type": "drive", "axes": [1], "key": 1}', "axes are 2 numbers"),
        ('{"type": "drive", "axes": [1, NaN], "key": 1}', "axes are 2 numbers"),
        ('{"type": "drive", "axes": [1, Infinity], "key": 1}', "axes are 2 numbers"),
        ('{"type": "drive", "axes": [true, 1], "key": 1}', "axes are 2 numbers"),
        ('{"type": "drive", "axes": [0, 1], "key": -1}', "key is a whole number"),
        ('{"type": "mode", "mode": "dream"}', "mode is one of imagined, real"),
        ('{"type": "show", "sensor": "x-ray"}', "sensor is one of colour, depth, points"),
        ('{"type": "show", "sensor": ["depth"]}', "sensor is one of colour, depth, points"),
        ('{"type": "show"}', "sensor is one of colour, depth, points"),
        ('{"type": "rate", "hz": 1e9}', "hz is a number from 0.5 to 60"),
        ('{"type": "pause", "on": 1}', "on is true or false"),
        ('{"type": "goal", "place": "a", "at": [0.1]}', "at is two numbers"),
        ('{"type": "goal", "place": "a", "at": [0.1, 99]}', "lies on the picture"),
        ('{"type": "goal", "place": 3, "at": [0.1, 0.1]}', "A goal names a place"),
        ('{"type": "reset", "seed": -3}', "seed is a whole number"),
        ('{"type": "reset", "seed": 1e300}', "seed is a whole number"),
    ],
)
def test_what_is_wrong_gets_a_sentence(text, sentence) -> None:
    with pytest.raises(FormatError, match=sentence):
        read_message(text, START)


def test_a_frame_is_a_length_facts_and_two_pictures() -> None:
    picture = np.zeros((16, 8, 3), np.uint8)
    picture[:, :, 1] = 200
    data = pack_frame(Frame(picture, picture, {"step": 3}), {"frame": 1})
    (length,) = struct.unpack("<I", data[:4])
    facts = json.loads(data[4 : 4 + length])
    assert facts["step"] == 3 and facts["frame"] == 1
    assert len(data) == 4 + length + facts["imagined"] + facts["real"]
    shown = Image.open(BytesIO(data[4 + length : 4 + length + facts["imagined"]]))
    assert shown.size == (64, 128) and shown.format == "WEBP"
    assert np.abs(np.asarray(shown.convert("RGB")).astype(int) - [0, 200, 0]).max() < 12
    alone = pack_frame(Frame(picture, None, {}), {})
    assert json.loads(alone[4 : 4 + struct.unpack("<I", alone[:4])[0]])["real"] == 0


def unpacked(data: bytes) -> tuple[dict, bytes, bytes]:
    """Return the facts of a frame, and the bytes of both sides."""
    (length,) = struct.unpack("<I", data[:4])
    facts, start = json.loads(data[4 : 4 + length]), 4 + length
    middle = start + facts["imagined"]
    assert len(data) == middle + facts["real"]
    return facts, data[start:middle], data[middle:]


def test_depth_is_sent_without_loss_in_its_own_size() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (16, 16, 4)).astype(np.uint8)
    picture[..., 3] = 255 * (rng.uniform(size=(16, 16)) < 0.9)
    _, imagined, real = unpacked(pack_frame(Frame(picture, picture, {}), {}))
    shown = np.asarray(Image.open(BytesIO(imagined)))
    valid = picture[..., 3] == 255
    np.testing.assert_array_equal(shown[valid], picture[valid])
    np.testing.assert_array_equal(shown[..., 3], picture[..., 3])
    assert imagined == real


def test_points_are_sent_as_places_and_colours() -> None:
    xyz = np.arange(-6, 6).reshape(4, 3).astype(np.int16)
    rgb = np.arange(12).reshape(4, 3).astype(np.uint8)
    some = Points(xyz, rgb, 0.001, ((0.0, 0.0, 1.0), (0.0, 0.0, 2.0)))
    none = Points(xyz[:0], rgb[:0], 0.5, ())
    facts, imagined, real = unpacked(pack_frame(Frame(some, none, {}), {}))
    assert facts["clouds"] == {
        "imagined": {"count": 4, "scale": 0.001, "sensor": [[0, 0, 1], [0, 0, 2]]},
        "real": {"count": 0, "scale": 0.5, "sensor": []},
    }
    np.testing.assert_array_equal(np.frombuffer(imagined[:24], "<i2").reshape(4, 3), xyz)
    np.testing.assert_array_equal(np.frombuffer(imagined[24:], np.uint8).reshape(4, 3), rgb)
    assert real == b""
