"""Recording, acting and judging by actors of Ray, one killed in each, beside processes: the same?

    python scripts/measure_ray.py RUN out/ray      # needs: pip install 'armillary[ray]' psutil

RUN is a model of the tabletop. Each is done twice with two workers, by processes and by actors of
Ray on this machine. When a quarter is done, one actor gets SIGKILL.

- record: the tabletop. All files are compared.
- act: RUN in episodes of the tabletop. All records are compared (actions, distances and decisions,
  without times).
- understand: a model of the world stage that is trained here for a minute, asked about possible and
  impossible clips. All fields of the result are compared, without when and where it was made. By
  processes it is one, which is all that ``understand`` has.

The result goes to ``results/ray.json``. Parts that are not asked for (``--parts``) stay as they are
there. Each says when and where it was made.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from armillary.benchmark.machine import provenance
from armillary.core.errors import ArmillaryError
from armillary.core.files import read_json, write_json
from armillary.core.hashing import file_sha256, json_sha256
from armillary.core.progress import Progress, silent
from armillary.evaluation import read_records
from armillary.planning import Planning
from armillary.recipes.recipe import train_recipe
from armillary.recipes.recipe_config import shortened
from armillary.recipes.world import world
from armillary.services.acting import ActConfig, act
from armillary.services.understand.study import UnderstandConfig, understand_model
from armillary.worlds import record

RESULT = Path("results/ray.json")
WORKERS, STEPS = 2, 12
STAGE_STEPS = 32
PARTS = ("record", "act", "understand")
Done = Callable[[str, Path, Progress], dict[str, str]]


@dataclass(frozen=True)
class Extent:
    """How much is done.

    Attributes:
        recorded: episodes that are recorded.
        acted: episodes that are acted in.
        learned: episodes of the stage that a model learns from.
        updates: in which it does.
        asked: quadruplets of each concept; a fifth as many of each other kind.
    """

    recorded: int = 200
    acted: int = 20
    learned: int = 100
    updates: int = 100
    asked: int = 20


TINY = Extent(recorded=12, acted=4, learned=20, updates=4, asked=4)


def main() -> None:
    """Do all both ways, compare, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="model folder, run folder or zoo:NAME")
    parser.add_argument("out", type=Path)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--tiny", action="store_true", help="to try it: too little for a result")
    given = parser.parse_args()
    extent = TINY if given.tiny else Extent()
    started = provenance(shlex.join(["python", "scripts/measure_ray.py", *sys.argv[1:]]), WORKERS)

    def recorded(on: str, out: Path, progress: Progress) -> dict[str, str]:
        record("tabletop", out, extent.recorded, STEPS, workers=WORKERS, on=on, progress=progress)
        files = sorted(path for path in out.rglob("*") if path.is_file())
        return {str(path.relative_to(out)): file_sha256(path) for path in files}

    def acted(on: str, out: Path, progress: Progress) -> dict[str, str]:
        config = ActConfig(Planning("icem"), extent.acted, workers=WORKERS, on=on)
        act(given.run, "tabletop", out, config, progress)
        return {
            f"{name} {one.id}": one.sha256
            for name in ("model", "random", "noop", "oracle")
            for one in read_records(out / "records" / f"{name}.jsonl")
        }

    def understood(on: str, out: Path, progress: Progress) -> dict[str, str]:
        few = max(2, extent.asked // 5)
        config = UnderstandConfig(
            count=extent.asked,
            fresh=few,
            dev=few,
            controls=few,
            twins=few,
            hidden=4 * few,
            on=on,
            workers=WORKERS,
        )
        found = understand_model(stage / "run", out, config, lambda _: nullcontext(progress))
        return {name: json_sha256(found[name]) for name in found.keys() - started.keys()}

    stage = given.out / "stage"
    parts: dict[str, tuple[int, Done]] = {
        "record": (extent.recorded, recorded),
        "act": (extent.acted, acted),
        "understand": (extent.asked, understood),
    }
    rows: dict[str, dict[str, Any]] = {}
    try:
        for name in given.parts:
            if name == "understand":
                train_on_stage(stage, extent)
            count, done = parts[name]
            rows[name] = {"n": count, **both(done, given.out / name), **started}
    except ArmillaryError as error:
        parser.exit(2, f"{error}\n")
    result = {"workers": WORKERS, "ray_version": version("ray")}
    write_json(given.result, {**result, **earlier(given.result), **rows, **started})
    for name, row in rows.items():
        sys.stdout.write(
            f"{name}: {row['killed']} of {WORKERS} actors killed, "
            f"{'the same' if row['same'] else 'NOT THE SAME'}; {row['processes_seconds']:.0f} s by "
            f"processes, {row['ray_seconds']:.0f} s by Ray\n"
        )


def earlier(path: Path) -> dict[str, dict[str, Any]]:
    """Return the parts that a record holds, each with where and when it was made."""
    found = read_json(path) if path.is_file() else {}
    origin = {name: found[name] for name in ("command", "commit", "date", "machine") if found}
    return {name: {**origin, **found[name]} for name in PARTS if name in found}


def train_on_stage(out: Path, extent: Extent) -> None:
    """Record the world stage into ``data`` and train the recipe on it, shortened, into ``run``."""
    size = {"image_size": world().model.encoder.image_size}  # as ``armillary record``
    record("stage", out / "data", extent.learned, STAGE_STEPS, workers=WORKERS, settings=size)
    recipe = shortened(world(), extent.updates)
    train_recipe(recipe, out / "data", out / "run", diagnosed=False, acting=False)


def both(done: Done, out: Path) -> dict[str, Any]:
    """Return what a command leaves by processes and by Ray, where an actor is killed."""
    killed: list[int] = []

    def kill_one(done: int, total: int, note: str = "") -> None:
        actors = [] if killed or done < total // 4 else _actors()
        for actor in actors[:1]:
            killed.append(actor.pid)
            os.kill(actor.pid, signal.SIGKILL)

    begun = time.monotonic()
    one = done("", out / "processes", silent)
    between = time.monotonic()
    other = done("ray", out / "ray", kill_one)
    return {
        "killed": len(killed),
        "same": one == other,
        "sha256": {"processes": json_sha256(one), "ray": json_sha256(other)},
        "processes_seconds": between - begun,
        "ray_seconds": time.monotonic() - between,
    }


def _actors() -> list[psutil.Process]:
    """Return the processes of the actors."""
    children = psutil.Process().children(recursive=True)
    return [one for one in children if "ray::_Actor" in " ".join(one.cmdline())]


if __name__ == "__main__":
    main()
