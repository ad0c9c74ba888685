"""Diagnose as a command: its names, its page, its sentences, and what a training leaves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from armillary.cli.main import main
from armillary.core.rng import generator
from armillary.core.values import Episode, Stream
from armillary.data import DatasetWriter
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, save_model, untrained

pytestmark = pytest.mark.runs  # trainings and their diagnoses: 5 to 30 s each

SIDE, STEPS = 16, 20
NAMES = {"steps", "space", "n", "model", "copy_last", "mean", "linear", "ridge", "intervals"}
TRAIN = ["--steps", "2", "--batch-size", "4", "--threads", "1", "--held-out", "0.3"]
TINY = ["--model.encoder.image-size", "16", "--model.encoder.keypoints", "0", "--clip-length", "6"]
TINY += ["--model.frame-skip", "1", "--finetune.steps", "2"]


def episode(number: int, steps: int = STEPS, actions: bool = True) -> Episode:
    rng = generator("diagnose-command", number)
    acts = rng.uniform(-2, 2, (steps - 1, 2)).astype(np.float32)
    place = 6 + 5 * np.sin(0.3 * np.concatenate([[[0, 0]], np.cumsum(acts, 0)]))
    rgb = np.full((steps, SIDE, SIDE, 3), 60, np.uint8)
    for picture, (row, column) in zip(rgb, place.astype(int), strict=True):
        picture[row : row + 4, column : column + 4] = 220
    return Episode(
        {"rgb": Stream("rgb", rgb), "thing_xy": Stream("truth", place.astype(np.float32), "m")},
        np.arange(steps, dtype=np.int64) * 10**8,
        acts if actions else None,
    )


def dataset(path: Path, count: int = 60, **changes) -> Path:
    writer = DatasetWriter(path, 10)
    for number in range(count):
        writer.write(number, episode(number, **changes))
    writer.finalize()
    return path


def model(path: Path, action_width: int = 2) -> Path:
    encoder = EncoderConfig(SIDE, 8, 8, 4, 8, 0, 2, 4)
    predictor = PredictorConfig(memory=4, hidden=4)
    config = JEPAConfig(("rgb",), encoder, predictor, action_width=action_width)
    save_model(untrained(config, 0), path)
    return path


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARMILLARY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("diagnose")


@pytest.fixture(scope="module")
def data(base: Path) -> Path:
    return dataset(base / "data")


@pytest.fixture(scope="module")
def agent(base: Path) -> Path:
    return model(base / "agent")


def said(capsys, *words: str | Path) -> dict:
    capsys.readouterr()
    assert main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_record_has_the_names_that_others_read(capsys, agent, data, base) -> None:
    found = said(capsys, "diagnose", agent, data, "--out", base / "page")
    assert {row["space"] for row in found["prediction"]} == {"latent", "features"}
    for row in found["prediction"]:
        assert row.keys() == NAMES | ({"no_latent"} if row["space"] == "features" else set())
        assert isinstance(row["model"], float)
        assert len(row["intervals"]["model"]) == 2
    steps = [row["steps"] for row in found["prediction"] if row["space"] == "latent"]
    assert steps == [1, 2, 4, 8, 16]
    assert 0 <= found["action_rank"]["top1"] <= 1
    assert -1 <= found["progress"]["spearman"] <= 1
    assert found["moved"]["skill"].keys() == {"4", "8"}
    assert found["moved"]["stream"] == "thing_xy"
    assert "false_motion" in found["moved"]
    assert found["read_out"]["thing_xy"]["n"] == 6 * STEPS
    assert found["scale"]["width"] == 8
    assert found["by_heart"][0].keys() >= {"training", "held_out", "ratio"}
    assert "drawn here (seed 0" in found["n"]["judged_on"]
    assert "may be known to it" in found["warning"]
    # of the folder all but the words of the clock
    written = json.loads((base / "page" / "diagnose.json").read_text())
    assert written == found


def test_the_page_is_whole_by_itself(agent, data, base) -> None:
    assert main(["diagnose", str(agent), str(data), "--out", str(base / "page2")]) == 0
    page = (base / "page2" / "diagnose.html").read_text()
    assert "nearest training frame" in page
    assert page.count("data:image/png") >= 3 * 6
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "Prediction error by horizon" in page


def test_a_person_reads_tables_bars_and_advice(capsys, agent, data) -> None:
    capsys.readouterr()
    assert main(["diagnose", str(agent), str(data)]) == 0
    out = capsys.readouterr().out
    assert "prediction error in its own latent (squared error over variance)" in out
    assert "copy-last" in out
    assert "NOT REACHED" in out
    assert "- true actions first among 32, 4 steps: The predictor heeds actions too little" in out


def test_plain_video_says_why_nothing_is_ranked(capsys, base) -> None:
    video = dataset(base / "video", actions=False)
    found = said(capsys, "diagnose", model(base / "viewer", 0), video)
    assert found["action_rank"]["top1"] is None
    assert "the model takes no actions" in found["action_rank"]["reason"]
    assert found["prediction"]


def test_one_long_episode_is_judged_by_its_end(capsys, base) -> None:
    one = dataset(base / "one", count=1, steps=400)
    found = said(capsys, "diagnose", model(base / "m", 2), one)
    assert found["n"]["judged_on"] == "the last 30% of the only episode"
    assert [row["steps"] for row in found["prediction"]][:5] == [1, 2, 4, 8, 16]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{agent}", "{none}"], "none: "),
        (["{none}", "{data}"], "a model folder, a run folder or a Hub id"),
        (["{agent}", "{few}"], "A diagnosis needs at least two training episodes of three model"),
        (["{agent}", "{video2}"], "has no actions, and the model takes 2 numbers"),
        (["{agent}", "{data}", "--out", "{data}/x"], "lies in the dataset, whose files are hashed"),
    ],
)
def test_bad_input_is_one_sentence(words, told, capsys, agent, data, base) -> None:
    places = {"agent": agent, "data": data, "none": base / "none"}
    for name, changes in {"few": {"count": 2}, "video2": {"actions": False}}.items():
        places[name] = base / name
        if not places[name].exists() and any(name in word for word in words):
            dataset(places[name], **changes)
    capsys.readouterr()
    assert main(["diagnose", *(word.format(**places) for word in words)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert err.count("\n") == 1


def test_a_training_leaves_a_diagnosis_of_what_it_held_out(capsys, data, base) -> None:
    run = base / "run"
    words = ["train", "world", "--data", data, "--out", run, *TRAIN, *TINY]
    found = said(capsys, *words)
    assert found["diagnosis"]["n"]["judged_on"] == "18 episodes that were held out of the training"
    assert json.loads((run / "diagnose.json").read_text()) == found["diagnosis"]
    later = said(capsys, "diagnose", run, data)
    assert later["n"]["judged_on"] == found["diagnosis"]["n"]["judged_on"]
    assert later["warning"] == ""


def test_a_training_goes_on_where_nothing_can_be_diagnosed(capsys, base) -> None:
    short = dataset(base / "short", count=3)
    run = base / "short-run"
    capsys.readouterr()
    words = ["train", "world", "--data", short, "--out", run, *TRAIN, *TINY]
    assert main([*map(str, words)]) == 0
    assert "not diagnosed: A diagnosis needs at least two held-out episodes" in (
        capsys.readouterr().out
    )
    assert (run / "model" / "model.safetensors").is_file()
    shutil.rmtree(run)
