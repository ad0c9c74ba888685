"""Whole benches: the names that checks read, the same clips for every reader."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from armillary.benchmark import LoaderBench, TrainBench, bench_loader, bench_train
from armillary.benchmark.clips import (
    VideoClips,
    check_same_pictures,
    draw_clips,
    window_numbers,
)
from armillary.core.errors import CheckFailedError, DatasetError
from armillary.data import Windows, open_dataset, prepare
from armillary.models import JEPAConfig
from armillary.models.encoder import EncoderConfig
from armillary.training import ObjectiveConfig, TrainConfig

SMALL = LoaderBench(size=32, batch_size=8, batches=2, peer_batches=1, repetitions=2)
MODEL = JEPAConfig(sensors=("rgb",), encoder=EncoderConfig(image_size=32), frame_skip=2)
TRAIN = TrainConfig(batch_size=8, clip_length=4, objective=ObjectiveConfig(rollout_steps=2))
SHORT = TrainBench(
    threads=1,
    repetitions=2,
    seconds=0.05,
    lewm_seconds=0.1,
    lewm_batches_224=(2,),
    lewm_batches_64=(2,),
)


def test_every_clip_is_drawn_once() -> None:
    clips = draw_clips(np.array([5, 2, 4]), span=3, seed=1)
    assert sorted(map(tuple, clips.tolist())) == [(0, 0), (0, 1), (0, 2), (2, 0), (2, 1)]
    assert np.array_equal(clips, draw_clips(np.array([5, 2, 4]), span=3, seed=1))
    assert not np.array_equal(clips, draw_clips(np.array([5, 2, 4]), span=3, seed=2))


def test_too_short_episodes_are_refused() -> None:
    with pytest.raises(DatasetError, match="20 steps"):
        draw_clips(np.array([5, 19]), span=20, seed=0)


def test_the_video_files_give_what_the_cache_gives(recording: Path, tmp_path: Path) -> None:
    data = open_dataset(recording)
    cache = prepare(data, 32, cache_root=tmp_path)
    windows = Windows(cache, None, 4, 5, streams=("rgb",))
    clips = draw_clips(cache.lengths, 20, seed=0)
    ours = windows.gather(window_numbers(clips, windows)).streams["rgb"].numpy()
    video = VideoClips(data, cache, 4, 5).read(clips)
    assert check_same_pictures("video", video, ours) == 0.0
    with pytest.raises(CheckFailedError, match="video reader returned other pictures"):
        check_same_pictures("video", np.roll(video, 1, axis=0), ours)


def test_loader_result_has_the_names_that_checks_read(recording: Path, tmp_path: Path) -> None:
    result = bench_loader(tmp_path, data=recording, settings=SMALL, peers=False)
    assert json.loads(json.dumps(result, allow_nan=False))
    speed = result["clips_per_s"]
    assert speed.keys() == {"armillary", "video"}
    assert result["ratio"]["video"] == pytest.approx(speed["armillary"] / speed["video"], rel=0.01)
    assert result["mean_level_difference"] == {"video": 0.0}
    assert {"command", "commit", "machine", "date", "settings"} <= result.keys()
    assert {len(values) for values in result["repetitions"].values()} == {2}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache"]


def test_train_result_has_the_names_that_checks_read(recording: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    result = bench_train(tmp_path, MODEL, TRAIN, data=recording, settings=SHORT, peers=False)
    assert torch.get_num_threads() == threads
    assert json.loads(json.dumps(result, allow_nan=False))
    assert result["frames_per_s"].keys() == {"armillary"}
    assert result["ratio"] == {}
    assert 0 < result["flop_utilisation"] < 1
    flops = result["flops"]
    assert flops["achieved_per_s"] == pytest.approx(
        flops["per_frame"] * result["frames_per_s"]["armillary"], rel=0.01
    )
    assert result["model"]["action_width"] == 4  # two of the recording, skip 2
    assert result["machine"]["threads"] == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_beside_the_peers(recording: Path, tmp_path: Path) -> None:
    loader = bench_loader(tmp_path, data=recording, settings=SMALL)
    assert loader["ratio"].keys() == {"lance", "hdf5", "video"}
    assert loader["mean_level_difference"]["hdf5"] == 0.0
    train = bench_train(tmp_path, MODEL, TRAIN, data=recording, settings=SHORT)
    assert {"lewm_224", "lewm_64"} <= train["ratio"].keys()
    assert train["lewm"]["lewm_224"]["parameters"] > 17e6
