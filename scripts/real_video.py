r"""Train the recipe ``world`` on real video, and compare its predictions with baselines.

    python scripts/real_video.py out/real --result results/world.json

Three recordings: two flies (25 frames a second, with tracked positions), a mouse (30) and
pedestrians (Debian's ``opencv-doc``, 10). Three seeds each. The last 30 % of each are held out.
What is done in the folder is not done again. A variant of the recipe is tried with

    python scripts/real_video.py out/real --only flies --seeds 1 --set objective.visual_words=4

and never written to results. Positions need h5py (``pip install h5py``).
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from armillary.benchmark.machine import core_count, provenance
from armillary.cli.parse import settings_of
from armillary.core.changing import changed
from armillary.core.errors import ArmillaryError, ConfigError
from armillary.core.files import read_json, write_json
from armillary.core.hashing import json_sha256
from armillary.core.progress import Progress, silent
from armillary.experiments.real_video.run import RealVideoConfig, Recording, real_video
from armillary.models.config import config_values
from armillary.recipes.world import world

VTEST = Path("/usr/share/doc/opencv-doc/examples/data/vtest.avi")


def recordings(data: Path) -> dict[str, Recording]:
    """Return the recordings by name.

    Args:
        data: folder with the videos of the flies and the mouse.
    """
    flies = Recording("flies", data / "flies_120s.mp4", data / "flies_120s_tracks.h5")
    mouse = Recording("mouse", data / "mouse_open_field.mp4")
    return {"flies": flies, "mouse": mouse, "vtest": Recording("vtest", VTEST)}


def main() -> int:
    """Train, judge, print, and write down one recording after another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="*", default=["flies", "mouse", "vtest"])
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0 on")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--result", type=Path, help="file in which real_video.NAME is replaced")
    given = parser.parse_args()
    try:
        run(given)
    except ArmillaryError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def run(given: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    if given.result and given.set:
        raise ConfigError("--result takes the recipe as it is; leave --set out.")
    settings = {name: _frozen(v) for name, v in settings_of(given.set, "--set").items()}
    config = RealVideoConfig(changed(world(), settings), tuple(range(given.seeds)))
    sha = json_sha256(config_values(config.recipe))
    for name in given.only:
        row = real_video(recordings(given.data)[name], given.out, config, stages)
        row |= {"recipe_sha256": sha, **provenance("python " + shlex.join(sys.argv), core_count())}
        write_json(given.out / name / f"{sha[:10]}.json", row | {"changed": settings})
        if given.result:
            result = read_json(given.result) if given.result.is_file() else {}
            result["real_video"] = result.get("real_video", {}) | {name: row}
            write_json(given.result, result)
        sys.stdout.write("\n".join(table(name, row)) + "\n")


def table(name: str, row: dict[str, Any]) -> list[str]:
    """Return the errors of one recording, and the gains of who is compared."""
    lines = [f"{name}: steps of {row['step_s']} s, {row['fps']:g} frames a second"]
    for space in ("horizons", "latent", "positions"):
        for seconds, one in row.get(space, {}).items():
            rest = {k: v for k, v in one.items() if isinstance(v, dict)}
            said = "  ".join(f"{who} {value['mean']:.3f}" for who, value in rest.items())
            lines.append(f"{space} {seconds} s: {said}")
            for who, value in rest.items():
                for other, gain in value.get("gain_over", {}).items():
                    low, high = gain["interval95"]
                    held = "above" if low > 0 else "BELOW" if high < 0 else "     "
                    lines.append(
                        f"    {who:12} over {other:18} {gain['mean']:7.3f} "
                        f"[{low:.3f}, {high:.3f}] {held} {gain['seeds_above']}"
                    )
    return lines


@contextmanager
def stages(stage: str) -> Iterator[Progress]:
    """Say which stage begins."""
    sys.stderr.write(f"{stage}\n")
    yield silent


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


if __name__ == "__main__":
    sys.exit(main())
