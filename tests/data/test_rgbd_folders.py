"""RGB-D folders (TUM, ScanNet, Redwood) become metres, z up, OpenCV axes; what is wrong is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scene
from scipy.linalg import expm
from scipy.spatial.transform import Rotation

from armillary.core.errors import ConfigError, FormatError
from armillary.data import IngestOptions, ingest, open_dataset, verify

STEPS = 6
LENS = (60.0, 62.0, 31.5, 24.0)
START = 1305031102.175304


def tum(folder: Path, *, steps: int = STEPS, late: float = 0.004, calibrated: bool = True) -> Path:
    """A sequence whose depth and poses are stamped a little later than its pictures."""
    folder.mkdir(parents=True)
    lists: dict[str, list[str]] = {"rgb": [], "depth": [], "groundtruth": []}
    for step in range(steps):
        stamp = START + step / 30
        scene.save_rgb(folder / f"rgb/{stamp:.6f}.png", scene.rgb(step))
        scene.save_depth(folder / f"depth/{stamp + late:.6f}.png", scene.depth_m(step), 5000)
        lists["rgb"].append(f"{stamp:.6f} rgb/{stamp:.6f}.png")
        lists["depth"].append(f"{stamp + late:.6f} depth/{stamp + late:.6f}.png")
        xyzw = Rotation.from_matrix(scene.pose(step)[:3, :3]).as_quat()
        numbers = [*scene.pose(step)[:3, 3], *xyzw]
        lists["groundtruth"].append(f"{stamp + late:.4f} " + " ".join(f"{n:.5f}" for n in numbers))
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(["# made by a test", *lines]) + "\n")
    if calibrated:
        (folder / "intrinsics.txt").write_text("60 62 31.5 24\n")
    return folder


def scannet(folder: Path, *, steps: int = STEPS, lost: tuple[int, ...] = ()) -> Path:
    """Colour has twice the pixels of depth, as ScanNet's."""
    k = np.array([[120.5, 0, 63.5], [0, 124.0, 48.5], [0, 0, 1.0]])
    for step in range(steps):
        scene.save_rgb(folder / f"color/{step}.png", scene.rgb(step, k, (96, 128)))
        scene.save_depth(folder / f"depth/{step}.png", scene.depth_m(step), 1000)
        matrix = scene.pose(step) if step not in lost else np.full((4, 4), -np.inf)
        (folder / "pose").mkdir(exist_ok=True)
        np.savetxt(folder / f"pose/{step}.txt", matrix, fmt="%.6f")
    (folder / "intrinsic").mkdir()
    for name, small in (("color", k), ("depth", scene.K)):
        whole = np.eye(4)
        whole[:3, :3] = small
        np.savetxt(folder / f"intrinsic/intrinsic_{name}.txt", whole, fmt="%.6f")
        np.savetxt(folder / f"intrinsic/extrinsic_{name}.txt", np.eye(4), fmt="%.6f")
    return folder


def seven_scenes(folder: Path, *, steps: int = STEPS, suffix: str = "png") -> Path:
    """All in one folder; the first row of depth is the number that says "nothing"."""
    folder.mkdir(parents=True)
    for step in range(steps):
        name = f"frame-{step:06d}"
        scene.save_rgb(folder / f"{name}.color.{suffix}", scene.rgb(step))
        depth_m = scene.depth_m(step)
        depth_m[0] = 65.535
        scene.save_depth(folder / f"{name}.depth.png", depth_m, 1000)
        np.savetxt(folder / f"{name}.pose.txt", scene.pose(step), fmt="%.8f")
    return folder


def redwood(folder: Path, *, steps: int = STEPS) -> Path:
    """World is the first camera; names carry microseconds, and depth comes a little later."""
    blocks = []
    first = np.linalg.inv(scene.pose(0))
    for step in range(steps):
        time_us = step * 33_333
        scene.save_rgb(folder / f"rgb/{step + 1:07d}-{time_us:012d}.png", scene.rgb(step))
        name = f"depth/{step + 1:07d}-{time_us + 5000:012d}.png"
        scene.save_depth(folder / name, scene.depth_m(step), 1000)
        rows = "\n".join(" ".join(f"{n:.8f}" for n in row) for row in first @ scene.pose(step))
        blocks.append(f"{step} {step} {step + 1}\n{rows}")
    (folder / "trajectory.log").write_text("\n".join(blocks) + "\n")
    told = {"width": 64, "height": 48, "intrinsic_matrix": scene.K.T.reshape(-1).tolist()}
    (folder / "camera_intrinsic.json").write_text(json.dumps(told))
    return folder


def only(out: Path):
    dataset = open_dataset(out)
    assert len(dataset) == 1
    return dataset.read(0)


def test_tum_arrives_in_metres(tmp_path):
    summary = ingest(tum(tmp_path / "in"), tmp_path / "out")
    assert (summary.written, summary.frames, summary.left_out) == (1, STEPS, ())
    episode = only(tmp_path / "out")
    scene.check(episode, list(range(STEPS)), 6e-4)
    assert np.allclose(episode.time_ns / 1e9, np.arange(STEPS) / 30, atol=1e-6)
    assert open_dataset(tmp_path / "out").fps == 30
    assert (episode.streams["depth"].unit, episode.streams["world_from_camera"].frame) == (
        "m",
        "world",
    )
    assert verify(tmp_path / "out").ok


def test_the_motion_of_a_moving_camera_is_the_action(tmp_path):
    summary = ingest(scannet(tmp_path / "in"), tmp_path / "out")
    assert "the action is the motion of the camera from step to step" in summary.notes[0]
    episode = only(tmp_path / "out")
    assert episode.actions.shape == (STEPS - 1, 6)
    poses = [scene.pose(step) for step in range(STEPS)]
    for step, twist in enumerate(episode.actions):
        motion = np.linalg.inv(poses[step]) @ poses[step + 1]
        generator = np.zeros((4, 4))
        generator[:3, :3] = np.cross(np.eye(3), twist[3:])
        generator[:3, 3] = twist[:3]
        np.testing.assert_allclose(expm(generator), motion, atol=1e-5)


def test_the_motion_is_that_between_the_steps_that_are_taken(tmp_path):
    folder = scannet(tmp_path / "in", steps=9)
    whole, half = (
        (ingest(folder, tmp_path / name, options=options), only(tmp_path / name))[1]
        for name, options in (("all", None), ("half", IngestOptions(fps=15.0)))
    )
    assert len(half) == 5
    turned = Rotation.from_rotvec(half.actions[0, 3:]).magnitude()
    twice = Rotation.from_rotvec(whole.actions[0, 3:]) * Rotation.from_rotvec(whole.actions[1, 3:])
    assert turned == pytest.approx(twice.magnitude(), abs=1e-5)


def test_a_camera_that_stands_or_is_asked_to_has_no_actions(tmp_path, monkeypatch):
    options = IngestOptions(ego_motion=False)
    summary = ingest(scannet(tmp_path / "moves"), tmp_path / "asked", options=options)
    assert only(tmp_path / "asked").actions is None and not summary.notes
    still = scene.pose(0)
    monkeypatch.setattr(scene, "pose", lambda step: still)
    summary = ingest(scannet(tmp_path / "stands"), tmp_path / "out")
    assert only(tmp_path / "out").actions is None and not summary.notes


def test_tum_pairs_come_from_associations_where_lists_are_missing(tmp_path):
    folder = tum(tmp_path / "in")
    colour, depth = ((folder / f"{n}.txt").read_text().split("\n")[1:-1] for n in ("rgb", "depth"))
    pairs = [f"{d} {c}" for c, d in zip(colour, depth, strict=True)]  # depth first, as some write
    (folder / "associations.txt").write_text("\n".join(pairs))
    (folder / "rgb.txt").unlink()
    ingest(folder, tmp_path / "out")
    scene.check(only(tmp_path / "out"), list(range(STEPS)), 6e-4)


def test_several_sequences_are_several_episodes_and_a_bad_one_is_named(tmp_path):
    tum(tmp_path / "in/a")
    tum(tmp_path / "in/b")
    (tum(tmp_path / "in/c") / "intrinsics.txt").unlink()
    summary = ingest(tmp_path / "in", tmp_path / "out")
    assert summary.written == 2
    [(path, why)] = summary.skipped
    assert path.name == "c"
    assert "has no intrinsics" in why
    assert [open_dataset(tmp_path / "out").read_low(i).source for i in (0, 1)] == ["a", "b"]


def test_intrinsics_can_be_passed_and_pictures_made_smaller(tmp_path):
    folder = tum(tmp_path / "in", calibrated=False)
    options = IngestOptions(max_side=32, intrinsics=LENS)
    ingest(folder, tmp_path / "out", options=options)
    episode = only(tmp_path / "out")
    assert episode.streams["depth"].values.shape == (STEPS, 24, 32)
    # nearest of two pixels: half a pixel of slope is what a smaller picture costs
    scene.check(episode, list(range(STEPS)), 0.1, colour=None)


def test_a_lens_with_distortion_becomes_a_pinhole(tmp_path):
    """Pixels are drawn where the distorted lens saw them; the plane must come out flat."""
    import cv2

    folder = tum(tmp_path / "in")
    bent = np.array([-0.2, 0.03, 0.002, -0.003, 0.0])  # four pixels in the corners
    (folder / "intrinsics.txt").write_text("60 62 31.5 24 " + " ".join(map(str, bent)))
    v, u = np.mgrid[: scene.ROWS, : scene.COLUMNS].astype(np.float64)
    pixels = np.stack([u, v], -1).reshape(-1, 1, 2)
    straight = cv2.undistortPoints(pixels, scene.K, bent).reshape(scene.ROWS, scene.COLUMNS, 2)
    rays = np.concatenate([straight, np.ones((scene.ROWS, scene.COLUMNS, 1))], -1)
    for step in range(STEPS):
        stamp = START + step / 30
        scene.save_rgb(folder / f"rgb/{stamp:.6f}.png", scene.rgb_along(scene.pose(step), rays))
        depth = scene.depth_along(scene.pose(step), rays)
        scene.save_depth(folder / f"depth/{stamp + 0.004:.6f}.png", depth, 5000)
    ingest(folder, tmp_path / "out")
    # half a pixel of slope is 0.036 m; left bent, it would be 0.083 m
    scene.check(only(tmp_path / "out"), list(range(STEPS)), 0.04)


@pytest.mark.parametrize("pictures", ["kept", "encoded"])
def test_7_scenes_arrives_in_metres_and_what_was_not_measured_is_none(tmp_path, pictures):
    folder = seven_scenes(tmp_path / "in" / "seq-01")
    options = IngestOptions(intrinsics=LENS, pictures=pictures)
    summary = ingest(tmp_path / "in", tmp_path / "out", options=options)
    assert (summary.written, summary.frames, summary.left_out) == (1, STEPS, ())
    episode = only(tmp_path / "out")
    depth = episode.streams["depth"].values
    assert not np.isfinite(depth[:, 0]).any()
    assert np.nanmax(depth) < 60
    for step in range(STEPS):
        np.testing.assert_allclose(depth[step, 1:], scene.depth_m(step)[1:], atol=6e-4)
        np.testing.assert_allclose(
            episode.streams["world_from_camera"].values[step], scene.pose(step), atol=1e-6
        )
    (folder / "frame-000002.pose.txt").unlink()
    summary = ingest(tmp_path / "in", tmp_path / "less", options=options)
    assert summary.frames == STEPS - 1


def test_7_scenes_without_a_lens_says_which_its_sensor_has(tmp_path):
    with pytest.raises(FormatError, match="that of 7-Scenes 585, 585, 320, 240"):
        ingest(seven_scenes(tmp_path / "in", suffix="jpg"), tmp_path / "out")


def test_scannet_keeps_both_lenses(tmp_path):
    summary = ingest(scannet(tmp_path / "in"), tmp_path / "out")
    assert (summary.written, summary.frames, summary.left_out) == (1, STEPS, ())
    episode = only(tmp_path / "out")
    scene.check(episode, list(range(STEPS)), 6e-4)
    assert episode.streams["rgb"].values.shape == (STEPS, 96, 128, 3)


def test_intrinsics_of_larger_pictures_are_refused(tmp_path):
    """Colour that was made smaller beside the matrix of the original."""
    folder = scannet(tmp_path / "in")
    file = folder / "intrinsic/intrinsic_color.txt"
    np.savetxt(file, np.diag([2.1, 2.1, 1, 1]) @ np.loadtxt(file), fmt="%.6f")
    with pytest.raises(FormatError, match="the intrinsics are of larger pictures"):
        ingest(folder, tmp_path / "out")


def test_lost_tracking_skips_a_step_and_cuts_an_episode(tmp_path):
    folder = scannet(tmp_path / "in", steps=12, lost=(2, 5, 6, 7, 11))
    summary = ingest(folder, tmp_path / "out")
    assert (summary.written, summary.frames) == (2, 7)
    [(_, why)] = summary.left_out
    assert "5 of 12 steps (first: step 2)" in why
    dataset = open_dataset(tmp_path / "out")
    first, second = dataset.read(0), dataset.read(1)
    scene.check(first, [0, 1, 3, 4], 6e-4)
    scene.check(second, [8, 9, 10], 6e-4)
    assert first.time_ns[2] == 100_000_000
    assert second.source.endswith("steps 8 to 10")


def test_redwood_is_in_the_first_cameras_frame(tmp_path):
    ingest(redwood(tmp_path / "in"), tmp_path / "out")
    episode = only(tmp_path / "out")
    found = episode.streams["world_from_camera"]
    assert found.frame == "first_camera"
    assert np.allclose(scene.pose(0) @ found.values, scene.poses(STEPS), atol=1e-3)
    for step in range(STEPS):
        depth = episode.streams["depth"]
        points = scene.world_points(
            depth.values[step].astype(np.float64),
            depth.intrinsics,
            scene.pose(0) @ found.values[step],
        )
        assert scene.off_the_planes(points).max() < 3e-3
    assert np.allclose(np.diff(episode.time_ns), 33_333_000)


def test_fewer_frames_per_second_take_every_other_step(tmp_path):
    ingest(scannet(tmp_path / "in"), tmp_path / "out", options=IngestOptions(fps=15.0))
    assert open_dataset(tmp_path / "out").fps == 15
    scene.check(only(tmp_path / "out"), [0, 2, 4], 6e-4)


@pytest.mark.parametrize(
    ("fps", "sentence"),
    [
        (100.0, "has 30 steps per second, fewer than --fps 100; leave it out"),
        (0.01, "--fps 0.01 leaves fewer than two of its steps; ask for more"),
    ],
)
def test_a_rate_that_the_recording_cannot_give_is_said(tmp_path, fps, sentence):
    folder = tum(tmp_path / "in")
    with pytest.raises(FormatError, match=sentence):
        ingest(folder, tmp_path / "out", options=IngestOptions(fps=fps))


def rewrite(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def move_poses(folder: Path) -> None:
    rewrite(folder / "groundtruth.txt", "130503", "140503")


def as_picture(folder: Path) -> None:
    import cv2

    for file in (folder / "depth").iterdir():
        cv2.imwrite(str(file), np.full((48, 64), 9, np.uint8))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:60])


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda f: (f / "intrinsics.txt").unlink(), r"has no intrinsics; .*pass --intrinsics fx"),
        (lambda f: (f / "intrinsics.txt").write_text("60 62"), "got 2 numbers. Pass --intrinsics"),
        (
            lambda f: (f / "intrinsics.txt").write_text("0 0 1 1"),
            "intrinsics fx, fy, cx, cy in pixels",
        ),
        (move_poses, r"no poses within 0.02 s of any picture: pictures from 1305031102.175 to "),
        (lambda f: rewrite(f / "groundtruth.txt", " 1.50000", " nan"), "NaN or a quaternion"),
        (lambda f: rewrite(f / "groundtruth.txt", " 1.50000", " x"), "TUM lines 't tx ty tz qx"),
        (lambda f: (f / "groundtruth.txt").write_text("1 2 3\n"), "'t tx ty tz qx qy qz qw' was"),
        (lambda f: rewrite(f / "rgb.txt", " rgb/", " ../rgb/"), "is refused; paths are relative"),
        (lambda f: rewrite(f / "depth.txt", " depth/", " /etc/"), "'/etc/.*' is refused"),
        (as_picture, r"1 channel\(s\) of 8 bits; depth was expected as one channel of 16 bits"),
        (lambda f: [cut(p) for p in (f / "rgb").iterdir()], "is no picture|cannot be decoded"),
        (lambda f: [p.unlink() for p in (f / "depth").iterdir()], "there is no such file"),
    ],
)
def test_what_is_wrong_with_tum_is_said(tmp_path, spoil, sentence):
    folder = tum(tmp_path / "in")
    spoil(folder)
    with pytest.raises(FormatError, match=sentence):
        ingest(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_unit_that_cannot_be_is_said(tmp_path):
    folder = tum(tmp_path / "in")
    sentence = r"a depth of [\d,.e+]+ metres \(median\) cannot be; .*Pass --depth-scale"
    with pytest.raises(FormatError, match=sentence):
        ingest(folder, tmp_path / "out", options=IngestOptions(depth_scale=1.0))
    with pytest.raises(FormatError, match=sentence):
        ingest(folder, tmp_path / "out", options=IngestOptions(depth_scale=1e-7))
    with pytest.raises(ConfigError, match="--depth-scale is metres of one unit"):
        IngestOptions(depth_scale=-1.0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m * np.diag([2.0, 2, 2, 1]), "is not orthonormal .*camera-to-world 4x4"),
        (lambda m: m @ np.diag([-1.0, 1, 1, 1]), "mirrors space"),
        (lambda m: m.T, r"the last row of a pose is \(0, 0, 0, 1\)"),
        (lambda m: m * np.nan, "holds NaN or infinity"),
        (lambda m: m[:3], "is no 4x4 matrix"),
    ],
)
def test_poses_that_are_none_are_said(tmp_path, change, sentence):
    folder = scannet(tmp_path / "in")
    np.savetxt(folder / "pose/3.txt", change(scene.pose(3)))
    with pytest.raises(FormatError, match=sentence) as caught:
        ingest(folder, tmp_path / "out")
    assert "3.txt" in str(caught.value)


def test_a_trajectory_that_was_cut_off_is_said(tmp_path):
    folder = redwood(tmp_path / "in")
    log = folder / "trajectory.log"
    log.write_text("\n".join(log.read_text().split("\n")[:-3]))
    with pytest.raises(FormatError, match=r"are no Redwood trajectory: .* may be cut off"):
        ingest(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        ("trajectory.log", "0 0 1\n", "1e400 0 1\n", "are no Redwood trajectory"),
        ("trajectory.log", "0 0 1\n", "nan 0 1\n", "are no Redwood trajectory"),
        ("camera_intrinsic.json", "64", "1e400", "'width' and 'height' were expected"),
        ("camera_intrinsic.json", "64", "0", "of pictures of 0x48 pixels cannot be; correct their"),
    ],
)
def test_numbers_that_cannot_be_are_said(tmp_path, file, old, new, sentence):
    folder = redwood(tmp_path / "in")
    rewrite(folder / file, old, new)
    with pytest.raises(FormatError, match=sentence):
        ingest(folder, tmp_path / "out")


def test_colour_and_depth_that_are_apart_are_refused(tmp_path):
    folder = scannet(tmp_path / "in")
    apart = np.eye(4)
    apart[0, 3] = 0.04
    np.savetxt(folder / "intrinsic/extrinsic_color.txt", apart)
    with pytest.raises(FormatError, match="colour and depth are apart"):
        ingest(folder, tmp_path / "out")


def renamed(folder: Path, name) -> Path:
    """A ScanNet folder whose pictures and poses are called otherwise; depth keeps to colour."""
    for step in range(STEPS):
        for part, end in (("color", "png"), ("depth", "png"), ("pose", "txt")):
            (folder / f"{part}/{step}.{end}").rename(folder / f"{part}/{name(step)}.{end}")
    return folder


STAMPS_US = [1305031102_866664 + 33_333 * step for step in range(STEPS)]  # across a full second


@pytest.mark.parametrize(
    ("name", "period_ns"),
    [
        (lambda step: f"{STAMPS_US[step] // 10**6}.{STAMPS_US[step] % 10**6:06d}", 33_333_000),
        (lambda step: str(STAMPS_US[step]), 33_333_000),
        (lambda step: str(STAMPS_US[step] * 1000 + 7), 33_333_000),
        (lambda step: str(1305031102866 + 33 * step), 33_000_000),
        (lambda step: f"frame_{step:06d}_cam2", None),
        (lambda step: f"{step:020d}", None),
        (lambda step: str(9 + step), None),  # 9 comes before 10
        (lambda step: f"frame-{step:06d}.color", None),
        (lambda step: f"4_{11.9 + step / 25:.3f}", 40_000_000),  # ARKit: seconds since boot
        (lambda step: f"{step:06d}_{STAMPS_US[step] / 1e6:.6f}", 33_333_000),
        (lambda step: f"{STAMPS_US[step] // 10**6}_{STAMPS_US[step] % 10**6:06d}000", 33_333_000),
    ],
    ids=[
        "seconds",
        "us",
        "ns",
        "ms",
        "number and camera",
        "many zeros",
        "number",
        "7-scenes",
        "seconds since boot",
        "number and seconds",
        "seconds_nanoseconds",
    ],
)
def test_pictures_called_by_a_time_or_a_number_keep_order_and_time(tmp_path, name, period_ns):
    summary = ingest(renamed(scannet(tmp_path / "in"), name), tmp_path / "out")
    assert (summary.frames, summary.left_out) == (STEPS, ())
    assert open_dataset(tmp_path / "out").fps == (25 if period_ns == 40_000_000 else 30)
    episode = only(tmp_path / "out")
    scene.check(episode, list(range(STEPS)), 6e-4)
    times = np.arange(STEPS) * (period_ns or 1e9 / 30)
    assert np.abs(episode.time_ns - times).max() <= 1


@pytest.mark.parametrize(
    "name",
    [
        lambda step: "ABCDEF"[step] + "_7",
        lambda step: f"{step}{'0' * 30}",
        lambda step: f"2024-01-01-12-00-{10 + step // 3}-{900 - 300 * (step % 3)}",
        lambda step: f"frame_{step}" + "_b2" * (step == 3),
        lambda step: str(3_000_000_000_000 + 33_333_333 * step),  # nanoseconds since boot, or ms
        lambda step: str(234_567_890 + 33_333 * step),  # microseconds since boot
        lambda step: f"{STAMPS_US[step] // 10**6}-{STAMPS_US[step] % 10**6}",
        lambda step: f"{step:06d}_{0.05 - 0.003 * step:.3f}",  # frame and exposure
        lambda step: f"{step // 2 / 30:.6f}_{'lr'[step % 2]}",
        lambda step: f"{STAMPS_US[step // 2] // 10**6}_900000000_{'lr'[step % 2]}",
        lambda step: f"scene_0.5_{step:06d}",
        lambda step: f"{step:07d}-{(step // 2) * 33_333:012d}",
    ],
    ids=[
        "letters",
        "too large",
        "date",
        "more numbers",
        "ns of boot",
        "us of boot",
        "s-us",
        "exposure",
        "two cameras",
        "two cameras in ns",
        "a version",
        "twice a time",
    ],
)
def test_names_that_tell_no_time_are_said(tmp_path, name):
    folder = renamed(scannet(tmp_path / "in"), name)
    with pytest.raises(FormatError, match=r"the names of its pictures .* tell no order in time"):
        ingest(folder, tmp_path / "out")


def test_two_pictures_of_one_name_are_said(tmp_path):
    folder = scannet(tmp_path / "in")
    (folder / "color/3.jpg").write_bytes((folder / "color/3.png").read_bytes())
    with pytest.raises(FormatError, match=r"the names of its pictures .* tell no order in time"):
        ingest(folder, tmp_path / "out")


@pytest.mark.parametrize(("number", "time_us"), [(3, 99_000), (5, 10)])
def test_redwood_goes_by_its_numbers_so_its_clock_may_not_run_back(tmp_path, number, time_us):
    folder = redwood(tmp_path / "in")
    picture = folder / f"rgb/{4:07d}-{3 * 33_333:012d}.png"
    picture.rename(folder / f"rgb/{number:07d}-{time_us:012d}.png")
    with pytest.raises(FormatError, match="a number repeats, or the time runs back; cut the rec"):
        ingest(folder, tmp_path / "out")


@pytest.mark.parametrize("sensor", ["rgb", "depth"])
def test_a_damaged_picture_is_named_and_left_out(tmp_path, sensor):
    folder = tum(tmp_path / "in")
    damaged = sorted((folder / sensor).iterdir())[3]
    damaged.write_bytes(damaged.read_bytes()[:60])
    summary = ingest(folder, tmp_path / "out")
    assert (summary.written, summary.frames, summary.skipped) == (2, STEPS - 1, ())
    assert damaged.name in summary.left_out[0][1]
    dataset = open_dataset(tmp_path / "out")
    for index, steps in enumerate(([0, 1, 2], [4, 5])):
        scene.check(dataset.read(index), steps, 6e-4)
    assert verify(tmp_path / "out").ok


def test_after_many_damaged_pictures_the_rest_is_left_out(tmp_path):
    folder = tum(tmp_path / "in", steps=50)
    for damaged in sorted((folder / "rgb").iterdir())[2:46:2]:
        damaged.write_bytes(damaged.read_bytes()[:60])
    summary = ingest(folder, tmp_path / "out")
    assert (summary.written, summary.frames, summary.skipped) == (1, 2, ())
    assert "in: more than 20 of its pictures or clouds cannot be read" in summary.left_out[-2][1]


def test_a_dataset_has_one_rate(tmp_path):
    tum(tmp_path / "in/a")
    slow = tum(tmp_path / "in/b")
    for name in ("rgb", "depth", "groundtruth"):
        slower(slow / f"{name}.txt")
    [(path, why)] = ingest(tmp_path / "in", tmp_path / "out").skipped
    assert path.name == "b"
    assert "b: has 10 steps per second, the first recording has 30; " in why
    ingest(tmp_path / "in", tmp_path / "both", options=IngestOptions(fps=10.0))
    assert len(open_dataset(tmp_path / "both")) == 2


def test_rates_are_compared_as_they_were_measured(tmp_path):
    """7.49 and 7.51 steps per second are 7 and 8 when rounded, and the same camera."""
    for name, rate in (("a", 7.49), ("b", 7.51)):
        folder = tum(tmp_path / "in" / name)
        for listed in ("rgb", "depth", "groundtruth"):
            slower(folder / f"{listed}.txt", 30 / rate)
    assert ingest(tmp_path / "in", tmp_path / "out").left_out == ()


def slower(listed: Path, times: float = 3.0) -> None:
    rows = [line.split(" ", 1) for line in listed.read_text().splitlines()[1:]]
    lines = [f"{START + times * (float(stamp) - START):.6f} {rest}" for stamp, rest in rows]
    listed.write_text("\n".join(lines) + "\n")


def test_a_first_recording_that_comes_to_nothing_decides_nothing(tmp_path):
    """Its rate and its streams are not those of the dataset."""
    spoiled = tum(tmp_path / "in/a")
    (spoiled / "groundtruth.txt").unlink()  # so it has no poses, as the others have
    for late in sorted((spoiled / "rgb").iterdir())[1:]:
        late.write_bytes(late.read_bytes()[:60])
    slow = tum(tmp_path / "in/b")
    for name in ("rgb", "depth", "groundtruth"):
        slower(slow / f"{name}.txt")
    summary = ingest(tmp_path / "in", tmp_path / "out")
    assert (summary.written, len(summary.skipped)) == (1, 1)
    dataset = open_dataset(tmp_path / "out")
    assert dataset.fps == 10
    scene.check(only(tmp_path / "out"), list(range(STEPS)), 6e-4)
    assert verify(tmp_path / "out").ok


@pytest.mark.parametrize("stamp", ["1e999999", "1e300", "nan", "soon"])
def test_a_stamp_that_is_no_time_is_said(tmp_path, stamp):
    folder = tum(tmp_path / "in")
    listed = folder / "rgb.txt"
    listed.write_text(f"{listed.read_text()}{stamp} rgb/late.png\n")
    with pytest.raises(FormatError, match=r"a time in seconds was expected|is no time that can"):
        ingest(folder, tmp_path / "out")
