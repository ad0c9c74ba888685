"""The same files, read by libraries of others: what arrives is what they find in them.

Each library shares no code with our reader. trimesh reads PLY, pypcd4 PCD, copclib LAZ and COPC
(our points are unpacked by lazrs, copclib has lazperf), pycolmap COLMAP's models, and evo the
trajectories of TUM. evo is GPL and not among the development dependencies; where it is missing,
its test is skipped.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scene
from cloud_files import (
    COLOURS,
    POINTS,
    las,
    pcd_ascii,
    pcd_binary,
    pcd_compressed,
    ply_ascii,
    ply_binary,
    record,
)
from test_posed_photographs import STEPS, colmap
from test_rgbd_folders import tum

from armillary.core.rng import generator
from armillary.data import ingest, open_dataset
from armillary.data.sources.cloud import Cloud
from armillary.data.sources.las import read_las
from armillary.data.sources.pcd import read_pcd, write_pcd
from armillary.data.sources.ply import read_ply, write_ply

UTM = 'PROJCS["WGS 84 / UTM",GEOGCS["g",UNIT["degree",0.0174532925199433]],UNIT["metre",1]]'
CORNER = np.array([612_000.0, 4_512_345.0, 300.0])


def made_up(count: int, seed: int) -> Cloud:
    """A cloud with every column that is kept, colours in whole levels."""
    rng = generator("independent readers", seed)
    places, normals = rng.uniform(-50, 50, (count, 3)), rng.normal(size=(count, 3))
    levels = rng.integers(0, 256, (count, 3)) / 255
    columns = ("x", "y", "z", "intensity", "r", "g", "b", "nx", "ny", "nz")
    values = np.column_stack([places, rng.uniform(0, 9, count), levels, normals])
    return Cloud(values.astype(np.float32), columns, np.zeros(3))


PLY = {
    "ascii": ply_ascii,
    "little": lambda path: ply_binary(path, "<"),
    "big": lambda path: ply_binary(path, ">"),
    "ours": lambda path: write_ply(path, made_up(500, 0)) or path,
}


@pytest.mark.parametrize("kind", PLY)
def test_trimesh_finds_the_same_in_ply(tmp_path: Path, kind: str) -> None:
    trimesh = pytest.importorskip("trimesh")
    path = PLY[kind](tmp_path / "a.ply")
    theirs = trimesh.load(str(path), process=False)
    rows = theirs.metadata["_ply_raw"]["vertex"]["data"]
    cloud = read_ply(path)
    assert np.abs(cloud.values[:, :3] + cloud.origin_m - theirs.vertices).max() < 1e-5
    named = {"r": "red", "g": "green", "b": "blue"}
    for column, values in zip(cloud.columns[3:], cloud.values.T[3:], strict=True):
        found = np.asarray(rows[named.get(column, column)]).reshape(-1)
        scale = 255 if column in named else 1
        assert np.abs(values - found / np.float32(scale)).max() < 1e-6, column


PCD = {
    "ascii": pcd_ascii,
    "binary": pcd_binary,
    "compressed": pcd_compressed,
    "ours": lambda path: write_pcd(path, made_up(500, 1)) or path,
}


def levels_of(packed: np.ndarray) -> np.ndarray:
    bits = packed.reshape(-1).astype(np.float32, copy=False).view(np.uint32)
    return (bits[:, None] >> np.array([16, 8, 0])) & 255


@pytest.mark.parametrize("kind", PCD)
def test_pypcd4_finds_the_same_in_pcd(tmp_path: Path, kind: str) -> None:
    pypcd4 = pytest.importorskip("pypcd4")
    path = PCD[kind](tmp_path / "a.pcd")
    theirs, cloud = pypcd4.PointCloud.from_path(path), read_pcd(path)
    places = theirs.numpy(("x", "y", "z"))
    assert np.abs(cloud.values[:, :3] + cloud.origin_m - places).max() < 1e-5
    at = cloud.columns.index
    assert np.array_equal(cloud.values[:, at("intensity")], theirs.pc_data["intensity"].ravel())
    packed = theirs.pc_data["rgb"]
    bits = packed.astype(np.uint32) if packed.dtype.kind == "u" else None
    levels = levels_of(packed if bits is None else bits.view(np.float32))
    assert np.abs(cloud.values[:, [at("r"), at("g"), at("b")]] - levels / 255).max() < 1e-6


@pytest.mark.parametrize("packing", ["ASCII", "BINARY", "BINARY_COMPRESSED"])
def test_what_pypcd4_writes_arrives(tmp_path: Path, packing: str) -> None:
    """Its LZF refers back to earlier bytes, which a file written by hand does only once."""
    pypcd4 = pytest.importorskip("pypcd4")
    places = np.round(generator("pypcd4", 0).uniform(-9, 9, (3000, 3)), 1).astype(np.float32)
    intensity = np.repeat(np.arange(3.0, dtype=np.float32), 1000)[:, None]
    written = pypcd4.PointCloud.from_xyzi_points(np.hstack([places, intensity]))
    written.save(tmp_path / "a.pcd", encoding=getattr(pypcd4.Encoding, packing))
    cloud = read_pcd(tmp_path / "a.pcd")
    assert cloud.columns == ("x", "y", "z", "intensity")
    assert np.abs(cloud.values - np.hstack([places, intensity])).max() < 1e-5


def copclib_rows(points) -> np.ndarray:
    """Return x y z intensity red green blue in an order that does not depend on the reader's."""
    rows = np.array(
        [(p.x, p.y, p.z, p.intensity, p.red, p.green, p.blue) for p in points], np.float64
    )
    return in_order(rows)


def in_order(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(np.rint(rows[:, :3] * 1000).T)]


def our_rows(cloud: Cloud) -> np.ndarray:
    values = cloud.values.astype(np.float64)
    places, levels = values[:, :3] + cloud.origin_m, np.rint(values[:, 4:] * 65535)
    return in_order(np.column_stack([places, values[:, 3], levels]))


def test_copclib_finds_the_same_in_laz(tmp_path: Path) -> None:
    copclib, laspy = pytest.importorskip("copclib"), pytest.importorskip("laspy")
    told = record(2112, UTM.encode() + b"\0")
    plain = las(tmp_path / "a.las", POINTS + CORNER, [told], offset=CORNER)
    packed = laspy.convert(laspy.read(plain), point_format_id=7)
    packed.header.global_encoding.wkt = True
    packed.write(str(tmp_path / "a.laz"))
    theirs = copclib_rows(copclib.LazReader(str(tmp_path / "a.laz")).GetPoints())
    assert len(theirs) == len(POINTS) and theirs[:, 4:].max() == COLOURS.max() * 257
    for path in (plain, tmp_path / "a.laz"):
        assert np.abs(our_rows(read_las(path)) - theirs).max() < 1e-5


def test_copclib_finds_the_same_in_copc(tmp_path: Path) -> None:
    """Three nodes of an octree, each a chunk of its own size."""
    copclib = pytest.importorskip("copclib")
    rng, path = generator("copc", 0), str(tmp_path / "a.copc.laz")
    places = np.round(rng.uniform(0, 100, (900, 3)), 3) + CORNER
    told = copclib.CopcConfigWriter(7, (0.001,) * 3, tuple(CORNER), UTM)
    head = told.las_header
    head.min, head.max = (copclib.Vector3(*at) for at in (places.min(0), places.max(0)))
    told.copc_info.spacing = 10
    writer = copclib.FileWriter(path, told)
    for key, part in (
        ((0, 0, 0, 0), places[:100]), ((1, 0, 0, 0), places[100:400]), ((1, 1, 1, 1), places[400:])
    ):  # fmt: skip
        points = copclib.Points(head)
        for at in part:
            point = points.CreatePoint()
            point.x, point.y, point.z = at
            point.intensity = int(at[0]) % 500
            point.red, point.green, point.blue = rng.integers(0, 65536, 3).tolist()
            points.AddPoint(point)
        writer.AddNode(copclib.VoxelKey(*key), points)
    writer.Close()
    theirs = copclib_rows(copclib.FileReader(path).GetAllPoints())
    cloud = read_las(Path(path))
    assert (len(theirs), len(cloud.values)) == (900, 900)
    assert np.abs(our_rows(cloud) - theirs).max() < 1e-5


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_pycolmap_finds_the_same_in_a_model(tmp_path: Path, kind: str) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    folder = colmap(tmp_path / "in", kind)
    theirs = pycolmap.Reconstruction(str(folder / "sparse/0"))
    ingest(folder, tmp_path / "out")
    streams = open_dataset(tmp_path / "out").read(0).streams
    found = sorted(theirs.images.values(), key=lambda image: image.name)
    assert len(found) == STEPS
    for step, image in enumerate(found):
        camera_from_world = np.eye(4)
        camera_from_world[:3] = image.cam_from_world().matrix()
        want = np.linalg.inv(camera_from_world)
        assert np.abs(streams["world_from_camera"].values[step] - want).max() < 1e-9
    # COLMAP's first pixel has its centre at (0.5, 0.5), ours at (0, 0)
    k = theirs.cameras[1].calibration_matrix() - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
    assert np.abs(streams["rgb"].intrinsics - k).max() < 1e-9


def test_evo_finds_the_same_in_a_trajectory(tmp_path: Path) -> None:
    evo = pytest.importorskip("evo.tools.file_interface", reason="pip install evo (GPLv3)")
    folder = tum(tmp_path / "in")
    theirs = evo.read_tum_trajectory_file(str(folder / "groundtruth.txt"))
    ingest(folder, tmp_path / "out")
    episode = open_dataset(tmp_path / "out").read(0)
    poses = episode.streams["world_from_camera"].values
    assert len(poses) == theirs.num_poses
    # evo takes quaternions of five digits as they are, ours are made to have length 1
    assert np.abs(poses - np.stack(theirs.poses_se3)).max() < 1e-5
    apart_s = np.diff(episode.time_ns) / 1e9 - np.diff(theirs.timestamps)
    assert np.abs(apart_s).max() < 2e-4  # pictures and poses have stamps of their own
    assert np.abs(poses - scene.poses(len(poses))).max() < 1e-4
