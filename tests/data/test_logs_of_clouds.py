"""PointCloud2 of robots' logs: metres in the sensor's frame, whatever the layout of a point is."""

from __future__ import annotations

import functools
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scene
from damage import little_memory
from test_robot_logs import (
    MAP_FROM_ODOM,
    PERIOD_NS,
    START_NS,
    STEPS,
    Log,
    header,
    odom_from_base,
    odometry,
    record,
    scan,
    transform,
)

from armillary.core.errors import FormatError
from armillary.data import IngestOptions, ingest, open_dataset, verify
from armillary.data.clouds import stripped
from armillary.data.sources.ros_bag import Bag
from armillary.data.sources.ros_clouds import cloud_of, cloud_topics

pytest.importorskip("rosbags")
KIND = "sensor_msgs/msg/PointCloud2"
FLOAT, DOUBLE, UINT8, UINT16, UINT32 = 7, 8, 2, 4, 6
NUMPY = {FLOAT: "f4", DOUBLE: "f8", UINT8: "u1", UINT16: "u2", UINT32: "u4"}
XYZI = (("x", 0, FLOAT), ("y", 4, FLOAT), ("z", 8, FLOAT), ("intensity", 12, FLOAT))
# as a Velodyne driver, a double map, and a padded layout in another order have it
LAYOUTS = {
    "xyzi": (XYZI, 16),
    "double": ((("x", 0, DOUBLE), ("y", 8, DOUBLE), ("z", 16, DOUBLE)), 24),
    "padded": (
        (
            ("ring", 1, UINT16),
            ("z", 5, FLOAT),
            ("y", 9, DOUBLE),
            ("t", 17, UINT32),
            ("x", 22, FLOAT),
        ),
        31,
    ),
}


def points(step: int, count: int = 20) -> np.ndarray:
    """x y z intensity of a step; the numbers of points differ."""
    return np.random.default_rng(step).uniform(-3, 3, (count + step, 4)).astype(np.float32)


def cloud(values: np.ndarray, layout: str = "xyzi", big: bool = False, rows: int = 1) -> dict:
    """A message of points [P 4]; ``rows`` of an organised cloud are padded by 7 bytes."""
    fields, step = LAYOUTS[layout]
    order = ">" if big else "<"
    of = {
        "names": [name for name, _, _ in fields],
        "formats": [order + NUMPY[kind] for _, _, kind in fields],
        "offsets": [offset for _, offset, _ in fields],
        "itemsize": step,
    }
    data = np.full((len(values), step), 0xA5, np.uint8)
    named = data.view(np.dtype(of)).reshape(-1)
    for name, column in zip(("x", "y", "z", "intensity"), values.T, strict=True):
        if name in of["names"]:
            named[name] = column
    if "ring" in of["names"]:
        named["ring"] = np.arange(len(values))
    lines = data.reshape(rows, -1)
    lines = np.pad(lines, ((0, 0), (0, 7 if rows > 1 else 0)))
    described = [
        {"name": name, "offset": offset, "datatype": kind, "count": 1}
        for name, offset, kind in fields
    ]
    return {
        "height": rows,
        "width": len(values) // rows,
        "fields": described,
        "is_bigendian": big,
        "point_step": step,
        "row_step": lines.shape[1],
        "data": lines.reshape(-1),
        "is_dense": True,
    }


def put(log: Log, now: int, message: dict, topic: str = "/points") -> None:
    log.put(topic, KIND, now, header=header(log, now, "velodyne"), **message)


def record_clouds(path: Path, kind: str, message, *sensors) -> Path:
    """A log of clouds alone; ``message`` gives that of a step, ``sensors`` write what else is."""
    log = Log(path, kind)
    with log.writer:
        for step in range(STEPS):
            now = START_NS + step * PERIOD_NS
            put(log, now, message(step))
            for sensor in sensors:
                sensor(log, step, now)
    return path


def read_clouds(path: Path, name: str = "points") -> list[np.ndarray]:
    return [stripped(each) for each in open_dataset(path).read(0).streams[name].values]


@pytest.mark.parametrize("kind", ["bag", "db3", "mcap"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("big", [False, True])
def test_a_log_of_clouds_alone_is_read_in_any_layout(tmp_path, kind, layout, big):
    path = tmp_path / ("a.bag" if kind == "bag" else "log")
    record_clouds(path, kind, lambda step: cloud(points(step), layout, big))
    assert ingest(path, tmp_path / "out").frames == STEPS
    dataset = open_dataset(tmp_path / "out")
    assert (dataset.fps, dict(dataset.streams)) == (10, {"points": "points"})
    more = {"xyzi": ("intensity",), "double": (), "padded": ("ring",)}[layout]
    stream = dataset.read(0).streams["points"]
    assert (stream.unit, stream.frame) == ("m", "velodyne")
    assert stream.columns == ("x", "y", "z", *more)
    for step, found in enumerate(read_clouds(tmp_path / "out")):
        assert np.array_equal(found[:, :3], points(step)[:, :3])
        if more == ("intensity",):
            assert np.array_equal(found[:, 3], points(step)[:, 3])
        if more == ("ring",):
            assert np.array_equal(found[:, 3], np.arange(len(found)))
    assert verify(tmp_path / "out").ok


def test_points_that_are_nan_and_rows_that_are_padded(tmp_path):
    def message(step):
        values = points(0)
        values[3 + step, step % 3] = np.nan
        values[-1, 2] = np.inf
        return cloud(values, rows=4)

    record_clouds(tmp_path / "log", "db3", message)
    ingest(tmp_path / "log", tmp_path / "out")
    for step, found in enumerate(read_clouds(tmp_path / "out")):
        assert np.array_equal(found, np.delete(points(0), [3 + step, 19], 0))


def test_colours_packed_into_a_float_are_read(tmp_path):
    def message(step):
        made = cloud(points(0))
        made["fields"][3]["name"] = "rgb"
        bits = np.uint32(255 << 16 | 51 << 8)
        made["data"].view("<u4").reshape(-1, 4)[:, 3] = bits
        return made

    record_clouds(tmp_path / "log", "db3", message)
    ingest(tmp_path / "log", tmp_path / "out")
    assert open_dataset(tmp_path / "out").read(0).streams["points"].columns[3:] == ("r", "g", "b")
    assert np.allclose(read_clouds(tmp_path / "out")[0][:, 3:], [1.0, 0.2, 0.0])


@pytest.mark.parametrize("topics", [(), ("/points",)])
def test_clouds_beside_a_camera_take_its_times(tmp_path, topics):
    mounted = np.eye(4)
    mounted[:3, 3] = [0.1, 0.0, 0.3]

    def extra(log, step, now):
        put(log, now + 5_000_000, cloud(points(step)))
        static = transform(log, START_NS, "base_link", "velodyne", mounted)
        log.put("/tf_static", "tf2_msgs/msg/TFMessage", START_NS, transforms=[static])

    record(tmp_path / "log", "mcap", extra=extra)
    summary = ingest(tmp_path / "log", tmp_path / "out", options=IngestOptions(topics=topics))
    assert (summary.frames, summary.left_out) == (STEPS, ())
    episode = open_dataset(tmp_path / "out").read(0)
    scene.check(episode, list(range(STEPS)), 6e-4)
    for step, found in enumerate(read_clouds(tmp_path / "out")):
        assert np.array_equal(found, points(step))
    bases = np.stack([MAP_FROM_ODOM @ odom_from_base(step) for step in range(STEPS)])
    poses = episode.streams["world_from_points"].values
    assert np.allclose(poses, bases @ mounted, atol=1e-6)


def test_clouds_come_before_scans_and_their_motion_is_the_action(tmp_path):
    """A scan 3 ms later than the cloud; odometry says where the robot is."""
    record_clouds(tmp_path / "log", "db3", lambda step: cloud(points(step)), scan, odometry)
    summary = ingest(tmp_path / "log", tmp_path / "out")
    assert "the motion of the robot" in summary.notes[0]
    dataset = open_dataset(tmp_path / "out")
    kinds = {name: kind for name, kind in dataset.streams.items() if kind in ("points", "lidar")}
    assert kinds == {"points": "points", "lidar": "lidar"}
    assert dataset.has_actions
    assert np.array_equal(dataset.read(0).time_ns, np.arange(STEPS) * PERIOD_NS)


def test_of_several_clouds_those_that_are_named_are_read(tmp_path):
    def other(log, step, now):
        put(log, now, cloud(-points(step)), "/rear/points")

    record_clouds(tmp_path / "log", "db3", lambda step: cloud(points(step)), other)
    ingest(tmp_path / "log", tmp_path / "both")
    assert set(open_dataset(tmp_path / "both").streams) == {"points", "rear_points"}
    assert np.array_equal(read_clouds(tmp_path / "both", "rear_points")[1], -points(1))
    one = IngestOptions(topics=("/rear/points",))
    summary = ingest(tmp_path / "log", tmp_path / "one", options=one)
    assert any(
        "/points: is left out, as --topics names another" in why for _, why in summary.left_out
    )
    assert set(open_dataset(tmp_path / "one").streams) == {"points"}
    assert np.array_equal(read_clouds(tmp_path / "one")[1], -points(1))


def test_clouds_without_a_point_are_left_out_and_counted(tmp_path):
    def message(step):
        return cloud(points(step)[: 0 if step == 0 else None])

    record_clouds(tmp_path / "log", "db3", message)
    summary = ingest(tmp_path / "log", tmp_path / "out")
    assert summary.frames == STEPS - 1
    assert any("1 of its clouds hold no point" in why for _, why in summary.left_out)
    record_clouds(tmp_path / "none", "db3", lambda step: cloud(points(step)[:0]))
    with pytest.raises(FormatError, match=r"no image, .* cloud that is read.*none of its 6 clouds"):
        ingest(tmp_path / "none", tmp_path / "other")


def without(name: str, made: dict) -> dict:
    return made | {"fields": [field for field in made["fields"] if field["name"] != name]}


def changed(number: int, of: dict, made: dict) -> dict:
    fields = [{**f, **(of if at == number else {})} for at, f in enumerate(made["fields"])]
    return made | {"fields": fields}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (functools.partial(without, "z"), "a cloud has no field z; .*its fields: x, y, intensity"),
        (functools.partial(changed, 0, {"datatype": 5}), "the field x of a cloud has the datatype"),
        (functools.partial(changed, 3, {"datatype": 99}), "field intensity .* datatype 99; 1 to 8"),
        (functools.partial(changed, 1, {"offset": 14}), "field y of a cloud ends at byte 18, but"),
        (functools.partial(changed, 1, {"offset": 2**32 - 2}), "field y of a cloud ends at byte"),
        (lambda made: made | {"point_step": 2**32 - 1}, "promised points of 4,294,967,295 bytes"),
    ],
)
def test_a_topic_whose_points_are_not_read_is_refused_or_left_out(tmp_path, change, said):
    record_clouds(tmp_path / "log", "db3", lambda step: change(cloud(points(step))))
    with pytest.raises(FormatError, match=said):
        ingest(tmp_path / "log", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    record(tmp_path / "a", "db3", extra=lambda log, s, now: put(log, now, change(cloud(points(s)))))
    [(_, why)] = ingest(tmp_path / "a", tmp_path / "beside").left_out
    assert why.endswith("; the topic is left out.")
    with pytest.raises(FormatError, match=said):
        ingest(tmp_path / "a", tmp_path / "named", options=IngestOptions(topics=("/points",)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": 2**31}, "promises 2,147,483,648 points; refused above"),
        (
            {"width": 25},
            "is cut off: its header promises 25 points of 16 bytes, 336 bytes are left",
        ),
        ({"width": 20, "row_step": 0}, "1 rows of 320 bytes was promised, 336 bytes were found"),
        ({"point_step": 17}, "is cut off: its header promises 21 points of 17 bytes"),
        ({"data": np.full(336, 0xFF, np.uint8)}, "holds no point: all of its 21 points are NaN"),
        ({"data": np.full(336, 0x60, np.uint8)}, "m, farther than any sensor sees; the message is"),
    ],
)
def test_a_damaged_cloud_leaves_out_its_step(tmp_path, change, said):
    def message(step):
        return cloud(points(step)) | (change if step == 1 else {})

    record_clouds(tmp_path / "log", "db3", message)
    summary = ingest(tmp_path / "log", tmp_path / "out")
    assert summary.frames == STEPS - 2  # the first stands alone then
    assert any(said in why for _, why in summary.left_out)


@pytest.mark.runs  # damaged logs: 6 s
def test_mutated_clouds_are_never_a_traceback_nor_much_memory(tmp_path):
    """150 messages with bytes flipped, counts raised or the end cut off, on a topic each."""
    rng = np.random.default_rng(0)
    log, topics = Log(tmp_path / "log", "mcap"), [f"/points{number}" for number in range(150)]
    with log.writer:
        for number, topic in enumerate(topics):
            record_mutated(log, topic, lambda raw, how=number % 3: mutated(raw, how, rng))
    refused = 0
    with Bag(tmp_path / "log") as bag:
        tracemalloc.start()
        for topic in topics:
            try:
                [found] = cloud_topics(bag, IngestOptions(topics=(topic,)), {}).values()
                assert len(found.moments.stamps_ns) > 0
                for _, message in bag.messages(topic):
                    assert cloud_of(message, topic).values.shape[1] >= 3
            except FormatError as error:
                assert str(error).endswith(".")
                refused += 1
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 16 << 20
    assert 50 < refused < 150


@pytest.mark.parametrize("how", [0, 1, 2])
def test_a_dataset_of_mutated_clouds_is_whole_or_not_there(tmp_path, how):
    rng = np.random.default_rng(how)
    for number in range(4):
        path, out = tmp_path / f"log{number}", tmp_path / f"out{number}"
        log = Log(path, "mcap")
        with log.writer:
            record_mutated(log, "/points", lambda raw: mutated(raw, how, rng))
        try:
            with little_memory():
                ingest(path, out)
            assert verify(out).ok
        except FormatError:
            assert not out.exists()


def record_mutated(log: Log, topic: str, mutate) -> None:
    """Four clouds, the second of which is mutated."""
    for step in range(4):
        now = START_NS + step * PERIOD_NS
        good = {"header": header(log, now, "velodyne"), **cloud(points(0))}
        if step == 0:
            log.put(topic, KIND, now, **good)
            continue
        raw = bytes(log.types.serialize_cdr(log.make(KIND, good), KIND))
        log.writer.write(log.connections[topic], now, mutate(raw) if step == 1 else raw)


def mutated(raw: bytes, how: int, rng: np.random.Generator) -> bytes:
    data = bytearray(raw)
    if how == 0:
        for at in rng.integers(0, len(data), 4):
            data[at] ^= int(rng.integers(1, 256))
    elif how == 1:  # a count, an offset or a size
        at = 4 * int(rng.integers(0, 60))
        data[at : at + 4] = struct.pack("<I", int(rng.integers(0, 2**32)))
    else:
        del data[int(rng.integers(4, len(data))) :]
    return bytes(data)
