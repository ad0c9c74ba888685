"""The whole run on a tiny video of a blob that goes round; what is spliced is spliced honestly."""

import json
from dataclasses import replace

import av
import numpy as np
import pytest
import torch

from armillary.core.errors import ConfigError
from armillary.core.values import Episode, Stream
from armillary.data import Cache
from armillary.models import EncoderConfig, PredictorConfig
from armillary.recipes.real_video import FrozenEncoders, RealVideoConfig, in_two, real_video
from armillary.recipes.splice import SplicedWindows, splice
from armillary.recipes.video import video

FRAMES, SIDE, FPS = 150, 32, 10


def _frames():
    y, x = np.mgrid[:SIDE, :SIDE]
    phase = 2 * np.pi * np.arange(FRAMES) / 25
    centre = 16 + 9 * np.stack([np.cos(phase), np.sin(phase)], 1)
    square = (x - centre[:, 0, None, None]) ** 2 + (y - centre[:, 1, None, None]) ** 2
    grey = 40 + 180 * np.exp(-square / 12)
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=3)


def _write(path):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mjpeg", rate=FPS)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuvj444p"
        for frame in _frames():
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())


def _config(**changes):
    recipe = video()
    model = replace(
        recipe.model,
        encoder=EncoderConfig(
            image_size=SIDE, patch_hidden=16, patch_width=8, hidden=32, tokens=2, width=4
        ),
        predictor=PredictorConfig(memory=16, hidden=16),
    )
    recipe = replace(
        recipe,
        model=model,
        steps=150,
        batch_size=16,
        clip_length=6,
        threads=1,
        optimizer=replace(recipe.optimizer, lr=3e-3, weight_decay=1e-3),
        objective=replace(recipe.objective, rollout_steps=2, rollout=1.0),
    )
    # one blob and nothing else: a splice would only hide it
    settings = {"seeds": (0,), "horizons_s": (0.5, 1.0), "history": 3, "rectangles": 0}
    return RealVideoConfig(recipe, **(settings | changes))


def _plain(rgb):
    time_ns = np.arange(len(rgb), dtype=np.int64) * 10**8
    return Cache.from_episodes([Episode({"rgb": Stream("rgb", rgb)}, time_ns)], SIDE)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("real_video")
    _write(out / "blob.avi")
    result = real_video(out / "blob.avi", out / "run", _config())
    return result, json.loads((out / "run" / "real_video.json").read_text())


def test_what_goes_round_is_foreseen_better_than_copy_last(found):
    row = found[0]["seeds"]["0"]["trained"]["1.0"]
    for space in ("latent", "frozen"):
        assert row[space]["gain_interval"][0] > 0
    assert row["latent"]["error"] < 0.7 * row["latent"]["error_copy_last"]
    assert found[0]["holds"]["latent"]["1.0"] == "1 of 1 seeds"


def test_the_record_holds_floors_diagnosis_and_the_cut(found):
    _, record = found
    assert record["data"]["learned_from"] == [0, 105]
    assert record["data"]["judged_on"] == [105, FRAMES]
    entry = record["seeds"]["0"]
    assert {"error", "error_copy_last", "error_mean"} <= entry["untrained"]["0.5"]["latent"].keys()
    assert entry["diagnosis"]["trained"]["motion_share"] > 0.3
    assert {"command", "commit", "machine", "date", "config"} <= record.keys()


def test_a_horizon_between_steps_is_refused(tmp_path):
    _write(tmp_path / "blob.avi")
    config = _config(horizons_s=(0.25,))
    config = replace(config, recipe=replace(config.recipe, steps=1))
    with pytest.raises(ConfigError, match=r"0\.25 s ahead"):
        real_video(tmp_path / "blob.avi", tmp_path / "run", config)


def test_no_clip_crosses_the_cut():
    cache = in_two(_plain(_frames()), 100)
    windows = SplicedWindows(cache, np.array([0]), 6, 5, 0, 0)
    assert len(windows) == 100 - 25
    assert windows.locate(np.array([len(windows) - 1]))[1] + 25 == 99


def test_a_splice_shows_one_clip_or_the_other_at_every_step_and_repeats():
    brightness = np.broadcast_to(np.arange(FRAMES)[:, None, None, None], (FRAMES, SIDE, SIDE, 3))
    windows = SplicedWindows(_plain(brightness.astype(np.uint8)), np.array([0]), 4, 1, 2, seed=3)
    index = np.arange(0, 80, 10)
    rgb = windows.gather(index).streams["rgb"]
    assert torch.equal(rgb, windows.gather(index).streams["rgb"])
    moved = rgb[:, 1:].int() - rgb[:, :-1].int()
    # forwards +1, backwards -1, the same everywhere in a clip: whole tubes were put in
    assert set(moved.abs().unique().tolist()) == {1}
    assert all(len(clip.unique()) == 1 for clip in moved)
    assert {len(clip[0].unique()) for clip in rgb} != {1}
    other = SplicedWindows(windows.cache, np.array([0]), 4, 1, 2, seed=4)
    assert not torch.equal(rgb, other.gather(index).streams["rgb"])


def test_splice_takes_the_other_where_it_is_told_to():
    ones, twos = (torch.full((1, 2, 2, 2, 3), n, dtype=torch.uint8) for n in (1, 2))
    where = torch.tensor([[[True, False], [False, False]]])
    assert splice(ones, twos, where)[0, :, :, :, 0].tolist() == [[[2, 1], [1, 1]]] * 2


def test_frozen_encoders_stay_what_they_are():
    batch = SplicedWindows(_plain(_frames()), np.array([0]), 2, 1, 0, 0).gather(np.arange(3))
    one, two = (FrozenEncoders(SIDE, seeds).encode(batch).tokens for seeds in ((1,), (1, 2)))
    assert torch.equal(one, two[:, :, : one.shape[2]])
    assert two.shape[2] == 2 * one.shape[2]
