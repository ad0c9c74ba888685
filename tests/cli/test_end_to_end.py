"""Each verb on a tiny scale, one after another: every stdout is one JSON object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from armillary.cli.main import main

pytestmark = pytest.mark.runs  # from a recording to a result: 25 s

SMALL = ["--steps", "3", "--batch-size", "4", "--checkpoint-every", "2", "--threads", "1"]
SHORT = [*SMALL, "--finetune.steps", "2"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARMILLARY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("story")


def run(capsys, *words: str | Path) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def recorded(base: Path) -> Path:
    words = ["record", "tabletop", "--episodes", "4", "--steps", "14", "--workers", "1"]
    assert main([*words, "--out", str(base / "data")]) == 0
    return base / "data"


@pytest.fixture(scope="module")
def trained(base: Path, recorded: Path) -> Path:
    words = ["train", "world", "--data", str(recorded), "--out", str(base / "run")]
    assert main([*words, *SHORT]) == 0
    return base / "run"


def test_data(capsys, recorded: Path) -> None:
    assert run(capsys, "data", "verify", recorded)["ok"] is True
    shown = run(capsys, "data", "show", recorded)
    assert (shown["episodes"], shown["frames"]) == (4, 56)


def test_train_leaves_a_model_and_goes_on(capsys, trained: Path, recorded: Path) -> None:
    assert (trained / "model" / "model.safetensors").is_file()
    words = ["train", "world", "--data", recorded, "--out", trained, *SHORT]
    assert run(capsys, *words, "--resume")["steps"] == 3


def test_probe(capsys, trained: Path, recorded: Path) -> None:
    found = run(capsys, "probe", trained, recorded)["probe"]
    assert set(found) == {"pusher_xy", "object_xy"}
    assert {"r2", "r2_untrained", "r2_shuffled", "r2_mlp"} <= set(found["pusher_xy"])


def test_surprise_of_an_episode(capsys, trained: Path, recorded: Path, base: Path) -> None:
    words = ["surprise", trained, f"{recorded}:1", "--out", base / "surprise"]
    found = run(capsys, *words)["surprise"]
    assert len(found["surprise"]) == len(found["copy_last"]) == 13
    assert found["time_s"][0] == pytest.approx(0.1)
    written = json.loads((base / "surprise" / "surprise.json").read_text())
    assert written["surprise"] == found["surprise"]


def test_act_writes_manifest_records_and_rows(capsys, trained: Path, base: Path) -> None:
    out = base / "act"
    words = ["act", trained, "tabletop", "--episodes", "1", "--workers", "1", "--replan", "5"]
    found = run(capsys, *words, "--out", out)
    policies = {"model", "random", "noop", "oracle"}
    assert set(found["rows"]) == policies
    assert {path.stem for path in (out / "records").iterdir()} == policies
    assert json.loads((out / "rows.json").read_text()) == found
    # Again: the records are there, so the same rows come out of them.
    assert run(capsys, *words, "--out", out) == found
    assert main([*map(str, words), "--seed", "1", "--out", str(out)]) == 2
    assert "an evaluation with another world, task" in capsys.readouterr().err


def test_own_videos(capsys, base: Path) -> None:
    videos = base / "videos"
    videos.mkdir()
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        moving_square(videos / name)
    data, out = base / "mine", base / "video-run"
    assert run(capsys, "ingest", videos, "--out", data, "--license", "CC0-1.0")["written"] == 3
    short = ["--clip-length", "6", "--model.frame-skip", "1"]
    trained = run(capsys, "train", "world", "--data", data, "--out", out, *SHORT, *short)
    assert trained["steps"] == 3
    found = run(capsys, "surprise", out, videos / "a.mp4", "--normal", data)["surprise"]
    assert len(found["surprise"]) == 29
    assert main(["surprise", str(out), str(videos / "a.mp4")]) == 2
    assert "Pass --normal with a dataset" in " ".join(capsys.readouterr().err.split())


def moving_square(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(30):
            image = np.zeros((64, 64, 3), np.uint8)
            image[20:40, number : number + 20] = 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
