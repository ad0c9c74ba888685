"""Comprehension of the recipe ``world``, five trainings: record, train and ask, into one result.

    .venv/bin/python scripts/understand_stage.py out/stage

Every model is one training of the recipe ``world`` with nothing changed but its seed, on 4,000
episodes of the world ``stage``. All are asked the same quadruplets. What is finished in the folder
is used again, so the same command goes on after a kill.

    OUT/data                the recording
    OUT/world_SEED          the runs
    OUT/understand          what the models said, result.json of each, and result.json of all
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from armillary.benchmark.machine import core_count
from armillary.cli.progress import bar
from armillary.core.errors import ArmillaryError
from armillary.core.files import write_json
from armillary.recipes.recipe import train_recipe
from armillary.recipes.world import world
from armillary.services.understand.seeds import understand_seeds
from armillary.services.understand.study import UnderstandConfig
from armillary.worlds import record

RESULT = Path("results/understand.json")
EPISODES, STEPS = 4000, 32
FRESH = 100


def trained(out: Path, seed: int) -> Path:
    """Return the run of a seed; it is trained unless its model is there."""
    run = out / f"world_{seed}"
    if not (run / "model").is_dir():
        begun = (run / "run.json").is_file()
        recipe = replace(world(), seed=seed)
        train_recipe(recipe, out / "data", run, begun, bar, diagnosed=False, acting=False)
    return run


def main() -> None:
    """Make what is missing, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--result", type=Path, default=RESULT)
    given = parser.parse_args()
    try:
        write_result(given)
    except ArmillaryError as error:
        parser.exit(2, f"{error}\n")


def write_result(given: argparse.Namespace) -> None:
    """Record, train and ask what is missing."""
    data = given.out / "data"
    with bar("recording") as progress:
        record(
            "stage",
            data,
            EPISODES,
            STEPS,
            workers=core_count(),
            settings={"image_size": world().model.encoder.image_size},  # as ``armillary record``
            resume=data.exists(),
            progress=progress,
        )
    runs = [str(trained(given.out, seed)) for seed in given.seeds]
    seeds = " ".join(str(seed) for seed in given.seeds)
    command = f"python scripts/understand_stage.py {given.out} --seeds {seeds}"
    config = UnderstandConfig(fresh=FRESH)
    result = understand_seeds(runs, given.out / "understand", config, bar, command)
    write_json(given.result, result)


if __name__ == "__main__":
    main()
