"""The page about an evaluation: rows, and success over the distance that counts, from its records.

Nothing is taken from ``rows.json``: every number is computed again from the records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from armillary.benchmark.machine import date
from armillary.core.errors import FormatError
from armillary.core.rng import generator
from armillary.evaluation import Manifest, Record, Row, compare, success_curve, summarise
from armillary.evaluation.records_once import read_once
from armillary.proof.manifests import read_manifest
from armillary.report import Chart, Curve, Floor, ReportContents, ResultGroup, ResultRow
from armillary.report.words import write_seconds

BESIDE = ("random", "noop", "oracle")  # what stands beside a model
_CURVES = 4
_FARTHEST = 4.0  # times the success distance
_POINTS = 81

Records = Mapping[str, tuple[Record, ...]]


def records_page(path: Path) -> ReportContents:
    """Return the page about an evaluation.

    Raises:
        FormatError: a record or the manifest is damaged, or there are no records.
    """
    records = _read(path / "records")
    rows = {name: summarise(found) for name, found in records.items()}
    file = path / "manifest.json"
    manifest = read_manifest(file) if file.is_file() else None
    unit = manifest.distance_unit if manifest else ""
    subjects = [name for name in rows if name not in BESIDE] or list(rows)
    groups = [_group(name, rows, unit) for name in subjects]
    groups += [group for name in subjects for group in _compared(name, records)]
    return ReportContents(
        title=f"Evaluation {path.resolve().name}",
        summary="Closed-loop episodes, judged where they ended. Every number is computed from the "
        "records.",
        results=tuple(groups),
        machine={},
        date=date(),
        command=f"armillary view {path}",
        warning=_warning(records, manifest),
        charts=_charts([*subjects, *(n for n in BESIDE if n not in subjects)], records, unit),
        charts_title="Distance to the goal",
        facts=_facts(records, manifest),
    )


def _read(folder: Path) -> dict[str, tuple[Record, ...]]:
    # A last line that a killed evaluation left half-written is no record.
    found = {file.stem: read_once(file) for file in sorted(folder.glob("*.jsonl"))}
    found = {name: records for name, records in found.items() if records}
    if not found:
        raise FormatError(f"{folder}: holds no record yet; an evaluated episode was expected.")
    return found


def _group(name: str, rows: Mapping[str, Row], unit: str) -> ResultGroup:
    row = rows[name]
    beside = {other: rows[other] for other in BESIDE if other in rows and other != name}
    record = f"records/{name}.jsonl"
    broken = f"{row.crashes} crashes, {row.timeouts} timeouts; both count as failure."
    ends = ResultRow(
        "at the goal when the episode ended",
        row.success,
        "percent",
        row.wilson95,
        tuple(Floor(other, r.success, r.wilson95) for other, r in beside.items()),
        row.n,
        record=record,
        note=broken if row.crashes + row.timeouts else "",
        headline=True,
    )
    hits = ResultRow(
        "at the goal at any step",
        row.first_hit_success,
        "percent",
        row.first_hit_wilson95,
        tuple(Floor(other, r.first_hit_success) for other, r in beside.items()),
        row.n,
        record=record,
    )
    speed = [] if name in BESIDE else _speed(row, record)
    more = [*_distance(row, beside, unit, record), *speed]
    return ResultGroup(name, (ends, hits, *more))


def _distance(row: Row, beside: Mapping[str, Row], unit: str, record: str) -> list[ResultRow]:
    if row.median_final_distance is None:
        return []
    others = {name: other.median_final_distance for name, other in beside.items()}
    return [
        ResultRow(
            f"distance left at the end, median{f', {unit}' if unit and unit != 'm' else ''}",
            row.median_final_distance,
            "cm" if unit == "m" else "units",
            floors=tuple(Floor(name, d) for name, d in others.items() if d is not None),
            n=row.n,
            record=record,
        )
    ]


def _speed(row: Row, record: str) -> list[ResultRow]:
    if row.ms_per_decision is None:
        return []
    slowest = (row.ms_per_decision_p95 or row.ms_per_decision) / 1000
    steps = row.model_steps_per_decision
    predicted = f"{steps:,.0f} model steps each" if steps else "Nothing is predicted"
    return [
        ResultRow(
            "time per decision, median",
            row.ms_per_decision / 1000,
            "seconds",
            record=record,
            note=f"{predicted}; 95 % within {write_seconds(slowest)}.",
        )
    ]


def _compared(name: str, records: Records) -> list[ResultGroup]:
    """Return the paired differences to those that ran the same episodes."""
    rows = []
    for other in BESIDE:
        if other == name or not _same_episodes(records[name], records.get(other, ())):
            continue
        found = compare(records[name], records[other], generator("view.compare", 0))
        low, high = found.bootstrap95
        row = ResultRow(
            f"success minus that of {other}, percentage points",
            100 * found.difference,
            "points",
            (100 * low, 100 * high),
            n=found.n,
            note=f"McNemar's exact test: p = {found.mcnemar.p_value:.2g}.",
        )
        rows.append(row)
    return [ResultGroup(f"{name}, episode by episode", tuple(rows))] if rows else []


def _same_episodes(first: Sequence[Record], second: Sequence[Record]) -> bool:
    one, other = ({(r.manifest, r.id) for r in records} for records in (first, second))
    return bool(one) and one == other


def _warning(records: Records, manifest: Manifest | None) -> str:
    if manifest is None:
        return "There is no manifest.json beside the records: what was planned is not known."
    foreign = [name for name, r in records.items() if r[0].manifest != manifest.sha256]
    if foreign:
        return f"These records belong to another manifest: {', '.join(foreign)}."
    short = [name for name, r in records.items() if len(r) < len(manifest.episodes)]
    if short:
        return f"Not all of {len(manifest.episodes)} episodes have run yet: {', '.join(short)}."
    return ""


def _charts(names: Sequence[str], records: Records, unit: str) -> tuple[Chart, ...]:
    shown = {name: records[name] for name in names if name in records}
    chosen = dict(list(shown.items())[:_CURVES])
    in_unit = f", {unit}" if unit else ""
    within = tuple(_within(name, found) for name, found in chosen.items())
    over_time = tuple(_over_time(name, found) for name, found in chosen.items())
    return (
        Chart(
            "Success over threshold",
            within,
            f"distance that counts as success{in_unit}",
            "share of episodes that ended within it",
        ),
        Chart("Distance to the goal", over_time, "step", f"median over episodes{in_unit}"),
    )


def _within(name: str, records: tuple[Record, ...]) -> Curve:
    limits = np.linspace(0.0, _FARTHEST * records[0].success_distance, _POINTS)
    x, y = np.array(success_curve(records, limits.tolist()), np.float64).T
    return Curve(name, x, y)


def _over_time(name: str, records: tuple[Record, ...]) -> Curve:
    """Return the median distance at each step; an episode that is over stays where it ended."""
    held = [record.distances for record in records if record.distances]
    longest = max(map(len, held), default=0)
    filled = [_filled(distances, longest) for distances in held]
    steps = np.arange(longest, dtype=np.float64)
    return Curve(name, steps, np.median(filled, 0) if filled else steps)


def _filled(distances: Sequence[float], length: int) -> Float64[np.ndarray, " T"]:
    values = np.array(distances, np.float64)
    return np.concatenate([values, np.full(length - len(values), values[-1])])


def _facts(records: Records, manifest: Manifest | None) -> dict[str, str]:
    counts = ", ".join(f"{name} {len(found):,}" for name, found in records.items())
    if manifest is None:
        return {"episodes": counts}
    return {
        "world": manifest.world,
        "task": manifest.task,
        "episodes": f"{len(manifest.episodes):,} in the manifest; {counts}",
        "steps per episode": f"{manifest.budget:,}",
        "success": f"within {manifest.success_distance:g} {manifest.distance_unit} of the goal",
        "manifest": manifest.sha256[:16],
    }
