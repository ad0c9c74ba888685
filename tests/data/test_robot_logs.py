"""ROS bags of both generations arrive in metres and on one clock; what is wrong is said."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import scene
from scipy.spatial.transform import Rotation

from armillary.core.errors import FormatError, MissingExtraError
from armillary.data import IngestOptions, ingest, open_dataset, verify
from armillary.data.sources import ros

pytest.importorskip("rosbags")
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

STEPS = 6
START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
OPTICAL_FROM_LINK = np.array([[0, -1.0, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
BASE_FROM_OPTICAL = np.linalg.inv(OPTICAL_FROM_LINK)
BASE_FROM_OPTICAL[:3, 3] = [0.2, 0.05, 0.4]
MAP_FROM_ODOM = np.eye(4)
MAP_FROM_ODOM[:3, :3] = Rotation.from_euler("z", 0.7).as_matrix()
MAP_FROM_ODOM[:3, 3] = [1.0, -2.0, 0.1]


class Log:
    """Writes messages of known types into a bag of any generation."""

    def __init__(self, path: Path, kind: str) -> None:
        self.first = kind == "bag"
        self.types = get_typestore(Stores.ROS1_NOETIC if self.first else Stores.ROS2_HUMBLE)
        if self.first:
            text = "geometry_msgs/TransformStamped[] transforms"
            self.types.register(get_types_from_msg(text, "tf2_msgs/msg/TFMessage"))
        storage = {"db3": StoragePlugin.SQLITE3, "mcap": StoragePlugin.MCAP}
        self.writer = (
            Writer1(path) if self.first else Writer2(path, version=9, storage_plugin=storage[kind])
        )
        self.connections: dict[str, object] = {}

    def put(self, topic: str, kind: str, time_ns: int, **fields) -> None:
        if topic not in self.connections:
            self.connections[topic] = self.writer.add_connection(topic, kind, typestore=self.types)
        message = self.make(kind, fields)
        pack = self.types.serialize_ros1 if self.first else self.types.serialize_cdr
        self.writer.write(self.connections[topic], time_ns, pack(message, kind))

    def make(self, kind: str, fields: dict):
        """Fill what is not given with zeros, as ROS does."""
        made = {}
        for name, (node, of) in self.types.fielddefs[kind][1]:
            value = fields.get(name, fields.get(name.lower()))
            made[name] = self.value(node.name, of, value)
        return self.types.types[kind](**made)

    def value(self, node: str, of, value):
        if node == "NAME":
            return value if is_message(value) else self.make(of, value or {})
        if node == "BASE":
            return value if value is not None else "" if of[0] == "string" else 0
        (inner, what), length = of
        if inner.name == "NAME":
            return [self.make(what, one) for one in value or []]
        if what[0] == "string":
            return list(value or [])
        return np.asarray(np.zeros(length) if value is None else value, what[0])


def is_message(value) -> bool:
    return hasattr(value, "__msgtype__")


def header(log: Log, time_ns: int, frame: str) -> dict:
    stamp = {"sec": time_ns // 10**9, "nanosec": time_ns % 10**9}
    return {"stamp": stamp, "frame_id": frame}


def transform(log: Log, time_ns: int, parent: str, child: str, pose: np.ndarray) -> dict:
    return {
        "header": header(log, time_ns, parent),
        "child_frame_id": child,
        "transform": placed(pose, "translation", "rotation"),
    }


def placed(pose: np.ndarray, shift: str, turn: str) -> dict:
    x, y, z, w = map(float, Rotation.from_matrix(pose[:3, :3]).as_quat())
    place = dict(zip("xyz", map(float, pose[:3, 3]), strict=True))
    return {shift: place, turn: {"x": x, "y": y, "z": z, "w": w}}


def image(array: np.ndarray, encoding: str, pad: int = 0) -> dict:
    rows = array.reshape(len(array), -1).view(np.uint8)
    padded = np.pad(rows, ((0, 0), (0, pad)))
    return {
        "height": array.shape[0],
        "width": array.shape[1],
        "encoding": encoding,
        "step": padded.shape[1],
        "data": padded.reshape(-1),
    }


def odom_from_base(step: int) -> np.ndarray:
    return np.linalg.inv(MAP_FROM_ODOM) @ scene.pose(step) @ np.linalg.inv(BASE_FROM_OPTICAL)


def record(path: Path, kind: str, **how) -> Path:
    """A robot that carries the scene's camera; ``how`` says what is different this time."""
    how = SimpleNamespace(
        **{
            "encoding": "bgr8",
            "depth": "16UC1",
            "late_ns": 4_000_000,
            "offset_ns": 0,
            "tf": True,
            "extra": lambda log, step, now: None,
            "info": True,
            **how,
        }
    )
    log = Log(path, kind)
    with log.writer:
        static = [
            transform(log, START_NS, "map", "odom", MAP_FROM_ODOM),
            transform(log, START_NS, "base_link", "optical", BASE_FROM_OPTICAL),
        ]
        log.put("/tf_static", "tf2_msgs/msg/TFMessage", START_NS, transforms=static)
        for step in range(STEPS):
            write_step(log, how, step, START_NS + step * PERIOD_NS)
    return path


def write_step(log: Log, how, step: int, now: int) -> None:
    if how.info:
        k = scene.K.reshape(-1)
        info = {
            "height": 48,
            "width": 64,
            "k": k,
            "d": np.zeros(5),
            "distortion_model": "plumb_bob",
        }
        log.put(
            "/camera/color/camera_info",
            "sensor_msgs/msg/CameraInfo",
            now,
            header=header(log, now, "optical"),
            **info,
        )
    picture = scene.rgb(step)
    raw = picture[..., ::-1] if how.encoding == "bgr8" else picture
    head = header(log, now, "optical")
    if how.encoding == "jpeg":
        data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 97])[1]
        name, kind = "/camera/color/image/compressed", "sensor_msgs/msg/CompressedImage"
        log.put(name, kind, now, header=head, format="jpeg", data=data.reshape(-1))
    else:
        fields = image(np.ascontiguousarray(raw), how.encoding, pad=5)
        log.put("/camera/color/image", "sensor_msgs/msg/Image", now, header=head, **fields)
    write_depth(log, how, step, now + how.late_ns + how.offset_ns)
    if how.tf:
        moved = transform(log, now + 2_000_000, "odom", "base_link", odom_from_base(step))
        log.put("/tf", "tf2_msgs/msg/TFMessage", now + 2_000_000, transforms=[moved])
    how.extra(log, step, now)


def write_depth(log: Log, how, step: int, now: int) -> None:
    head = header(log, now, "optical")
    depth = scene.depth_m(step)
    depth[:2] = np.nan
    millimetres = np.nan_to_num(np.rint(depth * 1000)).astype(np.uint16)
    topic, kind = "/camera/depth/image", "sensor_msgs/msg/Image"
    if how.depth == "png":
        data = b"\0" * 12 + cv2.imencode(".png", millimetres)[1].tobytes()
        kind = "sensor_msgs/msg/CompressedImage"
        told = {"format": "16UC1; compressedDepth png", "data": np.frombuffer(data, np.uint8)}
        log.put(f"{topic}/compressedDepth", kind, now, header=head, **told)
    elif how.depth:
        array = depth.astype(np.float32) if how.depth == "32FC1" else millimetres
        log.put(topic, kind, now, header=head, **image(array, how.depth, pad=4))


def odometry(log: Log, step: int, now: int, speed: float = 0.1) -> None:
    log.put(
        "/odom",
        "nav_msgs/msg/Odometry",
        now,
        header=header(log, now, "odom"),
        child_frame_id="base_link",
        pose={"pose": placed(odom_from_base(step), "position", "orientation")},
        twist={"twist": {"linear": {"x": speed * step}, "angular": {"z": -0.2}}},
    )


def scan(log: Log, step: int, now: int, **angles: float) -> None:
    angles = {"angle_min": -1.0, "angle_increment": 0.5, **angles}
    fields = {"range_min": 0.1, "range_max": 9.0, **angles}
    ranges = [1.0 + step, 2.0, np.inf, 0.01, 5.5]
    head = header(log, now + 3_000_000, "laser")
    log.put("/front/scan", "sensor_msgs/msg/LaserScan", now, header=head, ranges=ranges, **fields)


def command(log: Log, step: float, now: int) -> None:
    twist = {"linear": {"x": float(step)}, "angular": {"z": 0.5}}
    log.put("/cmd_vel", "geometry_msgs/msg/Twist", now - 1_000_000, **twist)


@pytest.mark.parametrize(
    ("kind", "encoding", "depth"),
    [
        ("bag", "bgr8", "16UC1"),
        ("db3", "rgb8", "32FC1"),
        ("mcap", "jpeg", "png"),
        ("mcap", "bgr8", "32FC1"),
    ],
)
def test_a_bag_arrives_in_metres(tmp_path, kind, encoding, depth):
    path = tmp_path / ("log.bag" if kind == "bag" else "log")
    record(path, kind, encoding=encoding, depth=depth)
    summary = ingest(path, tmp_path / "out")
    assert (summary.written, summary.frames, summary.left_out) == (1, STEPS, ())
    dataset = open_dataset(tmp_path / "out")
    episode = dataset.read(0)
    scene.check(episode, list(range(STEPS)), 6e-4, colour=14 if encoding == "jpeg" else 8)
    assert np.isnan(episode.streams["depth"].values[:, :2]).all()
    assert dataset.fps == 10
    assert np.array_equal(episode.time_ns, np.arange(STEPS) * PERIOD_NS)
    assert episode.streams["world_from_camera"].frame == "map"
    assert verify(tmp_path / "out").ok


def test_of_odometry_and_joints_the_one_that_is_named_is_proprio(tmp_path):
    def extra(log, step, now):
        odometry(log, step, now)
        joints(log, step, now, list("abc"))

    record(tmp_path / "a.bag", "bag", extra=extra)
    for topics, names in (((), {"odom", "joints"}), (("/joints",), {"odom", "proprio"})):
        out = tmp_path / f"out{len(topics)}"
        ingest(tmp_path / "a.bag", out, options=IngestOptions(topics=topics))
        kinds = open_dataset(out).streams
        assert {name for name, kind in kinds.items() if kind == "proprio"} == names


def test_a_bare_file_without_its_folder_is_read(tmp_path):
    path = record(tmp_path / "log", "mcap")
    [file] = path.glob("*.mcap")
    ingest(file, tmp_path / "out")
    scene.check(open_dataset(tmp_path / "out").read(0), list(range(STEPS)), 6e-4)


def test_odometry_places_the_robot_where_tf_does_not(tmp_path):
    record(tmp_path / "a.bag", "bag", tf=False, extra=odometry)
    ingest(tmp_path / "a.bag", tmp_path / "out")
    episode = open_dataset(tmp_path / "out").read(0)
    scene.check(episode, list(range(STEPS)), 6e-4)
    state = episode.streams["proprio"].values
    bases = np.stack([odom_from_base(step) for step in range(STEPS)])
    assert np.allclose(state[:, :3], bases[:, :3, 3], atol=1e-5)
    assert np.allclose(state[:, 3:6], bases[:, :3, 0], atol=1e-5)
    assert np.allclose(state[:, 9], 0.1 * np.arange(STEPS), atol=1e-5)


def test_scans_and_commands_come_along(tmp_path):
    def extra(log, step, now):
        scan(log, step, now)
        if step > 0:  # nothing is commanded yet at the first step
            command(log, step, now)

    record(tmp_path / "log", "db3", extra=extra)
    options = IngestOptions(action_topic="/cmd_vel")
    summary = ingest(tmp_path / "log", tmp_path / "out", options=options)
    assert (summary.written, summary.frames) == (1, STEPS - 1)
    episode = open_dataset(tmp_path / "out").read(0)
    assert np.allclose(episode.actions[:, 0], [1, 2, 3, 4])
    assert np.allclose(episode.actions[:, 5], 0.5)
    ranges = episode.streams["lidar"]
    assert (ranges.kind, ranges.unit, ranges.frame) == ("lidar", "m", "laser")
    assert ranges.values[0].tolist()[:2] == [2.0, 2.0]
    assert np.isnan(ranges.values[:, 2:4]).all()
    assert np.allclose(ranges.beams_rad, [[a, 0.0] for a in (-1.0, -0.5, 0.0, 0.5, 1.0)])
    [(_, why)] = summary.left_out[:1]
    assert "where the frame 'laser' is; there is no world_from_lidar" in why


def test_a_scanner_that_turns_clockwise_and_is_mounted_somewhere(tmp_path):
    mounted = np.linalg.inv(OPTICAL_FROM_LINK)
    mounted[:3, 3] = [0.1, 0.0, 0.3]

    def extra(log, step, now):
        scan(log, step, now, angle_min=1.0, angle_increment=-0.5)
        static = transform(log, START_NS, "base_link", "laser", mounted)
        log.put("/tf_static", "tf2_msgs/msg/TFMessage", START_NS, transforms=[static])

    record(tmp_path / "a.bag", "bag", extra=extra)
    assert ingest(tmp_path / "a.bag", tmp_path / "out").left_out == ()
    streams = open_dataset(tmp_path / "out").read(0).streams
    assert np.allclose(streams["lidar"].beams_rad[:, 0], [-1.0, -0.5, 0.0, 0.5, 1.0])
    assert streams["lidar"].values[0, [0, 4]].tolist() == [5.5, 1.0]
    bases = np.stack([MAP_FROM_ODOM @ odom_from_base(step) for step in range(STEPS)])
    assert np.allclose(streams["world_from_lidar"].values, bases @ mounted, atol=1e-6)


def test_scans_at_changing_angles_are_left_out_and_refused_where_asked_for(tmp_path):
    record(tmp_path / "a.bag", "bag", extra=lambda *a: scan(*a, angle_min=-1.0 - a[1]))
    [(_, why), *_] = ingest(tmp_path / "a.bag", tmp_path / "out").left_out[::-1]
    assert "must have beams at the same angles" in why
    assert why.endswith("; the topic is left out.")
    assert "lidar" not in open_dataset(tmp_path / "out").read(0).streams
    with pytest.raises(FormatError, match="must have beams at the same angles"):
        ingest(
            tmp_path / "a.bag", tmp_path / "other", options=IngestOptions(topics=("/front/scan",))
        )


def test_a_sensor_that_was_silent_while_pictures_were_taken_is_left_out(tmp_path):
    """Joint states published once, before the camera."""

    def extra(log, step, now):
        if step == 0:
            joints(log, step, now - 10 * PERIOD_NS, list("abc"))

    record(tmp_path / "a.bag", "bag", extra=extra)
    summary = ingest(tmp_path / "a.bag", tmp_path / "out")
    assert summary.frames == STEPS
    [(_, why)] = summary.left_out
    assert "no messages of /joints within 0.02 s of any picture" in why


def test_steps_with_states_or_commands_that_are_nan_are_left_out(tmp_path):
    def extra(log, step, now):
        odometry(log, step, now, speed=np.nan if step == 0 else 0.1)
        command(log, step if step < STEPS - 1 else np.nan, now)

    record(tmp_path / "a.bag", "bag", extra=extra)
    options = IngestOptions(action_topic="/cmd_vel")
    summary = ingest(tmp_path / "a.bag", tmp_path / "out", options=options)
    assert summary.frames == STEPS - 2
    said = " ".join(why for _, why in summary.left_out)
    assert "/odom: holds NaN or infinity at 1 of the 6 pictures" in said
    assert "/cmd_vel: holds NaN or infinity at 1 of the 6 pictures" in said
    episode = open_dataset(tmp_path / "out").read(0)
    assert np.isfinite(episode.streams["proprio"].values).all()


def test_topics_that_are_not_read_are_named(tmp_path):
    record(tmp_path / "a.bag", "bag", extra=command)
    options = IngestOptions(ego_motion=False)
    summary = ingest(tmp_path / "a.bag", tmp_path / "out", options=options)
    [(_, why)] = summary.left_out
    assert "these topics are not read: /cmd_vel (geometry_msgs/msg/Twist)" in why
    assert not open_dataset(tmp_path / "out").has_actions


def test_a_missing_library_is_named_with_its_command(tmp_path, monkeypatch):
    (tmp_path / "a.bag").write_bytes(b"#ROSBAG V2.0")
    monkeypatch.setitem(sys.modules, "rosbags.typesys", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'armillary\[logs\]'"):
        ingest(tmp_path / "a.bag", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_videos_with_a_bag_in_it_stays_one_of_videos(tmp_path):
    (tmp_path / "a.bag").write_bytes(b"#ROSBAG V2.0")
    assert ros.detect(tmp_path)
    (tmp_path / "b.mp4").write_bytes(b"")
    assert not ros.detect(tmp_path)


def second_camera(log: Log, step: int, now: int, told: bool = True, late_ns: int = 0) -> None:
    """A camera that looks to the side: its colour is the number of the step."""
    head, name = header(log, now + late_ns, "other"), "/other/image"
    fields = image(np.full((48, 64, 3), 40 * step, np.uint8), "rgb8")
    log.put(name, "sensor_msgs/msg/Image", now, header=head, **fields)
    info = {"height": 48, "width": 64, "k": 2 * scene.K.reshape(-1), "header": head}
    if told:
        log.put("/other/camera_info", "sensor_msgs/msg/CameraInfo", now, **info)


@pytest.mark.parametrize(
    ("topics", "order"),
    [
        ((), ["/camera/color/image", "/other/image"]),
        (("/other/image", "/camera/color/image"), ["/other/image", "/camera/color/image"]),
        (("/other/image",), ["/other/image"]),
    ],
)
def test_colour_cameras_are_taken_in_the_order_in_which_they_are_named(tmp_path, topics, order):
    def extra(log, step, now):
        second_camera(log, step, now, late_ns=5_000_000)
        side = transform(log, START_NS, "base_link", "other", np.eye(4))
        log.put("/tf_static", "tf2_msgs/msg/TFMessage", START_NS, transforms=[side])

    record(tmp_path / "log", "db3", depth="", extra=extra)
    summary = ingest(tmp_path / "log", tmp_path / "out", options=IngestOptions(topics=topics))
    streams = ["rgb", "rgb_1"][: len(order)]
    episode = open_dataset(tmp_path / "out").read(0)
    assert len(episode) == STEPS
    assert [n for n, s in episode.streams.items() if s.kind == "rgb"] == streams
    said = ", ".join(f"{topic} is {name}" for topic, name in zip(order, streams, strict=True))
    assert any(note.startswith(said) for note in summary.notes) == (len(order) > 1)
    side = streams[order.index("/other/image")]
    seen = episode.streams[side]
    assert np.allclose(seen.values.mean((1, 2, 3)), 40 * np.arange(STEPS), atol=2)
    assert np.allclose(seen.intrinsics[:2], 2 * scene.K[:2])
    pose = episode.streams[f"world_from_{side.replace('rgb', 'camera')}"].values
    bases = np.stack([MAP_FROM_ODOM @ odom_from_base(step) for step in range(STEPS)])
    assert np.allclose(pose, bases, atol=1e-6)


def test_several_cameras_with_depth_have_the_steps_of_both(tmp_path):
    record(tmp_path / "a.bag", "bag", extra=second_camera)
    assert ingest(tmp_path / "a.bag", tmp_path / "out").frames == STEPS
    episode = open_dataset(tmp_path / "out").read(0)
    scene.check(episode, list(range(STEPS)), 6e-4)
    assert "rgb_1" in episode.streams


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"told": False}, "/other/image has no intrinsics: .*; the camera is left out"),
        ({"late_ns": 10**12}, "/other/image: no messages of .* within 0.02 s of any picture"),
    ],
)
def test_a_further_camera_of_no_use_is_left_out_and_refused_where_it_is_named(tmp_path, how, why):
    record(tmp_path / "a.bag", "bag", extra=functools.partial(second_camera, **how))
    summary = ingest(tmp_path / "a.bag", tmp_path / "out")
    assert any(re.search(why, sentence) for _, sentence in summary.left_out)
    scene.check(open_dataset(tmp_path / "out").read(0), list(range(STEPS)), 6e-4)
    both = IngestOptions(topics=("/camera/color/image", "/other/image"))
    with pytest.raises(FormatError, match=why.removesuffix("; the camera is left out")):
        ingest(tmp_path / "a.bag", tmp_path / "other", options=both)


def second_depth(log: Log, step: int, now: int) -> None:
    head = header(log, now, "optical")
    fields = image(np.full((48, 64), 900, np.uint16), "16UC1")
    log.put("/other/depth", "sensor_msgs/msg/Image", now, header=head, **fields)


def test_what_is_ambiguous_is_listed_and_can_be_named(tmp_path):
    record(tmp_path / "a.bag", "bag", extra=second_depth)
    sentence = "several depth cameras: /camera/depth/image, /other/depth; name one of them with"
    with pytest.raises(FormatError, match=sentence):
        ingest(tmp_path / "a.bag", tmp_path / "out")
    options = IngestOptions(topics=("/camera/depth/image",))
    ingest(tmp_path / "a.bag", tmp_path / "out", options=options)
    scene.check(open_dataset(tmp_path / "out").read(0), list(range(STEPS)), 6e-4)
    with pytest.raises(FormatError, match="has no topic /nowhere; its topics: /tf_static"):
        ingest(tmp_path / "a.bag", tmp_path / "o", options=IngestOptions(topics=("/nowhere",)))


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        ("/other/image", "its encoding is not read"),
        ("/camera/color/camera_info", "a lens is found by the name of its camera"),
        ("/cmd_vel", "messages of this type are not read"),
    ],
)
def test_a_topic_that_was_named_and_is_not_used_is_an_error(tmp_path, topic, why):
    def extra(log, step, now):
        command(log, step, now)
        head = header(log, now, "other")
        odd = image(np.full((48, 64, 3), 9, np.uint8), "rgb8") | {"encoding": "yuv422"}
        log.put("/other/image", "sensor_msgs/msg/Image", now, header=head, **odd)

    record(tmp_path / "a.bag", "bag", extra=extra)
    options = IngestOptions(topics=("/camera/color/image", topic))
    with pytest.raises(FormatError, match=rf"{topic} .*is not used: {why}.*Its topics: .*/tf "):
        ingest(tmp_path / "a.bag", tmp_path / "out", options=options)
    assert not (tmp_path / "out").exists()
    used = IngestOptions(topics=("/camera/color/image", "/cmd_vel"), action_topic="/cmd_vel")
    assert ingest(tmp_path / "a.bag", tmp_path / "out", options=used).frames == STEPS


def test_a_bent_lens_is_straightened(tmp_path):
    def extra(log, step, now):
        info = {"height": 48, "width": 64, "k": scene.K.reshape(-1), "distortion_model": "fisheye"}
        head = header(log, now, "optical")
        told = {"header": head, "d": np.full(4, 0.1), **info}
        log.put("/camera/color/camera_info", "sensor_msgs/msg/CameraInfo", now, **told)

    record(tmp_path / "a.bag", "bag", extra=extra, info=False)
    with pytest.raises(FormatError, match="the distortion model fisheye is not read"):
        ingest(tmp_path / "a.bag", tmp_path / "out")


@pytest.mark.parametrize(
    ("how", "options", "sentence"),
    [
        (
            {"offset_ns": 50_000_000_000},
            {},
            r"within 0.02 s of any picture: pictures from 1700000000.000 to 1700000000.500 s, "
            r"messages of /camera/depth/image from 1700000050.004",
        ),
        ({"info": False}, {}, r"has no intrinsics: .*Pass --intrinsics fx fy cx cy"),
        ({"depth": "32FC1"}, {"depth_scale": 1000.0}, "cannot be; the unit was taken as 1000 m"),
        (
            {"encoding": "yuv422", "depth": ""},
            {},
            r"holds no image, laser scan or cloud that is read; its topics: /tf.*left out: "
            r"/camera/color/image \(yuv422\)\. Read are cameras of colour",
        ),
        ({}, {"action_topic": "/tf"}, r"no command that is read; .*Its topics of commands: none"),
    ],
)
def test_what_is_wrong_with_a_bag_is_said(tmp_path, how, options, sentence):
    record(tmp_path / "a.bag", "bag", **how)
    with pytest.raises(FormatError, match=sentence):
        ingest(tmp_path / "a.bag", tmp_path / "out", options=IngestOptions(**options))
    assert not (tmp_path / "out").exists()


def two_parents(log: Log, step: int, now: int) -> None:
    moved = transform(log, now, "world", "base_link", np.eye(4))
    log.put("/tf", "tf2_msgs/msg/TFMessage", now, transforms=[moved])


def a_loop(log: Log, step: int, now: int) -> None:
    moved = transform(log, now, "optical", "map", np.eye(4))
    log.put("/tf", "tf2_msgs/msg/TFMessage", now, transforms=[moved])


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (two_parents, "the frame base_link has the parents odom, world"),
        (a_loop, "the tf tree above the frame optical loops"),
    ],
)
def test_a_tree_that_is_none_is_said(tmp_path, extra, sentence):
    record(tmp_path / "a.bag", "bag", extra=extra)
    with pytest.raises(FormatError, match=sentence):
        ingest(tmp_path / "a.bag", tmp_path / "out")


@pytest.mark.parametrize("kind", ["bag", "db3", "mcap"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.97])
def test_bags_cut_anywhere_are_one_sentence(tmp_path, kind, share):
    path = record(tmp_path / ("a.bag" if kind == "bag" else "a"), kind)
    file = path if kind == "bag" else next(path.glob(f"*.{kind}"))
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    with pytest.raises(FormatError, match="cannot be read as a ROS bag"):
        ingest(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bytes_flipped_anywhere_are_never_a_traceback(tmp_path):
    path = record(tmp_path / "a.bag", "bag")
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(good), 8):
        data = bytearray(good)
        data[at] ^= 0xFF
        path.write_bytes(data)
        try:
            ingest(path, tmp_path / f"out{at}")
        except FormatError:
            assert not (tmp_path / f"out{at}").exists()


def record_mounted(path: Path, parent: str, *, at: Sequence[int] = range(STEPS), **how) -> None:
    """A camera fixed to a frame, at these periods; ``how`` as in ``record``, without other tf."""
    usual = {"encoding": "bgr8", "depth": "", "late_ns": 0, "offset_ns": 0, "tf": False}
    chosen = SimpleNamespace(**{**usual, "extra": odometry, "info": True, **how})
    log = Log(path, "db3")
    with log.writer:
        mounted = transform(log, START_NS, parent, "optical", BASE_FROM_OPTICAL)
        log.put("/tf_static", "tf2_msgs/msg/TFMessage", START_NS, transforms=[mounted])
        for step, periods in enumerate(at):
            write_step(log, chosen, step, START_NS + periods * PERIOD_NS)


def test_a_tree_that_leads_to_nothing_that_moves_is_said(tmp_path):
    """Static transforms of a camera, and an odometry that they are not tied to."""
    record_mounted(tmp_path / "log", "camera_link")
    [(_, why)] = ingest(tmp_path / "log", tmp_path / "out").left_out
    assert "leads from the frame 'optical' to what moves; world_from_camera stands still in" in why
    pose = open_dataset(tmp_path / "out").read(0).streams["world_from_camera"]
    assert pose.frame == "camera_link"
    assert np.allclose(pose.values, BASE_FROM_OPTICAL)


def test_compressed_pictures_are_kept_as_they_came(tmp_path):
    record(tmp_path / "log", "mcap", encoding="jpeg", depth="png")
    ingest(tmp_path / "log", tmp_path / "kept")
    ingest(tmp_path / "log", tmp_path / "new", options=IngestOptions(pictures="encoded"))
    kept, new = (open_dataset(tmp_path / name) for name in ("kept", "new"))
    key = "observation.images."
    codecs = [
        [data.features[key + name]["info"]["video.codec"] for name in ("rgb", "depth")]
        for data in (kept, new)
    ]
    assert codecs == [["mjpeg", "png"], ["h264", "ffv1"]]
    depths = [np.stack(list(data.frames(0, "depth"))) for data in (kept, new)]
    assert np.array_equal(*depths)


def cropped(
    log: Log, step: int, now: int, image_of: tuple[slice, slice], binned: int, packed: bool
) -> None:
    """A second camera that tells of a part of its sensor, ``binned`` pixels squared in one."""
    part = {"x_offset": 16, "y_offset": 12, "height": 24, "width": 32}
    head = header(log, now, "optical")
    lens = {"k": scene.K.reshape(-1), "d": np.zeros(5), "distortion_model": "plumb_bob"}
    info = {"height": 48, "width": 64, **lens, "roi": part}
    info |= {"binning_x": binned, "binning_y": binned}
    log.put("/part/camera_info", "sensor_msgs/msg/CameraInfo", now, header=head, **info)
    pixels = scene.rgb(step)[image_of]
    size = pixels.shape[1] // binned, pixels.shape[0] // binned
    pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    if packed:
        data = cv2.imencode(".png", pixels[..., ::-1])[1].reshape(-1)
        kind = "sensor_msgs/msg/CompressedImage"
        log.put("/part/image", kind, now, header=head, format="png", data=data)
    else:
        log.put("/part/image", "sensor_msgs/msg/Image", now, header=head, **image(pixels, "rgb8"))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("image_of", "binned", "lens"),
    [
        ((slice(12, 36), slice(16, 48)), 1, [60, 62, 15.5, 12]),
        ((slice(12, 36), slice(16, 48)), 2, [30, 31, 7.5, 5.75]),
        ((slice(None), slice(None)), 1, [60, 62, 31.5, 24]),  # a driver that sends all the same
    ],
    ids=["part", "binned", "whole"],
)
def test_a_picture_of_a_part_of_the_sensor_has_its_middle_elsewhere(
    tmp_path, image_of, binned, lens, packed
):
    extra = functools.partial(cropped, image_of=image_of, binned=binned, packed=packed)
    record(tmp_path / "log", "db3", depth="", extra=extra)
    ingest(tmp_path / "log", tmp_path / "out", options=IngestOptions(topics=("/part/image",)))
    k = open_dataset(tmp_path / "out").read(0).streams["rgb"].intrinsics
    assert np.allclose([k[0, 0], k[1, 1], k[0, 2], k[1, 2]], lens)


def joints(log: Log, step: int, now: int, names: list[str], moving: bool = True) -> None:
    of = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
    values = np.array([of[name] for name in names])
    velocity = -values if moving else np.zeros(0)
    told = {"name": names, "position": values, "velocity": velocity, "effort": np.zeros(0)}
    log.put("/joints", "sensor_msgs/msg/JointState", now, header=header(log, now, ""), **told)


def test_joints_are_told_by_their_names(tmp_path):
    def extra(log, step, now):
        joints(log, step, now, list("cba") if step % 2 else list("abc"))

    record(tmp_path / "a.bag", "bag", extra=extra)
    ingest(tmp_path / "a.bag", tmp_path / "out")
    rows = open_dataset(tmp_path / "out").read(0).streams["proprio"].values
    assert (rows == [1, 2, 3, -1, -2, -3]).all()


def test_joints_of_another_bag_keep_their_columns(tmp_path):
    for name, names in (("a", "abc"), ("b", "cab"), ("c", "abd")):
        extra = functools.partial(joints, names=list(names))
        (tmp_path / "in").mkdir(exist_ok=True)
        record(tmp_path / f"in/{name}.bag", "bag", extra=extra)
    [(path, why)] = ingest(tmp_path / "in", tmp_path / "out").skipped
    assert path.name == "c.bag"
    assert (
        "its 'proprio' is 6 numbers of a, b, d, the first recording's is 6 numbers of a, b, c"
        in why
    )
    dataset = open_dataset(tmp_path / "out")
    assert len(dataset) == 2
    for index in range(2):
        assert (dataset.read(index).streams["proprio"].values[:, :3] == [1, 2, 3]).all()


def test_bags_that_tell_more_or_others_of_their_joints_are_left_out(tmp_path):
    """As states and as actions, one after another: the first decides."""
    (tmp_path / "in").mkdir()
    for name, names, moving in (("a", "abc", True), ("b", "abc", False), ("c", "abd", True)):
        extra = functools.partial(joints, names=list(names), moving=moving)
        record(tmp_path / f"in/{name}.bag", "bag", extra=extra)
    for topic in ("", "/joints"):
        options = IngestOptions(action_topic=topic)
        summary = ingest(tmp_path / "in", tmp_path / f"out{len(topic)}", options=options)
        assert summary.written == 1
        assert [path.name for path, _ in summary.skipped] == ["b.bag", "c.bag"]
        what = "its 'action' is" if topic else "its 'proprio' is"
        assert all(what in why for _, why in summary.skipped)


def test_a_size_that_is_of_a_part_or_of_the_whole_binned_is_asked_about(tmp_path):
    whole = (slice(None), slice(None))
    extra = functools.partial(cropped, image_of=whole, binned=2, packed=False)
    record(tmp_path / "log", "db3", depth="", extra=extra)
    with pytest.raises(
        FormatError, match=r"32x24 may be a part of the sensor \(roi\) or all of it"
    ):
        ingest(tmp_path / "log", tmp_path / "out", options=IngestOptions(topics=("/part/image",)))


def test_a_fixed_camera_that_watches_an_arm_is_as_it_should_be(tmp_path):
    def arm(log, step, now):
        moved = transform(log, now, "world", "link1", odom_from_base(step))
        log.put("/tf", "tf2_msgs/msg/TFMessage", now, transforms=[moved])

    record_mounted(tmp_path / "log", "world", extra=arm)
    assert ingest(tmp_path / "log", tmp_path / "out").left_out == ()


def test_other_joints_on_the_same_topic_are_refused(tmp_path):
    def extra(log, step, now):
        joints(log, step, now, list("abd") if step == 3 else list("abc"))

    record(tmp_path / "a.bag", "bag", extra=extra)
    with pytest.raises(
        FormatError,
        match="/joints: a message is about the joints a, b, d, the first one about a, b, c; reco",
    ):
        ingest(tmp_path / "a.bag", tmp_path / "out", options=IngestOptions(topics=("/joints",)))
    [(_, why)] = ingest(tmp_path / "a.bag", tmp_path / "out").left_out
    assert why.endswith("record them as topics of their own; the topic is left out.")


def test_images_that_are_left_out_are_named(tmp_path):
    def extra(log, step, now):
        for topic, encoding in (("/front/raw", "bayer_rggb8"), ("/side/grey", "mono8")):
            fields = image(np.zeros((48, 64), np.uint8), encoding)
            head = header(log, now, "optical")
            log.put(topic, "sensor_msgs/msg/Image", now, header=head, **fields)

    record(tmp_path / "a.bag", "bag", extra=extra)
    [(_, why)] = ingest(tmp_path / "a.bag", tmp_path / "out").left_out
    assert "images are left out: /front/raw (bayer_rggb8), /side/grey (mono8). Read are" in why


def test_a_grey_camera_that_is_named_is_taken_beside_a_colour_one(tmp_path):
    def extra(log, step, now):
        fields = image(np.full((48, 64), 77, np.uint8), "mono8")
        head = header(log, now, "optical")
        told = {"height": 48, "width": 64, "k": scene.K.reshape(-1), "header": head}
        log.put("/side/grey", "sensor_msgs/msg/Image", now, header=head, **fields)
        log.put("/side/camera_info", "sensor_msgs/msg/CameraInfo", now, **told)

    record(tmp_path / "a.bag", "bag", depth="", extra=extra)
    options = IngestOptions(topics=("/side/grey",))
    ingest(tmp_path / "a.bag", tmp_path / "out", options=options)
    pictures = open_dataset(tmp_path / "out").read(0).streams["rgb"].values
    assert np.abs(pictures.astype(int) - 77).max() <= 2


def test_pictures_whose_time_runs_back_are_counted(tmp_path):
    record_mounted(tmp_path / "log", "base_link", at=[0, 1, 2, 1, 4, 5])
    summary = ingest(tmp_path / "log", tmp_path / "out")
    assert summary.frames == STEPS - 1
    assert "the time of 1 of its pictures repeats or runs back" in summary.left_out[0][1]


def test_a_definition_in_the_file_that_is_another_is_refused(tmp_path):
    """A bare mcap has no hash of a type, but its text: what differs from it is not decoded."""
    path = record(tmp_path / "log", "mcap", extra=lambda *a: joints(*a, list("abc")))
    [file] = path.glob("*.mcap")
    data = file.read_bytes()
    swapped = data.replace(b"float64[] position", b"float64[] velocitx").replace(
        b"float64[] velocity", b"float64[] position"
    )
    swapped = swapped.replace(b"float64[] velocitx", b"float64[] velocity")
    assert swapped != data
    bare = tmp_path / "bare.mcap"
    bare.write_bytes(swapped)
    with pytest.raises(FormatError, match=r"/joints is of type .*whose definition is not the one"):
        ingest(bare, tmp_path / "out")
