"""MCAP logs of Foxglove's messages, in JSON and in protobuf, arrive as logs of ROS do."""

from __future__ import annotations

import base64
import json
import struct
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import scene
from test_robot_logs import PERIOD_NS, START_NS, STEPS, placed

from armillary.core.errors import FormatError
from armillary.data import IngestOptions, ingest, open_dataset, verify

pytest.importorskip("rosbags")
descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
descriptor_pool = pytest.importorskip("google.protobuf.descriptor_pool")
message_factory = pytest.importorskip("google.protobuf.message_factory")

# As in Foxglove's .proto files
PROTO = {
    "Timestamp": "seconds 1 INT64, nanos 2 INT32",
    "Vector3": "x 1 DOUBLE, y 2 DOUBLE, z 3 DOUBLE",
    "Quaternion": "x 1 DOUBLE, y 2 DOUBLE, z 3 DOUBLE, w 4 DOUBLE",
    "Pose": "position 1 Vector3, orientation 2 Quaternion",
    "PackedElementField": "name 1 STRING, offset 2 FIXED32, type 3 INT32",
    "CompressedImage": "timestamp 1 Timestamp, frame_id 4 STRING, data 2 BYTES, format 3 STRING",
    "RawImage": "timestamp 1 Timestamp, frame_id 7 STRING, width 2 FIXED32, height 3 FIXED32, "
    "encoding 4 STRING, step 5 FIXED32, data 6 BYTES",
    "CameraCalibration": "timestamp 1 Timestamp, frame_id 9 STRING, width 2 FIXED32, "
    "height 3 FIXED32, distortion_model 4 STRING, D 5 *DOUBLE, K 6 *DOUBLE, P 8 *DOUBLE",
    "LaserScan": "timestamp 1 Timestamp, frame_id 2 STRING, pose 3 Pose, start_angle 4 DOUBLE, "
    "end_angle 5 DOUBLE, ranges 6 *DOUBLE",
    "PointCloud": "timestamp 1 Timestamp, frame_id 2 STRING, pose 3 Pose, point_stride 4 FIXED32, "
    "fields 5 *PackedElementField, data 6 BYTES",
    "PoseInFrame": "timestamp 1 Timestamp, frame_id 2 STRING, pose 3 Pose",
    "FrameTransform": "timestamp 1 Timestamp, parent_frame_id 2 STRING, child_frame_id 3 STRING, "
    "translation 4 Vector3, rotation 5 Quaternion",
    "FrameTransforms": "transforms 1 *FrameTransform",
    "Log": "timestamp 1 Timestamp",
}


def classes() -> dict:
    file = descriptor_pb2.FileDescriptorProto(name="f.proto", package="foxglove", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, told in PROTO.items():
        message = file.message_type.add(name=name)
        for part in told.split(", "):
            field, number, kind = part.split()
            label = kinds.LABEL_REPEATED if kind[0] == "*" else kinds.LABEL_OPTIONAL
            made = message.field.add(name=field, number=int(number), label=label)
            kind = kind.removeprefix("*")
            if kind in PROTO:
                made.type, made.type_name = kinds.TYPE_MESSAGE, f".foxglove.{kind}"
            else:
                made.type = getattr(kinds, f"TYPE_{kind}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClassesForFiles(["f.proto"], pool)


CLASSES = classes()


def encoded(kind: str, fields: dict, encoding: str) -> bytes:
    if encoding == "protobuf":
        return CLASSES[f"foxglove.{kind}"](**as_proto(fields)).SerializeToString()

    def plain(value):
        return base64.b64encode(value).decode() if isinstance(value, bytes) else value.tolist()

    return json.dumps(fields, default=plain).encode()


def as_proto(value):
    if isinstance(value, dict):
        names = {"sec": "seconds", "nsec": "nanos"}
        return {names.get(name, name): as_proto(one) for name, one in value.items()}
    return [as_proto(one) for one in value] if isinstance(value, list) else value


def text(words: str) -> bytes:
    return struct.pack("<I", len(words)) + words.encode()


def framed(kind: int, data: bytes) -> bytes:
    return bytes([kind]) + struct.pack("<Q", len(data)) + data


def write(path: Path, messages, encoding: str, packing: str = "", profile: str = "") -> Path:
    """``messages`` are topic, time, name of the schema, fields."""
    inside, numbers = b"", {}
    for topic, now, kind, fields in messages:
        if topic not in numbers:
            number = numbers[topic] = len(numbers) + 1
            of = "jsonschema" if encoding == "json" else encoding
            schema = struct.pack("<H", number) + text(f"foxglove.{kind}") + text(of) + text("")
            channel = struct.pack("<HH", number, number) + text(topic) + text(encoding)
            inside += framed(3, schema) + framed(4, channel + struct.pack("<I", 0))
        stamp = {"sec": now // 10**9, "nsec": now % 10**9}
        data = encoded(kind, {"timestamp": stamp, **fields}, encoding)
        head = struct.pack("<HIQQ", numbers[topic], 0, now + 7_000_000, now)
        inside += framed(5, head + data)
    records = framed(1, text(profile) + text("test"))
    if packing == "none":
        records += inside
    else:
        told = struct.pack("<QQQI", 0, 0, len(inside), zlib.crc32(inside)) + text(packing)
        packed = packed_by(inside, packing)
        records += framed(6, told + struct.pack("<Q", len(packed)) + packed)
    magic = b"\x89MCAP0\r\n"
    end = framed(15, bytes(4)) + framed(2, bytes(20))
    path.write_bytes(magic + records + end + magic)
    return path


def packed_by(data: bytes, packing: str) -> bytes:
    if packing == "lz4":
        return pytest.importorskip("lz4.frame").compress(data)
    return pytest.importorskip("backports.zstd").compress(data) if packing == "zstd" else data


def camera(step: int, raw: bool):
    now, picture = START_NS + step * PERIOD_NS, scene.rgb(step)
    depth = np.rint(scene.depth_m(step) * 1000).astype("<u2")
    of = {"frame_id": "optical", "width": 64, "height": 48}
    told = {"distortion_model": "plumb_bob", "K": scene.K.reshape(-1), "D": np.zeros(5)}
    yield "/calibration", now, "CameraCalibration", {**of, **told}
    if raw:
        fields = {"encoding": "rgb8", "step": 192, "data": picture.tobytes()}
        yield "/image", now, "RawImage", {**of, **fields}
    else:
        data = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
        fields = {"frame_id": "optical", "format": "png", "data": data}
        yield "/image", now, "CompressedImage", fields
    fields = {"encoding": "16UC1", "step": 128, "data": depth.tobytes()}
    yield "/depth", now, "RawImage", {**of, **fields}
    moved = placed(scene.pose(step), "translation", "rotation")
    yield (
        "/tf",
        now,
        "FrameTransform",
        {"parent_frame_id": "map", "child_frame_id": "optical"} | moved,
    )


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
@pytest.mark.parametrize("packing", ["none", "", "lz4", "zstd"])
def test_a_camera_arrives_as_one_of_ros_does(tmp_path, encoding, packing):
    messages = [one for step in range(STEPS) for one in camera(step, packing == "none")]
    path = write(tmp_path / "a.mcap", messages, encoding, packing)
    summary = ingest(path, tmp_path / "out")
    assert (summary.frames, summary.left_out) == (STEPS, ())
    dataset = open_dataset(tmp_path / "out")
    episode = dataset.read(0)
    scene.check(episode, list(range(STEPS)), 6e-4)
    assert dataset.fps == 10
    assert np.array_equal(episode.time_ns, np.arange(STEPS) * PERIOD_NS)
    assert np.allclose(episode.streams["rgb"].intrinsics, scene.K)
    assert episode.streams["world_from_camera"].frame == "map"
    assert verify(tmp_path / "out").ok


def laser(step: int, pose: np.ndarray | None = None):
    now = START_NS + step * PERIOD_NS
    ranges = np.array([1.0 + step, 2.0, 0.0, 4.0])
    fields = {"frame_id": "laser", "start_angle": -1.0, "end_angle": 0.5, "ranges": ranges}
    if pose is not None:
        fields["pose"] = placed(pose, "position", "orientation")
    yield "/scan", now, "LaserScan", fields
    robot = placed(scene.pose(step), "position", "orientation")
    yield "/pose", now, "PoseInFrame", {"frame_id": "map", "pose": robot}


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_a_laser_with_poses_moves(tmp_path, encoding):
    messages = [one for step in range(STEPS) for one in laser(step, np.eye(4))]
    summary = ingest(write(tmp_path / "a.mcap", messages, encoding), tmp_path / "out")
    assert "the motion of the robot" in summary.notes[0]
    episode = open_dataset(tmp_path / "out").read(0)
    lidar = episode.streams["lidar"]
    assert np.allclose(lidar.values[:, [0, 1, 3]], [[1.0 + s, 2, 4] for s in range(STEPS)])
    assert np.isnan(lidar.values[:, 2]).all()
    assert np.allclose(lidar.beams_rad[:, 0], [-1.0, -0.5, 0.0, 0.5])
    poses = np.stack([scene.pose(step) for step in range(STEPS)])
    assert np.allclose(episode.streams["world_from_robot"].values, poses, atol=1e-6)
    assert np.allclose(episode.streams["proprio"].values[:, :3], poses[:, :3, 3], atol=1e-5)


def cloud(step: int):
    points = np.random.default_rng(step).uniform(-3, 3, (20 + step, 3)).astype("<f4")
    rows = np.zeros(len(points), [("i", "u1"), ("xyz", "<f4", 3)])
    rows["xyz"], rows["i"] = points, np.arange(len(points))
    types = (("intensity", 0, 1), ("x", 1, 7), ("y", 5, 7), ("z", 9, 7))
    fields = [{"name": name, "offset": at, "type": kind} for name, at, kind in types]
    told = {"frame_id": "top", "point_stride": 13, "fields": fields, "data": rows.tobytes()}
    return points, ("/points", START_NS + step * PERIOD_NS, "PointCloud", told)


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_clouds_are_read(tmp_path, encoding):
    messages = [cloud(step)[1] for step in range(STEPS)]
    ingest(write(tmp_path / "a.mcap", messages, encoding), tmp_path / "out")
    stream = open_dataset(tmp_path / "out").read(0).streams["points"]
    assert stream.columns == ("x", "y", "z", "intensity")
    for step, found in enumerate(stream.values):
        points = cloud(step)[0]
        assert np.array_equal(found[: len(points), :3], points)
        assert np.array_equal(found[: len(points), 3], np.arange(len(points)))


@pytest.mark.parametrize("profile", ["", "ros1", "px4"])
def test_other_messages_are_named_with_what_is_read(tmp_path, profile):
    messages = [("/log", START_NS, "Log", {})]
    path = write(tmp_path / "a.mcap", messages, "json", profile=profile)
    said = (
        rf"is an MCAP log of profile '{profile}' without a message that is read; its topics: /log "
        r"\(foxglove.Log, json\). Read are logs of ROS 2 .* Foxglove's CompressedImage, "
    )
    with pytest.raises(FormatError, match=said):
        ingest(path, tmp_path / "out")


def test_a_scan_with_a_pose_of_its_own_is_refused(tmp_path):
    moved = np.eye(4)
    moved[0, 3] = 1.0
    messages = [one for step in range(STEPS) for one in laser(step, moved)]
    with pytest.raises(FormatError, match="has a pose of its own in its frame"):
        ingest(write(tmp_path / "a.mcap", messages, "json"), tmp_path / "out")


def test_a_scan_that_is_not_read_is_left_out_beside_a_camera(tmp_path):
    moved = np.eye(4)
    moved[0, 3] = 1.0
    sensors = [[*laser(step, moved), *camera(step, True)] for step in range(STEPS)]
    path = write(tmp_path / "a.mcap", [one for each in sensors for one in each], "json")
    [(_, why)] = ingest(path, tmp_path / "out").left_out
    assert why.endswith("send the pose as a FrameTransform; the topic is left out.")
    scene.check(open_dataset(tmp_path / "out").read(0), list(range(STEPS)), 6e-4)


def test_a_file_that_is_cut_off_is_said(tmp_path):
    messages = [one for step in range(STEPS) for one in camera(step, True)]
    path = write(tmp_path / "a.mcap", messages, "json")
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(FormatError, match=r"is cut off; repair it first \(mcap recover\)"):
        ingest(path, tmp_path / "out")


def test_a_chunk_that_unpacks_to_more_than_it_says_takes_no_memory(tmp_path):
    path = write(tmp_path / "a.mcap", [], "json")
    bomb = packed_by(bytes(1 << 28), "zstd")
    told = struct.pack("<QQQI", 0, 0, 1000, 0) + text("zstd") + struct.pack("<Q", len(bomb))
    begin = b"\x89MCAP0\r\n" + framed(1, text("") + text(""))
    path.write_bytes(begin + framed(6, told + bomb) + framed(15, bytes(4)))
    tracemalloc.start()
    with pytest.raises(FormatError, match="a chunk is not what its checksum says"):
        ingest(path, tmp_path / "out")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8 << 20


@pytest.mark.runs  # damaged logs: 6 s
@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_bytes_flipped_anywhere_are_never_a_traceback(tmp_path, encoding):
    sensors = [[*laser(step), cloud(step)[1], *camera(step, True)] for step in range(2)]
    path = write(tmp_path / "a.mcap", [one for each in sensors for one in each], encoding, "none")
    good = path.read_bytes()
    rng, refused = np.random.default_rng(0), 0
    for number in range(60):
        data = bytearray(good)
        for at in rng.integers(30, len(data), 1 + number % 20):
            data[at] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        try:
            ingest(path, tmp_path / f"out{number}", options=IngestOptions(ego_motion=False))
        except FormatError:
            refused += 1
    assert 0 < refused < 60
