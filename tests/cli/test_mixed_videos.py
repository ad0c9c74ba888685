"""A folder as people have it: every file is accounted for, and advice works when it is followed."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import av
import numpy as np
import pytest

from armillary.cli.main import main
from armillary.core.errors import DatasetError, FormatError, TrainingError
from armillary.data import IngestOptions, ingest, open_dataset
from armillary.models import load_model
from armillary.recipes.recipe import RUN_DATA
from armillary.services.asking import surprise_clip

pytestmark = pytest.mark.runs  # whole trainings on videos: 5 to 10 s each

TINY = ["--steps", "2", "--threads", "1", "--log-every", "1", "--checkpoint-every", "9"]
TINY += ["--finetune.steps", "1", "--finetune.batch-size", "2"]
ANSI = "\x1b[2J\x1b[1;31mred\x1b[0m " + "plain words\n" * 200


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARMILLARY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def film(path: Path, size: tuple[int, int], fps: int, seconds: float) -> Path:
    """A grey picture with a white square that moves; ``size`` is width and height."""
    width, height = size
    gif = path.suffix == ".gif"
    with av.open(str(path), "w") as container:
        options = {} if gif else {"preset": "ultrafast"}
        stream = container.add_stream("gif" if gif else "libx264", rate=fps, options=options)
        stream.width, stream.height = width, height
        stream.pix_fmt = "rgb8" if gif else "yuv420p"
        side = min(size) // 4
        for number in range(round(seconds * fps)):
            image = np.full((height, width, 3), 90, np.uint8)
            left = round(number / fps * width / 4) % (width - side)
            image[height // 2 : height // 2 + side, left : left + side] = 255
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What must-show 5 of the issue names."""
    folder = tmp_path_factory.mktemp("mixed") / "in"
    folder.mkdir()
    film(folder / "portrait.mp4", (108, 192), 30, 3)
    film(folder / "large.mp4", (3840, 2160), 10, 1.5)
    film(folder / "moving.gif", (80, 60), 10, 3)
    film(folder / "fast.mp4", (192, 108), 30, 4)
    film(folder / "slow.mp4", (192, 108), 10, 4)
    for number in range(5):
        film(folder / f"short{number}.mp4", (192, 108), 30, 0.5)
    (folder / "notes.txt").write_text(ANSI)
    return folder


@pytest.fixture(scope="module")
def ingested(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "mine"
    ingest(mixed, out)
    return out


def said_by(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    capsys.readouterr()
    code = main([str(word) for word in words])
    told = capsys.readouterr()
    return code, told.out + told.err


def test_every_file_is_accounted_for_and_the_advice_works(
    capsys, mixed: Path, tmp_path: Path
) -> None:
    code, said = said_by(capsys, "ingest", mixed, "--out", tmp_path / "mine")
    said = re.sub(r"\s+", " ", said)
    assert code == 0
    assert "portrait.mp4: 108x192 at 30 per second; scaled to 61x108; letterboxed" in said
    large = r"large.mp4: 3840x2160 at 10 per second; scaled to 192x108; 4\d steps"
    assert re.search(large, said)
    assert "moving.gif: 80x60 at 10 per second" in said
    assert re.search(r"skipped \S*notes.txt: is not a video file", said)
    assert said.count("per second; ") >= 10
    assert "10 episodes" in said and "1 files skipped" in said
    assert "longer side at most 256 (--max-side, --size)" in said
    assert "30 steps per second" in said
    assert "too short for a clip of armillary train world (0.7 s): short0.mp4, short1.mp4" in said

    train = ["train", "world", "--data", tmp_path / "mine", "--out", tmp_path / "runs/first", *TINY]
    code, said = said_by(capsys, *train)
    assert code == 0, said
    assert load_model(tmp_path / "runs/first/model").step_s is not None


def test_all_clips_too_short_has_advice_that_works(capsys, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(5):
        film(tmp_path / f"in/{number}.mp4", (32, 32), 10, 0.6)
    code, said = said_by(capsys, "ingest", tmp_path / "in", "--out", tmp_path / "set")
    assert code == 0
    train = ["train", "world", "--data", tmp_path / "set", "--out", tmp_path / "run", *TINY]
    code, said = said_by(capsys, *train)
    advice = re.search(r"Pass\s+(--.+?),\s+or", said, re.DOTALL)
    assert code == 2 and advice, said
    assert not (tmp_path / "run").exists(), "a refused training leaves nothing"
    code, said = said_by(capsys, *train, *shlex.split(advice[1]))
    assert code == 0, said


def test_too_few_clips_for_a_batch_has_advice_that_works(capsys, tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", (32, 32), 10, 1.2)
    ingest(tmp_path / "a.mp4", tmp_path / "set")
    train = ["train", "world", "--data", tmp_path / "set", "--out", tmp_path / "run", *TINY]
    code, said = said_by(capsys, *train, "--batch-size", "64")
    advice = re.search(r"Pass\s+(--.+?),\s+or", said, re.DOTALL)
    assert code == 2 and advice and "--batch-size" in advice[1], said
    code, said = said_by(capsys, *train, *shlex.split(advice[1]))
    assert code == 0, said


def test_a_clip_length_below_the_rollout_says_what_would_do(capsys, tmp_path: Path) -> None:
    train = ["train", "world", "--data", tmp_path, "--out", tmp_path / "run", *TINY]
    code, said = said_by(capsys, *train, "--clip-length", "4")
    assert code == 2 and "Pass --clip-length 5 or more" in re.sub(r"\s+", " ", said)


def test_letterbox_keeps_the_whole_picture_and_crop_cuts_it(mixed: Path, tmp_path: Path) -> None:
    for fit in ("letterbox", "crop"):
        options = IngestOptions(size="96x64", fit=fit, fps=5)
        ingest(mixed / "portrait.mp4", tmp_path / fit, options=options)
        pictures = open_dataset(tmp_path / fit).read(0).streams["rgb"].values
        assert pictures.shape[1:3] == (64, 96)
        sides = pictures[:, :, :20].mean()
        assert sides < 10 if fit == "letterbox" else sides > 80


def test_a_gif_moves(mixed: Path, tmp_path: Path) -> None:
    ingest(mixed / "moving.gif", tmp_path / "set")
    episode = open_dataset(tmp_path / "set").read(0)
    pictures = episode.streams["rgb"].values.astype(int)
    assert len(pictures) == 30
    assert np.abs(pictures[15] - pictures[0]).max() > 100


@pytest.mark.parametrize("name", ["notes.txt", "notes.mp4", "notes.nfo"])
def test_text_alone_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(ANSI)
    with pytest.raises(FormatError, match=r"is text, not a video|cannot be decoded as video"):
        ingest(tmp_path / name, tmp_path / "set")
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("size", ["256", "8x8", "9999x10", "0x64", "axb"])
def test_a_size_that_is_none_is_one_sentence(capsys, mixed: Path, tmp_path: Path, size) -> None:
    code, said = said_by(capsys, "ingest", mixed, "--out", tmp_path / "o", "--size", size)
    assert code == 2 and "--size is WIDTHxHEIGHT" in said


def test_two_sizes_and_a_tiny_one_are_refused(capsys, mixed: Path, tmp_path: Path) -> None:
    out = ["ingest", mixed, "--out", tmp_path / "o"]
    code, said = said_by(capsys, *out, "--size", "64x64", "--max-side", "64")
    assert code == 2 and "pass one" in said
    code, said = said_by(capsys, *out, "--max-side", "3")
    assert code == 2 and "--max-side is pixels, 16 or more" in said


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of steps of 0.1 s, learned at 10 per second."""
    base = tmp_path_factory.mktemp("run")
    (base / "in").mkdir()
    for number in range(3):
        film(base / f"in/{number}.mp4", (32, 32), 10, 9)
    ingest(base / "in", base / "set")
    words = ["train", "world", "--data", base / "set", "--out", base / "run", *TINY]
    assert main([*map(str, words), "--batch-size", "8"]) == 0
    return base


def test_the_model_knows_its_step_and_a_clip_is_resampled_to_it(run: Path, tmp_path: Path) -> None:
    config = json.loads((run / "run/model/config.json").read_text())
    assert config["step_s"] == pytest.approx(0.1)
    for fps in (10, 30):
        film(tmp_path / f"{fps}.mp4", (32, 32), fps, 6)
        found = surprise_clip(run / "run", str(tmp_path / f"{fps}.mp4"), normal=run / "set")
        assert len(found.time_s) in (59, 60, 61), fps
        assert np.allclose(np.diff(found.time_s, prepend=0.0), 0.1), fps


def test_a_dataset_of_another_rate_goes_by_time(run: Path, tmp_path: Path) -> None:
    film(tmp_path / "30.mp4", (32, 32), 30, 6)
    ingest(tmp_path / "30.mp4", tmp_path / "set")
    found = surprise_clip(run / "run", f"{tmp_path / 'set'}:0", normal=run / "set")
    assert len(found.time_s) in (59, 60, 61)
    assert np.allclose(np.diff(found.time_s, prepend=0.0), 0.1)
    ingest(tmp_path / "30.mp4", tmp_path / "odd", options=IngestOptions(fps=3))
    with pytest.raises(DatasetError, match=r"3 steps per second, the model learned from 10.*--fps"):
        surprise_clip(run / "run", f"{tmp_path / 'odd'}:0", normal=run / "set")


def test_a_run_without_a_step_takes_that_of_its_dataset(run: Path, tmp_path: Path) -> None:
    film(tmp_path / "30.mp4", (32, 32), 30, 6)
    file = run / "run/model/config.json"
    before = file.read_text()
    assert (run / "run" / RUN_DATA).is_file()
    try:
        file.write_text(json.dumps({k: v for k, v in json.loads(before).items() if k != "step_s"}))
        assert load_model(run / "run/model").step_s is None
        found = surprise_clip(run / "run", str(tmp_path / "30.mp4"), normal=run / "set")
    finally:
        file.write_text(before)
    assert len(found.time_s) in (59, 60, 61)
    assert np.allclose(np.diff(found.time_s, prepend=0.0), 0.1)


def test_a_short_clip_does_not_say_what_is_normal(run: Path, tmp_path: Path) -> None:
    film(tmp_path / "c.mp4", (32, 32), 30, 2.5)
    with pytest.raises(DatasetError, match=r"25 model steps .* takes 512 .*--normal") as refused:
        surprise_clip(run / "run", str(tmp_path / "c.mp4"))
    assert str(run / "set") in str(refused.value)
    found = surprise_clip(run / "run", str(tmp_path / "c.mp4"), normal=run / "set")
    assert len(found.surprise) == 25
    film(tmp_path / "d.mp4", (32, 32), 10, 0.1)
    with pytest.raises(DatasetError, match="is shorter than two steps of the model"):
        surprise_clip(run / "run", str(tmp_path / "d.mp4"), normal=run / "set")


def test_short_episodes_are_never_held_out_and_are_named(capsys, run: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(2):
        film(tmp_path / f"in/{number}.mp4", (32, 32), 10, 9)
    for number in range(2, 6):
        film(tmp_path / f"in/{number}.mp4", (32, 32), 10, 0.5)
    ingest(tmp_path / "in", tmp_path / "set")
    words = ["train", "world", "--data", tmp_path / "set", "--out", tmp_path / "run", *TINY]
    code, said = said_by(capsys, *words, "--batch-size", "8")
    assert code == 0
    assert "4 of 6 episodes are shorter than a clip of this recipe" in re.sub(r"\s+", " ", said)
    known = json.loads((tmp_path / "run" / RUN_DATA).read_text())
    assert sorted(known["training_episodes"] + known["held_out_episodes"]) == [0, 1]


def test_stages_have_their_names(run: Path, tmp_path: Path) -> None:
    from contextlib import contextmanager

    from armillary.core.changing import changed
    from armillary.core.progress import silent
    from armillary.recipes.recipe import train_recipe
    from armillary.recipes.world import world

    stages = []

    @contextmanager
    def bars(stage: str):
        stages.append(stage)
        yield silent

    recipe = changed(world(), {"steps": 1, "batch_size": 4, "threads": 1, "finetune.steps": 1})
    train_recipe(recipe, run / "set", tmp_path / "run", bars=bars)
    assert stages == ["preparing", "training", "diagnosing"]
    with pytest.raises(TrainingError, match=r"Pass --.*, or record more\."):
        train_recipe(changed(recipe, {"clip_length": 99}), run / "set", tmp_path / "no")
    assert not (tmp_path / "no").exists()
