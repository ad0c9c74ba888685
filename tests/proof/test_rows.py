"""Rows: published intervals, brute-force sums of the binomial, and rounding that never narrows."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armillary.core.errors import ConfigError
from armillary.evaluation import Record
from armillary.evaluation.carry import Decision
from armillary.proof.rows import ROW, adjusted_lower, clopper_pearson, row_of


def binomial_tail(successes: int, n: int, p: Fraction) -> Fraction:
    """P(X >= successes), exactly."""
    return sum(
        (math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(successes, n + 1)), Fraction(0)
    )


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # reference/benchmark-integrity.md, section 4
        (45, 50, 0.78, 0.97),
        (48, 50, 0.86, 0.995),
        (180, 200, 0.85, 0.94),
        (450, 500, 0.87, 0.925),
        (900, 1000, 0.88, 0.92),
    ],
)
def test_published_intervals(successes: int, n: int, low: float, high: float) -> None:
    found = clopper_pearson(successes, n)
    assert found == pytest.approx((low, high), abs=0.006)


@pytest.mark.parametrize(
    ("successes", "n", "attempts", "low"),
    [(41, 50, 1, 0.707), (41, 50, 27, 0.619), (164, 200, 1, 0.769), (164, 200, 27, 0.730)],
)
def test_published_bounds_after_selection(successes, n, attempts, low: float) -> None:
    assert adjusted_lower(successes, n, attempts) == pytest.approx(low, abs=6e-4)


@given(st.integers(1, 60), st.data())
def test_the_interval_is_where_the_tails_are_a_fortieth(n: int, data) -> None:
    successes = data.draw(st.integers(0, n))
    low, high = clopper_pearson(successes, n)
    if successes == 0:
        assert low == 0
    else:
        assert float(binomial_tail(successes, n, Fraction(low))) == pytest.approx(0.025, rel=1e-6)
    if successes == n:
        assert high == 1
    else:
        missed = binomial_tail(n - successes, n, 1 - Fraction(high))
        assert float(missed) == pytest.approx(0.025, rel=1e-6)


def test_what_has_no_interval() -> None:
    for successes, n in ((0, 0), (-1, 5), (6, 5)):
        with pytest.raises(ConfigError, match=r"0\.\.n of n at least 1"):
            clopper_pearson(successes, n)
    with pytest.raises(ConfigError, match="at least 1"):
        adjusted_lower(1, 2, 0)


def record(number: int, outcome="failure", distances=(0.5, 0.4), steps: int = 7) -> Record:
    return Record(
        id=str(number),
        seed=1,
        goal_seed=2,
        manifest="m",
        policy="p",
        privileged=False,
        outcome=outcome,
        error="",
        success_distance=0.1,
        distances=distances,
        actions=((0.0,),) * (len(distances) - 1),
        decisions=(Decision(0, steps, 0.0, {}),),
    )


def rows(solved: int, n: int, random: int = 1, oracle: int = 20) -> dict:
    def some(hits: int, of: int):
        found = [record(i, "success", (0.5, 0.05)) for i in range(hits)]
        return found + [record(i) for i in range(hits, of)]

    return {"agent": some(solved, n), "random": some(random, 20), "oracle": some(oracle, 20)}


def test_a_row_is_counted_from_records() -> None:
    records = rows(3, 10)
    records["agent"][9] = record(9, "crash", (0.5,), steps=11)
    records["agent"][8] = record(8, "timeout", (0.5, 0.01))
    records["agent"][7] = record(7, "failure", (0.5, 0.05, 0.3))
    row = row_of("reach", records, 2, 100)
    ROW.check(row, "row")
    assert (row["n"], row["succ"], row["crashes"], row["timeouts"]) == (10, 3, 1, 1)
    assert row["first_hit"] == 4  # passing through counts there, a timeout nowhere
    assert row["budget"] == {
        "limit": 100,
        "most": 11,
        "model_steps": 74,
        "decisions": 10,
        "world_steps": 10,
    }
    assert row["controls"]["random"] == {"n": 20, "succ": 1, "crashes": 0, "timeouts": 0}
    assert row["normalised"] == "0.2632"  # (0.3 - 0.05) / (1 - 0.05)
    assert row["ci95"] == ["0.0667", "0.6525"]


@given(st.integers(1, 300), st.data())
def test_written_limits_are_never_narrower(n: int, data) -> None:
    solved = data.draw(st.integers(0, n))
    row = row_of("x", rows(solved, n), 3, None)
    low, high = (float(text) for text in row["ci95"])
    exact = clopper_pearson(solved, n)
    assert low <= exact[0] + 1e-12 and exact[1] <= high + 1e-12
    assert high - low <= exact[1] - exact[0] + 2e-4
    assert float(row["low_adj"]) <= adjusted_lower(solved, n, 3) + 1e-12


def test_what_is_not_better_than_chance_is_not_normalised() -> None:
    assert row_of("x", rows(1, 2, random=5, oracle=5), 1, None)["normalised"] is None
    assert row_of("x", rows(0, 2, random=10, oracle=20), 1, None)["normalised"] == "-1.0000"
    with pytest.raises(ConfigError, match="needs records of every actor"):
        row_of("x", {"agent": []}, 1, None)
