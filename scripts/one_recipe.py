"""One recipe in several worlds: record, train, act and diagnose, into ``results/world.json``.

    .venv/bin/python scripts/one_recipe.py out/worlds tabletop tabletop_grey ...
    .venv/bin/python scripts/one_recipe.py out/gym fetch fetch_moving metaworld pointmaze

Every row is one training of the recipe ``world`` with nothing changed; ``tabletop_long`` takes
4,200 and 4,000 steps on the recording of ``tabletop``. The first kind is a setting of the tabletop,
which is recorded here. Goals are reached by a search without a goal policy (``icem``) in new
episodes of the same setting. The second kind is recorded by ``scripts/record_gym_worlds.py``, into
the same folder, and has no goals. Read-outs and skill are of the episodes that the training held
out. A training that is done is not done again. ``tabletop_grey`` has one object, because nothing
tells one grey thing from another.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from armillary.benchmark.machine import core_count, provenance
from armillary.core.changing import changed
from armillary.core.errors import ArmillaryError
from armillary.core.files import read_json, write_json
from armillary.core.hashing import json_sha256
from armillary.models.config import config_values
from armillary.planning import Planning
from armillary.recipes.recipe import train_recipe
from armillary.recipes.world import world
from armillary.services.acting import ActConfig, act
from armillary.services.diagnose.diagnosing import diagnose_model
from armillary.worlds import record

RESULT = Path("results/world.json")
EPISODES, STEPS, GOALS = 2000, 12, 100
SETTINGS: dict[str, dict[str, Any]] = {
    "tabletop": {},
    "tabletop_grey": {"appearance": "grey", "num_objects": (1, 1)},
    "tabletop_textured": {"appearance": "textured"},
    "tabletop_moving": {"appearance": "moving"},
}
# Trained for longer, about 40 minutes. Nothing else is changed.
LONG = "tabletop_long"
LONGER = {"passes": 0.0, "steps": 4200, "finetune.passes": 0.0, "finetune.steps": 4000}


GYM = ("fetch", "fetch_moving", "metaworld", "pointmaze")
KNOWN = (*SETTINGS, LONG, *GYM)


def row(name: str, out: Path, seed: int, threads: int, command: str) -> dict[str, Any]:
    """Return the numbers of one world; folders of ``out`` that are complete are used again."""
    settings = SETTINGS.get(name, {})
    if name in GYM:
        data, runs = out / name, out / "runs" / name
    else:
        data, runs = out / name.removesuffix("_long") / "recording", out / name
    run = runs / f"run-{seed}"
    if name not in GYM and not (data / "meta" / "info.json").is_file():
        record(
            "tabletop",
            data,
            EPISODES,
            STEPS,
            workers=core_count(),
            settings=settings,
            resume=data.exists(),
        )
    began = time.perf_counter()
    if not (run / "seconds.json").is_file():
        begun = (run / "run.json").is_file()
        recipe = changed(world(), LONGER) if name == LONG else world()
        recipe = replace(recipe, seed=seed, threads=threads)
        train_recipe(recipe, data, run, resume=begun, diagnosed=False, acting=False)
        seconds = time.perf_counter() - began
        write_json(run / "seconds.json", {"seconds": None if begun else seconds})
    told = diagnose_model(run, data, run / "diagnosis")
    reached = {} if name in GYM else goals(run, runs / f"act-{seed}", settings)
    return {
        **reached,
        **judged(told),
        "train_seconds": read_json(run / "seconds.json")["seconds"],
        "seed": seed,
        "settings": settings,
        **provenance(command, threads),
    }


def goals(run: Path, out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return how many goals of new episodes are reached."""
    config = ActConfig(
        planning=Planning("icem"),
        episodes=GOALS,
        workers=core_count(),
        world_settings=settings,
    )
    found = act(run, "tabletop", out, config)
    model = found.rows["model"]
    return {
        "success": model.success,
        "n": model.n,
        "wilson95": list(model.wilson95),
        "floors": {other: found.rows[other].success for other in ("random", "noop", "oracle")},
    }


def judged(told: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of a diagnosis."""
    moved = told["moved"]
    intervals = moved.get("intervals", {})
    return {
        "read_out": {
            name.removesuffix("_xyz").removesuffix("_xy"): {
                "r2": one["r2"],
                "interval": one["intervals"]["r2"],
            }
            for name, one in told["read_out"].items()
        },
        "moved_stream": moved.get("stream"),
        "moved_skill": moved.get("skill"),
        "moved_skill_intervals": {
            k: one["model"] for k, one in intervals.items() if isinstance(one, dict)
        },
        "moved_skill_ridge": moved.get("ridge"),
        "moved_skill_bound": moved.get("bound"),
        "moved_n": moved.get("n"),
        "false_motion_cm": 100 * moved["false_motion"] if moved.get("false_motion") else None,
        "spearman_steps_to_go": told["progress"]["spearman"],
        "spearman_true_distance": {
            name: one["spearman"] for name, one in told["progress"].get("places", {}).items()
        },
        "action_top1": told["action_rank"]["top1"],
        "prediction": told["prediction"],
    }


def main() -> None:
    """Make the rows that are asked for and missing, and write them down one by one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(KNOWN))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=core_count())
    parser.add_argument("--result", type=Path, default=RESULT)
    given = parser.parse_args()
    names = given.names or list(SETTINGS)
    if unknown := {*names} - {*KNOWN}:
        parser.error(f"no world {', '.join(sorted(unknown))}; known: {', '.join(KNOWN)}")
    try:
        write_rows(given, names)
    except ArmillaryError as error:
        parser.exit(2, f"{error}\n")


def write_rows(given: argparse.Namespace, names: list[str]) -> None:
    """Make the rows of worlds, and write each down when it is done."""
    command = f"python {shlex.join(sys.argv)}"
    sha = json_sha256(config_values(world()))
    for name in names:
        began = time.perf_counter()
        one = row(name, given.out, given.seed, given.threads, command)
        # read now, because another process may have written its row meanwhile
        result: dict[str, Any] = read_json(given.result) if given.result.is_file() else {}
        # rows of an earlier recipe stay until they are made again; the tables mark them
        result.setdefault("worlds", {})[name] = {"recipe_sha256": sha, **one}
        result["recipe_sha256"] = sha
        write_json(given.result, result | provenance(command, core_count()))
        sys.stderr.write(
            f"{name}: {time.perf_counter() - began:.0f} s, reached {one.get('success')}, "
            f"{ {k: round(v['r2'], 3) for k, v in one['read_out'].items()} }, skill "
            f"{one['moved_skill']}, false motion {one['false_motion_cm']} cm\n"
        )


if __name__ == "__main__":
    main()
