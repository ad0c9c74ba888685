"""E57: the points of all scans lie where their poses put them; what is damaged is one sentence."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from damage import little_memory, mutated

from armillary.core.errors import FormatError
from armillary.core.rng import generator
from armillary.data import open_dataset
from armillary.data.ingest import ingest
from armillary.data.sources import e57
from armillary.data.sources.e57 import read_e57
from armillary.data.sources.source import IngestOptions

pye57 = pytest.importorskip("pye57")
# a quarter turn to the left about z, as w x y z
TURN, SHIFT = np.array([np.sqrt(0.5), 0, 0, np.sqrt(0.5)]), np.array([10.0, -2.0, 0.5])


def places(count: int, seed: int) -> np.ndarray:
    return generator("e57", seed).uniform(-5, 5, (count, 3))


def scan(points: np.ndarray, **more: np.ndarray) -> dict[str, np.ndarray]:
    return {**{f"cartesian{axis}": points[:, i] for i, axis in enumerate("XYZ")}, **more}


def written(path: Path, *scans: dict, poses: tuple = ((None, None), (TURN, SHIFT))) -> Path:
    file = pye57.E57(str(path), mode="w")
    for data, (rotation, translation) in zip(scans, poses, strict=False):
        file.write_scan_raw(data, rotation=rotation, translation=translation)
    file.close()
    return path


def test_scans_are_put_together_by_their_poses(tmp_path: Path) -> None:
    one, two = places(50, 0), places(30, 1)
    cloud = read_e57(written(tmp_path / "site.e57", scan(one), scan(two)))
    turned = np.column_stack([-two[:, 1], two[:, 0], two[:, 2]]) + SHIFT
    np.testing.assert_allclose(cloud.values, np.concatenate([one, turned]), atol=1e-5)
    assert cloud.columns == ("x", "y", "z")
    assert cloud.notes == ("2 scans were put together by their poses",)


def test_intensity_and_colour_are_kept_and_invalid_points_left_out(tmp_path: Path) -> None:
    points, rng = places(40, 2), generator("e57", 3)
    colours = rng.integers(0, 256, (40, 3)).astype(np.uint8)
    invalid = (np.arange(40) % 4 == 0).astype(np.uint8)
    more = {f"color{name}": colours[:, i] for i, name in enumerate(("Red", "Green", "Blue"))}
    more |= {"intensity": rng.random(40), "cartesianInvalidState": invalid}
    cloud = read_e57(written(tmp_path / "a.e57", scan(points, **more)))
    assert cloud.columns == ("x", "y", "z", "intensity", "r", "g", "b")
    kept = invalid == 0
    np.testing.assert_allclose(cloud.values[:, :3], points[kept], atol=1e-5)
    np.testing.assert_allclose(cloud.values[:, 4:], colours[kept] / 255, atol=1e-6)


def test_what_only_one_scan_has_is_left_out(tmp_path: Path) -> None:
    coloured = {name: np.zeros(5, np.uint8) for name in ("colorRed", "colorGreen", "colorBlue")}
    path = written(tmp_path / "a.e57", scan(places(5, 4), **coloured), scan(places(5, 5)))
    assert read_e57(path).columns == ("x", "y", "z")


def test_a_file_becomes_an_episode_of_one_cloud(tmp_path: Path) -> None:
    points = places(20, 6)
    source = tmp_path / "in"
    source.mkdir()
    for number in range(3):
        written(source / f"{number}.e57", scan(points + number))
    ingest(source, tmp_path / "out", options=IngestOptions(fps=1.0))
    episode = open_dataset(tmp_path / "out")[0]
    assert len(episode) == 3
    cloud = episode.observation(2).streams["points"]
    np.testing.assert_allclose(cloud[:, :3], points + 2, atol=1e-5)


def test_damaged_files_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = written(tmp_path / "a.e57", scan(places(300, 7))).read_bytes()
    path = tmp_path / "b.e57"
    for data, sentence in (
        (b"", "is empty"),
        (b"LASF" + whole[4:], "is no E57 file"),
        (whole[:40], "is no E57 file"),
        (whole[:-1024], "is cut off"),
        (whole[:48] + bytes(1024) + whole[1072:], "its decoder gave up"),
        (whole[:8] + b"\x02" + whole[9:], "version 2"),
    ):
        path.write_bytes(data)
        with pytest.raises(FormatError, match=sentence):
            read_e57(path)
    path.write_bytes(whole)
    monkeypatch.setattr(e57, "MAX_POINTS", 299)
    with pytest.raises(FormatError, match="promises 300 points and 299 are read at most"):
        read_e57(path)


@pytest.mark.runs  # damaged clouds: 3 s
def test_damage_anywhere_is_an_error_in_words_or_none(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.e57", scan(places(200, 9))).read_bytes()
    chance, path = random.Random(0), tmp_path / "b.e57"
    for _ in range(12):
        path.write_bytes(mutated(whole, chance))
        try:
            with little_memory():
                assert len(read_e57(path)) <= 200
        except FormatError as error:
            assert "b.e57" in str(error)
