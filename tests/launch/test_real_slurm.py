"""On a real Slurm of this machine, a requeued training ends as one that nobody interrupts.

``scripts/measure_slurm.py`` does it with preemption, time limits and two nodes, in half an hour.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from armillary.worlds import record

HERE = Path(__file__).parents[2] / "scripts" / "slurm_here.sh"
FLAGS = [
    "--steps",
    "120",
    "--batch-size",
    "4",
    "--threads",
    "1",
    "--passes",
    "0",
    "--log-every",
    "1",
]
WANTED = ("slurmctld", "slurmd", "munged", "sbatch")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(shutil.which, WANTED)) or os.geteuid() != 0,
        reason="needs root and Debian's slurmctld, slurmd, slurm-client and munge",
    ),
]


@pytest.fixture
def real_slurm(tmp_path, monkeypatch) -> Iterator[None]:
    folder = tmp_path / "slurm"
    subprocess.run([HERE, "start", folder], check=True, stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    subprocess.run(["scancel", "--user=root"], check=True)
    subprocess.run([HERE, "stop", folder], check=True)


def output(*words: str | Path) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def armillary(*words: str | Path) -> str:
    return output(sys.executable, "-m", "armillary", *words)


def wait_for(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 240
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.2)


def weights(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


def test_a_requeued_training_ends_with_the_same_bits(real_slurm, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path / "cache"))
    data, run, whole = tmp_path / "data", tmp_path / "run", tmp_path / "whole"
    record("two_rooms", data, 2, 15, workers=1)
    words = ["train", "world", "--data", data, *FLAGS, "--checkpoint-every", "5"]
    words += ["--finetune.steps", "5"]
    armillary(*words, "--out", whole)
    told = armillary("launch", "slurm", "--time", "10", "--json", "--", *words, "--out", run)
    found = json.loads(told)
    job = str(found["job"])
    wait_for((run / "checkpoints" / "last").is_symlink)
    output("scontrol", "requeue", job)
    wait_for(lambda: "BeginTime" in output("scontrol", "show", "job", job))
    output("scontrol", "update", f"JobId={job}", "StartTime=now")  # else it waits two minutes
    wait_for(lambda: "JobState=COMPLETED" in output("scontrol", "show", "job", job))
    assert weights(run) == weights(whole)
    log = Path(found["log"]).read_text()
    assert "attempt 2" in log and "newest checkpoint: 0" in log and "exit code 0" in log
