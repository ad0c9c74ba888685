"""Nerfstudio and COLMAP: poses and lenses arrive in our axes, half a pixel and all."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import scene
from scipy.spatial.transform import Rotation

from armillary.core.errors import FormatError
from armillary.data import IngestOptions, ingest, open_dataset, verify
from armillary.data.sources import nerfstudio as nerfstudio_source
from armillary.data.sources.lens import Lens

STEPS = 5
FLIP = np.diag([1.0, -1, -1, 1])


def nerfstudio(folder: Path, *, depth: bool = True, **changes) -> Path:
    frames = []
    for step in range(STEPS):
        name = f"images/frame_{step + 8}.png"  # 8, 9, 10: in order only as numbers
        scene.save_rgb(folder / name, scene.rgb(step))
        frame = {"file_path": f"./{name}", "transform_matrix": (scene.pose(step) @ FLIP).tolist()}
        if depth:
            frame["depth_file_path"] = f"depth/frame_{step + 8}.png"
            scene.save_depth(folder / frame["depth_file_path"], scene.depth_m(step), 1000)
        frames.append(frame)
    lens = {"fl_x": 60.0, "fl_y": 62.0, "cx": 32.0, "cy": 24.5, "w": 64, "h": 48}
    told = {"camera_model": "OPENCV", **lens, "frames": frames[::-1], **changes}
    (folder / "transforms.json").write_text(json.dumps(told))
    return folder


def edit(folder: Path, change) -> None:
    file = folder / "transforms.json"
    told = json.loads(file.read_text())
    change(told)
    file.write_text(json.dumps(told))


def test_nerfstudio_arrives_in_our_axes(tmp_path):
    summary = ingest(nerfstudio(tmp_path / "in"), tmp_path / "out")
    assert (summary.written, summary.frames, summary.left_out) == (1, STEPS, ())
    episode = open_dataset(tmp_path / "out").read(0)
    scene.check(episode, list(range(STEPS)), 6e-4)
    assert np.allclose(episode.streams["depth"].intrinsics, scene.K)
    assert verify(tmp_path / "out").ok


def test_a_view_angle_is_a_focal_length(tmp_path):
    folder = nerfstudio(tmp_path / "in", depth=False)
    k = np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]])

    def angle(told):
        for name in ("fl_x", "fl_y", "cx", "cy"):
            del told[name]
        told["camera_angle_x"] = 2 * np.arctan(32 / 60)

    edit(folder, angle)
    ingest(folder, tmp_path / "out")
    stream = open_dataset(tmp_path / "out").read(0).streams["rgb"]
    assert np.allclose(stream.intrinsics, k)


def test_a_lens_for_each_picture_is_drawn_as_one(tmp_path):
    """Each picture is zoomed differently; all must come out as the first one's lens saw it."""
    folder = nerfstudio(tmp_path / "in")

    def zoom(told):
        for step, frame in enumerate(reversed(told["frames"])):
            k = scene.K * np.array([[1 + 0.05 * step], [1 + 0.05 * step], [1]])
            k[:2, 2] = scene.K[:2, 2]
            scene.save_rgb(folder / frame["file_path"], scene.rgb(step, k))
            scene.save_depth(folder / frame["depth_file_path"], scene.depth_m(step, k), 1000)
            frame |= {"fl_x": k[0, 0], "fl_y": k[1, 1]}

    edit(folder, zoom)
    ingest(folder, tmp_path / "out")
    episode = open_dataset(tmp_path / "out").read(0)
    assert np.allclose(episode.streams["rgb"].intrinsics, scene.K)
    scene.check(episode, list(range(STEPS)), 0.08, colour=None)
    features = open_dataset(tmp_path / "out").features.values()
    codecs = {one["info"]["video.codec"] for one in features if one["dtype"] == "video"}
    assert codecs == {"h264", "ffv1"}  # the first picture alone could have been kept
    error = np.abs(episode.streams["rgb"].values[-1].astype(int) - scene.rgb(STEPS - 1))
    assert error[10:-10, 10:-10].mean() <= 4
    last = episode.streams["depth"].values[-1]  # a longer lens saw less: the rim is invalid
    assert np.isnan(last[:2]).all()
    assert np.isfinite(last[10:-10, 10:-10]).all()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t["frames"][0].update(file_path="../../secret.png"), "stay below it"),
        (lambda t: t["frames"][0].update(file_path="/etc/passwd"), "'/etc/passwd' is refused"),
        (lambda t: t["frames"][0].update(file_path=7), "the path 7 is refused"),
        (lambda t: t["frames"][0].update(depth_file_path="../d.png"), "'../d.png' is refused"),
        (lambda t: t["frames"][1].update(transform_matrix="up"), "has no pose"),
        (lambda t: t["frames"][1]["transform_matrix"].pop(), r"its pose is \[3, 4\]"),
        (lambda t: t["frames"][1]["transform_matrix"][0].__setitem__(0, 9.0), "OpenGL axes"),
        (lambda t: t["frames"][1]["transform_matrix"][2].__setitem__(3, np.nan), "NaN or infini"),
        (lambda t: t.pop("fl_x"), r"has no intrinsics; fl_x, .*Pass --intrinsics fx fy"),
        (lambda t: t.update(fl_x="wide"), "'fl_x' must be a finite number"),
        (lambda t: t.update(w=0.2, h=0.2), "of pictures of 0x0 pixels cannot be"),
        (lambda t: t.update(w=640, h=400), "is 64x48 but its intrinsics are for 640x400"),
        (lambda t: t.update(camera_model="OPENCV_FISHEYE"), "OPENCV_FISHEYE is not read"),
        (lambda t: t.update(frames=[]), "a list 'frames' of at least one picture"),
        (
            lambda t: t.update(depth_unit_scale_factor=1),
            "metres .median. cannot be; .*--depth-scale",
        ),
    ],
)
def test_what_is_wrong_with_nerfstudio_is_said(tmp_path, change, sentence):
    folder = nerfstudio(tmp_path / "in")
    edit(folder, change)
    with pytest.raises(FormatError, match=sentence):
        ingest(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def seen_points(step: int) -> tuple[np.ndarray, np.ndarray]:
    """World points on a coarse grid of pixels, and these pixels in COLMAP's convention."""
    v, u = np.mgrid[2 : scene.ROWS : 6, 2 : scene.COLUMNS : 6]
    points = scene.world_points(scene.depth_m(step), scene.K, scene.pose(step))
    return points[v, u].reshape(-1, 3), np.stack([u, v], -1).reshape(-1, 2) + 0.5


LENS = (60.0, 62.0, 32.0, 24.5)


def colmap_parts(scale: float = 1.0) -> tuple[list, list]:
    """Images (id, wxyz, shift, camera, name, pixels, points) and points, in COLMAP's convention."""
    images, points = [], []
    for step in range(STEPS):
        camera_from_world = np.linalg.inv(scene.pose(step))
        x, y, z, w = Rotation.from_matrix(camera_from_world[:3, :3]).as_quat()
        places, pixels = seen_points(step)
        numbers = range(len(points), len(points) + len(places))
        points += [place / scale for place in places]
        shift = camera_from_world[:3, 3] / scale
        name = f"walk/{step}.png"
        images.append((step + 1, (w, x, y, z), shift, 1, name, pixels, list(numbers)))
    return images, points


def colmap(folder: Path, kind: str, *, camera=(1, "PINHOLE", LENS), scale: float = 1.0) -> Path:
    for step in range(STEPS):
        scene.save_rgb(folder / f"images/walk/{step}.png", scene.rgb(step))
    model = folder / "sparse/0"
    model.mkdir(parents=True)
    images, points = colmap_parts(scale)
    (write_text if kind == "text" else write_binary)(model, camera, images[::-1], points)
    return folder


def tracks(images) -> dict[int, tuple[int, int]]:
    """Return the picture that saw each point, and its place in the picture's list."""
    return {n: (one[0], at) for one in images for at, n in enumerate(one[-1])}


def write_text(model: Path, camera, images, points) -> None:
    number, name, lens = camera[0], camera[1], " ".join(map(str, camera[2]))
    (model / "cameras.txt").write_text(f"# CAMERA_ID, MODEL\n{number} {name} 64 48 {lens}\n")
    lines = ["# Image list with two lines of data per image"]
    for image, wxyz, shift, of, path, pixels, seen in images:
        lines.append(f"{image} {' '.join(map(repr, map(float, [*wxyz, *shift])))} {of} {path}")
        both = zip(pixels, seen, strict=True)
        lines.append(" ".join(f"{u} {v} {n}" for (u, v), n in both) + " 3.5 4.5 -1")
    lines[-1] = ""  # the last picture saw no point at all
    (model / "images.txt").write_text("\n".join(lines) + "\n")
    seen_by = tracks(images[:-1])
    rows = [
        f"{n} {x} {y} {z} 9 9 9 0.5 " + " ".join(map(str, seen_by.get(n, ())))
        for n, (x, y, z) in enumerate(points)
    ]
    (model / "points3D.txt").write_text("\n".join(rows))


def write_binary(model: Path, camera, images, points) -> None:
    numbers = {"SIMPLE_PINHOLE": 0, "PINHOLE": 1, "OPENCV": 4, "OPENCV_FISHEYE": 5}
    head = struct.pack("<QIiQQ", 1, camera[0], numbers[camera[1]], 64, 48)
    (model / "cameras.bin").write_bytes(head + struct.pack(f"<{len(camera[2])}d", *camera[2]))
    data = struct.pack("<Q", len(images))
    for image, wxyz, shift, of, path, pixels, seen in images:
        data += struct.pack("<I7dI", image, *wxyz, *shift, of) + path.encode() + b"\0"
        data += struct.pack("<Q", len(seen))
        for (u, v), n in zip(pixels, seen, strict=True):
            data += struct.pack("<ddq", u, v, n)
    (model / "images.bin").write_bytes(data)
    data, seen_by = struct.pack("<Q", len(points)), tracks(images)
    for n, place in enumerate(points):
        track = struct.pack("<QII", 1, *seen_by[n])
        data += struct.pack("<Q3d3Bd", n, *place, 9, 9, 9, 0.5) + track
    (model / "points3D.bin").write_bytes(data)


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_colmap_with_a_scale_arrives_in_metres(tmp_path, kind):
    """A model in units of 4 m: its points come back as depth on the planes they lie on."""
    folder = colmap(tmp_path / "in", kind, scale=4.0)
    summary = ingest(folder, tmp_path / "out", options=IngestOptions(depth_scale=4.0))
    assert (summary.written, summary.frames, summary.left_out) == (1, STEPS, ())
    episode = open_dataset(tmp_path / "out").read(0)
    found = episode.streams["world_from_camera"]
    assert (found.unit, found.frame) == ("m", "colmap")
    assert np.allclose(found.values, scene.poses(STEPS), atol=1e-3)
    depth = episode.streams["depth"]
    assert np.allclose(depth.intrinsics, scene.K)
    points = 0
    for step in range(STEPS):
        valid = np.isfinite(depth.values[step])
        truth = scene.depth_m(step)
        assert np.abs(depth.values[step] - truth)[valid].max(initial=0) <= 6e-4
        where = scene.world_points(
            depth.values[step].astype(np.float64), depth.intrinsics, found.values[step]
        )
        assert scene.off_the_planes(where[valid]).max(initial=0) < 3e-3
        points += valid.sum()
    assert points > 80 * (STEPS - 1)


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_colmap_without_a_scale_has_no_unit_and_no_depth(tmp_path, kind):
    ingest(colmap(tmp_path / "in", kind), tmp_path / "out")
    episode = open_dataset(tmp_path / "out").read(0)
    assert set(episode.streams) == {"rgb", "world_from_camera"}
    assert episode.streams["world_from_camera"].unit == ""
    rgb, poses = episode.streams["rgb"], episode.streams["world_from_camera"].values
    for step in range(STEPS):  # the points fall on the pixels that show them
        places, pixels = seen_points(step)
        camera = (places - poses[step, :3, 3]) @ poses[step, :3, :3]
        found = (camera @ rgb.intrinsics.T)[:, :2] / camera[:, 2:]
        assert np.abs(found - (pixels - 0.5)).max() < 1e-3
        u, v = np.rint(found).astype(int).T
        inner = (u > 3) & (v > 3) & (u < 60) & (v < 44)
        error = np.abs(rgb.values[step][v, u].astype(int) - scene.colour_of(places))[inner]
        assert np.percentile(error, 90) <= 8


def test_colmap_lenses_that_bend_are_straightened(tmp_path):
    bent = (*LENS, 0.0, 0.0, 0.0, 0.0)
    camera = (1, "OPENCV", bent)
    ingest(colmap(tmp_path / "in", "binary", camera=camera), tmp_path / "out")
    stream = open_dataset(tmp_path / "out").read(0).streams["rgb"]
    assert np.allclose(stream.intrinsics, scene.K)


@pytest.mark.parametrize("part", ["cameras", "images", "points3D"])
@pytest.mark.parametrize("keep", [4, 40, 0.5, 0.99])
def test_colmap_files_cut_anywhere_are_said(tmp_path, part, keep):
    folder = colmap(tmp_path / "in", "binary")
    file = folder / f"sparse/0/{part}.bin"
    data = file.read_bytes()
    file.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    with pytest.raises(FormatError, match=f"{part}.bin: .*(cut off)"):
        ingest(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_count_larger_than_the_file_takes_no_memory(tmp_path):
    folder = colmap(tmp_path / "in", "binary")
    file = folder / "sparse/0/points3D.bin"
    file.write_bytes(struct.pack("<Q", 1 << 60) + file.read_bytes()[8:])
    with pytest.raises(FormatError, match="claims 1152921504606846976 records with"):
        ingest(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda f, m: text(m / "cameras.txt", "PINHOLE", "FOV"), "camera model FOV is not read"),
        (lambda f, m: (m / "cameras.txt").write_text("1\n"), "line 1: 'id model columns rows"),
        (lambda f, m: (f / "images").rename(f / "jpgs"), "has no folder images/ of a COLMAP"),
        (lambda f, m: text(m / "images.txt", "walk/", "../"), "is refused; paths are relative"),
        (lambda f, m: text(m / "images.txt", "1 walk", "7 walk"), "its camera 7 is not among"),
        (lambda f, m: text(m / "images.txt", "\n3 0", "\n3 nan 0"), "NaN or infinity"),
        (lambda f, m: text(m / "images.txt", "\n3 0", "\n3 5"), "has no length of 1"),
        (lambda f, m: (m / "images.txt").write_text("# none\n"), "the model has no image"),
        (lambda f, m: (m / "images.txt").write_text("1 2 3\n"), "'id qw qx qy qz tx ty tz cam"),
        (lambda f, m: [p.unlink() for p in (f / "images/walk").iterdir()], "no such picture"),
    ],
)
def test_what_is_wrong_with_colmap_is_said(tmp_path, spoil, sentence):
    folder = colmap(tmp_path / "in", "text")
    spoil(folder, folder / "sparse/0")
    with pytest.raises(FormatError, match=sentence):
        ingest(folder, tmp_path / "out")


def text(file: Path, old: str, new: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def bent(told: dict, **how) -> None:
    told.update(how)


@pytest.mark.parametrize(
    "how",
    [
        {"k1": 0.2, "k2": -0.05, "p1": 0.01, "p2": -0.02, "k3": 0.03},
        {"distortion_params": [0.2, -0.05, 0.03, 0.0, 0.01, -0.02], "k1": 9.0},
    ],
)
def test_distortion_is_read_by_name_and_as_a_list(tmp_path, how):
    """The list is k1 k2 k3 k4 p1 p2, and comes before the names, as in nerfstudio's own reader."""
    folder = nerfstudio(tmp_path / "in", depth=False)
    straight = read_lens_of(folder)
    assert not any(straight.distortion)
    edit(folder, lambda told: bent(told, **how))
    assert read_lens_of(folder).distortion == (0.2, -0.05, 0.01, -0.02, 0.03)


def read_lens_of(folder: Path) -> Lens:
    told = json.loads((folder / "transforms.json").read_text())
    return nerfstudio_source._lens(folder, told, IngestOptions())


@pytest.mark.parametrize(
    ("listed", "sentence"),
    [
        ([0.1, 0.0, 0.0, 0.2, 0.0, 0.0], "with k4 is not read"),
        ([0.1, 0.0], "distortion_params are k1, k2, k3, k4, p1, p2, got"),
        ("none", "distortion_params are k1"),
        ([0.1, 0, 0, 0, 0, None], "'p2' must be a finite number"),
    ],
)
def test_distortion_that_is_none_is_said(tmp_path, listed, sentence):
    folder = nerfstudio(tmp_path / "in", depth=False)
    edit(folder, lambda told: bent(told, distortion_params=listed))
    with pytest.raises(FormatError, match=sentence):
        ingest(folder, tmp_path / "out")
