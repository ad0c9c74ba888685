"""How a model does on the development set of the stage: for choices, so that TEST stays unseen.

    .venv/bin/python scripts/understand_dev.py out/stage/world_0 out/dev --count 40

The model is asked COUNT quadruplets of each concept of DEV. OUT holds what it said.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from armillary.cli.progress import bar
from armillary.comprehension.quadruplets import CONCEPTS, SEEDS, Suite, ask, read_said, score
from armillary.core.errors import ArmillaryError
from armillary.recipes.finding import find_model
from armillary.recipes.understanding import ModelPanel


def main() -> None:
    """Ask, and print a line for each concept and the mean."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="model folder, run folder or Hub id")
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=40)
    given = parser.parse_args()
    if given.count < 1:
        parser.error(f"--count must be at least 1, got {given.count}")
    try:
        panel = ModelPanel(find_model(given.model), ("model",))
        suites = {"dev": Suite(SEEDS["dev"], given.count, tuple(CONCEPTS))}
        with bar("asking") as progress:
            labels = ask(suites, panel, given.out, progress)
        scores = score(read_said(given.out / "dev.jsonl")["model"], labels["dev"])
    except ArmillaryError as error:
        parser.exit(2, f"{error}\n")
    said = {name: one.d_accuracy for name, one in scores.items()}
    said["mean"] = sum(said.values()) / len(said)
    for name, right in said.items():
        sys.stdout.write(f"{name:<20} {right:5.1f} %\n")


if __name__ == "__main__":
    main()
