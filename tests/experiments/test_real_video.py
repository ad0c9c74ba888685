"""The whole run on a tiny video of a blob that goes round."""

from dataclasses import replace

import av
import numpy as np
import pytest

from armillary.core.changing import changed
from armillary.core.errors import ConfigError
from armillary.data import Windows, open_cache
from armillary.experiments.real_video.run import RealVideoConfig, Recording, real_video
from armillary.experiments.real_video.tracks import _filled
from armillary.recipes.time_split import in_two
from armillary.recipes.world import world

FRAMES, SIDE, FPS = 200, 32, 10
SMALL = {
    "steps": 60,
    "batch_size": 16,
    "threads": 1,
    "finetune.steps": 60,
    "finetune.batch_size": 16,
    "augment.shift_px": 0,
    "model.frame_skip": 1,
    "model.encoder.image_size": SIDE,
    "model.encoder.patch_hidden": 16,
    "model.encoder.patch_width": 8,
    "model.encoder.hidden": 32,
    "model.encoder.tokens": 2,
    "model.encoder.width": 8,
    "model.predictor.memory": 16,
    "model.predictor.hidden": 32,
}


def write(path):
    y, x = np.mgrid[:SIDE, :SIDE]
    phase = 2 * np.pi * np.arange(FRAMES) / 25
    centre = 16 + 9 * np.stack([np.cos(phase), np.sin(phase)], 1)
    square = (x - centre[:, 0, None, None]) ** 2 + (y - centre[:, 1, None, None]) ** 2
    grey = (40 + 180 * np.exp(-square / 12)).astype(np.uint8)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mjpeg", rate=FPS)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuvj444p"
        for frame in np.repeat(grey[..., None], 3, axis=3):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    return path


def config(**changes):
    recipe = changed(world(), SMALL)
    return RealVideoConfig(recipe, **({"seeds": (0, 1), "horizons_s": (0.2, 0.5)} | changes))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    out = tmp_path_factory.mktemp("real_video")
    recording = Recording("blob", write(out / "blob.avi"))
    return recording, out, real_video(recording, out, config())


def test_baselines_of_what_goes_round_are_what_they_must_be(base):
    row = base[2]["horizons"]["0.5"]
    # a linear map turns the circle on, and copy-last stays behind
    assert row["ridge"]["mean"] < row["copy_last"]["mean"]
    gain = row["model"]["gain_over"]["copy_last"]
    assert gain["mean"] == pytest.approx(row["copy_last"]["mean"] - row["model"]["mean"], abs=1e-3)
    assert gain["interval95"][0] <= gain["mean"] <= gain["interval95"][1]
    assert row["ahead_s"] == 0.5 and row["steps"] == 5
    assert len(row["model"]["seeds"]) == 2
    assert row["ridge"]["seeds"][0] == row["ridge"]["seeds"][1], "it does not know the model"


def test_the_last_part_is_held_out(base):
    assert base[2]["trained_on"] == [0, 140]
    assert base[2]["judged_on"] == [140, FRAMES]
    (folder,) = (base[1] / "cache").glob("*/")
    windows = Windows(in_two(open_cache(folder), 140), np.array([0]), 6, 5)
    assert windows.locate(np.array([len(windows) - 1]))[1] + 25 == 139


def test_what_is_done_is_not_done_again(base):
    recording, out, row = base
    weights = sorted(out.glob("blob/run-*/model/model.safetensors"))
    before = [file.stat().st_mtime_ns for file in weights]
    again = real_video(recording, out, config())
    assert [file.stat().st_mtime_ns for file in weights] == before
    assert again == row
    assert len(weights) == 2


def test_a_horizon_below_a_step_is_refused(base):
    recording, out, _ = base
    few = config(horizons_s=(0.04,))
    with pytest.raises(ConfigError, match=r"0\.04 s is less than half of a model step of 0\.1 s"):
        real_video(recording, out, few)
    with pytest.raises(ConfigError, match="At least one seed"):
        replace(few, seeds=())


def test_gaps_of_tracks_are_filled_in_time():
    values = np.arange(5.0)[:, None, None] * np.ones((5, 2, 2))
    holed = values.copy()
    holed[2, 0], holed[4, 1] = np.nan, np.nan
    filled = _filled(holed)
    assert np.allclose(filled[:, 0], values[:, 0])
    assert filled[4, 1].tolist() == [3.0, 3.0], "no motion is made up at the end"
