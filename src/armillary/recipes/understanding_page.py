"""The page about what a model understands: scores by concept, quadruplets, and its surprise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from armillary.comprehension.quadruplets import SEEDS, JepaJudges, make_quadruplet
from armillary.models import JEPA
from armillary.report import (
    Chart,
    Curve,
    Floor,
    QuadrupletView,
    ReportContents,
    ResultGroup,
    ResultRow,
    write_report,
)

_SHOWN = 3  # number of the quadruplet of each concept that is shown, whatever its score
_SUMMARY = (
    "Quadruplets of two contexts by two outcomes. The model is right where the two clips that "
    "cannot be surprise it more, together, than the two that can; what a context or an outcome is "
    "worth by itself cancels. Chance is 50 %."
)
_NOTE = (
    "Shortcuts are judges that know nothing of physics. A concept that one of them solves does not "
    "count in the headline."
)


def write_understanding_page(found: Mapping[str, Any], model: JEPA, out: Path) -> Path:
    """Write the page.

    Args:
        found: what ``understand_model`` found.
        model: that was asked.
        out: the file.

    Raises:
        StorageError: not writable.
    """
    headline = found["mean_headline"]
    contents = ReportContents(
        title="What it understands",
        summary=_SUMMARY,
        results=(ResultGroup("Concepts", tuple(_rows(found)), _NOTE),),
        machine={name: str(value) for name, value in found["machine"].items()},
        date=found["date"],
        command=found["command"],
        facts={
            "Headline": "no concept counts"
            if headline is None
            else f"{headline:.1f} %, mean over the concepts that count",
            "FRESH minus TEST": f"{found['fresh_minus_test']['mean']:+.1f} points",
            "Single clips": f"AUROC {found['single_clips']['auroc']:.2f}",
        },
        charts=_by_occlusion(found["by_occlusion"]),
        charts_title="How long it keeps things in mind",
        quadruplets=tuple(_view(name, model, row) for name, row in found["concepts"].items()),
    )
    return write_report(contents, out)


def _rows(found: Mapping[str, Any]) -> list[ResultRow]:
    rows = []
    for name, row in found["concepts"].items():
        floors = [Floor("own copy-last", (row["d_accuracy"] - row["gain_over_copy"]) / 100)]
        for control in ("copy_last_pixels", "one_frame"):
            if control in found["controls"]:
                share = found["controls"][control]["concepts"][name]["d_accuracy"]
                floors.append(Floor(control.replace("_", " "), share / 100))
        low, high = (bound / 100 for bound in row["wilson95"])
        told = "" if row["headline"] else "not in the headline; "
        rows.append(
            ResultRow(
                name.replace("_", " "),
                row["d_accuracy"] / 100,
                "percent",
                (low, high),
                tuple(floors),
                row["n"],
                note=f"{told}both pairs right {row['both_right']:.0f} %",
            )
        )
    return rows


def _by_occlusion(found: Mapping[str, Any]) -> tuple[Chart, ...]:
    kept = {int(steps): row for steps, row in found.items() if row["n"] >= 20}
    if len(kept) < 2:
        return ()
    steps = np.array(sorted(kept), np.float64)
    shares = np.array([kept[int(step)]["d_accuracy"] for step in steps])
    curve = Curve("D-accuracy, per cent", steps, shares)
    below, beside = "steps in which the outcome is open", "per cent of quadruplets"
    return (Chart("By length of the occlusion", (curve,), below, beside, top=100.0),)


def _view(name: str, model: JEPA, row: Mapping[str, Any]) -> QuadrupletView:
    made = make_quadruplet(name, _SHOWN, SEEDS["test"])
    cells = ((0, 0), (1, 1), (0, 1), (1, 0))
    frames = np.stack([made.frames[cell] for cell in cells])
    pans = np.stack([made.pans[cell] for cell in cells])
    surprise = JepaJudges(model)(frames, pans)["model"].astype(np.float64)
    told = f"{row['d_accuracy']:.1f} % of {row['n']} are right; number {_SHOWN} is shown."
    return QuadrupletView(name.replace("_", " "), frames, surprise, made.event, told)
