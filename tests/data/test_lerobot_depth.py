"""Depth of LeRobot datasets, in each of its codings, is read and ingested in metres."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from armillary.core.errors import DatasetError
from armillary.core.values import Episode, Stream
from armillary.data import DatasetWriter, ingest, open_dataset

STEPS, ROWS, COLUMNS = 5, 24, 40
KEY = "observation.images.depth"
NEAR, FAR, SHIFT = 0.01, 10.0, 3.5


def depth_m() -> np.ndarray:
    slope = np.arange(ROWS)[:, None] * 0.05 + np.arange(COLUMNS) * 0.2 + 0.3
    return (slope + 0.01 * np.arange(STEPS)[:, None, None]).astype(np.float32)


def coded(metres: np.ndarray, *, in_logs: bool = True, far: float = FAR) -> np.ndarray:
    """LeRobot's quantisation, written from its formula."""
    if in_logs:
        low, high = np.log(NEAR + SHIFT), np.log(far + SHIFT)
        share = (np.log(metres + SHIFT) - low) / (high - low)
    else:
        share = (metres - NEAR) / (far - NEAR)
    return np.rint(share * 4095).clip(0, 4095).astype(np.uint16)


def foreign(path: Path) -> Path:
    """A dataset with depth that bears no trace of armillary."""
    writer = DatasetWriter(path, 20, "arm")
    time_ns = np.arange(STEPS, dtype=np.int64) * 50_000_000
    writer.write(0, Episode({"depth": Stream("depth", depth_m(), "m", "camera")}, time_ns))
    writer.finalize()
    shutil.rmtree(path / "meta/armillary")
    return path


def tell(path: Path, pixels: str, *, old: bool = False, **told) -> None:
    file = path / "meta/info.json"
    info = json.loads(file.read_text())
    feature = info["features"][KEY]
    flag = "video.is_depth_map" if old else "is_depth_map"
    feature.pop("is_depth_map")
    feature["info"] = {flag: True, "video.pix_fmt": pixels, "video.codec": "ffv1", **told}
    file.write_text(json.dumps(info))


def write_codes(path: Path, codes: np.ndarray) -> None:
    file = path / f"videos/{KEY}/chunk-000/file-000.mp4"
    with av.open(str(file), "w", format="mp4") as container:
        stream = container.add_stream("ffv1", rate=20)
        stream.width, stream.height, stream.pix_fmt = COLUMNS, ROWS, "gray12le"
        for number, picture in enumerate(codes):
            frame = av.VideoFrame(COLUMNS, ROWS, "gray12le")
            plane = frame.planes[0]
            rows = np.zeros((ROWS, plane.line_size // 2), np.uint16)
            rows[:, :COLUMNS] = picture
            plane.update(rows.tobytes())
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def read(path: Path, out: Path) -> np.ndarray:
    """Depth as read from the dataset, which must be the same after it was ingested."""
    direct = open_dataset(path).read(0).streams["depth"].values
    ingest(path, out)
    assert np.array_equal(open_dataset(out).read(0).streams["depth"].values, direct, equal_nan=True)
    return direct


@pytest.mark.parametrize("old", [False, True])
def test_logarithmic_codes_are_metres(tmp_path, old):
    path = foreign(tmp_path / "in")
    codes = coded(depth_m())
    codes[:, 3, 4] = 0
    write_codes(path, codes)
    tell(path, "gray12le", old=old)
    found = read(path, tmp_path / "out")
    assert np.isnan(found[:, 3, 4]).all()
    found[:, 3, 4] = depth_m()[:, 3, 4]
    half_m = (FAR + SHIFT) * np.log((FAR + SHIFT) / (NEAR + SHIFT)) / 4095 / 2
    assert np.abs(found - depth_m()).max() < half_m + 6e-4


def test_linear_codes_and_another_range_are_metres(tmp_path):
    path = foreign(tmp_path / "in")
    write_codes(path, coded(depth_m(), in_logs=False, far=20.0))
    told = {"video.depth_max": 20.0, "video.use_log": False, "video.shift": 0.0}
    tell(path, "gray12le", **told)
    assert np.abs(read(path, tmp_path / "out") - depth_m()).max() < 20 / 4095 / 2 + 6e-4


def test_sixteen_bits_are_millimetres(tmp_path):
    path = foreign(tmp_path / "in")
    tell(path, "gray16le")
    assert np.abs(read(path, tmp_path / "out") - depth_m()).max() < 6e-4


def as_images(path: Path, pictures: np.ndarray) -> None:
    """Put the pictures into the parquet table instead of a video."""
    file = path / "data/chunk-000/file-000.parquet"
    cells = [{"bytes": cv2.imencode(".tiff", p)[1].tobytes(), "path": None} for p in pictures]
    pq.write_table(pq.read_table(file).append_column(KEY, pa.array(cells)), file)
    info = json.loads((path / "meta/info.json").read_text())
    info["features"][KEY] |= {"dtype": "image", "is_depth_map": True, "info": None}
    (path / "meta/info.json").write_text(json.dumps(info))


@pytest.mark.parametrize("kind", ["float32", "uint16"])
def test_pictures_of_numbers_are_metres_or_millimetres(tmp_path, kind):
    path = foreign(tmp_path / "in")
    pictures = depth_m() if kind == "float32" else np.rint(depth_m() * 1000).astype(np.uint16)
    as_images(path, pictures)
    assert np.abs(read(path, tmp_path / "out") - depth_m()).max() < 6e-4


def test_depth_of_eight_bits_is_refused(tmp_path):
    path = foreign(tmp_path / "in")
    as_images(path, (depth_m() * 20).astype(np.uint8))
    with pytest.raises(DatasetError, match=r"row 0 is uint8 .* 16-bit millimetres"):
        open_dataset(path).read(0)


@pytest.mark.parametrize(
    ("pixels", "told", "sentence"),
    [
        ("yuv420p", {}, "a depth video of pixels 'yuv420p' is not read; 12-bit codes or"),
        ("gray12le", {"video.depth_min": "a"}, "range of its depth codes is no number"),
        ("gray12le", {"video.depth_max": 0.0}, "0.01 to 0 m with shift 3.5, is none"),
        ("gray12le", {"video.shift": -1.0}, "with shift -1, is none"),
    ],
)
def test_codes_that_say_nothing_are_refused(tmp_path, pixels, told, sentence):
    path = foreign(tmp_path / "in")
    write_codes(path, coded(depth_m()))
    tell(path, pixels, **told)
    with pytest.raises(DatasetError, match=sentence):
        open_dataset(path).read(0)
