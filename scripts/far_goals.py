"""Do sub-goals from recorded latents reach goals that are far, and what does a search add?

Acts in an environment of ``armillary bench worlds`` with the model that was trained there, on the
same goals in four ways: the goal policy alone and with a search, each with sub-goals and without.

    armillary bench worlds ogbench_maze --out out/worlds     (only recording and training are used)
    python scripts/far_goals.py out/worlds ogbench_maze --record results/far_goals.json

Ways are acted one after another, and what is finished is kept. ``--ways`` names some of them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

from armillary.benchmark.machine import provenance
from armillary.cli.progress import bar
from armillary.core.files import write_json
from armillary.core.statistics import mcnemar
from armillary.evaluation import Record, summarise
from armillary.experiments.worlds.run import ANY, ENVIRONMENTS
from armillary.planning import Planning
from armillary.planning.planning import DIRECT, GUIDED
from armillary.recipes.goal_policy import SUMMARY
from armillary.recipes.landmarks import learn_landmarks
from armillary.services.acting import ActConfig, evaluate_models, model_spec
from armillary.zoo.finding import find_model

WAYS = {
    "direct": (DIRECT, False),
    "direct_sub_goals": (DIRECT, True),
    "direct_search": (GUIDED, False),
    "direct_search_sub_goals": (GUIDED, True),
}


def main() -> None:
    """Find the landmarks, act, and write how many goals each way reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of `armillary bench worlds`")
    parser.add_argument("name", choices=[n for n, one in ENVIRONMENTS.items() if ANY in one.tasks])
    parser.add_argument("--ways", nargs="+", default=[*WAYS], choices=[*WAYS])
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the goals; 7 is for development")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("out/far_goals"))
    parser.add_argument("--record", type=Path, default=None)
    asked = parser.parse_args()
    environment = ENVIRONMENTS[asked.name]
    owner = asked.study / (environment.shares or asked.name)
    facts = owner / "landmarks.json"
    if not facts.is_file():
        found = learn_landmarks(owner / "run", owner / "recording")
        write_json(facts, asdict(found) | {"file": str(found.file)})
    folder = find_model(owner / "run")
    config = ActConfig(
        episodes=asked.episodes,
        seed=asked.seed,
        workers=asked.workers,
        task=environment.tasks[ANY],
        world_settings=environment.settings,
    )
    config = replace(config, **environment.judged)
    records: dict[str, tuple[Record, ...]] = {}
    for way in asked.ways:
        planner, sub_goals = WAYS[way]
        spec = model_spec(folder, replace(config, planning=Planning(planner), sub_goals=sub_goals))
        place = asked.out / asked.name / f"seed_{asked.seed}_{asked.episodes}"
        with bar(f"acting {way}") as progress:
            _, some = evaluate_models({way: spec}, environment.world, place, config, progress)
        records |= some
    result: dict[str, Any] = {
        "environment": asked.name,
        "settings": dict(environment.settings),
        "budget": config.budget,
        "goals": {"n": asked.episodes, "seed": asked.seed},
        "training": _trained(owner / "run"),
        "landmarks": {n: v for n, v in json.loads(facts.read_text()).items() if n != "file"},
        "rows": {name: _row(some) for name, some in records.items()},
        "paired": {
            f"{one} against {other}": _paired(records[one], records[other])
            for other, one in combinations(asked.ways, 2)
        },
        **provenance(shlex.join(["python", *sys.argv]), 1),
    }
    if asked.record is not None:
        write_json(asked.record, result)


def _row(records: tuple[Record, ...]) -> dict[str, Any]:
    row = summarise(records)
    return {
        "n": row.n,
        "success_final": row.success,
        "success_first_hit": row.first_hit_success,
        "wilson95": list(row.wilson95),
        "ms_per_decision": row.ms_per_decision,
        "model_steps_per_decision": row.model_steps_per_decision,
    }


def _paired(one: tuple[Record, ...], other: tuple[Record, ...]) -> dict[str, Any]:
    test = mcnemar(*([r.outcome == "success" for r in some] for some in (one, other)))
    return {"only_first": test.only_a, "only_second": test.only_b, "p": test.p_value}


def _trained(run: Path) -> dict[str, Any]:
    """Return when the training began and ended, UTC, and what the goal policy took of it."""
    began, ended = ((run / name).stat().st_mtime for name in ("run.json", SUMMARY))
    policy = json.loads((run / SUMMARY).read_text())
    return {
        "began": datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds"),
        "seconds": round(ended - began),
        "goal_policy_seconds": round(policy["seconds"]),
        "goal_policy_r2": policy["r2"],
    }


if __name__ == "__main__":
    main()
