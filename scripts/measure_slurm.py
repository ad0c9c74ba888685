"""Measure that a training under Slurm ends as one that nobody interrupts: results/slurm.json.

    eval "$(scripts/slurm_here.sh start out/slurm)"
    python scripts/measure_slurm.py OUT [--record FILE]
    scripts/slurm_here.sh stop out/slurm

It takes the Slurm of `slurm_here.sh`: two nodes of one core on this machine, and a partition that
preempts. About half an hour, of which Slurm lets each requeued job wait two minutes. Three parts:

- one node: a job of higher priority preempts the training, then its time limit comes, as often as
  it takes. A second launch of the run folder is tried meanwhile. Beside it the same command without
  Slurm and without interruption.
- two nodes, one process each: requeued once, beside an uninterrupted torchrun of two processes.
- a training whose checkpoints are too rare for its time limit: it must end, and say why.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from armillary.benchmark.machine import provenance
from armillary.core.files import write_json
from armillary.training import read_log
from armillary.worlds import record

EPISODES, EPISODE_STEPS = 6, 40
LIMIT = "3"  # minutes, the least that `launch` takes
FLAGS = (
    *("--batch-size", "16", "--threads", "1", "--log-every", "1", "--finetune.steps", "10"),
    *("--passes", "0"),
)
TENSORS = ("model.safetensors", "normalizer.safetensors")
RUNNING, OVER = ("RUNNING",), ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL")


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--record", type=Path, default=Path("results/slurm.json"))
    chosen = parser.parse_args()
    out = chosen.out.absolute()
    value = provenance(" ".join(["python", *sys.argv]), 1)
    shutil.rmtree(out, ignore_errors=True)
    record("tabletop", out / "data", EPISODES, EPISODE_STEPS, workers=1)
    found = {
        "slurm": output("sbatch", "--version").split()[-1],
        "nodes": "two of one core each, both on this machine",
        "minutes_per_attempt": int(LIMIT),
        "one_node": one_node(out),
        "two_nodes": two_nodes(out),
        "rare_checkpoints": rare_checkpoints(out),
    }
    write_json(chosen.record, found | value)


def one_node(out: Path) -> dict[str, Any]:
    """Preempt a training, let its time limit come, and compare it with an uninterrupted one."""
    words = train(out, "one", 400, every=20)
    alone = plain(out, "one_uninterrupted", words)
    job = launched("--partition", "main", "--", *words)
    second = armillary("launch", "slurm", "--time", LIMIT, "--", *words)
    wait_for(lambda: len(steps(out / "one")) >= 60)
    node = output("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()
    urgent = ("--parsable", "--partition=urgent", f"--nodelist={node}", "--output=/dev/null")
    output("sbatch", *urgent, "--wrap", "sleep 5")
    ended = finished(job)
    return compared(out, "one", alone, ended) | {
        "second_launch": {"exit_code": second.returncode, "said": second.stderr.strip()}
    }


def two_nodes(out: Path) -> dict[str, Any]:
    """Requeue a training of two nodes, and compare it with an uninterrupted torchrun."""
    words = train(out, "two", 100, every=10)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    alone = plain(out, "two_uninterrupted", words, torchrun)
    job = launched("--nodes", "2", "--", *words)
    wait_for(lambda: len(steps(out / "two")) >= 35)
    output("scontrol", "requeue", job)
    return compared(out, "two", alone, finished(job))


def rare_checkpoints(out: Path) -> dict[str, Any]:
    """Let the time limit come before the first checkpoint: the job must end, and say why."""
    job = launched("--", *train(out, "rare", 2000, every=2000))
    ended = finished(job)
    log = (out / "rare" / "slurm" / f"{job}.log").read_text()
    said = next(line for line in log.splitlines() if "time limit came" in line)
    return ended | {"said": said.partition("] ")[2]}


def train(out: Path, name: str, count: int, every: int) -> tuple[str, ...]:
    """Return the words of a training."""
    folders = ("--data", str(out / "data"), "--out", str(out / name))
    counts = ("--steps", str(count), "--checkpoint-every", str(every))
    return ("train", "world", *folders, *counts, *FLAGS)


def plain(
    out: Path, name: str, words: tuple[str, ...], launcher: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Run the same words without Slurm, into another folder."""
    began = time.perf_counter()
    words = tuple(str(out / name) if one == str(out / name.split("_")[0]) else one for one in words)
    command = [sys.executable, *launcher, "-m", "armillary", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = round(time.perf_counter() - began, 1)
    return {"sha256": digest(out / name), "steps": steps(out / name), "seconds": seconds}


def compared(out: Path, name: str, alone: dict[str, Any], ended: dict[str, Any]) -> dict[str, Any]:
    """Return what became of a job, beside the uninterrupted run."""
    log = next((out / name / "slurm").glob("*.log")).read_text()
    attempts = re.findall(r"\[launch (\S+)\] attempt \d+ on (\S+); newest checkpoint: (\S+)", log)
    asked = re.findall(r"\] requeued with (-?\d+) s left", log)
    return ended | {
        "steps": len(alone["steps"]),
        "attempts": [
            {"began": began, "on": on, "from_checkpoint": 0 if at == "none" else int(at)}
            for began, on, at in attempts
        ],
        "requeued_before_the_limit_s": [int(one) for one in asked],
        "sha256": digest(out / name),
        "sha256_uninterrupted": alone["sha256"],
        "identical": digest(out / name) == alone["sha256"] and steps(out / name) == alone["steps"],
        "seconds_uninterrupted": alone["seconds"],
    }


def armillary(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of armillary."""
    command = [sys.executable, "-m", "armillary", *words]
    return subprocess.run(command, capture_output=True, text=True)


def launched(*words: str) -> str:
    """Launch, and return the job's number."""
    found = armillary("launch", "slurm", "--time", LIMIT, *words)
    if found.returncode:
        raise SystemExit(found.stderr)
    return found.stdout.split()[1]


def finished(job: str) -> dict[str, Any]:
    """Wait until a job is over; return its state, its restarts and the seconds since the call."""
    began = time.perf_counter()
    told: dict[str, str] = {}

    def over() -> bool:
        said = output("scontrol", "--oneliner", "show", "job", job)
        pairs = (one.partition("=") for one in said.split() if "=" in one)
        told.update({name: value for name, _, value in pairs})
        return told["JobState"] in OVER

    wait_for(over, 1800)
    return {
        "state": told["JobState"],
        "requeued": int(told["Restarts"]),
        "seconds_from_first_interruption": round(time.perf_counter() - began, 1),
    }


def wait_for(holds: Callable[[], bool], seconds: float = 300) -> None:
    """Look every second until something holds."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise SystemExit("It took too long; see the log of the job.")
        time.sleep(1)


def output(*words: str) -> str:
    """Return what a command of Slurm says."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def steps(run: Path) -> list[int]:
    """Return the steps that stand in a run's log."""
    log = run / "log.jsonl"
    entries = read_log(log) if log.is_file() else []
    return [entry["step"] for entry in entries if "train/loss" in entry]


def digest(run: Path) -> str:
    """Return the SHA-256 of a run's final weights and scales."""
    files = (run / "model" / name for name in TENSORS)
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


if __name__ == "__main__":
    if "SLURM_CONF" not in os.environ:
        raise SystemExit('Start a Slurm first: eval "$(scripts/slurm_here.sh start out/slurm)"')
    main()
