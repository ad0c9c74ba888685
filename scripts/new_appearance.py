"""What does a new appearance cost, and which part of it costs most?

For a variant of ``armillary bench spatial`` whose model is trained: one goal policy learns from the
episodes as recorded, and one from varied episodes, too. Both act for the same model on episodes
that the study does not judge (seed 77): as in training, with new colours, with holes in the depth,
and with both.

    python scripts/new_appearance.py out/spatial point_map_world --record results/NAME.json
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from armillary.benchmark.machine import provenance
from armillary.core.files import write_json
from armillary.core.statistics import wilson_interval
from armillary.data import open_dataset, prepare, split_episodes
from armillary.evaluation import ModelSpec, evaluate, make_manifest
from armillary.experiments.spatial.run import VariantsConfig
from armillary.planning import Planning
from armillary.planning.planning import DIRECT
from armillary.recipes.goal_policy import add_goal_policy, policy_appearances
from armillary.training.loop import threads

BOTH = VariantsConfig().shifts["appearance"]
COLOURS = {"appearance": BOTH["appearance"]}
HOLES = {name: value for name, value in BOTH.items() if name not in COLOURS}
APPEARANCES = {"usual": {}, "colours": COLOURS, "holes": HOLES, "both": BOTH}
EPISODES, SEED = 100, 77


def main() -> None:
    """Train both policies, let them act, and write how many goals they reach."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of `armillary bench spatial`")
    parser.add_argument("variant", help="e.g. point_map_world")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--out", type=Path, default=Path("out/new_appearance"))
    parser.add_argument("--record", type=Path, default=None)
    asked = parser.parse_args()
    config = VariantsConfig()
    size = config.base.model.encoder.image_size
    cache = prepare(open_dataset(asked.study / "recording"), size)
    split = split_episodes(cache.num_episodes, config.base.held_out, asked.seed)
    source = asked.study / str(asked.seed) / asked.variant / "run" / "model"
    found: dict[str, Any] = {}
    for name, varied in (("as recorded", None), ("varied, too", policy_appearances(config.base))):
        folder = asked.out / asked.variant / name.replace(", ", "_").replace(" ", "_")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder / "model", ignore=shutil.ignore_patterns("policy"))
        with threads(1):
            add_goal_policy(folder / "model", cache, *split, seed=asked.seed, varied=varied)
        spec = ModelSpec(folder / "model", Planning(DIRECT))
        found[name] = {}
        for appearance, settings in APPEARANCES.items():
            world = {"image_size": size, **config.world, **settings}
            manifest = make_manifest("tabletop", "reach", EPISODES, SEED, world)
            records = evaluate(manifest, spec, out=folder / f"{appearance}.jsonl")
            solved = sum(one.success for one in records)
            found[name][appearance] = {
                "n": len(records),
                "success": solved / len(records),
                "wilson95": list(wilson_interval(solved, len(records))),
            }
            sys.stdout.write(f"{name}, {appearance}: {solved} of {len(records)}\n")
            sys.stdout.flush()
    command = f"python scripts/new_appearance.py STUDY {asked.variant} --seed {asked.seed}"
    value = {"variant": asked.variant, "policies": found, **provenance(command, 1)}
    write_json(asked.record or asked.out / "new_appearance.json", value)


if __name__ == "__main__":
    main()
