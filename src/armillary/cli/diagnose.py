"""Diagnose: a model's predictions on held-out episodes, beside baselines and bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from armillary.cli.again import again
from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command, existing
from armillary.cli.progress import bar
from armillary.core.files import read_json

_FILE = "diagnose.json"
_METRES = ("copy_last", "mean", "rigid_warp", "no_latent")
_PREDICTION = ("model", "copy_last", "mean", "linear", "ridge")


@dataclass(frozen=True, kw_only=True)
class Diagnose(Command):
    """Measure what a model predicts on held-out episodes, beside baselines and bars.

    It measures prediction error at 1 to 16 model steps, the rank of the true actions, the scale of
    the latent, distance as progress, and memorisation. Where truth is recorded, it adds read-outs
    and motion. Where depth, laser ranges or point clouds are recorded, it adds their errors in
    metres, and the errors of occupancy around the sensor. Other errors are squared errors over the
    variance of the target. The exit code is 0 whatever the bars say.

    e.g. armillary diagnose out/run out/tabletop --out out/diagnose
    """

    model: Positional[str]
    """Model folder, run folder, or Hub repository id. A run folder knows what was held out."""
    dataset: Positional[Path]
    """Dataset, usually the one that the model was trained on."""
    out: Path | None = None
    """Folder for diagnose.json and diagnose.html. Without it, nothing is written."""
    seed: int = 0
    """Seed of all random choices."""

    def run(self) -> Outcome:
        """Diagnose."""
        existing(self.dataset, "a dataset folder")
        from armillary.services.diagnose.diagnosing import PAGE, diagnose_model
        from armillary.understanding.evidence import Limits

        command = again(self, "diagnose")
        limits = Limits(seed=self.seed)
        record = diagnose_model(self.model, self.dataset, self.out, limits, bar, command)
        lines = [*prediction_lines(record), *metres_lines(record), "", *_report(record)]
        if self.out is not None:
            lines.append(f"written: {self.out / PAGE}")
        return Outcome(record, (*lines, ""), bar_rows(record))


def of_run(run: Path) -> tuple[dict[str, Any], tuple[str, ...], list[dict[str, str]]]:
    """Return what a training has left of its diagnosis: for ``--json``, lines, and a short table.

    Args:
        run: folder of the run.
    """
    if not (run / _FILE).is_file():
        return {}, (), []
    record = read_json(run / _FILE)
    if "not_measured" in record:
        return {"diagnosis": record}, (f"not diagnosed: {record['not_measured']}",), []
    counts = record["n"]
    note = (
        f"diagnosed on {counts['held_out_steps']:,} model steps of {counts['judged_on']}; "
        "armillary diagnose looks at more and draws it"
    )
    return {"diagnosis": record}, (note, *_advice(record), ""), bar_rows(record)


def prediction_lines(record: Mapping[str, Any]) -> list[str]:
    """Return the prediction errors as lines of text, one table for each space."""
    lines = []
    for space in dict.fromkeys(row["space"] for row in record["prediction"]):
        called = {"latent": "in its own latent", "features": "in frozen features"}[space]
        lines.append(f"prediction error {called} (squared error over variance)")
        heads = ("steps", "model", "95 %", *(name.replace("_", "-") for name in _PREDICTION[1:]))
        rows = [heads, *(_cells(row) for row in record["prediction"] if row["space"] == space)]
        lines += _table(rows)
    return lines


def metres_lines(record: Mapping[str, Any]) -> list[str]:
    """Return the errors of depth and range as lines of text, one table for each sensor."""
    lines = []
    for sensor in dict.fromkeys(row["sensor"] for row in record.get("metres", ())):
        rows = {row["steps"]: row for row in record["metres"] if row["sensor"] == sensor}
        occupancy = {steps: row["occupancy"] for steps, row in rows.items()}
        lines.append(f"prediction error of {sensor} (mean absolute error in metres)")
        lines += _distances(rows)
        wide = next(iter(occupancy.values()))["shell_m"]
        lines.append(f"occupancy error of {sensor} (1 - IoU, cells {wide:.2g} m deep)")
        lines += _distances(occupancy)
    return lines


def _distances(rows: Mapping[int, Mapping[str, Any]]) -> list[str]:
    heads = ("steps", "model", "95 %", *(name.replace("_", "-") for name in _METRES))
    cells: list[tuple[str, ...]] = [heads]
    for steps, row in rows.items():
        others = (f"{row[name]:.3f}" if name in row else "-" for name in _METRES)
        cells.append(
            (str(steps), f"{row['model']:.3f}", _between(row["intervals"]["model"]), *others)
        )
    return _table(cells)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return ["  ".join(f"{c:>{w}}" for c, w in zip(row, widths, strict=True)) for row in rows]


def bar_rows(record: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a row of text for each measure and its bar."""
    return [
        {
            "measure": line["name"],
            "value": _number(line["value"]),
            "95 %": _between(line["interval"]),
            "beside it": "" if line["name"].startswith("prediction") else _beside(line["beside"]),
            "bar": line["bar"],
            "verdict": {True: "held", False: "NOT REACHED", None: "not measured"}[line["held"]],
        }
        for line in record["lines"]
    ]


def _beside(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in values.items())


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    numbers = (_number(row[name]) for name in _PREDICTION[1:])
    model = _number(row["model"])
    return (str(row["steps"]), model, _between(row["intervals"]["model"]), *numbers)


def _report(record: Mapping[str, Any]) -> list[str]:
    counts = record["n"]
    report = [
        f"judged on {counts['judged_on']}: {counts['held_out_steps']:,} model steps, "
        f"{counts['windows']:,} windows; fitted on {counts['training_steps']:,} training steps",
        *(
            f"{name.replace('_', ' ')}: not measured, {record[name]['reason']}"
            for name in ("action_rank", "progress", "moved")
            if "reason" in record[name]
        ),
    ]
    return [*report, *([record["warning"]] if record["warning"] else []), *_advice(record)]


def _advice(record: Mapping[str, Any]) -> list[str]:
    return [f"- {line['name']}: {line['advice']}" for line in record["lines"] if line["advice"]]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"


def _between(interval: list[float] | None) -> str:
    return "" if not interval or None in interval else " to ".join(_number(end) for end in interval)
