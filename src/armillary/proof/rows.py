"""Rows: what a scorecard says of each task, computed from records and attempts, to the last digit.

Numbers are integers or decimal text of four digits. Limits of intervals are rounded outwards, so
that writing them down never makes them narrower.

Source: Clopper & Pearson 1934; Wilson 1927; Bonferroni over attempts for the adjusted bound.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from scipy.special import betaincinv

from armillary.core.errors import ConfigError
from armillary.core.statistics import wilson_interval
from armillary.evaluation.records import Record
from armillary.proof.shapes import Decimal, Fields, ListOf, MapOf, Name, Nullable, Text, Whole

_DIGITS = 4
_ALPHA = 0.05
# A limit this near to a written digit is that digit; libraries differ by less.
_NEAR = 1e-9
_RATE = Decimal(8)
_INTERVAL = ListOf(_RATE, 2, 2)
_COUNTS = {"n": Whole(1), "succ": Whole(), "crashes": Whole(), "timeouts": Whole()}
ROW = Fields(
    {
        "task": Name(40),
        **_COUNTS,
        "first_hit": Whole(),
        "ci95": _INTERVAL,
        "wilson95": _INTERVAL,
        "first_hit_ci95": _INTERVAL,
        "low_adj": _RATE,
        "controls": MapOf(Fields(_COUNTS), 8, Name(20)),
        "normalised": Nullable(_RATE),
        "budget": Fields(
            {
                "limit": Nullable(Whole(1)),
                "most": Whole(),
                "model_steps": Whole(),
                "decisions": Whole(),
                "world_steps": Whole(),
            }
        ),
    },
    {"overrides": MapOf(Text(200), 64, Name(40))},
)


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a success rate.

    Args:
        successes: of ``n``.
        n: trials, at least 1.
        confidence: coverage, between 0 and 1.

    Raises:
        ConfigError: successes outside 0..n, no trials, or a confidence outside (0, 1).

    Source: Clopper & Pearson 1934, by quantiles of the beta distribution.
    """
    tail = (1 - confidence) / 2
    return _lower(successes, n, tail), 1 - _lower(n - successes, n, tail)


def adjusted_lower(successes: int, n: int, attempts: int) -> float:
    """Return the one-sided 95 % lower bound after the best of so many attempts was published.

    Raises:
        ConfigError: successes outside 0..n, no trials, or fewer than one attempt.
    """
    if attempts < 1:
        raise ConfigError(f"Attempts are at least 1; got {attempts}.")
    return _lower(successes, n, _ALPHA / attempts)


def row_of(
    task: str,
    records: Mapping[str, Sequence[Record]],
    attempts: int,
    limit: int | None,
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a task's row as JSON values.

    Args:
        task: its name.
        records: of ``"agent"`` and of the controls, each of every episode.
        attempts: k, commits to the suite.
        limit: model steps that one decision may take.
        overrides: settings of the planner that the agent has for this task alone; they mark it.

    Raises:
        ConfigError: an actor without records.
    """
    agent = records["agent"]
    counts = {actor: _counts(found) for actor, found in records.items()}
    mine = counts.pop("agent")
    n, solved = mine["n"], mine["succ"]
    hit = sum(record.first_hit for record in agent)
    decisions = [decision for record in agent for decision in record.decisions]
    own = {name: json.dumps(value) for name, value in (overrides or {}).items()}
    return {
        "task": task,
        **({"overrides": own} if own else {}),
        **mine,
        "first_hit": hit,
        "ci95": _outwards(clopper_pearson(solved, n)),
        "wilson95": _outwards(wilson_interval(solved, n)),
        "first_hit_ci95": _outwards(clopper_pearson(hit, n)),
        "low_adj": _down(adjusted_lower(solved, n, attempts)),
        "controls": counts,
        "normalised": _normalised(mine, counts),
        "budget": {
            "limit": limit,
            "most": max((decision.model_steps for decision in decisions), default=0),
            "model_steps": sum(decision.model_steps for decision in decisions),
            "decisions": len(decisions),
            "world_steps": sum(record.steps for record in agent),
        },
    }


def tuned(row: Mapping[str, Any]) -> str:
    """Return what marks a row whose task the agent has settings of its own for; else nothing.

    e.g. ``tuned for this task: length=16, samples=300``
    """
    own = sorted(row.get("overrides", {}).items())
    named = ", ".join(f"{name}={value}" for name, value in own)
    return f"tuned for this task: {named}" if own else ""


def _counts(records: Sequence[Record]) -> dict[str, int]:
    if not records:
        raise ConfigError("A row needs records of every actor; one has none.")
    return {
        "n": len(records),
        "succ": sum(record.success for record in records),
        "crashes": sum(record.outcome == "crash" for record in records),
        "timeouts": sum(record.outcome == "timeout" for record in records),
    }


def _normalised(mine: Mapping[str, int], controls: Mapping[str, Mapping[str, int]]) -> str | None:
    """Return (agent - random) / (oracle - random), where the oracle is better than chance."""
    if not {"random", "oracle"} <= controls.keys():
        return None
    rate = {name: Fraction(one["succ"], one["n"]) for name, one in controls.items()}
    room = rate["oracle"] - rate["random"]
    if room <= 0:
        return None
    share = (Fraction(mine["succ"], mine["n"]) - rate["random"]) / room
    return _text(round(share * 10**_DIGITS))


def _lower(successes: int, n: int, tail: float) -> float:
    if n < 1 or not 0 <= successes <= n or not 0 < tail < 1:
        raise ConfigError(f"An interval needs 0..n of n at least 1; got {successes} of {n}.")
    if successes == 0:
        return 0.0
    return float(betaincinv(successes, n - successes + 1, tail))


def _outwards(interval: tuple[float, float]) -> list[str]:
    low, high = interval
    return [_down(low), _text(math.ceil(high * 10**_DIGITS - _NEAR))]


def _down(value: float) -> str:
    return _text(math.floor(value * 10**_DIGITS + _NEAR))


def _text(units: int) -> str:
    """Return so many ten-thousandths as decimal text."""
    whole, rest = divmod(abs(units), 10**_DIGITS)
    return f"{'-' if units < 0 else ''}{whole}.{rest:0{_DIGITS}d}"
