"""What Slurm is asked for, and what is refused before it is asked."""

from __future__ import annotations

import sys

import pytest

from armillary.core.errors import ConfigError
from armillary.launch import SlurmJob, need_slurm, refuse_if_in_use, submit

WORDS = ["train", "world", "--data", "some data", "--out", "run", "--resume"]


def test_sbatch_gets_options_the_job_and_the_words(slurm, tmp_path) -> None:
    asked = SlurmJob(
        "1-12:00:00", nodes=2, gpus=4, cores=32, partition="big", options=("account=us",)
    )
    found = submit(WORDS, tmp_path / "run", asked)
    told = slurm.told("sbatch")
    at = next(place for place, word in enumerate(told) if word.endswith("/launch/job.sh"))
    assert told[at + 1 :] == ["60", str(tmp_path / "run"), "4", sys.executable, *WORDS]
    assert set(told[:at]) == {
        *("--parsable", "--requeue", "--open-mode=append", "--dependency=singleton"),
        *("--signal=B:USR1@60", f"--job-name={found.name}"),
        f"--output={tmp_path / 'run' / 'slurm' / '%j.log'}",
        *("--time=1-12:00:00", "--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=4"),
        *("--cpus-per-task=32", "--partition=big", "--account=us"),
    }
    assert (found.job, found.log) == (7, tmp_path / "run" / "slurm" / "7.log")
    assert found.log.parent.is_dir()


def test_a_folder_with_a_percent_sign_keeps_its_name(slurm, tmp_path) -> None:
    found = submit(WORDS, tmp_path / "50%j", SlurmJob("60"))
    assert f"--output={tmp_path / '50%%j' / 'slurm' / '%j.log'}" in slurm.told("sbatch")
    assert found.log == tmp_path / "50%j" / "slurm" / "7.log"


def test_a_folder_has_one_name_from_wherever_it_is_named(slurm, tmp_path, monkeypatch) -> None:
    here = submit(WORDS, tmp_path / "a, b" / "run,1", SlurmJob("60")).name
    monkeypatch.chdir(tmp_path / "a, b")
    (tmp_path / "link").symlink_to(tmp_path / "a, b")
    again = {
        submit(WORDS, one / "run,1", SlurmJob("60")).name
        for one in (tmp_path / "link", tmp_path / "a, b" / ".." / "a, b")
    }
    assert again == {here}
    assert "," not in here  # squeue would take it for two names
    assert submit(WORDS, tmp_path / "run,1", SlurmJob("60")).name != here


@pytest.mark.parametrize("state", ["RUNNING", "PENDING", "COMPLETING"])
def test_a_folder_in_which_a_job_trains_is_refused(slurm, tmp_path, state) -> None:
    name = submit(WORDS, tmp_path / "run", SlurmJob("60")).name
    refuse_if_in_use(tmp_path / "run")
    assert f"--name={name}" in slurm.told("squeue")
    slurm.says("squeue", f"7 {state}\n")
    log = tmp_path / "run" / "slurm" / "7.log"
    said = rf"run: job 7 trains there already \({state.lower()}; log: {log}\)\. Wait for it, stop"
    with pytest.raises(ConfigError, match=said):
        refuse_if_in_use(tmp_path / "run")


def test_what_sbatch_refuses_is_one_sentence_and_leaves_nothing(slurm, tmp_path) -> None:
    slurm.says("sbatch", "sbatch: warning: x\nsbatch: error: Invalid account specified\n", 1)
    said = r"^Slurm refuses, and sbatch says why: Invalid account specified\.$"
    with pytest.raises(ConfigError, match=said):
        submit(WORDS, tmp_path / "run", SlurmJob("60"))
    assert not (tmp_path / "run").exists()


def test_an_answer_without_a_number_is_refused(slurm, tmp_path) -> None:
    slurm.says("sbatch", "welcome\n")
    with pytest.raises(ConfigError, match="sbatch was to answer with a job's number, and gave"):
        submit(WORDS, tmp_path / "run", SlurmJob("60"))


def test_without_slurm_a_sentence_says_so(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="There is no Slurm here: sbatch is not on the PATH"):
        need_slurm()
    with pytest.raises(ConfigError, match="Slurm does not answer: squeue failed"):
        refuse_if_in_use(tmp_path)


@pytest.mark.parametrize("time", ["3", "3:00", "0:03:00", "1-0", "1-0:30", "0-0:3:0", "100:00:00"])
def test_times_are_written_as_slurm_writes_them(time) -> None:
    assert SlurmJob(time).words()[0] == f"--time={time}"


@pytest.mark.parametrize("time", ["4h", "", "1:2:3:4", "-5", "1-", "1:000", "UNLIMITED", "1.5"])
def test_other_times_are_refused(time) -> None:
    with pytest.raises(ConfigError, match="--time takes minutes, HH:MM:SS or D-HH:MM:SS, such as"):
        SlurmJob(time)


@pytest.mark.parametrize("time", ["0", "2", "2:59", "0:02:59", "0-0"])
def test_a_limit_that_leaves_no_time_to_train_is_refused(time) -> None:
    with pytest.raises(ConfigError, match="--time must be at least 3 minutes"):
        SlurmJob(time)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nodes": 0}, "--nodes must be at least 1, got 0."),
        ({"processes": 0}, "--processes must be at least 1, got 0."),
        ({"gpus": -1}, "--gpus must be at least 0, got -1."),
        ({"cores": 0}, "--cores must be at least 1, got 0."),
        ({"options": ("wrap=ls",)}, "--option wrap is set by armillary launch; leave it out"),
        ({"options": ("no-requeue",)}, "--option takes an option of sbatch as name=value"),
        ({"options": ("account",)}, "--option takes an option of sbatch as name=value"),
        ({"options": ("--account=x",)}, "--option takes an option of sbatch as name=value"),
    ],
)
def test_wrong_values_are_one_sentence(changes, said) -> None:
    with pytest.raises(ConfigError, match=said):
        SlurmJob("60", **changes)


@pytest.mark.parametrize(
    ("changes", "each", "together"),
    [({}, 1, 1), ({"gpus": 4, "nodes": 2}, 4, 8), ({"gpus": 4, "processes": 2}, 2, 2)],
)
def test_one_process_trains_on_each_gpu(changes, each, together) -> None:
    job = SlurmJob("60", **changes)
    assert (job.processes_per_node, job.all_processes) == (each, together)


def test_an_option_may_be_a_flag() -> None:
    assert SlurmJob("60", options=("exclusive", "mem=8G")).words()[-2:] == [
        "--exclusive",
        "--mem=8G",
    ]
