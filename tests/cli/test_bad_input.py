"""Bad input: one sentence, exit code 2, nothing half-written.

The commands run in this process (a process of its own would spend its time importing torch).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import av
import gymnasium
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file

from armillary.cli.main import main
from armillary.models import JEPAConfig, save_model, untrained
from armillary.models.encoder import EncoderConfig

SIZE = 32


class BrokenWorld(gymnasium.Env):
    """Renders, and raises at its third step."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 10}
    action_space = gymnasium.spaces.Box(-1, 1, (2,))
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.steps == 3:
            raise RuntimeError("the motor came off")
        return np.zeros(2, np.float32), 0.0, False, False, {}

    def render(self):
        return np.zeros((64, 64, 3), np.uint8)


gymnasium.register("Broken-v0", entry_point=BrokenWorld)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recorded") / "tabletop"
    words = ["record", "tabletop", "--episodes", "2", "--steps", "8", "--workers", "1"]
    assert main([*words, "--image-size", str(SIZE), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    save_model(untrained(config(), 0), folder)
    return folder


def config() -> JEPAConfig:
    return JEPAConfig(encoder=EncoderConfig(image_size=SIZE))


@pytest.fixture
def broken(dataset: Path, tmp_path: Path) -> Path:
    return shutil.copytree(dataset, tmp_path / "broken")


@pytest.fixture
def broken_model(model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(model, tmp_path / "broken-model")


@pytest.fixture
def refused(capsys, tmp_path: Path):
    """Run a command that must be refused; return its sentence."""

    def run(*words: str | Path) -> str:
        capsys.readouterr()
        assert main([str(word) for word in words]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1, err
        assert not (tmp_path / "out").exists()
        assert list(tmp_path.glob(".*")) == []
        return err.removeprefix("error: ").strip()

    return run


def video(path: Path, frames: int = 60) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(frames):
            image = np.full((64, 64, 3), number, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image)):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def test_missing_file(refused, tmp_path: Path) -> None:
    said = refused("ingest", tmp_path / "none.mp4", "--out", tmp_path / "out")
    assert "none.mp4" in said


def test_a_hub_id_that_nobody_has(refused, dataset: Path, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    said = refused("probe", "no/such", dataset)
    assert said == (
        "no/such: there is no folder no/such here, and HF_HUB_OFFLINE forbids asking the Hub."
    )


def test_empty_folder(refused, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = refused("ingest", tmp_path / "empty", "--out", tmp_path / "out")
    assert "It holds no file" in said


def test_truncated_video(refused, tmp_path: Path) -> None:
    path = video(tmp_path / "cut.mp4")
    path.write_bytes(path.read_bytes()[:-400])
    assert "cut.mp4" in refused("ingest", path, "--out", tmp_path / "out")


def test_a_text_file_called_mp4(refused, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    said = refused("ingest", tmp_path / "text.mp4", "--out", tmp_path / "out")
    assert "text.mp4: is text, not a video" in said


def test_zero_length_video(refused, tmp_path: Path) -> None:
    (tmp_path / "zero.mp4").touch()
    said = refused("ingest", tmp_path / "zero.mp4", "--out", tmp_path / "out")
    assert "zero.mp4: the file is empty" in said


def test_good_videos_are_taken_and_bad_ones_counted(capsys, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    video(videos / "good.mp4")
    (videos / "bad.mp4").write_text("not a video")
    assert main(["ingest", str(videos), "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{videos / 'good.mp4'}: 64x64 at 30 per second; 60 steps, 2.0 s"
    assert lines[1].startswith(f"skipped {videos / 'bad.mp4'}: is text, not a video")
    assert f"1 episodes, 60 frames written to {tmp_path / 'out'}; 1 files skipped" in lines


def test_a_flipped_byte_names_the_episode(refused, broken: Path) -> None:
    [_, path] = sorted((broken / "videos" / "observation.images.rgb").rglob("*.mp4"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    said = refused("data", "verify", broken)
    assert said.startswith(f"{broken}: episode 1: videos/observation.images.rgb/")


def test_a_whole_dataset_verifies(capsys, dataset: Path) -> None:
    assert main(["data", "verify", str(dataset)]) == 0
    assert main(["data", "show", str(dataset)]) == 0
    assert "episodes" in capsys.readouterr().out


def test_not_a_dataset(refused, tmp_path: Path) -> None:
    assert "no such folder" in refused("data", "show", tmp_path / "none")
    assert refused("data", "verify", tmp_path)


def test_nan_actions(refused, broken: Path, model: Path, tmp_path: Path) -> None:
    path = sorted((broken / "data").rglob("*.parquet"))[0]
    table = pq.read_table(path)
    field = table.schema.field("action")
    actions = table["action"].to_pylist()
    actions[3][1] = float("nan")
    place = table.column_names.index("action")
    pq.write_table(table.set_column(place, field, pa.array(actions, field.type)), path)
    shutil.rmtree(broken / "meta" / "armillary")  # as others write, without hashes
    said = refused("probe", model, broken)
    assert "episode 0: the action of step 3 is NaN or infinite" in said


def test_training_on_what_is_not_there(refused, dataset: Path, tmp_path: Path) -> None:
    words = ["train", "world", "--out", tmp_path / "out", "--data"]
    assert "no such folder" in refused(*words, tmp_path / "none")
    said = refused(*words, dataset, "--model.sensors", "rgb", "proprio")
    assert "the dataset lacks proprio" in said


def test_wrong_action_width(refused, tmp_path: Path) -> None:
    save_model(untrained(replace(config(), action_width=3), 0), tmp_path / "wide")
    said = refused("act", tmp_path / "wide", "tabletop", "--out", tmp_path / "out")
    assert "takes 3 action numbers per model step" in said


def test_checkpoint_with_a_missing_tensor(refused, broken_model: Path, dataset: Path) -> None:
    path = broken_model / "model.safetensors"
    tensors = load_file(path)
    lost = sorted(tensors)[0]
    save_file({name: value for name, value in tensors.items() if name != lost}, path)
    said = refused("probe", broken_model, dataset)
    assert said == f"{path}: tensor '{lost}' is missing."


def test_checkpoint_that_holds_a_pickle(refused, broken_model: Path, dataset: Path) -> None:
    (broken_model / "extra.pt").write_bytes(b"\x80\x04.")
    assert "holds a pickle" in refused("probe", broken_model, dataset)


def test_a_pickle_under_the_name_of_the_weights(refused, broken_model: Path, dataset: Path) -> None:
    (broken_model / "model.safetensors").write_bytes(b"\x80\x04.")
    assert "not a safetensors file" in refused("probe", broken_model, dataset)


def test_no_model(refused, dataset: Path, tmp_path: Path) -> None:
    assert "a model folder" in refused("probe", tmp_path / "none", dataset)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["record", "tabeltop"], "There is no world called 'tabeltop'. Did you mean 'tabletop'?"),
        (["record", "tabletop", "--policy", "radnom"], "Did you mean 'random'?"),
        (["record", "tabletop", "--sensors", "rgb,deth"], "Did you mean 'depth'?"),
        (["record", "tabletop", "--episodes", "0"], "episodes"),
        (["record", "gym:Nothing-v0"], "Nothing-v0"),
    ],
)
def test_unknown_names(refused, tmp_path: Path, words: list[str], said: str) -> None:
    assert said in refused(*words, "--workers", "1", "--out", tmp_path / "out")


def test_unknown_planner_and_task(refused, model: Path, tmp_path: Path) -> None:
    words = ["act", model, "tabletop", "--out", tmp_path / "out"]
    assert "Did you mean 'icem'?" in refused(*words, "--planner", "icen")
    assert "Did you mean 'reach'?" in refused(*words, "--task", "raech")


def test_a_model_that_sees_what_the_world_does_not_show(refused, model: Path, tmp_path) -> None:
    said = refused("act", model, "two_rooms", "--out", tmp_path / "out")
    assert "depth" in said


@pytest.mark.parametrize("where", ["/proc/nothing", "/dev/null/x"])
def test_a_folder_that_cannot_be_written(refused, tmp_path: Path, where: str) -> None:
    words = ["record", "tabletop", "--episodes", "1", "--steps", "4", "--workers", "1"]
    assert where in refused(*words, "--out", where)
    assert where in refused("ingest", video(tmp_path / "a.mp4"), "--out", where)


def test_a_world_whose_step_raises(capsys, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["record", "gym:Broken-v0", "--episodes", "2", "--steps", "9", "--workers", "1"]
    assert main([*words, "--out", str(out)]) == 2
    _, err = capsys.readouterr()
    assert err.startswith("error: Episode 0, step ")
    assert "the motor came off" in err
    assert err.count("\n") == 1


@pytest.fixture
def tiny_disk(tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_disk_full_while_recording(capsys, tiny_disk: Path) -> None:
    out = tiny_disk / "tabletop"
    words = ["record", "tabletop", "--episodes", "50", "--steps", "60", "--workers", "1"]
    assert main([*words, "--out", str(out)]) == 2
    _, err = capsys.readouterr()
    assert "the disk is full" in err
    told = [line for line in err.splitlines() if not line.startswith("recording ")]  # its progress
    assert len(told) == 1


def test_disk_full_while_ingesting(capsys, tiny_disk: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 256, 256, "yuv420p"
        for _ in range(30):
            image = rng.integers(0, 255, (256, 256, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
    assert main(["ingest", str(path), "--out", str(tiny_disk / "out")]) == 2
    _, err = capsys.readouterr()
    assert "the disk is full" in err
    assert err.count("\n") == 1
    assert list(tiny_disk.iterdir()) == []


def test_the_installed_program_leaves_with_the_code() -> None:
    program = Path(sys.executable).with_name("armillary")
    result = subprocess.run([program, "data", "show", "/none"], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: /none: there is no such folder")
