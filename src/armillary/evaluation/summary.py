"""Summary: rows computed from records and from nothing else.

Headline success is judged at the end of the episode; first hit stands beside it. A crash or a
timeout counts as failure in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from armillary.core.errors import ConfigError
from armillary.core.statistics import Interval, McNemar, mcnemar, paired_bootstrap, wilson_interval
from armillary.evaluation.records import Record

_CURVE = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)


@dataclass(frozen=True)
class Row:
    """One line of a result table.

    Attributes:
        n: episodes.
        success: share at the goal at the end, 0 to 1.
        wilson95: its 95 % Wilson interval.
        first_hit_success: share that was at the goal at any step.
        first_hit_wilson95: its interval.
        crashes: episodes in which world or policy broke.
        timeouts: episodes in which a decision took too long.
        alarms: episodes in which a guard raised an alarm, and stopped or slowed the policy.
        mean_final_distance: over episodes that have a distance, in the world's unit; None if none.
        median_final_distance: the same, median.
        mean_steps: executed actions per episode.
        ms_per_decision: median wall time in milliseconds; None if nothing was timed.
        ms_per_decision_p95: 95th percentile.
        model_steps_per_decision: mean; 0 for actors that do not plan.
        success_over_threshold: pairs (distance, share at the end within it).
        privileged: True for an oracle.
    """

    n: int
    success: float
    wilson95: Interval
    first_hit_success: float
    first_hit_wilson95: Interval
    crashes: int
    timeouts: int
    mean_final_distance: float | None
    median_final_distance: float | None
    mean_steps: float
    ms_per_decision: float | None
    ms_per_decision_p95: float | None
    model_steps_per_decision: float
    success_over_threshold: tuple[tuple[float, float], ...]
    privileged: bool
    alarms: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values (intervals and curves as lists)."""
        return {name: _as_lists(value) for name, value in asdict(self).items()}


def summarise(records: Sequence[Record]) -> Row:
    """Return the row of one actor on one manifest.

    Raises:
        ConfigError: no records, one episode twice, or records of several actors or manifests.
    """
    _check_one_evaluation(records)
    n = len(records)
    solved = sum(record.success for record in records)
    hit = sum(record.first_hit for record in records)
    final = [record.distances[-1] for record in records if record.distances]
    ms = [value for record in records for value in record.ms_per_decision]
    decisions = sum(len(record.decisions) for record in records)
    return Row(
        n=n,
        success=solved / n,
        wilson95=wilson_interval(solved, n),
        first_hit_success=hit / n,
        first_hit_wilson95=wilson_interval(hit, n),
        crashes=sum(record.outcome == "crash" for record in records),
        timeouts=sum(record.outcome == "timeout" for record in records),
        mean_final_distance=float(np.mean(final)) if final else None,
        median_final_distance=float(np.median(final)) if final else None,
        mean_steps=sum(record.steps for record in records) / n,
        ms_per_decision=float(np.median(ms)) if ms else None,
        ms_per_decision_p95=float(np.quantile(ms, 0.95)) if ms else None,
        model_steps_per_decision=sum(r.model_steps for r in records) / max(decisions, 1),
        success_over_threshold=success_curve(records),
        privileged=records[0].privileged,
        alarms=sum(record.alarm is not None for record in records),
    )


def success_curve(
    records: Sequence[Record], thresholds: Sequence[float] | None = None
) -> tuple[tuple[float, float], ...]:
    """Return (threshold, share of episodes that ended within it), thresholds in world units.

    Args:
        records: of one evaluation.
        thresholds: None for multiples of the success distance, from a quarter to four.
    """
    if thresholds is None:
        thresholds = [factor * records[0].success_distance for factor in _CURVE]
    ends = np.array([_end(record) for record in records])
    return tuple((float(limit), float(np.mean(ends <= limit))) for limit in thresholds)


@dataclass(frozen=True)
class Comparison:
    """Two actors on the same episodes.

    Attributes:
        n: episodes.
        difference: success of the first minus success of the second, -1 to 1.
        bootstrap95: its paired 95 % bootstrap interval.
        mcnemar: exact paired test.
    """

    n: int
    difference: float
    bootstrap95: Interval
    mcnemar: McNemar


def compare(
    first: Sequence[Record], second: Sequence[Record], rng: np.random.Generator
) -> Comparison:
    """Compare two actors, episode by episode.

    Raises:
        ConfigError: they did not run the same episodes of the same manifest.
    """
    _check_one_evaluation(first)
    _check_one_evaluation(second)
    theirs = {record.id: record for record in second}
    same = first[0].manifest == second[0].manifest
    if not same or theirs.keys() != {record.id for record in first}:
        raise ConfigError("A paired comparison needs records of the same manifest on both sides.")
    a = [float(record.success) for record in first]
    b = [float(theirs[record.id].success) for record in first]
    return Comparison(
        n=len(a),
        difference=float(np.mean(a) - np.mean(b)),
        bootstrap95=paired_bootstrap(a, b, rng),
        mcnemar=mcnemar(np.array(a), np.array(b)),
    )


def _end(record: Record) -> float:
    whole = record.outcome in ("success", "failure")
    return record.distances[-1] if whole else float("inf")


def _check_one_evaluation(records: Sequence[Record]) -> None:
    if not records:
        raise ConfigError("There are no records to summarise; evaluate at least one episode.")
    if len({(record.manifest, record.policy) for record in records}) > 1:
        raise ConfigError("Records of several manifests or policies cannot be one row.")
    if len({record.id for record in records}) != len(records):
        raise ConfigError("An episode appears twice in the records; each counts exactly once.")


def _as_lists(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_as_lists(item) for item in value]
    return value
