"""The page about success against latency: two charts and the rows behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from armillary.report import Chart, Curve, Floor, ReportContents, ResultGroup, ResultRow

_MOST_SERIES = 4  # colours that stay apart
_SUMMARY = (
    "One list of episodes, several ways to plan: what does another millisecond buy? Time is the "
    "median from picture to action, on one thread, of the decisions in the episodes themselves."
)
_NOTE = (
    "Every setting ran the same episodes. Success is judged where the episode ended; the p-values "
    "are of McNemar's exact test against the first setting, adjusted by Holm's method."
)


def latency_page(value: Mapping[str, Any]) -> ReportContents:
    """Return the page about a study, from what stands in its ``latency.json``."""
    rows: Mapping[str, Any] = value["settings"]
    return ReportContents(
        title=f"Success against latency: {value['world']}, {value['task']}",
        summary=_SUMMARY,
        results=(ResultGroup("Act", _table(rows, value["beside"]), _NOTE),),
        machine={name: str(item) for name, item in value["machine"].items()},
        date=value["date"],
        command=value["command"],
        charts=(
            _chart(rows, "ms_per_decision", "Per decision", "milliseconds per decision"),
            _chart(rows, "ms_per_world_step", "Per step", "milliseconds of planning per step"),
        ),
        charts_title="What a millisecond buys",
        facts=_facts(value),
    )


def _chart(rows: Mapping[str, Any], key: str, title: str, x_label: str) -> Chart:
    series = list(dict.fromkeys(row["series"] for row in rows.values()))[:_MOST_SERIES]
    curves = tuple(_curve(name, rows, key) for name in series)
    said = "percent of episodes at the goal at the end, with 95 % intervals"
    return Chart(title, curves, f"{x_label}, logarithmic", said, log_x=True, top=100.0)


def _curve(series: str, rows: Mapping[str, Any], key: str) -> Curve:
    own = {name: row for name, row in rows.items() if row["series"] == series}
    timed = {name: row for name, row in own.items() if row[key] is not None}
    order = sorted(timed, key=lambda name: timed[name][key])
    x, y, low, high = (
        np.array([get(timed[name]) for name in order], np.float64)
        for get in (
            lambda row: row[key],
            lambda row: 100 * row["success"],
            lambda row: 100 * row["wilson95"][0],
            lambda row: 100 * row["wilson95"][1],
        )
    )
    return Curve(series, x, y, low, high, tuple(_said(name, timed[name]) for name in order))


def _table(rows: Mapping[str, Any], beside: Mapping[str, Any]) -> tuple[ResultRow, ...]:
    floors = tuple(
        Floor(name, row["success"], tuple(row["wilson95"])) for name, row in beside.items()
    )
    return tuple(
        ResultRow(
            name,
            row["success"],
            "percent",
            tuple(row["wilson95"]),
            floors,
            row["n"],
            record=f"records/{name}.jsonl",
            note=_note(row),
        )
        for name, row in rows.items()
    )


def _note(row: Mapping[str, Any]) -> str:
    ms = row["ms_per_decision"]
    parts = [] if ms is None else [f"{ms:.1f} ms and "]
    parts.append(f"{row['model_steps_per_decision']:,.0f} model steps per decision")
    parts.append(f", {row['ms_per_world_step']:.1f} ms per step.")
    if "minus_first" in row:
        against = row["minus_first"]
        parts.append(f" {100 * against['difference']:+.0f} points, p = {against['p_holm']:.2g}.")
    return "".join(parts)


def _said(name: str, row: Mapping[str, Any]) -> str:
    low, high = (100 * end for end in row["wilson95"])
    return f"{name}: {100 * row['success']:.0f} % ({low:.0f} to {high:.0f} %). {_note(row)}"


def _facts(value: Mapping[str, Any]) -> dict[str, str]:
    within = f"within {value['success_distance']:g} {value['distance_unit']} of the goal"
    return {
        "episodes": f"{value['episodes']:,}, the same for every setting",
        "success": within,
        "processes at once": f"{value['workers']}, one thread each",
        "manifest": value["manifest"][:16],
    }
