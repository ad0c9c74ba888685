"""How a model does on the development set of the stage: for choices, so that TEST stays unseen.

    .venv/bin/python scripts/understand_dev.py out/stage/world_0 out/dev --count 40

The model is asked COUNT quadruplets of each concept of DEV. OUT holds what it said. Behind each
concept stand what is right, the same without the whitening, and eight numbers: by how much the
impossible clips are more surprising, step by step, from two steps before the outcomes differ on, in
thousandths of the whole surprise. A negative one says that the model expects the impossible at this
step.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from armillary.cli.progress import bar
from armillary.core.errors import ArmillaryError
from armillary.models import load_model
from armillary.services.understand.study import ModelPanel
from armillary.understanding.suites.quadruplets import CONCEPTS, SEEDS, Suite, ask, read_said, score
from armillary.understanding.suites.quadruplets.expectation import fit_normal
from armillary.understanding.suites.quadruplets.suite import Label
from armillary.zoo.finding import find_model


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
        folder = find_model(given.model)
        panel = ModelPanel(folder, fit_normal(load_model(folder)), ("model", "plain"))
        suites = {"dev": Suite(SEEDS["dev"], given.count, tuple(CONCEPTS))}
        with bar("asking") as progress:
            labels = ask(suites, panel, given.out, progress)
        answers = read_said(given.out / "dev.jsonl")
        said = answers["model"]
        scores, plain = (score(answers[view], labels["dev"]) for view in ("model", "plain"))
    except ArmillaryError as error:
        parser.exit(2, f"{error}\n")
    steps = by_step(said, labels["dev"])
    for name, one in scores.items():
        shown = " ".join(f"{1000 * share:6.1f}" for share in steps[name])
        bare = plain[name].d_accuracy
        sys.stdout.write(f"{name:<20} {one.d_accuracy:5.1f} %  {bare:5.1f} %   {shown}\n")
    means = (np.mean([one.d_accuracy for one in found.values()]) for found in (scores, plain))
    sys.stdout.write(f"{'mean':<20} {next(means):5.1f} %  {next(means):5.1f} %\n")


def by_step(said: Mapping[str, np.ndarray], labels: Mapping[str, Label]) -> dict[str, np.ndarray]:
    """Return D of single steps around the event, as a share of the summed surprise, by concept."""
    clips: dict[str, dict[int, list[tuple[Label, np.ndarray]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for name, label in labels.items():
        clips[label.concept][label.index].append((label, np.asarray(said[name], np.float64)))
    return {
        concept: np.nanmean([_shares(four) for four in of.values()], axis=0)
        for concept, of in clips.items()
    }


def _shares(four: list[tuple[Label, np.ndarray]]) -> np.ndarray:
    """Return the eight shares of a quadruplet; NaN beyond its end."""
    difference = np.sum([(-1 if one.possible else 1) * values for one, values in four], axis=0)
    begin = max(0, four[0][0].event - 1 - 2)  # values at index t belong to step t + 1
    found = (difference / sum(values.sum() for _, values in four))[begin : begin + 8]
    return np.pad(found, (0, 8 - len(found)), constant_values=np.nan)


if __name__ == "__main__":
    main()
