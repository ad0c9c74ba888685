"""Points and LiDAR in a dataset: what is written comes back, and LeRobot is not disturbed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armillary.core.errors import ConfigError, DatasetError, FormatError
from armillary.core.values import Episode, Observation, Stream
from armillary.data import (
    Cache,
    Clouds,
    DatasetWriter,
    PointSampling,
    Windows,
    batch_from_episode,
    batch_from_observations,
    describe,
    ingest,
    open_dataset,
    prepare,
    verify,
)
from armillary.data.clouds import padded, read_clouds, stripped, write_clouds
from armillary.data.layout import stream_names
from armillary.data.point_sampling import sampled

COLUMNS = ("x", "y", "z", "intensity")
BEAMS = np.stack([np.linspace(-1.5, 1.5, 7), np.zeros(7)], 1)


def cloud(number: int, count: int) -> np.ndarray:
    """Every point says the step's number and its own."""
    points = np.full((count, 4), number, np.float32)
    points[:, 1] = np.arange(count)
    return points


def episode(index: int, counts=(3, 0, 5, 2)) -> Episode:
    steps = len(counts)
    number = 100 * index + np.arange(steps)
    ranges = np.repeat(number[:, None], 7, 1).astype(np.float32)
    ranges[:, 0], ranges[0, 1] = np.nan, np.inf
    points = padded([cloud(int(n), c) for n, c in zip(number, counts, strict=True)], 4)
    return Episode(
        streams={
            "points": Stream("points", points, "m", "lidar", columns=COLUMNS),
            "lidar": Stream("lidar", ranges, "m", "lidar", beams_rad=BEAMS),
            "rear": Stream("lidar", ranges[:, :2] + 1, "m", "rear"),
            "proprio": Stream("proprio", number[:, None].astype(np.float32), "m", "world"),
        },
        time_ns=np.arange(steps) * 50_000_000,
        actions=np.stack([number[:-1], number[1:]], 1).astype(np.float32),
    )


@pytest.fixture
def scanned(tmp_path):
    writer = DatasetWriter(tmp_path / "set", 20)
    for index in range(3):
        writer.write(index, episode(index))
    writer.finalize()
    return tmp_path / "set"


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)


def test_points_and_ranges_come_back(scanned):
    dataset = open_dataset(scanned)
    assert dataset.streams == {
        "points": "points",
        "lidar": "lidar",
        "rear": "lidar",
        "proprio": "proprio",
    }
    for index in range(3):
        want, got = episode(index), dataset.read(index)
        assert same(got.streams["points"].values, want.streams["points"].values)
        assert got.streams["points"].columns == COLUMNS
        assert (got.streams["points"].unit, got.streams["points"].frame) == ("m", "lidar")
        ranges = want.streams["lidar"].values
        assert same(got.streams["lidar"].values, np.where(np.isinf(ranges), np.nan, ranges))
        assert same(got.streams["lidar"].beams_rad, BEAMS)
        assert got.streams["rear"].beams_rad is None
        assert same(
            got.streams["rear"].values[:, 1], np.where(np.isinf(ranges), np.nan, ranges)[:, 1] + 1
        )


def test_clouds_pass_one_at_a_time(scanned):
    dataset = open_dataset(scanned)
    assert "points" not in dataset.read_low(1).streams
    assert same(dataset.read_low(1).streams["lidar"].beams_rad, BEAMS)
    assert [len(c) for c in dataset.points(1, "points")] == [3, 0, 5, 2]
    [third] = dataset.points(1, "points", steps=[2])
    assert same(third, cloud(102, 5))
    with pytest.raises(DatasetError, match=r"has no points 'lidar'; it has \['points'\]"):
        next(dataset.points(0, "lidar"))
    with pytest.raises(DatasetError, match="has 4 clouds, step 4 was wanted"):
        list(dataset.points(0, "points", steps=[4]))


def test_lerobot_sees_ranges_and_no_points(scanned):
    """Its reader opens every file that info.json names, and ranges are a plain float32 vector."""
    dataset = open_dataset(scanned)
    assert dataset.features["observation.lidar"] == {
        "dtype": "float32",
        "shape": [7],
        "names": None,
    }
    assert "observation.lidar.rear" in dataset.features
    assert not any("points" in key for key in dataset.features)
    table = pq.read_table(scanned / "data/chunk-000/file-000.parquet")
    assert table.schema.field("observation.lidar").type == pa.list_(pa.float32(), 7)
    assert stream_names(dataset.features)["observation.lidar"] == ("lidar", "lidar")
    named = {"a": "points.x", "b": "points.intensity"}
    stored = pq.read_table(scanned / "meta/armillary/points/chunk-000/file-000.parquet")
    assert set(named.values()) <= set(stored.column_names)
    assert stored.column("points.y").to_pylist()[2] == [0, 1, 2, 3, 4]


def test_show_and_verify_know_them(scanned):
    shown = describe(scanned)["streams"]
    assert shown["points"]["shape"] == [5, 4]
    assert shown["points"]["columns"] == list(COLUMNS)
    assert shown["lidar"]["kind"] == "lidar"
    assert shown["lidar"]["shape"] == [7]
    assert verify(scanned).ok
    for name in ("points", "beams"):
        file = scanned / f"meta/armillary/{name}/chunk-000/file-001.parquet"
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    report = verify(scanned)
    assert report.damaged == (1,)
    assert [problem.split(" is damaged")[0] for problem in report.problems] == [
        f"episode 1: meta/armillary/{name}/chunk-000/file-001.parquet"
        for name in ("beams", "points")
    ]


def test_a_lost_file_is_named_at_opening(scanned):
    (scanned / "meta/armillary/points/chunk-000/file-002.parquet").unlink()
    with pytest.raises(DatasetError, match=r"episode 2: meta/armillary/points/.* is missing"):
        open_dataset(scanned)


def test_the_same_episode_gives_the_same_bytes(tmp_path, scanned):
    writer = DatasetWriter(tmp_path / "again", 20)
    for index in (2, 0, 1):
        writer.write(index, episode(index))
    writer.finalize()
    manifests = [
        (path / "meta/armillary/manifest.json").read_bytes() for path in (scanned, writer.path)
    ]
    assert manifests[0] == manifests[1]


def test_a_copy_keeps_them(tmp_path, scanned):
    ingest(scanned, tmp_path / "copy")
    before, after = open_dataset(scanned).read(1), open_dataset(tmp_path / "copy").read(1)
    for name, stream in before.streams.items():
        assert same(stream.values, after.streams[name].values), name
        assert stream.columns == after.streams[name].columns


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"columns": ()}, "a cloud is [P 3] for the columns x, y, z; got [5, 4]"),
        ({"columns": ("x", "z", "y", "i")}, "begin with x, y, z; got ['x', 'z', 'y', 'i']"),
        ({"columns": ("x", "y", "z", "x")}, "each only once"),
        ({"values": np.zeros((4, 3), np.float32)}, "points are [T P F], x y z first; got [4, 3]"),
        ({"values": np.zeros((3, 2, 4), np.float32)}, "'points' has 3 steps, the times have 4"),
    ],
)
def test_points_that_cannot_be_are_refused(tmp_path, change, sentence):
    good = episode(0)
    bad = replace(good.streams["points"], **change)
    with pytest.raises(DatasetError) as caught:
        DatasetWriter(tmp_path, 20).write(0, replace(good, streams={**good.streams, "points": bad}))
    assert sentence in str(caught.value)
    assert DatasetWriter(tmp_path, 20).finished() == set()


def test_ranges_and_beams_must_fit(tmp_path):
    good = episode(0)
    bad = replace(good.streams["lidar"], beams_rad=BEAMS[:3])
    with pytest.raises(
        DatasetError, match=r"must be ranges \[T N\] with N beams; got \[4, 7\] and 3"
    ):
        DatasetWriter(tmp_path, 20).write(0, replace(good, streams={"lidar": bad}))


def test_episodes_must_agree_in_their_features(tmp_path):
    writer = DatasetWriter(tmp_path / "set", 20)
    for index, columns in enumerate([COLUMNS, ("x", "y", "z", "ring")]):
        stream = replace(episode(index).streams["points"], columns=columns)
        writer.write(index, replace(episode(index), streams={"points": stream}))
    with pytest.raises(DatasetError, match=r"episode 1 has the points .*ring.*, episode 0 has"):
        writer.finalize()


def test_streams_of_clouds_of_different_lengths_are_refused(tmp_path):
    streams = {"a": Clouds([cloud(0, 1)[:, :3]] * 2), "b": Clouds([cloud(0, 1)[:, :3]])}
    with pytest.raises(DatasetError, match="differ in their number of steps"):
        write_clouds(tmp_path / "a.parquet", streams)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_other_columns_is_one_sentence(tmp_path):
    lists = pa.array([[1.0], [2.0, 3.0]], pa.list_(pa.float32()))
    odd = pa.array([[1.0, 9.0], [2.0]], pa.list_(pa.float32()))
    text = pa.array(["a", "b"])
    for third, sentence in (
        (odd, "differ in their number of points"),
        (text, "must hold lists of"),
    ):
        pq.write_table(pa.table({"p.x": lists, "p.y": lists, "p.z": third}), tmp_path / "a.parquet")
        with pytest.raises(FormatError, match=sentence):
            list(read_clouds(tmp_path / "a.parquet", "p", ("x", "y", "z")))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8))
def test_any_number_of_points_comes_back(tmp_path_factory, counts):
    path = tmp_path_factory.mktemp("clouds") / "a.parquet"
    wanted = [cloud(number, count) for number, count in enumerate(counts)]
    steps, seen = write_clouds(path, {"p": Clouds(wanted, COLUMNS)})
    assert (steps, seen["p"].most, seen["p"].points) == (len(counts), max(counts), sum(counts))
    found = list(read_clouds(path, "p", COLUMNS))
    assert all(same(got, want) for got, want in zip(found, wanted, strict=True))
    assert all(
        same(stripped(row), want) for row, want in zip(padded(found, 4), wanted, strict=True)
    )


def test_row_groups_do_not_show(tmp_path, monkeypatch):
    monkeypatch.setattr("armillary.data.clouds.GROUP_POINTS", 6)
    wanted = [cloud(n, n) for n in range(9)]
    write_clouds(tmp_path / "a.parquet", {"p": Clouds(wanted, COLUMNS)})
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups > 3
    found = list(read_clouds(tmp_path / "a.parquet", "p", COLUMNS, steps=[0, 3, 8]))
    assert all(same(got, wanted[n]) for got, n in zip(found, (0, 3, 8), strict=True))


def test_what_would_not_fit_in_memory_is_refused():
    with pytest.raises(DatasetError, match=r"2 clouds of up to 1000 points .* one at a time"):
        padded([cloud(0, 1000), cloud(0, 1)], 4, max_bytes=1000)


def test_training_gathers_a_fixed_number_of_points(tmp_path, scanned):
    dataset = open_dataset(scanned)
    cache = prepare(dataset, 8, tmp_path / "caches", points=PointSampling(4))
    assert cache.arrays["points"].shape == (12, 4, 4)
    assert cache.about["points"] == {"points": list(COLUMNS)}
    batch = Windows(cache, None, 3).gather(np.arange(6))
    points = batch.streams["points"]
    assert points.shape == (6, 3, 4, 4)
    first = points[0, :, :, 0].numpy()
    assert np.isfinite(first).sum(1).tolist() == [3, 0, 4]
    assert np.nanmax(points[5, 2, :, 0].numpy()) == 203
    assert batch.streams["lidar"].shape == (6, 3, 7)
    assert same(
        points[0].numpy(),
        batch_from_episode(episode(0), 8, points=PointSampling(4)).streams["points"][0, :3].numpy(),
    )


def test_the_sampling_is_in_the_name_of_the_cache(tmp_path, scanned):
    dataset = open_dataset(scanned)
    settings = [None, PointSampling(4), PointSampling(5), PointSampling(4, 0.5)]
    caches = [prepare(dataset, 8, tmp_path, points=points) for points in settings]
    assert len({cache.path for cache in caches}) == 4
    assert "points" not in caches[0].arrays
    assert "points" not in Cache.from_episodes([episode(0)], 8).kinds
    assert prepare(dataset, 8, tmp_path, points=PointSampling(4)).path == caches[1].path


def test_live_clouds_are_sampled_as_those_of_training():
    seen = [Observation({"points": cloud(n, count)}) for n, count in enumerate((9, 2))]
    batch = batch_from_observations(seen, points=PointSampling(4))
    assert same(batch.streams["points"][0, 0].numpy(), sampled(cloud(0, 9), PointSampling(4)))
    assert np.isfinite(batch.streams["points"][0, 1].numpy()).all(1).sum() == 2


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 200), st.integers(1, 40), st.sampled_from([0.0, 0.3, 2.0]), st.integers(0, 99)
)
def test_sampling_takes_points_of_the_cloud_in_their_order(count, wanted, voxel_m, seed):
    points = np.random.default_rng(seed).normal(0, 2, (count, 4)).astype(np.float32)
    kept = stripped(sampled(points, PointSampling(wanted, voxel_m)))
    places = [int(np.flatnonzero((points == row).all(1))[0]) for row in kept]
    assert places == sorted(set(places))
    if voxel_m:
        voxels = {tuple(v) for v in np.floor(points[:, :3].astype(np.float64) / voxel_m)}
        own = [tuple(v) for v in np.floor(kept[:, :3].astype(np.float64) / voxel_m)]
        assert len(set(own)) == len(own)
        assert len(kept) == min(wanted, len(voxels))
    else:
        assert len(kept) == min(wanted, count)


def test_a_sampling_that_cannot_be_is_refused():
    for count, voxel_m in ((0, 0.0), (1 << 21, 0.0), (5, -1.0), (5, float("nan"))):
        with pytest.raises(ConfigError, match="sampled with a count of 1 to"):
            PointSampling(count, voxel_m)


def test_a_name_that_is_a_path_leads_nowhere(tmp_path):
    stream = episode(0).streams["points"]
    writer = DatasetWriter(tmp_path / "in/set", 20)
    writer.write(0, replace(episode(0), streams={"../../../../evil": stream}))
    writer.finalize()
    assert same(open_dataset(writer.path).read(0).streams["../../../../evil"].values, stream.values)
    assert [p.name for p in tmp_path.rglob("*evil*")] == []
    manifest = writer.path / "meta/armillary/manifest.json"
    manifest.write_text(manifest.read_text().replace("meta/armillary/points/", "../../points/"))
    with pytest.raises(DatasetError, match=r"not one of armillary's"):
        verify(writer.path)
