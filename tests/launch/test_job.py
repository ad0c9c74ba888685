"""The job itself, run by bash, with a Slurm that only writes down what it is told."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import armillary.launch

JOB = Path(armillary.launch.__file__).with_name("job.sh")
LEAD_S = 60
WORDS = ["train", "world", "--out", "a run", "--resume"]


@contextmanager
def job(run: Path, left_s: int = 0, processes: int = 1, nodes: int = 1) -> Iterator:
    """Start the job as Slurm would, with so many seconds left."""
    told = {"SLURM_JOB_ID": 10123, "SLURM_JOB_NUM_NODES": nodes, "SLURM_JOB_NODELIST": "n[1-2]"}
    told |= {"SLURM_JOB_END_TIME": int(time.time()) + left_s}
    environment = os.environ | {name: str(value) for name, value in told.items()}
    command = ["bash", str(JOB), str(LEAD_S), str(run), str(processes), "my python", *WORDS]
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert "attempt 1 on n[1-2]" in process.stdout.readline()
        yield process
    finally:
        with suppress(ProcessLookupError):  # it has ended
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def checkpoint(run: Path, done: int) -> None:
    """Point to the newest checkpoint as a training does."""
    folder = run / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "last").unlink(missing_ok=True)
    (folder / "last").symlink_to(f"{done:06d}")


def trains_for_ever(slurm) -> None:
    slurm.says("srun", "")
    (slurm.folder / "srun").write_text("#!/bin/bash\nexec sleep 60\n")


@pytest.mark.parametrize("code", [0, 3])
def test_the_job_ends_as_the_training_does(slurm, tmp_path, code) -> None:
    slurm.says("srun", "", code)
    with job(tmp_path) as process:
        assert process.wait(20) == code
    assert slurm.told("srun") == [
        "--kill-on-bad-exit=1",
        "my python",
        "-u",
        "-m",
        "armillary",
        *WORDS,
    ]


@pytest.mark.parametrize(
    ("left_s", "progress", "requeued"),
    [(50, True, True), (50, False, False), (3600, False, True)],
    ids=["limit after a checkpoint", "limit before a checkpoint", "preemption"],
)
def test_a_signal_requeues_a_job_that_gets_further(
    slurm, tmp_path, left_s, progress, requeued
) -> None:
    trains_for_ever(slurm)
    slurm.says("scontrol", "")
    checkpoint(tmp_path, 20)
    with job(tmp_path, left_s) as process:
        if progress:
            checkpoint(tmp_path, 40)
        process.send_signal(signal.SIGUSR1)
        said = process.stdout.readline()
        if requeued:
            until = time.monotonic() + 20
            while not slurm.told("scontrol"):
                assert time.monotonic() < until
                time.sleep(0.02)
            assert process.poll() is None, "it waits until Slurm ends it"
            assert "requeued with" in said
        else:
            assert process.wait(20) == 1
            assert "The time limit was reached before a new checkpoint" in said
    assert slurm.told("scontrol") == (["requeue", "10123"] if requeued else [])


@pytest.mark.parametrize(("processes", "nodes"), [(2, 1), (1, 2), (4, 2)])
def test_several_processes_train_under_torchrun(slurm, tmp_path, processes, nodes) -> None:
    slurm.says("srun", "")
    slurm.says("scontrol", "n1\nn2\n")
    with job(tmp_path, processes=processes, nodes=nodes) as process:
        assert process.wait(20) == 0
    assert slurm.told("scontrol") == ["show", "hostnames", "n[1-2]"]
    told = slurm.told("srun")
    assert told[1:3] == ["bash", "-c"]
    assert 'torch.distributed.run --node-rank "$SLURM_NODEID"' in told[3]
    assert told[4:] == [
        *("my python", "--nnodes", str(nodes), "--nproc-per-node", str(processes)),
        *("--master-addr", "n1", "--master-port", "20123", "-m", "armillary", *WORDS),
    ]
