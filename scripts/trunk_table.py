"""Does a frozen pretrained trunk help, at equal time? Three worlds, three seeds, three encoders.

    python scripts/trunk_table.py out/trunks tabletop_textured metaworld mouse --gym out/gym
    python scripts/trunk_table.py out/trunks --result results/trunks.json

The first line trains and judges; several may run side by side with other worlds, and what is done
is not done again. The second joins what is there. Each model has the same seconds of one core, with
the time in which its trunk sees the recording (``--seconds``). How many updates that allows is
found by two short trainings of each encoder in each world.

- ``pixels``: the recipe as it is.
- ``mobilenetv2``: features of MobileNetV2, trained on ImageNet, in place of the first layers.
- ``mobilenetv2-untrained``: the same network with random weights.

Worlds: ``tabletop_textured``, recorded here (500 episodes of 12 steps); ``metaworld``, recorded by
``scripts/record_gym_worlds.py`` into ``--gym``; real videos by the names of
``scripts/real_video.py``.

Two things differ beside the weights. A trunk sees 128 pixels a side, and ``pixels`` 64. What was
recorded at 64 pixels is enlarged, but videos have more to show. ``pixels`` shifts its pictures by a
few pixels in training, and a trunk's features are kept, so they cannot be shifted. The untrained
trunk differs from the trained one in its weights alone.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from real_video import recordings
from scipy import stats

from armillary.benchmark.machine import provenance
from armillary.core.errors import ArmillaryError
from armillary.core.files import read_json, write_json
from armillary.core.hashing import json_sha256
from armillary.data import ingest, open_dataset
from armillary.models import load_model
from armillary.models.config import config_values
from armillary.models.trunks import open_trunk
from armillary.recipes.recipe import prepared, train_recipe
from armillary.recipes.recipe_config import Recipe, shortened
from armillary.recipes.splitting import model_streams
from armillary.recipes.time_split import as_trained, is_in_two
from armillary.recipes.world import adapted, world
from armillary.services.diagnose.diagnosing import diagnose_model
from armillary.understanding.ahead import errors_ahead, two_sides
from armillary.worlds import record

ENCODERS = ("pixels", "mobilenetv2", "mobilenetv2-untrained")
EPISODES, STEPS = 500, 12
TRIALS = 10, 40  # updates of the two short trainings that tell the time of one
AHEAD = 4  # model steps
HISTORY = 4  # model steps that are seen
BLOCK_S = 2.0
SAME_TIME = 0.1  # share by which an encoder's mean time over seeds may differ from that of all


def recording(name: str, out: Path, given: argparse.Namespace) -> Path:
    """Return the folder of a world's recording; make it where that is not done."""
    if name == "metaworld":
        return given.gym / name
    folder = out / name / "recording"
    if name == "tabletop_textured":
        if not (folder / "meta" / "info.json").is_file():
            look = {"appearance": "textured"}
            record("tabletop", folder, EPISODES, STEPS, settings=look, resume=folder.exists())
    elif not folder.is_dir():
        ingest(recordings(given.data)[name].video, folder, "video")
    return folder


def recipe_of(encoder: str, seed: int, data: Path) -> Recipe:
    """Return the recipe, adapted to a recording and with an encoder's trunk."""
    trunk = "" if encoder == "pixels" else encoder
    recipe = replace(world(), seed=seed, threads=1)
    return adapted(replace(recipe, model=replace(recipe.model, trunk=trunk)), open_dataset(data))


def trained(recipe: Recipe, data: Path, run: Path) -> float:
    """Train without anything after it, and return the seconds; pictures are prepared already."""
    begun = (run / "run.json").is_file()
    began = time.perf_counter()
    train_recipe(recipe, data, run, resume=begun, diagnosed=False, acting=False)
    return time.perf_counter() - began


def updates(encoder: str, data: Path, out: Path, seconds: float) -> int:
    """Return how many updates of the first stage an encoder has time for, after its trunk."""
    told = out / f"{encoder}.json"
    if not told.is_file():
        recipe = recipe_of(encoder, 99, data)
        prepared(open_dataset(data), recipe.model)  # decoding is the same work for all
        # the trunk sees the recording before the trials, so that they tell the updates alone
        whole = trained(shortened(recipe, 1), data, out / f"trial-{encoder}-1")
        few, many = (
            trained(shortened(recipe, n), data, out / f"trial-{encoder}-{n}") for n in TRIALS
        )
        each = (many - few) / (TRIALS[1] - TRIALS[0])
        fixed = few - TRIALS[0] * each
        trunk_s = max(0.0, whole - fixed - each) if encoder != "pixels" else 0.0
        write_json(told, {"each_s": each, "fixed_s": fixed, "trunk_s": trunk_s})
    costs = read_json(told)
    left = seconds - costs["fixed_s"] - costs["trunk_s"]
    return max(1, round(left / costs["each_s"]))


def judged(run: Path, data: Path) -> dict[str, float]:
    """Return what a model knows, on held-out episodes or the held-out end of a video."""
    found = diagnose_model(run, data, run / "diagnosis")
    values = {f"{name} R2": one["r2"] for name, one in found["read_out"].items()}
    skill = (found["moved"].get("skill") or {}).get(str(AHEAD))
    if skill is not None:
        values["skill on moved objects"] = skill
    for row in found["prediction"]:
        if row["space"] != "latent" and row["steps"] == AHEAD:
            values["features, error over that of copy-last"] = row["model"] / row["copy_last"]
    return values | alone(run, data)


def alone(run: Path, data: Path) -> dict[str, float]:
    """Return how a video's frozen features are predicted from the latent alone, and by baselines.

    A diagnosis moves the best prediction without a model towards the model's as far as that helps.
    Where it never helps, encoders could not be told apart.
    """
    network = load_model(run / "model")
    cache = as_trained(run / "model", prepared(open_dataset(data), network.config))
    if not is_in_two(cache):
        return {}
    streams, skip = model_streams(network.config, cache), network.config.frame_skip
    sides = two_sides(network, cache, int(cache.starts[1]), skip, streams, HISTORY)
    errors = errors_ahead(network, sides, AHEAD, None, round(BLOCK_S * cache.fps))["features"]
    shown = {"read": "the latent alone", "copy_last": "copy-last", "place_ridge": "place ridge"}
    return {f"features, error of {said}": float(errors[who].mean()) for who, said in shown.items()}


def train_all(given: argparse.Namespace) -> None:
    """Train and judge every encoder and seed in the worlds that are asked for."""
    for name in given.worlds:
        out = given.out / name
        data = recording(name, given.out, given)
        for seed in range(given.seeds):
            for encoder in ENCODERS:
                run = out / f"{encoder}-{seed}"
                if (run / "row.json").is_file():
                    continue
                steps = updates(encoder, data, out, given.seconds)
                recipe = shortened(recipe_of(encoder, seed, data), steps)
                seconds = trained(recipe, data, run)
                row = {"seconds": seconds, "steps": steps, "values": judged(run, data)}
                write_json(run / "row.json", row)
                sys.stdout.write(f"{name} {encoder} {seed}: {json.dumps(row)}\n")
                sys.stdout.flush()


def table(out: Path, seeds: int) -> dict[str, Any]:
    """Return by world and encoder the mean over seeds, and the gain over the other encoders.

    Raises:
        ArmillaryError: an encoder had another time than the rest.
    """
    found: dict[str, Any] = {}
    for folder in sorted(path for path in out.iterdir() if (path / "pixels-0").is_dir()):
        rows = {
            encoder: [read_json(folder / f"{encoder}-{seed}" / "row.json") for seed in range(seeds)]
            for encoder in ENCODERS
        }
        found[folder.name] = {}
        times = {
            encoder: float(np.mean([row["seconds"] for row in own]))
            for encoder, own in rows.items()
        }
        usual = float(np.mean(list(times.values())))
        for encoder, own in rows.items():
            costs = read_json(folder / f"{encoder}.json")
            took = times[encoder]  # each seed's trunk sees the recording anew, and that counts
            if abs(took / usual - 1) > SAME_TIME:
                raise ArmillaryError(
                    f"{folder.name}: {encoder} took {took:.0f} s, and all encoders "
                    f"{usual:.0f} s in the mean. Times must be equal to {SAME_TIME:.0%}. Remove "
                    f"{folder} and train again on an idle core."
                )
            found[folder.name][encoder] = {
                "seconds": took,
                "steps": own[0]["steps"],
                "costs": costs,
                "values": {name: _told(rows, encoder, name) for name in own[0]["values"]},
            }
    return found


def _told(rows: dict[str, list[dict[str, Any]]], encoder: str, name: str) -> dict[str, Any]:
    """Return mean and seeds, and differences from the other encoders with paired t intervals."""
    values = {one: np.array([row["values"][name] for row in own]) for one, own in rows.items()}
    told: dict[str, Any] = {
        "mean": float(values[encoder].mean()),
        "seeds": values[encoder].tolist(),
        "over": {},
    }
    for other in rows:
        if other != encoder:
            apart = values[encoder] - values[other]
            half = stats.t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / len(apart) ** 0.5
            mean = float(apart.mean())
            told["over"][other] = {"mean": mean, "interval95": [mean - half, mean + half]}
    return told


def main() -> int:
    """Train what is asked for, or join what is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("worlds", nargs="*", help="tabletop_textured, metaworld, flies, ...")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0 on")
    parser.add_argument("--seconds", type=float, default=180.0, help="of one core, for each model")
    parser.add_argument("--gym", type=Path, default=Path("out/gym"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--result", type=Path, help="file to write the joined table to")
    given = parser.parse_args()
    try:
        train_all(given)
        if given.result:
            trunks = {name: vars(open_trunk(name).facts) for name in ENCODERS[1:]}
            write_json(
                given.result,
                {
                    "worlds": table(given.out, given.seeds),
                    "trunks": trunks,
                    "seconds": given.seconds,
                    "recipe_sha256": json_sha256(config_values(world())),
                    **provenance("python " + shlex.join(sys.argv), 1),
                },
            )
    except ArmillaryError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
