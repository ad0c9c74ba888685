"""Evaluate a model in the real LeRobot and compare with acting in process: results/lerobot.json.

    python scripts/measure_lerobot.py MODEL LEROBOT_BIN [--episodes 200] [--ways model saved]

LEROBOT_BIN is the ``bin`` folder of an environment with ``lerobot==0.4.4``, armillary and the
plugin ``lerobot_policy_armillary`` (``make test-lerobot`` makes one). ``armillary act`` runs here
and writes the episodes. Then ``lerobot-eval`` runs them twice: with the model as it is, one episode
at a time, and with a saved policy, several side by side. The records of both are compared with
those of ``act``: outcomes, distances and actions, to the bit.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from armillary.benchmark.machine import provenance
from armillary.core.files import write_json
from armillary.core.hashing import file_sha256
from armillary.core.statistics import wilson_interval
from armillary.evaluation import Record, read_records
from armillary.services.acting import ActConfig, act
from armillary.zoo.finding import find_model

WORLD, TASK = "tabletop", "reach"
WAYS = {"model": 1, "saved": 4}  # and how many episodes side by side
_PACKAGES = ("lerobot", "lerobot_policy_armillary", "armillary", "torch", "numpy", "gymnasium")
_VERSIONS = "import importlib.metadata as m, sys; print(*(m.version(n) for n in sys.argv[1:]))"
_SAVE = """
import sys
from lerobot_policy_armillary import ArmillaryPolicy
policy = ArmillaryPolicy.from_pretrained(sys.argv[1], world=sys.argv[2])
policy.save_pretrained(sys.argv[3])
"""


def run(words: Sequence[str | Path]) -> str:
    """Run a program on one thread and return what it prints.

    Raises:
        RuntimeError: it failed; with its last lines.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)  # armillary is installed there
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{words[0]} failed: {done.stderr[-2000:]}")
    return done.stdout


def evaluated(
    programs: Path, policy: Sequence[str], manifest: Path, batch: int, out: Path
) -> tuple[list[bool], tuple[Record, ...]]:
    """Return what ``lerobot-eval`` says about each episode, and the environment's records."""
    episodes = len(json.loads(manifest.read_text())["episodes"])
    records = out / "records.jsonl"
    if not (out / "eval_info.json").is_file():
        shutil.rmtree(out, ignore_errors=True)  # records of a run that was killed
        run(
            [
                programs / "lerobot-eval",
                *policy,
                "--env.type=armillary",
                f"--env.manifest={manifest}",
                f"--env.records={records}",
                f"--eval.n_episodes={episodes}",
                f"--eval.batch_size={batch}",
                "--seed=0",
                f"--output_dir={out}",
            ]
        )
    found = json.loads((out / "eval_info.json").read_text())
    return found["per_task"][0]["metrics"]["successes"], read_records(records)


def alike(one: Record, other: Record) -> bool:
    """Tell whether the same happened in an episode, to the bit."""
    names = ("id", "seed", "goal_seed", "manifest", "outcome", "distances", "actions")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def compared(
    model: Path, programs: Path, episodes: int, work: Path, asked: Sequence[str]
) -> dict[str, Any]:
    """Return success in LeRobot beside success in process, on the same episodes.

    Args:
        model: run folder or model folder.
        programs: folder of LeRobot's programs.
        episodes: how many.
        work: folder for what is in between.
        asked: keys of ``WAYS``.
    """
    folder = find_model(model)
    python = programs / "python"
    versions = run([python, "-c", _VERSIONS, *_PACKAGES]).split()
    acting = act(folder, WORLD, work / "act", ActConfig(episodes=episodes, task=TASK, workers=1))
    saved = work / "policy"
    policies = {
        "model": ["--policy.type=armillary", f"--policy.model={folder}", f"--policy.world={WORLD}"],
        "saved": [f"--policy.path={saved}"],
    }
    if "saved" in asked:
        run([python, "-c", _SAVE, folder, WORLD, saved])
    here = {record.id: record for record in acting.records["model"]}
    runs = {}
    for name in asked:
        policy, batch = policies[name], WAYS[name]
        manifest, out = work / "act" / "manifest.json", work / name
        successes, records = evaluated(programs, policy, manifest, batch, out)
        assert len(successes) == len(records) == episodes
        runs[name] = {
            "policy": " ".join(word.split("=")[0] for word in policy),
            "batch_size": batch,
            "solved": sum(successes),
            "interval": list(wilson_interval(sum(successes), episodes)),
            "episodes_with_equal_records": sum(alike(here[one.id], one) for one in records),
        }
    floors = ("random", "noop", "oracle")
    rows = {name: acting.rows[name] for name in ("model", *floors)}
    return {
        "world": WORLD,
        "task": TASK,
        "n": episodes,
        "planner": acting.planner,
        "manifest_sha256": acting.manifest.sha256,
        "model_sha256": file_sha256(folder / "model.safetensors"),
        "in_process": {
            name: {"solved": round(row.success * row.n), "interval": list(row.wilson95)}
            for name, row in rows.items()
        },
        "lerobot": runs,
        "versions": dict(zip(_PACKAGES, versions, strict=True)),
    }


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("lerobot_bin", type=Path)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--work", type=Path)
    parser.add_argument("--record", type=Path, default=Path("results/lerobot.json"))
    chosen = parser.parse_args()
    origin = provenance(" ".join(["python", *sys.argv]), 1)
    with tempfile.TemporaryDirectory() as temporary:
        work = chosen.work or Path(temporary)
        value = compared(chosen.model, chosen.lerobot_bin, chosen.episodes, work, chosen.ways)
    write_json(chosen.record, value | origin)
    sys.stdout.write(f"{json.dumps(value, indent=2)}\n")


if __name__ == "__main__":
    main()
