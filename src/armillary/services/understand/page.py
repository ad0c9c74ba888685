"""The page about what a model understands: scores by concept, quadruplets, and its surprise.

All of it comes from ``result.json``, so that ``armillary view`` draws the same page without the
model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from armillary.core.errors import FormatError
from armillary.core.files import read_json
from armillary.report import (
    Chart,
    Curve,
    Floor,
    QuadrupletView,
    ReportContents,
    ResultGroup,
    ResultRow,
    render_report,
    write_report,
)
from armillary.understanding.suites.quadruplets import (
    SEEDS,
    JepaJudges,
    make_quadruplet,
    suite_digest,
)
from armillary.understanding.suites.quadruplets.quadruplet import Quadruplet

_CELLS = ((0, 0), (1, 1), (0, 1), (1, 0))  # the possible ones first
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
_PROBES_NOTE = (
    "Linear read-outs of a thing at a step in view, and at one behind a screen, from the "
    "state that the model rolled on; contact six steps after the runner is hidden. Lengths are in "
    "1/64 of the picture."
)


def write_understanding_page(found: Mapping[str, Any], out: Path) -> Path:
    """Write the page.

    Args:
        found: what ``understand_model`` found.
        out: the file.

    Raises:
        StorageError: not writable.
    """
    return write_report(understanding_contents(found), out)


def shown_surprise(judges: JepaJudges, concepts: Iterable[str]) -> dict[str, list[list[float]]]:
    """Return how surprised a model is at every step of the clips that the page shows, by concept.

    Args:
        judges: of the model.
        concepts: keys of ``CONCEPTS``.
    """
    found = {}
    for name in concepts:
        made = _shown(name)
        frames, pans = (
            np.stack([part[cell] for cell in _CELLS]) for part in (made.frames, made.pans)
        )
        found[name] = judges(frames, pans)["model"].astype(np.float64).tolist()
    return found


def understanding_page(path: Path) -> ReportContents:
    """Return the page about a study that lies in a folder.

    Raises:
        FormatError: the result is not one of this version's.
    """
    file = path / "result.json"
    found = read_json(file)
    if not isinstance(found, dict) or "suite_sha256" not in found:
        raise FormatError(f"{file}: is not a result of `armillary understand`.")
    if found["suite_sha256"] != suite_digest():
        raise FormatError(
            f"{file}: was made with another version of the suite. Open the page.html beside it, "
            "or run armillary understand again."
        )
    if "shown" not in found:
        raise FormatError(
            f"{file}: is a study of a pretrained model or of your own judge, which has no page."
        )
    try:
        contents = understanding_contents(found)
        render_report(contents)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise FormatError(
            f"{file}: is damaged ({error!r}). Run armillary understand again."
        ) from error
    return contents


def understanding_contents(found: Mapping[str, Any]) -> ReportContents:
    """Return what the page holds.

    Args:
        found: what ``understand_model`` found.
    """
    headline = found["mean_headline"]
    return ReportContents(
        title="Possible or impossible: what the model can tell",
        summary=_SUMMARY,
        results=(
            ResultGroup("Concepts", tuple(_rows(found)), _NOTE),
            ResultGroup("Read-outs of the latent", tuple(_probe_rows(found)), _PROBES_NOTE),
        ),
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
        charts_title="Accuracy by length of the occlusion",
        quadruplets=tuple(
            _view(name, found["shown"][name], row) for name, row in found["concepts"].items()
        ),
    )


def _rows(found: Mapping[str, Any]) -> list[ResultRow]:
    rows = []
    for name, row in found["concepts"].items():
        floors = [Floor("own copy-last", (row["d_accuracy"] - row["gain_over_copy"]) / 100)]
        for control in ("copy_last_pixels", "one_frame"):
            if control in found["controls"]:
                share = found["controls"][control]["concepts"][name]["d_accuracy"]
                floors.append(Floor(control.replace("_", " "), share / 100))
        low, high = (bound / 100 for bound in row["wilson95"])
        prefix = "" if row["headline"] else "not in the headline; "
        rows.append(
            ResultRow(
                name.replace("_", " "),
                row["d_accuracy"] / 100,
                "percent",
                (low, high),
                tuple(floors),
                row["n"],
                note=f"{prefix}both pairs right {row['both_right']:.0f} %",
            )
        )
    return rows


def _probe_rows(found: Mapping[str, Any]) -> list[ResultRow]:
    rows = []
    for target, moments in found["probes"].items():
        for moment, row in moments.items():
            chosen = "choices" in row
            scale = 100 if chosen else 1
            floors = ("untrained", "last_picture", "without_looking")
            low, high = row["interval95"]["model"]
            rows.append(
                ResultRow(
                    f"{target}, {moment.replace('_', ' ')}",
                    row["model"] / scale,
                    "percent" if chosen else "units",
                    (low / scale, high / scale),
                    tuple(Floor(name.replace("_", " "), row[name] / scale) for name in floors),
                    row["n"],
                    note="right" if chosen else "mean error; less is better",
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


def _view(name: str, surprise: Sequence[Sequence[float]], row: Mapping[str, Any]) -> QuadrupletView:
    made = _shown(name)
    frames = np.stack([made.frames[cell] for cell in _CELLS])
    values = np.array(surprise, np.float64)
    if values.shape != (len(frames), frames.shape[1] - 1):
        raise ValueError(f"surprise of {name} at {values.shape} steps")
    caption = f"{row['d_accuracy']:.1f} % of {row['n']} are right; number {_SHOWN} is shown."
    return QuadrupletView(name.replace("_", " "), frames, values, made.event, caption)


def _shown(name: str) -> Quadruplet:
    return make_quadruplet(name, _SHOWN, SEEDS["test"])
