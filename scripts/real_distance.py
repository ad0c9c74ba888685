r"""Train the recipe ``world`` on real depth or range, and compare its predictions with baselines.

    python scripts/fetch_lidar.py out/lidar/loop.rawlog
    python scripts/real_distance.py out/lidar/loop.rawlog out/laser --name malaga_loop

    git clone https://github.com/andyzeng/tsdf-fusion-python out/tsdf
    python scripts/real_distance.py out/tsdf/data out/rgbd --name tsdf_room

DATA is what ``armillary ingest`` reads as one episode, or a dataset that it wrote. The model learns
from the first 70 % of the steps. The diagnosis fits its read-outs on the same part, and judges on
the rest, in metres. Three seeds. What is done in the folder is not done again.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from armillary.benchmark.machine import provenance
from armillary.core.errors import ArmillaryError
from armillary.core.files import read_json, write_json
from armillary.core.hashing import json_sha256
from armillary.core.values import Episode
from armillary.data import DatasetWriter, ingest, open_dataset
from armillary.data.layout import MANIFEST
from armillary.models.config import config_values
from armillary.recipes.recipe import train_recipe
from armillary.recipes.world import world
from armillary.services.diagnose.diagnosing import diagnose_model

LEARNED = 0.7  # of the steps; the diagnosis judges a recording of one episode on the rest


def main() -> int:
    """Train, judge, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the recording")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0 on")
    parser.add_argument("--name", required=True, help="of the row")
    parser.add_argument("--result", type=Path, help="file whose row real_distance.NAME is replaced")
    given = parser.parse_args()
    try:
        row = judged(given.data, given.out, range(given.seeds))
    except ArmillaryError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if given.result:
        result = read_json(given.result) if given.result.is_file() else {}
        rows = {**result.get("real_distance", {}), given.name: row}
        write_json(given.result, {**result, "real_distance": rows})
    for steps, errors in row["horizons"].items():
        said = "  ".join(
            f"{who} {value:.3g}" for who, value in errors.items() if isinstance(value, float)
        )
        sys.stdout.write(f"{steps} model steps: {said}\n")
    return 0


def judged(data: Path, out: Path, seeds: range) -> dict[str, Any]:
    """Return the errors in metres by horizon, the mean of the seeds' models beside baselines."""
    whole, first = data if (data / MANIFEST).is_file() else out / "whole", out / "first"
    if not whole.is_dir():
        ingest(data, whole)
    if not first.is_dir():
        episode = open_dataset(whole).read(0)
        writer = DatasetWriter(first, open_dataset(whole).fps)
        writer.write(0, cut(episode, int(len(episode.time_ns) * LEARNED)))
        writer.finalize()
    found = []
    for seed in seeds:
        run = out / f"run-{seed}"
        if not (run / "model").is_dir():
            recipe = replace(world(), seed=seed, threads=1, held_out=0.0)  # all of the first part
            begun = (run / "run.json").is_file()
            train_recipe(recipe, first, run, begun, diagnosed=False, acting=False)
        found.append(diagnose_model(run, whole, run / "diagnosis"))
    rows = [one["metres"] for one in found]
    return {
        "unit": "m",
        "sensor": rows[0][0]["sensor"],
        "horizons": {str(at[0]["steps"]): summed_up(at) for at in zip(*rows, strict=True)},
        "judged_on": found[0]["n"]["judged_on"],
        "recipe_sha256": json_sha256(config_values(world())),
        **provenance("python " + shlex.join(sys.argv), 1),
    }


def cut(episode: Episode, steps: int) -> Episode:
    """Return the first steps of an episode."""
    streams = {
        name: replace(stream, values=stream.values[:steps])
        for name, stream in episode.streams.items()
    }
    actions = None if episode.actions is None else episode.actions[: steps - 1]
    return replace(episode, streams=streams, time_ns=episode.time_ns[:steps], actions=actions)


def summed_up(rows: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """Return the errors at one horizon: means over seeds, and those of each seed's model."""
    means = {
        name: sum(row[name] for row in rows) / len(rows)
        for name, value in rows[0].items()
        if isinstance(value, float)
    }
    listed = ("latent_weight", "intervals", "gain_intervals")
    each = {name: [row[name] for row in rows] for name in listed}
    return {**means, "n": rows[0]["n"], "seeds": [row["model"] for row in rows], **each}


if __name__ == "__main__":
    sys.exit(main())
