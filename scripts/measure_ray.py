"""Recording and acting by actors of Ray, one killed in each, beside processes: is it the same?

    python scripts/measure_ray.py RUN out/ray      # needs: pip install 'armillary[ray]' psutil

RUN is a model of the tabletop. The tabletop is recorded twice with two workers: by processes, and
by actors of Ray on this machine. Then the model acts in 20 episodes, likewise. When a quarter is
done, one actor gets SIGKILL. Of the recordings all files are compared, of the episodes that were
acted all records (actions, distances and decisions, without times). The result goes to
``results/ray.json``.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from armillary.benchmark.machine import provenance
from armillary.control import read_records
from armillary.core.errors import ArmillaryError
from armillary.core.files import write_json
from armillary.core.hashing import file_sha256, json_sha256
from armillary.core.progress import Progress, silent
from armillary.planning import Planning
from armillary.recipes.acting import ActConfig, act
from armillary.worlds import record

RESULT = Path("results/ray.json")
WORKERS, EPISODES, STEPS, ACTED = 2, 200, 12, 20
Done = Callable[[str, Path, Progress], dict[str, str]]


def main() -> None:
    """Do both both ways, compare, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--result", type=Path, default=RESULT)
    given = parser.parse_args()

    def recorded(on: str, out: Path, progress: Progress) -> dict[str, str]:
        record("tabletop", out, EPISODES, STEPS, workers=WORKERS, on=on, progress=progress)
        files = sorted(path for path in out.rglob("*") if path.is_file())
        return {str(path.relative_to(out)): file_sha256(path) for path in files}

    def acted(on: str, out: Path, progress: Progress) -> dict[str, str]:
        config = ActConfig(Planning("icem"), ACTED, workers=WORKERS, on=on)
        act(given.run, "tabletop", out, config, progress)
        return {
            f"{name} {one.id}": one.sha256
            for name in ("model", "random", "noop", "oracle")
            for one in read_records(out / "records" / f"{name}.jsonl")
        }

    try:
        found = {
            "record": {"n": EPISODES, **both(recorded, given.out / "record")},
            "act": {"n": ACTED, **both(acted, given.out / "act")},
        }
    except ArmillaryError as error:
        parser.exit(2, f"{error}\n")
    command = f"python scripts/measure_ray.py {given.run} {given.out}"
    result = {"workers": WORKERS, "ray_version": version("ray"), **found}
    write_json(given.result, {**result, **provenance(command, WORKERS)})
    for name, row in found.items():
        sys.stdout.write(
            f"{name}: {row['killed']} of {WORKERS} actors killed, "
            f"{'the same' if row['same'] else 'NOT THE SAME'}; {row['processes_seconds']:.0f} s by "
            f"processes, {row['ray_seconds']:.0f} s by Ray\n"
        )


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
