"""Small trees in exactly the layouts of others are read, labelled and scored as they say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from armillary.core.errors import FormatError
from armillary.data.video import encode
from armillary.understanding.suites.benchmarks import LAYOUTS, benchmark_rows, clevrer, submission
from armillary.understanding.suites.benchmarks.scoring import partners

RNG = np.random.default_rng(0)


def picture(size=24):
    return RNG.integers(0, 256, (size, size, 3), dtype=np.uint8)


def pictures(folder: Path, count=4):
    folder.mkdir(parents=True)
    for step in range(1, count + 1):
        Image.fromarray(picture()).save(folder / f"scene_{step:03d}.png")


def video(path: Path, count=6):
    path.parent.mkdir(parents=True, exist_ok=True)
    encode(path, [picture() for _ in range(count)], 10, "rgb")


def begun(movies, shared=()):
    """Hashes of pictures: movies of a tuple in ``shared`` begin alike."""
    alike = {name: row for row, names in enumerate(shared) for name in names}
    return {
        m.id: [f"{alike.get(m.id, m.id)} {t}".encode() for t in range(2)] + [m.id.encode()]
        for m in movies
    }


def judged(movies, oracle=True):
    said = {}
    for movie in movies:
        surprising = (not movie.possible) == oracle
        said[movie.id] = np.full(3, 1.0 if surprising else 0.1, np.float32)
    return said


@pytest.fixture
def intphys_tree(tmp_path):
    for block in ("O1", "O3"):
        for number, possible in enumerate((True, False, False, True), 1):
            folder = tmp_path / "dev" / block / "01" / str(number)
            pictures(folder / "scene")
            old = {"block": block, "possible": possible, "frames": []}
            new = {"header": {"is_possible": possible, "camera": {}}, "frames": []}
            (folder / "status.json").write_text(json.dumps(old if block == "O1" else new))
    pictures(tmp_path / "test" / "O2" / "0001" / "1" / "scene")
    return tmp_path


def test_intphys_in_both_schemas_and_with_secret_labels(intphys_tree):
    movies = LAYOUTS["intphys"](intphys_tree)
    assert len(movies) == 9 and movies[0].id == "O1/01/1"
    assert [m.possible for m in movies[:4]] == [True, False, False, True]
    assert [m.possible for m in movies[4:8]] == [True, False, False, True]
    assert movies[8].possible is None and movies[8].id == "O2/0001/1"
    assert movies[0].frames(16, step=2).shape == (2, 16, 16, 3)
    text = submission(movies, judged(movies))
    lines = dict(line.split() for line in text.splitlines())
    assert float(lines["O1/01/1"]) > float(lines["O1/01/2"])
    assert all(0 <= float(value) <= 1 for value in lines.values())


def test_an_oracle_is_right_and_its_inverse_wrong(intphys_tree):
    movies = LAYOUTS["intphys"](intphys_tree)
    right, wrong = (
        benchmark_rows(movies, judged(movies, oracle), begun(movies)) for oracle in (True, False)
    )
    assert right.keys() == {"permanence", "continuity"}
    assert {row["pair"] for row in right.values()} == {100.0}
    assert {row["double"] for row in right.values()} == {100.0}
    assert {row["relative_error_published"] for row in right.values()} == {0.0}
    assert {row["pair"] for row in wrong.values()} == {0.0}
    same = {movie.id: np.ones(3, np.float32) for movie in movies}
    tie = benchmark_rows(movies, same, begun(movies))["permanence"]
    assert tie["pair"] == 50 and tie["pair_published"] == 0 and tie["single_auroc"] == 0.5


def test_neither_the_order_of_steps_nor_what_is_no_number_earns_anything(intphys_tree):
    movies = LAYOUTS["intphys"](intphys_tree)
    steps = np.random.default_rng(0).random(40)
    said = {movie.id: np.roll(steps, number) for number, movie in enumerate(movies)}
    for row in benchmark_rows(movies, said, begun(movies)).values():
        assert row["pair"] == row["double"] == 50
    lost = {movie.id: np.full(3, np.nan, np.float32) for movie in movies}
    row = benchmark_rows(movies, lost, begun(movies))["permanence"]
    assert row["pair"] == row["double"] == 0 and row["relative_error_published"] == 1
    answer = submission(movies, {**said, movies[0].id: lost[movies[0].id]}).split()
    assert float(answer[1]) == 0 and "nan" not in answer


def test_partners_share_the_longest_beginning_and_d_cures_what_an_outcome_is_worth(intphys_tree):
    movies = LAYOUTS["intphys"](intphys_tree)[:4]  # possible, impossible, impossible, possible
    ids = [movie.id for movie in movies]
    frames = begun(movies, shared=((ids[0], ids[2]), (ids[1], ids[3])))
    assert [(a.id, b.id) for a, b in partners(movies, frames)] == [
        (ids[0], ids[2]),
        (ids[3], ids[1]),
    ]
    # the second outcome surprises by itself, more than anything impossible does
    said = dict(zip(ids, (np.full(3, v, np.float32) for v in (0.1, 0.3, 9.2, 9.1)), strict=True))
    row = benchmark_rows(movies, said, frames)["permanence"]
    assert row["pair"] == 50 and row["double"] == 100


def test_groups_without_both_kinds_are_left_out(tmp_path):
    video(tmp_path / "P_A" / "001.mp4")
    video(tmp_path / "IP_A" / "002.mp4")
    movies = LAYOUTS["grasp"](tmp_path)
    assert benchmark_rows(movies, judged(movies), begun(movies)) == {}


@pytest.mark.parametrize("layout", ["metadata", "flat", "labels"])
def test_intphys2_in_its_three_layouts(tmp_path, layout):
    kinds = ("1_Possible", "1_Impossible", "2_Possible", "2_Impossible")
    folder = tmp_path / "Main" if layout == "metadata" else tmp_path
    column = "filename" if layout == "labels" else "name"
    lines = [f"SceneIndex,{column},type,condition"]
    for number, kind in enumerate(kinds):
        lines.append(f"7,clip{number},{kind},permanence")
        if layout == "labels":
            pictures(folder / "Images" / f"clip{number}")
        else:
            video(folder / "Videos" / f"clip{number}.mp4")
    folder.mkdir(exist_ok=True)
    table = "labels.csv" if layout == "labels" else "metadata.csv"
    (folder / table).write_text("\n".join(lines) + "\n")
    movies = LAYOUTS["intphys2"](tmp_path)
    assert [m.possible for m in movies] == [True, False, True, False]
    assert [m.group[-3:] for m in movies] == ["7/1", "7/1", "7/2", "7/2"]
    assert movies[0].frames(16).ndim == 4
    assert benchmark_rows(movies, judged(movies), begun(movies))["permanence"]["groups"] == 2


def test_a_table_that_leads_out_of_its_folder_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("filename,type\n../../etc,1_Possible\n")
    with pytest.raises(FormatError, match="leads out of its folder"):
        LAYOUTS["intphys2"](tmp_path)


def test_grasp_is_paired_by_file_name(tmp_path):
    for kind in ("P", "IP"):
        for number in ("001", "002"):
            video(tmp_path / "level2" / f"{kind}_Gravity" / f"{number}.mp4")
    movies = LAYOUTS["grasp"](tmp_path)
    assert {m.group for m in movies} == {"Gravity/001", "Gravity/002"}
    assert sum(bool(m.possible) for m in movies) == 2


def test_inflevel_keeps_groups_of_four_and_the_priming(tmp_path):
    for trial in ("ui", "cv", "uv", "ci"):
        video(tmp_path / "gravity" / f"front__gravity__cup__duck__{trial}.mp4")
    video(tmp_path / "gravity" / "front__gravity__cup__pear__ui.mp4")
    movies = LAYOUTS["inflevel"](tmp_path)
    assert len(movies) == 4
    assert {m.id.split("__")[4] for m in movies if m.possible} == {"ui", "cv"}
    assert len(movies[0].frames(16)) == 6


def test_physical_concepts_from_npz(tmp_path):
    (tmp_path / "solidity").mkdir()
    arrays = {name: RNG.random((2, 5, 8, 8, 3)) for name in ("possible_image", "impossible_image")}
    np.savez(tmp_path / "solidity" / "00001.npz", **arrays)
    movies = LAYOUTS["physical_concepts"](tmp_path)
    assert [m.possible for m in movies] == [True, True, False, False]
    frames = movies[3].frames(8)
    wanted = (255 * arrays["impossible_image"][1] + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(frames, wanted)


def test_clevrer_trajectories_have_gaps_where_nothing_is_seen(tmp_path):
    one = {"object_id": 3, "location": [0.5, -1.0, 0.2]}
    value = {
        "video_filename": "video_00000.mp4",
        "motion_trajectory": [{"frame_id": 0, "objects": [one]}, {"frame_id": 1, "objects": []}],
    }
    (tmp_path / "annotation_00000.json").write_text(json.dumps(value))
    path = clevrer(tmp_path)["video_00000.mp4"][3]
    np.testing.assert_array_equal(path[0], [0, 0.5, -1])
    assert np.isnan(path[1]).all()


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_empty_folder_says_what_was_wanted(tmp_path, name):
    with pytest.raises(FormatError, match="nothing of the layout"):
        LAYOUTS[name](tmp_path)
