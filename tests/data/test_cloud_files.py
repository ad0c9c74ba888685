"""Readers and writers of point clouds: each format by its own bytes, in metres, to a millimetre."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from cloud_files import (
    COLOURS,
    INTENSITY,
    POINTS,
    US_FOOT_M,
    bare,
    geo_keys,
    las,
    literal,
    pcd_ascii,
    pcd_binary,
    pcd_compressed,
    pcd_head,
    ply_ascii,
    ply_binary,
    ply_head,
    record,
)
from damage import little_memory
from hypothesis import given, settings
from hypothesis import strategies as st

from armillary.core.errors import ConfigError, FormatError
from armillary.data.sources.cloud import Cloud
from armillary.data.sources.kitti import read_kitti_bin, read_sequence
from armillary.data.sources.las import read_las
from armillary.data.sources.lzf import decompressed
from armillary.data.sources.nuscenes_bin import read_nuscenes_bin
from armillary.data.sources.pcd import read_pcd, write_pcd
from armillary.data.sources.ply import read_ply, write_ply
from armillary.data.sources.wkt import linear_units

MAP = np.array([4_512_345.5, 612_000.25, 320.0])  # a corner of a map, far from zero
METRE_KEYS = record(34735, geo_keys([(1024, 1), (3076, 9001)]))
FOOT_KEYS = record(34735, geo_keys([(1024, 1), (3076, 9003), (4099, 9003)]))
STATE_PLANE = (
    'PROJCS["NAD83 / New York Long Island (ftUS)",GEOGCS["NAD83",DATUM["D",SPHEROID["GRS 1980",'
    '6378137,298.257222101]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],'
    'PROJECTION["Lambert_Conformal_Conic_2SP"],PARAMETER["false_easting",984250],'
    'UNIT["US survey foot",0.304800609601219,AUTHORITY["EPSG","9003"]],AXIS["X",EAST]]'
)


def world_m(cloud: Cloud) -> np.ndarray:
    """The points where the file has them, whatever origin was taken off."""
    return cloud.values[:, :3].astype(np.float64) + cloud.origin_m


def assert_whole(cloud: Cloud) -> None:
    """All four points, to a millimetre, with intensity and colours."""
    assert cloud.columns == ("x", "y", "z", "intensity", "r", "g", "b")
    assert np.abs(world_m(cloud) - POINTS).max() < 1e-6
    assert np.array_equal(cloud.values[:, 3], INTENSITY)
    assert np.abs(cloud.values[:, 4:] - COLOURS / 255).max() < 1e-6


@pytest.mark.parametrize(
    ("name", "make", "read"),
    [
        ("a.ply", ply_ascii, read_ply),
        ("l.ply", lambda path: ply_binary(path, "<"), read_ply),
        ("b.ply", lambda path: ply_binary(path, ">"), read_ply),
        ("a.pcd", pcd_ascii, read_pcd),
        ("b.pcd", pcd_binary, read_pcd),
        ("c.pcd", pcd_compressed, read_pcd),
    ],
)
def test_the_bytes_of_each_format_are_understood(tmp_path, name, make, read):
    assert_whole(read(make(tmp_path / name)))


@pytest.mark.parametrize(
    ("name", "write", "read"), [("a.ply", write_ply, read_ply), ("a.pcd", write_pcd, read_pcd)]
)
@pytest.mark.parametrize("origin_m", [np.zeros(3), MAP], ids=["near", "on a map"])
def test_what_is_exported_is_read_back(tmp_path, name, write, read, origin_m):
    cloud = read_ply(ply_ascii(tmp_path / "in.ply"))
    moved = Cloud(cloud.values, cloud.columns, origin_m)
    write(tmp_path / name, moved)
    back = read(tmp_path / name, "m")
    assert back.columns == cloud.columns
    assert np.abs(world_m(back) - (POINTS + origin_m)).max() < 1e-3
    assert np.abs(back.values[:, 3:] - cloud.values[:, 3:]).max() < 1e-6


@pytest.mark.parametrize("write", [write_ply, write_pcd])
def test_plyfile_readers_elsewhere_see_plain_columns(tmp_path, write):
    """The header promises exactly the bytes that follow it."""
    cloud = read_ply(ply_ascii(tmp_path / "in.ply"))
    write(tmp_path / "out", cloud)
    data = (tmp_path / "out").read_bytes()
    end = (
        data.index(b"end_header\n") + 11
        if write is write_ply
        else data.index(b"DATA binary\n") + 12
    )
    row = struct.Struct("<dddfBBB" if write is write_ply else "<dddfI")
    rows = list(row.iter_unpack(data[end:]))
    assert np.abs(np.array([r[:3] for r in rows]) - POINTS).max() < 1e-6
    assert rows[3][4:] == (
        (51, 102, 204) if write is write_ply else ((51 << 16) + (102 << 8) + 204,)
    )


def test_ply_elements_before_the_vertices_are_passed_over(tmp_path):
    before = b"element junk 2\nproperty list uchar short a\nproperty int b\n"
    before += b"element box 1\nproperty double c\n"
    head = ply_head("binary_little_endian").replace(b"element vertex", before + b"element vertex")
    junk = struct.pack("<BhhiBid", 2, 7, 7, 1, 0, 2, 3.0)
    rows = ply_binary(tmp_path / "x.ply", "<").read_bytes().split(b"end_header\n", 1)[1]
    (tmp_path / "a.ply").write_bytes(head + junk + rows)
    assert_whole(read_ply(tmp_path / "a.ply"))


def test_a_viewpoint_is_the_pose_of_the_sensor(tmp_path):
    """PCD writes the quaternion w first: this one turns x to y by a quarter."""
    half = 2**-0.5
    cloud = read_pcd(pcd_binary(tmp_path / "a.pcd", viewpoint=f"1 2 3 {half} 0 0 {half}"))
    placed = cloud.world_from_points @ np.array([1.0, 0.0, 0.0, 1.0])
    assert np.allclose(placed, [1, 3, 3, 1])


def test_points_without_a_return_are_left_out(tmp_path):
    points = POINTS.copy()
    points[1, 2], points[2] = np.nan, np.inf
    for cloud in (
        read_ply(ply_ascii(tmp_path / "a.ply", points)),
        read_ply(ply_binary(tmp_path / "b.ply", "<", points)),
        read_pcd(pcd_binary(tmp_path / "c.pcd", points)),
    ):
        assert np.abs(cloud.values[:, :3] - POINTS[[0, 3]]).max() < 1e-6


@pytest.mark.parametrize(("unit", "metres"), [("mm", 0.001), ("ft", 0.3048), ("us-ft", US_FOOT_M)])
def test_a_unit_is_applied_to_coordinates_and_to_nothing_else(tmp_path, unit, metres):
    cloud = read_ply(ply_ascii(tmp_path / "a.ply"), unit)
    assert np.abs(world_m(cloud) - POINTS * metres).max() < 1e-6
    assert np.array_equal(cloud.values[:, 3], INTENSITY)


def test_map_coordinates_keep_their_millimetres(tmp_path):
    """A float32 at 4,500 km has steps of half a metre: the origin has to go before."""
    assert np.spacing(np.float32(MAP[0])) == 0.5
    cloud = read_las(las(tmp_path / "a.las", POINTS + MAP, [METRE_KEYS], offset=MAP))
    assert np.abs(cloud.values[:, :3]).max() < 100
    assert np.abs(world_m(cloud) - (POINTS + MAP)).max() < 1e-3


@pytest.mark.parametrize(
    ("records", "plane", "height"),
    [
        ([METRE_KEYS], 1.0, 1.0),
        ([FOOT_KEYS], US_FOOT_M, US_FOOT_M),
        ([record(34735, geo_keys([(3076, 9002), (4099, 9001)]))], 0.3048, 1.0),
        ([record(34735, geo_keys([(1024, 1), (3072, 32633)]))], 1.0, 1.0),
        ([record(2112, STATE_PLANE.encode() + b"\0")], US_FOOT_M, US_FOOT_M),
        ([FOOT_KEYS, record(2112, STATE_PLANE.encode())], US_FOOT_M, US_FOOT_M),
    ],
    ids=["metres", "survey feet", "feet, height in metres", "UTM", "WKT", "WKT and keys"],
)
def test_las_is_often_in_feet_and_its_header_says_so(tmp_path, records, plane, height):
    points = POINTS + np.array([984_250.0, 200_000.0, 10.0])
    cloud = read_las(las(tmp_path / "a.las", points, records))
    assert np.abs(world_m(cloud) - points * np.array([plane, plane, height])).max() < 1e-3
    assert np.abs(cloud.values[:, 4:] - COLOURS / 255).max() < 1e-6


def test_las_without_a_unit_is_refused_and_taken_with_one(tmp_path):
    nothing = las(tmp_path / "a.las", POINTS)
    with pytest.raises(FormatError, match=r"does not tell the unit .* often in feet; say it with"):
        read_las(nothing)
    assert np.abs(world_m(read_las(nothing, "ft")) - POINTS * 0.3048).max() < 1e-3
    unknown = las(tmp_path / "b.las", POINTS, [record(34735, geo_keys([(1024, 1), (3072, 2263)]))])
    with pytest.raises(FormatError, match="does not tell the unit"):
        read_las(unknown)  # EPSG 2263 is in feet, which its number does not say
    with pytest.raises(FormatError, match="coordinates are degrees"):
        read_las(las(tmp_path / "c.las", POINTS, [record(34735, geo_keys([(1024, 2)]))]))


@pytest.mark.parametrize("withheld", [(1,), range(4)], ids=["one", "all"])
def test_points_that_were_deleted_are_left_out(tmp_path, withheld):
    """LAS marks them as withheld; bit 7 of the class in formats 0 to 5."""
    path = las(tmp_path / "a.las", POINTS)
    data = bytearray(path.read_bytes())
    for point in withheld:
        data[227 + 26 * point + 15] |= 1 << 7
    path.write_bytes(data)
    if len(withheld) == len(POINTS):
        with pytest.raises(FormatError, match="all of its points are marked as withheld"):
            read_las(path, "m")
        return
    kept = [point for point in range(len(POINTS)) if point not in withheld]
    assert np.allclose(world_m(read_las(path, "m")), POINTS[kept], atol=1e-3)


def test_laz_is_read_like_las(tmp_path):
    laspy = pytest.importorskip("laspy")
    plain = laspy.read(las(tmp_path / "a.las", POINTS + MAP, [METRE_KEYS], offset=MAP))
    plain.write(tmp_path / "a.laz")
    cloud = read_las(tmp_path / "a.laz")
    assert np.abs(world_m(cloud) - (POINTS + MAP)).max() < 1e-3
    data = (tmp_path / "a.laz").read_bytes()
    (tmp_path / "cut.laz").write_bytes(data[:-40])
    with pytest.raises(FormatError, match=r"cut\.laz: is damaged or cut off"):
        read_las(tmp_path / "cut.laz")


def test_a_decoder_that_ends_its_process_does_not_end_ours(tmp_path):
    """lazrs takes what a damaged table of chunks asks for, or aborts: both happen elsewhere."""
    laspy = pytest.importorskip("laspy")
    laspy.read(las(tmp_path / "a.las", POINTS, [METRE_KEYS])).write(tmp_path / "a.laz")
    data = bytearray((tmp_path / "a.laz").read_bytes())
    start = int.from_bytes(data[96:100], "little")
    table = int.from_bytes(data[start : start + 8], "little")
    data[table + 8 :] = bytes([255]) * len(data[table + 8 :])
    (tmp_path / "a.laz").write_bytes(data)
    with pytest.raises(FormatError, match=r"a\.laz: is damaged or cut off; its decoder gave up"):
        read_las(tmp_path / "a.laz")


@pytest.mark.parametrize(
    ("text", "plane", "height", "degrees"),
    [
        (STATE_PLANE, 0.304800609601219, None, False),
        (
            f'COMPD_CS["both",{STATE_PLANE},VERT_CS["h",UNIT["metre",1.0]]]',
            0.304800609601219,
            1.0,
            False,
        ),
        (
            'PROJCRS["UTM",BASEGEOGCRS["W",ANGLEUNIT["degree",0.017]],CS[Cartesian,2],'
            'AXIS["E",east,ORDER[1],LENGTHUNIT["metre",1]]]',
            1.0,
            None,
            False,
        ),
        ('GEOGCS["WGS 84",UNIT["degree",0.0174532925199433]]', None, None, True),
        ('PROJCS["a""b [",UNIT["foot",0.3048]]', 0.3048, None, False),
        ("PROJCS[[[[[", None, None, False),
        ("", None, None, False),
        ('PROJCS["x",UNIT["odd",-3]]', None, None, False),
    ],
)
def test_units_of_well_known_text(text, plane, height, degrees):
    units = linear_units(text)
    assert (units.plane, units.height, units.degrees) == (plane, height, degrees)


def test_kitti_and_nuscenes_are_bare_numbers(tmp_path):
    kitti = read_kitti_bin(bare(tmp_path / "0.bin", POINTS, INTENSITY))
    assert kitti.columns == ("x", "y", "z", "intensity")
    assert np.array_equal(kitti.values, np.column_stack([POINTS, INTENSITY]).astype(np.float32))
    rings = np.array([0, 5, 31, 2])
    nuscenes = read_nuscenes_bin(bare(tmp_path / "0.pcd.bin", POINTS, INTENSITY, rings))
    assert nuscenes.columns == ("x", "y", "z", "intensity", "ring")
    assert nuscenes.values[:, 4].tolist() == rings.tolist()


def test_a_nuscenes_sweep_is_not_pcd_and_that_is_said(tmp_path):
    sweep = bare(tmp_path / "0.pcd.bin", POINTS, INTENSITY, INTENSITY)
    with pytest.raises(FormatError, match=r"is no PCD: nuScenes' \.pcd\.bin are bare numbers"):
        read_pcd(sweep)


TR = "Tr: 0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27\n"  # camera x = -lidar y, y = -z, z = x


def sequence(folder, poses: str | None, calib: str | None = TR, times: str | None = "0\n0.1\n"):
    for number in range(2):
        bare(folder / f"velodyne/{number:06d}.bin", POINTS + number, INTENSITY)
    for name, text in (("poses.txt", poses), ("calib.txt", calib), ("times.txt", times)):
        if text is not None:
            (folder / name).write_text(text)
    return folder


def test_kitti_poses_are_of_camera_0_and_the_lidar_stands_elsewhere(tmp_path):
    """Camera 0 goes 5 m along its z (forward): so does the LiDAR, along its own x."""
    poses = "1 0 0 0 0 1 0 0 0 0 1 0\n1 0 0 0 0 1 0 0 0 0 1 5\n"
    found = read_sequence(sequence(tmp_path / "00", poses))
    assert np.allclose(found.world_from_lidar[0], np.eye(4))
    assert np.allclose(found.world_from_lidar[1][:3, 3], [5, 0, 0])
    assert np.allclose(found.world_from_lidar[1][:3, :3], np.eye(3))
    assert found.time_ns.tolist() == [0, 100_000_000]


def test_a_kitti_turn_swings_the_lidar_around_the_camera(tmp_path):
    """A left turn by a quarter (about camera -y): the LiDAR, 0.27 m behind, moves with it."""
    poses = "1 0 0 0 0 1 0 0 0 0 1 0\n0 0 -1 0 0 1 0 0 1 0 0 0\n"
    found = read_sequence(sequence(tmp_path / "00", poses))
    pose = found.world_from_lidar[1]
    camera_in_lidar = np.array([0.27, 0.0, -0.08, 1.0])
    assert np.allclose(pose @ camera_in_lidar, camera_in_lidar)  # the camera stays where it was
    assert np.allclose(pose[:3, 0], [0, 1, 0])  # what was forward now points left
    assert np.allclose(pose[:3, 3], [0.27, -0.27, 0.0])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"calib": None}, "has no line 'Tr:' .* poses are of camera 0"),
        ({"calib": "P0: 1 2 3\n"}, "has no line 'Tr:'"),
        ({"poses": "1 0 0 0 0 1 0 0 0 0 1 0\n"}, "must have 2 lines of 12 numbers"),
        ({"poses": "1 0 0 0 0 1 0 0 0 0 1 0\n1 0 0 0 0 1 0 0 0 0 1 nan\n"}, "holds NaN"),
        (
            {"poses": "2 0 0 0 0 2 0 0 0 0 2 0\n" * 2},
            "poses.txt, line 1: .* not orthonormal .*Expected: KITTI's 12 numbers",
        ),
        ({"times": "0\n"}, "must have 2 lines of 1 numbers"),
        ({"times": "1\n0\n"}, "must be seconds that ascend"),
        ({"times": "a\nb\n"}, "only numbers were expected"),
    ],
)
def test_kitti_tables_that_do_not_fit_are_refused(tmp_path, change, sentence):
    poses = {"poses": "1 0 0 0 0 1 0 0 0 0 1 0\n" * 2}
    with pytest.raises(FormatError, match=sentence):
        read_sequence(sequence(tmp_path / "00", **{**poses, **change}))


@pytest.mark.parametrize("count", ["1000000000000", "99999999"])
@pytest.mark.parametrize(
    ("name", "head", "read"),
    [
        ("a.ply", lambda n: ply_head("ascii", n), read_ply),
        ("b.ply", lambda n: ply_head("binary_little_endian", n), read_ply),
        ("a.pcd", lambda n: pcd_head("ascii", n), read_pcd),
        ("b.pcd", lambda n: pcd_head("binary", n), read_pcd),
        ("c.pcd", lambda n: pcd_head("binary_compressed", n) + bytes([9] * 8), read_pcd),
    ],
)
def test_a_promise_is_checked_before_memory_is_taken(tmp_path, name, head, read, count):
    (tmp_path / name).write_bytes(head(count) + bytes(100))
    want = "promises 1,000,000,000,000 points; refused" if len(count) > 9 else "is cut off"
    with pytest.raises(FormatError, match=want):
        read(tmp_path / name)


def test_las_promises_are_checked_too(tmp_path):
    path = las(tmp_path / "a.las", POINTS, [METRE_KEYS], count=2**32 - 1)
    with pytest.raises(FormatError, match="promises 4,294,967,295 points; refused"):
        read_las(path)
    data = bytearray(las(tmp_path / "b.las", POINTS, [METRE_KEYS]).read_bytes())
    data[100:104] = (2**32 - 1).to_bytes(4, "little")  # number of records
    (tmp_path / "b.las").write_bytes(data)
    with pytest.raises(FormatError, match="header is damaged"):
        read_las(tmp_path / "b.las")


@pytest.mark.parametrize(
    ("name", "make", "read", "cut"),
    [
        ("a.ply", ply_ascii, read_ply, 40),
        ("b.ply", lambda path: ply_binary(path, "<"), read_ply, 20),
        ("h.ply", ply_ascii, read_ply, 300),
        ("a.pcd", pcd_ascii, read_pcd, 40),
        ("b.pcd", pcd_binary, read_pcd, 5),
        ("c.pcd", pcd_compressed, read_pcd, 5),
        ("h.pcd", pcd_binary, read_pcd, 200),
        ("a.las", lambda path: las(path, POINTS, [METRE_KEYS]), read_las, 5),
        ("h.las", lambda path: las(path, POINTS, [METRE_KEYS]), read_las, 300),
        ("a.bin", lambda path: bare(path, POINTS, INTENSITY), read_kitti_bin, 3),
        ("a.pcd.bin", lambda path: bare(path, POINTS, INTENSITY, INTENSITY), read_nuscenes_bin, 4),
    ],
)
def test_a_file_that_is_cut_off_is_one_sentence(tmp_path, name, make, read, cut):
    data = make(tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[:-cut])
    with pytest.raises(FormatError, match="cut off") as caught:
        read(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "data", "read", "sentence"),
    [
        ("a.ply", b"", read_ply, "the file is empty"),
        ("a.ply", b"hello\n", read_ply, "is no PLY file"),
        ("a.ply", ply_head("ascii", 0), read_ply, "holds no point: its header promises 0"),
        ("a.ply", ply_head("ascii", 1) + b"nan nan nan 1 1 1 1\n", read_ply, "all of its 1 points"),
        (
            "a.ply",
            ply_head("ascii", 1) + b"1 2 3 1 1 100\n",
            read_ply,
            "its point 0 has 6 numbers, its header names 7",
        ),
        ("a.ply", ply_head("ascii", 1) + b"1 2 3 1 1 x 1\n", read_ply, "not a row of numbers"),
        ("a.ply", ply_head("packed"), read_ply, "a line of its PLY header is unknown: 'format"),
        ("a.ply", b"ply\nformat ascii 1.0\nend_header\n", read_ply, "has no element 'vertex'"),
        (
            "a.ply",
            b"ply\nformat ascii 1.0\nelement vertex 1\nproperty int x\nend_header\n11\n",
            read_ply,
            "has no 'y'; a cloud needs x, y and z",
        ),
        ("a.pcd", b"", read_pcd, "the file is empty"),
        ("a.pcd", b"hello\n", read_pcd, "is no PCD file"),
        ("a.pcd", pcd_head("binary", 0), read_pcd, "holds no point"),
        ("a.pcd", pcd_head("zip"), read_pcd, "its PCD header is damaged"),
        (
            "a.pcd",
            pcd_head("ascii").replace(b"SIZE", b"SIZ"),
            read_pcd,
            "a line of its PCD header is unknown: 'SIZ'",
        ),
        ("a.pcd", pcd_head("ascii", "x"), read_pcd, "its PCD header is damaged"),
        ("a.las", b"", read_las, "the file is empty"),
        ("a.las", b"LASX" * 200, read_las, "is no LAS file"),
        ("a.bin", b"", read_kitti_bin, "the file is empty"),
        (
            "a.bin",
            np.full(4, np.nan, "<f4").tobytes(),
            read_kitti_bin,
            "all of its 1 points are NaN",
        ),
        ("a.bin", np.full(4, 1e9, "<f4").tobytes(), read_kitti_bin, "farther than any LiDAR sees"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path, name, data, read, sentence):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FormatError, match=sentence):
        read(tmp_path / name)


def test_ten_kilometres_without_a_unit_are_asked_about(tmp_path):
    millimetres = ply_ascii(tmp_path / "a.ply", POINTS * 1000)
    with pytest.raises(FormatError, match="would be over 10 km in metres; say their unit"):
        read_ply(millimetres)
    assert np.abs(world_m(read_ply(millimetres, "mm")) - POINTS).max() < 1e-6
    with pytest.raises(FormatError, match="32 km"):
        read_ply(ply_ascii(tmp_path / "b.ply", POINTS * 1e7), "m")
    with pytest.raises(ConfigError, match="no unit called 'foot'"):
        read_ply(millimetres, "foot")
    with pytest.raises(FormatError, match="no such file"):
        read_ply(tmp_path / "none.ply")


def lzf_twin(data: bytes) -> bytes:
    """Greedy LZF: a reference wherever three bytes repeat within 8 KiB, else plain bytes."""
    out, plain, at = bytearray(), bytearray(), 0
    while at < len(data):
        start = (
            data.rfind(data[at : at + 3], max(0, at - 8192), at + 2) if at + 3 <= len(data) else -1
        )
        if start < 0 or start >= at:
            plain.append(data[at])
            at += 1
            continue
        length = 3
        while (
            length < 264 and at + length < len(data) and data[start + length] == data[at + length]
        ):
            length += 1
        out += literal(bytes(plain))
        plain, back = bytearray(), at - start - 1
        code = min(length - 2, 7) << 5 | back >> 8
        out += bytes([code, *([length - 9] if length >= 9 else []), back & 255])
        at += length
    return bytes(out + literal(bytes(plain)))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from([b"a", b"b", b"abc", b"\0" * 300, bytes(range(40))]), max_size=30))
def test_lzf_unpacks_what_was_packed(parts):
    data = b"".join(parts)
    assert decompressed(lzf_twin(data), len(data), "here") == data


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 20_000))
def test_lzf_of_anything_gives_that_size_or_a_sentence(data, size):
    try:
        assert len(decompressed(data, size, "here")) == size
    except FormatError as error:
        assert "compressed points are damaged" in str(error)


@pytest.mark.parametrize(
    ("name", "make", "read"),
    [
        ("a.ply", ply_ascii, read_ply),
        ("b.ply", lambda path: ply_binary(path, ">"), read_ply),
        ("a.pcd", pcd_ascii, read_pcd),
        ("b.pcd", pcd_compressed, read_pcd),
        ("a.las", lambda path: las(path, POINTS, [METRE_KEYS, FOOT_KEYS]), read_las),
    ],
)
def test_damaged_anywhere_it_is_points_or_a_sentence(tmp_path, name, make, read):
    data = make(tmp_path / name).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            broken[at] = rng.integers(0, 256)
        (tmp_path / name).write_bytes(broken)
        try:
            with little_memory():
                cloud = read(tmp_path / name)
        except FormatError as error:
            assert "\n" not in str(error)
        else:
            assert np.isfinite(cloud.values[:, :3]).all()


def test_colours_that_were_printed_as_nan_are_not_made_up(tmp_path):
    """The bits of an opaque white are no number: printed, they are lost."""
    file = tmp_path / "a.pcd"
    rows = b"1 2 3 0 0 0 0 0.5 nan\n4 5 6 0 0 0 0 0.5 2.3418052e-38\n"  # 0x00ff0000, red
    file.write_bytes(pcd_head("ascii", 2) + rows)
    cloud = read_pcd(file)
    assert np.isnan(cloud.values[0, 4:]).all()
    assert np.allclose(cloud.values[1, 4:] * 255, [255, 0, 0], atol=0.5)


def test_a_viewpoint_without_a_direction_is_a_place(tmp_path):
    file = tmp_path / "a.pcd"
    pcd_binary(file, viewpoint="1 2 3 0 0 0 0")
    assert np.allclose(read_pcd(file).world_from_points[:, 3], [1, 2, 3, 1])


@pytest.mark.parametrize(
    ("at", "number"), [(155, 1e300), (155, np.nan), (131, 0.0), (139, -0.01), (147, np.inf)]
)
def test_las_scales_and_offsets_that_cannot_be_are_refused(tmp_path, at, number):
    file = las(tmp_path / "a.las", POINTS, [METRE_KEYS])
    data = bytearray(file.read_bytes())
    struct.pack_into("<d", data, at, number)
    file.write_bytes(data)
    with pytest.raises(FormatError, match="header is damaged: scales above 0 and offsets below"):
        read_las(file)


def test_more_rows_than_bytes_are_refused(tmp_path):
    file = tmp_path / "a.ply"
    file.write_bytes(
        b"ply\nformat ascii 1.0\nelement face 9999999999999999999\nproperty float a\n"
        b"element vertex 1\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
        b"0\n1 2 3\n"
    )
    with pytest.raises(FormatError, match="is cut off within its element 'face'"):
        read_ply(file)
