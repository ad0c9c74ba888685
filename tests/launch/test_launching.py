"""What a training would refuse is refused before it is handed to Slurm."""

from __future__ import annotations

import json

import pytest

from armillary.cli.main import main
from armillary.worlds import record

FLAGS = ["--batch-size", "4", "--threads", "1", "--finetune.steps", "0"]
SHORT = ["--steps", "2", "--checkpoint-every", "1", *FLAGS]


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path / "cache"))
    record("two_rooms", tmp_path / "data", 2, 15, workers=1)
    return tmp_path / "data"


def launch(*words, own=()) -> int:
    return main(["launch", "slurm", "--time", "60", *own, "--", "train", "world", *map(str, words)])


def test_a_training_is_submitted_with_resume_and_says_where_its_log_lies(
    slurm, data, tmp_path, capsys
) -> None:
    words = ["--data", str(data), "--out", str(tmp_path / "run"), *SHORT]
    assert launch(*words, own=["--json"]) == 0
    assert slurm.told("sbatch")[-len(words) - 3 :] == ["train", "world", *words, "--resume"]
    found = json.loads(capsys.readouterr().out)
    assert found["job"] == 7 and found["log"] == str(tmp_path / "run" / "slurm" / "7.log")


def test_a_streamed_training_of_several_nodes_is_submitted(slurm, tmp_path) -> None:
    words = ["--data", "memory://x", "--out", str(tmp_path / "run"), *SHORT]
    assert launch(*words, own=["--nodes", "2"]) == 0
    assert slurm.told("sbatch")[-len(words) - 3 :] == ["train", "world", *words, "--resume"]


def test_a_running_job_is_told_before_the_run_that_it_has_made(
    slurm, data, tmp_path, capsys
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    slurm.says("squeue", "7 RUNNING\n")
    assert launch("--data", data, "--out", tmp_path / "run") == 2
    assert "run: job 7 trains there already (running;" in capsys.readouterr().err
    slurm.says("squeue", "")
    assert launch("--data", data, "--out", tmp_path / "run") == 2
    assert "holds a training run already" in capsys.readouterr().err
    assert not slurm.told("sbatch")


@pytest.mark.runs  # a training, cut short and gone on with: 5 s
def test_a_run_goes_on_with_its_own_settings_alone(slurm, data, tmp_path, capsys) -> None:
    words = ["--data", str(data), "--out", str(tmp_path / "run")]
    assert main(["train", "world", *words, *SHORT]) == 0
    others = [["--steps", "3"], ["--model.encoder.width", "8"], ["--optimizer.lr", "0.1"]]
    for other, name in zip(others, ("steps", "encoder", "optimizer"), strict=True):
        assert launch(*words, "--resume", *SHORT, *other) == 2
        said = f"run: its checkpoints were made with another value of {name}; resume with the same"
        assert said in capsys.readouterr().err
    assert not slurm.told("sbatch")
    assert launch(*words, "--resume", *SHORT, "--checkpoint-every", "5") == 0
    assert slurm.told("sbatch").count("--resume") == 1


@pytest.mark.parametrize(
    ("words", "own", "said"),
    [
        ([], ["--nodes", "3"], "batch_size (4) must be divisible by the number of processes (3)."),
        (["--clip-length", "30"], [], "{}/data: a clip of this recipe lasts 3.0 s"),
        (["--data", "nothere"], [], "nothere: there is no such folder; a dataset folder was"),
    ],
)
def test_what_cannot_train_is_not_submitted(
    slurm, data, tmp_path, capsys, words, own, said
) -> None:
    given = ["--data", data, *FLAGS, "--out", tmp_path / "run", *words]
    assert launch(*given, own=own) == 2
    assert capsys.readouterr().err.startswith(f"error: {said.format(tmp_path)}")
    assert not slurm.told("sbatch") and not (tmp_path / "run").exists()
