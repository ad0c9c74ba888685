r"""Kill training with SIGKILL at random steps, resume it, and compare the weights to the bit.

    python scripts/kill_and_resume.py                      # ten kills, about two minutes
    python scripts/kill_and_resume.py --kills 30 --seed 7 --steps 80 --out out/kills

Records a few episodes of the tabletop, trains the demo's recipe on them for some steps without
interruption, and then as many times with a kill: the training process gets SIGKILL a random moment
after it has taken a random number of steps (while it computes, logs or writes a checkpoint, as it
happens), is started again with ``resume``, and its final weights, scales and log must be those of
the uninterrupted run. Prints one line a kill and a verdict; leaves with 1 if any differs.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

EPISODES, EPISODE_STEPS = 6, 40
CHECKPOINT_EVERY, BATCH, FINETUNING = 4, 16, 10
TENSORS = ("model.safetensors", "normalizer.safetensors")


def main() -> int:
    """Run all kills and return the exit code."""
    options = parsed()
    if options.attempt:
        attempt(options.out, options.attempt, options.steps)
        return 0
    from armillary.core.rng import generator
    from armillary.worlds import record

    shutil.rmtree(options.out, ignore_errors=True)
    record("tabletop", options.out / "data", EPISODES, EPISODE_STEPS, workers=1)
    train(options, "uninterrupted").communicate()
    expected, log = digest(options.out / "uninterrupted"), steps_of(options.out / "uninterrupted")
    say(f"uninterrupted: {options.steps} steps, {len(log)} logged, weights {expected[:16]}")
    held = 0
    for number in range(options.kills):
        rng = generator("kill-and-resume", options.seed, number)
        at = int(rng.integers(1, options.steps - 1))
        name = f"killed_{number + 1:02d}"
        done = kill(options, name, at, float(rng.uniform(0, 0.2)))
        resumed = resume(options, name)
        found, logged = digest(options.out / name), steps_of(options.out / name)
        same = found == expected and logged == log
        held += same
        say(
            f"kill {number + 1:2d}: SIGKILL after step {done:3d}, resumed at {resumed:3d}, "
            f"weights {found[:16]} {'identical' if same else 'DIFFERENT'}"
        )
    whole = held == options.kills > 0
    say(f"{'PASS' if whole else 'FAIL'}: {held} of {options.kills} runs are bit-identical.")
    return 0 if whole else 1


def parsed() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/kill_and_resume"))
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--attempt", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def attempt(out: Path, name: str, steps: int) -> None:
    """Train, as the process that is killed: resume where there is something to resume."""
    from armillary.recipes import train_recipe, world

    usual = world()
    recipe = replace(
        usual,
        settling=replace(usual.settling, steps=FINETUNING),
        steps=steps,
        batch_size=BATCH,
        log_every=1,
        checkpoint_every=CHECKPOINT_EVERY,
        threads=1,
    )
    summary = train_recipe(recipe, out / "data", out / name, resume=True, acting=False)
    say(f"resumed_at {summary.resumed_at}")


def train(options: argparse.Namespace, name: str) -> subprocess.Popen[str]:
    """Start a training process."""
    words = ["--out", str(options.out), "--attempt", name, "--steps", str(options.steps)]
    command = [sys.executable, str(Path(__file__).resolve()), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill(options: argparse.Namespace, name: str, at: int, delay_s: float) -> int:
    """Start a run, kill it some time after ``at`` steps, and return the steps it had logged."""
    process = train(options, name)
    while len(steps_of(options.out / name)) < at:
        if process.poll() is not None:
            raise SystemExit(f"{name}: training ended before step {at} with {process.returncode}.")
        time.sleep(0.002)
    time.sleep(delay_s)
    process.kill()
    process.communicate()
    if process.returncode != -signal.SIGKILL:
        raise SystemExit(f"{name}: the run was over before it could be killed; raise --steps.")
    return len(steps_of(options.out / name))


def resume(options: argparse.Namespace, name: str) -> int:
    """Run to the end and return the step at which it went on."""
    said, _ = train(options, name).communicate()
    return int(said.split()[-1])


def steps_of(run: Path) -> list[int]:
    """Return the steps that stand in a run's log."""
    from armillary.training import read_log

    log = run / "log.jsonl"
    entries = read_log(log) if log.is_file() else []
    return [entry["step"] for entry in entries if "train/loss" in entry]


def digest(run: Path) -> str:
    """Return the SHA-256 of a run's final weights and scales."""
    return hashlib.sha256(
        b"".join((run / "model" / name).read_bytes() for name in TENSORS)
    ).hexdigest()


def say(text: str) -> None:
    """Print a line now."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
