"""torchrun restarts a real training after SIGKILL of one process, and it ends as if nobody had."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from armillary.training import read_log
from armillary.worlds import record

STEPS, EVERY = 60, 4
RESTARTS = 2
WORDS = ["--steps", STEPS, "--batch-size", 4, "--threads", 1, "--passes", 0, "--log-every", 1]
WORDS += ["--checkpoint-every", EVERY, "--finetune.steps", 5]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc"),
]


def torchrun(data: Path, out: Path, *words: str) -> subprocess.Popen[bytes]:
    """Begin a training by two processes, as docs/how-to/growing.md says it."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "--max-restarts", str(RESTARTS)]
    command += ["-m", "armillary", "train", "world", "--data", data, "--out", out, "--resume"]
    with out.with_suffix(".log").open("wb") as log:
        return subprocess.Popen([*command, *map(str, WORDS), *words], stdout=log, stderr=log)


def children(parent: int) -> dict[tuple[int, int], int]:
    """Return torchrun's processes by restart and rank, as their environment has them."""
    found = {}
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        try:
            entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        except OSError:  # it has just ended
            continue
        told = dict(entry.split("=", 1) for entry in entries if "=" in entry)
        if "RANK" in told:
            found[int(told["TORCHELASTIC_RESTART_COUNT"]), int(told["RANK"])] = int(pid)
    return found


def losses(out: Path) -> dict[int, float]:
    log = out / "log.jsonl"
    entries = read_log(log) if log.is_file() else []
    return {one["step"]: one["train/loss"] for one in entries if "train/loss" in one}


def killed(running: subprocess.Popen[bytes], out: Path, restart: int, rank: int, at: int) -> None:
    """Kill one process of an attempt as soon as that attempt has logged a step."""
    until = time.monotonic() + 120
    while (restart, rank) not in (found := children(running.pid)) or at not in losses(out):
        assert running.poll() is None and time.monotonic() < until, out.with_suffix(".log")
        time.sleep(0.005)
    os.kill(found[restart, rank], signal.SIGKILL)
    assert len(losses(out)) < STEPS, "it was killed too late"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_training_ends_by_itself_though_one_process_is_killed(tmp_path, monkeypatch, parallel):
    monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path / "cache"))
    data, whole, out = tmp_path / "data", tmp_path / "whole", tmp_path / "killed"
    record("two_rooms", data, 2, 15, workers=1)
    assert torchrun(data, whole, "--compute.parallel", parallel).wait() == 0
    running = torchrun(data, out, "--compute.parallel", parallel)
    killed(running, out, restart=0, rank=1, at=6)
    killed(running, out, restart=1, rank=0, at=18)  # that which writes
    assert running.wait() == 0
    assert losses(out) == losses(whole) and list(losses(out)) == list(range(1, STEPS + 1))
    for name in ("model.safetensors", "normalizer.safetensors"):
        assert (out / "model" / name).read_bytes() == (whole / "model" / name).read_bytes()
    assert not list((out / "checkpoints").glob(".*"))
