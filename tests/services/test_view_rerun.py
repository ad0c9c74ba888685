"""What an episode becomes in a Rerun file: poses, lenses, points, numbers and predictions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from armillary.cli.main import main
from armillary.core.errors import ConfigError, FormatError, MissingExtraError
from armillary.core.progress import silent
from armillary.core.values import Episode, Stream
from armillary.data import DatasetWriter, open_dataset, verify
from armillary.data.check import counting_episodes
from armillary.models import JEPAConfig, save_model, untrained
from armillary.models.encoder import EncoderConfig
from armillary.report.rerun_file import rerun_file
from armillary.services.rerun_view import _Mind, view_rerun

RERUN = Path(sys.executable).with_name("rerun")


@pytest.fixture(scope="module")
def tabletop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rerun") / "tabletop"
    words = ["record", "tabletop", "--out", str(path), "--episodes", "2", "--steps", "6"]
    assert main([*words, "--workers", "1"]) == 0
    return path


def entities(file: Path) -> set[str]:
    """Names of what is in a file, by Rerun's own reader."""
    subprocess.run([RERUN, "rrd", "verify", file], capture_output=True, check=True)
    told = subprocess.run(
        [RERUN, "rrd", "print", "-v", file], capture_output=True, text=True, check=True
    ).stdout
    words = told.replace("│", " ").replace('"', " ").split()
    return {word.rstrip(":,") for word in words if word.startswith("/")}


def test_a_missing_rerun_is_named_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with (
        pytest.raises(MissingExtraError, match=r"pip install 'armillary\[rerun\]'"),
        rerun_file(tmp_path / "a.rrd", "a"),
    ):
        pass


def test_an_episode_of_a_dataset_is_shown_where_its_camera_stands(tabletop, tmp_path):
    pytest.importorskip("rerun")
    file = tmp_path / "a.rrd"
    assert view_rerun(tabletop, file, 1).steps == 6
    wanted = {"/world/camera", "/world/camera/rgb", "/world/camera/depth", "/action"}
    assert wanted | {"/truth/pusher_xy", "/world"} <= entities(file)
    assert verify(tabletop).ok


def test_clouds_and_sweeps_are_points(tmp_path):
    pytest.importorskip("rerun")
    words = ["record", "yard", "--out", str(tmp_path / "yard"), "--episodes", "1", "--steps", "4"]
    assert main([*words, "--workers", "1"]) == 0
    view_rerun(tmp_path / "yard", tmp_path / "yard.rrd")
    assert {"/world/lidar", "/world/lidar/lidar", "/proprio/proprio"} <= entities(
        tmp_path / "yard.rrd"
    )
    writer = DatasetWriter(tmp_path / "counting", 20)
    for index, episode in enumerate(counting_episodes()):
        writer.write(index, episode)
    writer.finalize()
    view_rerun(tmp_path / "counting", tmp_path / "counting.rrd")
    assert any(name.endswith("/points") for name in entities(tmp_path / "counting.rrd"))


def test_a_file_that_cannot_be_finished_is_not_there(tmp_path):
    pytest.importorskip("rerun")
    with pytest.raises(KeyboardInterrupt), rerun_file(tmp_path / "a.rrd", "a") as out:
        out.at(0, 0.0)
        out.colour("rgb", np.zeros((4, 4, 3), np.uint8))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


BROKEN = """
import sys
from pathlib import Path
from armillary.core.errors import DatasetError
from armillary.data.dataset import Dataset
from armillary.services.rerun_view import _Mind, view_rerun

whole = Dataset.frames

def frames(self, index, name, steps=None):
    for step, picture in enumerate(whole(self, index, name, steps)):
        if step == 3:
            raise DatasetError("frame 3 is damaged")
        yield picture

Dataset.frames = frames
try:
    view_rerun(Path(sys.argv[1]), Path(sys.argv[2]))
except DatasetError as error:
    print(error)
"""


def test_a_damaged_picture_ends_it_and_leaves_nothing(tabletop, tmp_path):
    """In a process of its own: Rerun was seen to wait for ever for a stream that nobody reads."""
    pytest.importorskip("rerun")
    words = [sys.executable, "-c", BROKEN, str(tabletop), str(tmp_path / "a.rrd")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "frame 3 is damaged\n"
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_shown_is_said(tabletop, tmp_path, capsys):
    pytest.importorskip("rerun")
    with pytest.raises(ConfigError, match="lies in the dataset, which it would change"):
        view_rerun(tabletop, tabletop / "a.rrd")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text("{}")
    with pytest.raises(FormatError, match="--rerun shows episodes of a dataset or an evaluation"):
        view_rerun(tmp_path / "run", tmp_path / "a.rrd")
    assert main(["view", str(tabletop), "--episode", "1"]) == 2
    assert "--episode, --model and --module need --rerun FILE" in capsys.readouterr().err


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    encoder = EncoderConfig(image_size=64, hidden=16, tokens=2, width=8)
    folder = tmp_path_factory.mktemp("rerun") / "model"
    save_model(untrained(JEPAConfig(("rgb",), encoder, action_width=2), 0).eval(), folder)
    return folder


def test_what_a_model_makes_of_it_is_there_too(tabletop, model, tmp_path, monkeypatch):
    pytest.importorskip("rerun")
    monkeypatch.setattr("armillary.services.rerun_view._DECODER_STEPS", 2)
    view_rerun(tabletop, tmp_path / "a.rrd", 0, str(model))
    wanted = {"/predicted/rgb", "/surprise/model", "/surprise/copy_last", "/world/camera/rgb"}
    assert wanted <= entities(tmp_path / "a.rrd")


class Noted:
    """A Rerun file that notes the world steps at which something was logged."""

    def __init__(self) -> None:
        self.step, self.logged = 0, {}

    def numbers(self, name: str, values: object) -> None:
        self.logged.setdefault(name, []).append(self.step)

    colour = numbers


@pytest.mark.parametrize(("step_s", "stride"), [(0.2, 2), (0.3, 3)])
def test_surprise_and_predictions_stand_at_the_model_s_steps_in_time(
    step_s, stride, tmp_path, monkeypatch
):
    """Ten frames a second, and a model whose step is not one frame."""
    monkeypatch.setattr("armillary.services.rerun_view._DECODER_STEPS", 2)
    writer = DatasetWriter(tmp_path / "film", 10)
    pictures = np.random.default_rng(0).integers(0, 255, (2, 31, 64, 64, 3), np.uint8)
    for index, frames in enumerate(pictures):
        time_ns = np.arange(31) * 100_000_000
        writer.write(index, Episode({"rgb": Stream("rgb", frames)}, time_ns, source="noise"))
    writer.finalize()
    encoder = EncoderConfig(image_size=64, hidden=16, tokens=2, width=8)
    network = untrained(JEPAConfig(("rgb",), encoder, action_width=0), 0).eval()
    network.step_s = step_s
    save_model(network, tmp_path / "model")
    mind = _Mind(tmp_path / "model", open_dataset(tmp_path / "film"), 0, silent)
    out = Noted()
    for out.step in range(31):
        mind.show(out, out.step)
    wanted = list(range(stride, 31, stride))
    assert out.logged == dict.fromkeys(
        ["predicted/rgb", "surprise/model", "surprise/copy_last"], wanted
    )


def test_an_evaluated_episode_is_done_again_beside_its_goal(model, tmp_path):
    pytest.importorskip("rerun")
    words = ["act", str(model), "tabletop", "--episodes", "1", "--workers", "1"]
    plan = ["--plan", "iterations=1", "--plan", "length=2"]
    assert main([*words, *plan, "--out", str(tmp_path / "act")]) == 0
    view_rerun(tmp_path / "act", tmp_path / "a.rrd")
    wanted = {"/goal/rgb", "/distance", "/plan/cost", "/plan/before", "/model_steps", "/action"}
    assert wanted | {"/world/camera/depth"} <= entities(tmp_path / "a.rrd")
    with pytest.raises(ConfigError, match="there is no episode 1 in it"):
        view_rerun(tmp_path / "act", tmp_path / "b.rrd", 1)
    with pytest.raises(ConfigError, match="--model is for a dataset"):
        view_rerun(tmp_path / "act", tmp_path / "b.rrd", 0, str(model))
