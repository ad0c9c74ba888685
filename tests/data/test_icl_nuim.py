"""ICL-NUIM arrives right-handed: its negative focal length says that y is up."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import scene
from damage import ingest_damaged
from scipy.spatial.transform import Rotation

from armillary.core.errors import ConfigError, FormatError
from armillary.data import IngestOptions, ingest, open_dataset, verify
from armillary.data.sources import icl_nuim

STEPS = 6
# the lens of the dataset in pictures of a tenth of its size, pixel centres at integers
LENS = (48.12, 48.0, 31.5, 23.5)
K = np.array([[48.12, 0, 31.5], [0, 48.0, 23.5], [0, 0, 1.0]])
POSES, PAIRS = "livingRoom0.gt.freiburg", "associations.txt"
SWAPPED = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


def left_handed(step: int) -> np.ndarray:
    """The scene's pose as the renderer has it: y up in the camera and in the world."""
    return SWAPPED @ scene.pose(step) @ np.diag([1.0, -1, 1, 1])


def sequence(folder: Path, *, steps: int = STEPS, first_pose: int = 0) -> Path:
    folder.mkdir(parents=True)
    pairs, rows = [], []
    for step in range(steps):
        scene.save_rgb(folder / f"rgb/{step}.png", scene.rgb(step, K))
        scene.save_depth(folder / f"depth/{step}.png", scene.depth_m(step, K), 5000)
        pairs.append(f"{step} depth/{step}.png {step} rgb/{step}.png")
        pose = left_handed(step)
        numbers = [*pose[:3, 3], *Rotation.from_matrix(pose[:3, :3]).as_quat()]
        rows.append(f"{step} " + " ".join(f"{n:.8f}" for n in numbers))
    (folder / PAIRS).write_text("\n".join(pairs) + "\n")
    (folder / POSES).write_text("\n".join(rows[first_pose:]) + "\n")
    return folder


def only(out: Path):
    dataset = open_dataset(out)
    assert len(dataset) == 1
    return dataset.read(0)


def test_a_sequence_arrives_in_metres_and_right_handed(tmp_path):
    summary = ingest(sequence(tmp_path / "in"), tmp_path / "out")
    assert (summary.written, summary.frames, summary.left_out) == (1, STEPS, ())
    episode = only(tmp_path / "out")
    assert open_dataset(tmp_path / "out").fps == 30
    assert np.abs(episode.time_ns - np.arange(STEPS) * 1e9 / 30).max() <= 1
    assert np.abs(episode.streams["depth"].intrinsics - K).max() < 1e-9
    scene.check(episode, list(range(STEPS)), 6e-4)
    assert np.abs(episode.streams["world_from_camera"].values - scene.poses(STEPS)).max() < 1e-6
    assert verify(tmp_path / "out").ok


def test_points_are_seen_where_the_dataset_projects_them(tmp_path):
    """By its own words: fy is negative, and poses are taken as they are written."""
    ingest(sequence(tmp_path / "in"), tmp_path / "out")
    streams = only(tmp_path / "out").streams
    world = np.random.default_rng(0).uniform([-1, 2, 0], [1, 3, 1], (20, 3))
    for step in range(STEPS):
        row = np.loadtxt(tmp_path / "in" / POSES)[step]
        turn, place = Rotation.from_quat(row[4:]).as_matrix(), row[1:4]
        x, y, z = ((world[:, [0, 2, 1]] - place) @ turn).T
        want = np.stack([48.12 * x / z + 31.5, -48.0 * y / z + 23.5])
        camera = np.linalg.inv(streams["world_from_camera"].values[step])
        seen = streams["rgb"].intrinsics @ (world @ camera[:3, :3].T + camera[:3, 3]).T
        assert np.abs(seen[:2] / seen[2] - want).max() < 1e-4


def test_a_focal_length_made_positive_alone_would_not_fit(tmp_path):
    """The trap: poses as they are written, with axes of OpenCV."""
    apart = []
    for step in (0, STEPS - 1):
        points = scene.world_points(scene.depth_m(step, K), K, left_handed(step))
        apart.append(scene.off_the_planes(points[..., [0, 2, 1]]).max())
    assert max(apart) > 0.5


def test_a_first_picture_without_a_pose_is_left_out(tmp_path):
    summary = ingest(sequence(tmp_path / "in", first_pose=1), tmp_path / "out")
    assert (summary.written, summary.frames) == (1, STEPS - 1)
    why = " ".join(sentence for _, sentence in summary.left_out)
    assert f"{POSES}: has no pose for 1 of 6 pictures (first: 0)" in why
    scene.check(only(tmp_path / "out"), list(range(1, STEPS)), 6e-4)


def test_a_picture_without_depth_is_left_out(tmp_path):
    folder = sequence(tmp_path / "in")
    lines = (folder / PAIRS).read_text().replace("2 depth/2.png", "9 depth/2.png")
    (folder / PAIRS).write_text(lines)
    assert ingest(folder, tmp_path / "out").frames == STEPS - 1


def test_several_sequences_arrive(tmp_path):
    for name in ("a", "b"):
        sequence(tmp_path / "in" / name)
    assert icl_nuim.detect(tmp_path / "in")
    assert ingest(tmp_path / "in", tmp_path / "out").written == 2


def test_a_sequence_without_ground_truth_is_told_what_it_needs(tmp_path):
    folder = sequence(tmp_path / "in")
    (folder / POSES).unlink()
    with pytest.raises(FormatError, match=r"Of ICL-NUIM, put its \*.gt.freiburg there"):
        ingest(folder, tmp_path / "out", options=IngestOptions(intrinsics=LENS))
    with pytest.raises(FormatError, match=r"has no associations.txt and \*.gt.freiburg"):
        ingest(folder, tmp_path / "out", "icl_nuim")


def test_a_lens_that_is_passed_is_one_with_y_down(tmp_path):
    options = IngestOptions(intrinsics=LENS)
    ingest(sequence(tmp_path / "in"), tmp_path / "out", options=options)
    scene.check(only(tmp_path / "out"), list(range(STEPS)), 6e-4)
    with pytest.raises(ConfigError, match="the focal lengths above 0"):
        IngestOptions(intrinsics=(481.2, -480.0, 319.5, 239.5))


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        (PAIRS, "2 rgb/2.png", "2.5 rgb/2.png", "numbers of pictures (0, 1, 2) were expected"),
        (PAIRS, "2 rgb/2.png", "-2 rgb/2.png", "numbers of pictures (0, 1, 2) were expected"),
        (PAIRS, "2 rgb/2.png", "2000000000 rgb/2.png", "numbers of pictures (0, 1, 2) were"),
        (PAIRS, " rgb/2.png", " ../2.png", "'../2.png' is refused"),
        (PAIRS, "2 rgb/2.png", "", "'stamp path stamp path' was expected"),
        (POSES, "\n2 ", "\n2.5 ", "numbers of pictures (0, 1, 2) were expected"),
        (POSES, " 1.50000000", " nan", "NaN or a quaternion of another length"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, name, old, new, sentence):
    file = sequence(tmp_path / "in") / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(FormatError, match=re.escape(sentence)):
        ingest(tmp_path / "in", tmp_path / "out", "icl_nuim")
    assert not (tmp_path / "out").exists()


def test_two_ground_truths_are_refused(tmp_path):
    folder = sequence(tmp_path / "in")
    (folder / "other.gt.freiburg").write_text((folder / POSES).read_text())
    with pytest.raises(FormatError, match="has more than one ground truth"):
        ingest(folder, tmp_path / "out")


@pytest.mark.runs  # hundreds of damaged recordings: 5 s a seed
@pytest.mark.parametrize(
    "seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
)
def test_damage_anywhere_is_an_error_in_words_or_none(tmp_path, seed):
    ingest_damaged(tmp_path, sequence(tmp_path / "in", steps=3), "icl_nuim", seed)
