"""Summary: rows, intervals and verdicts, from the errors of every episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from armillary.core.statistics import holm, wilson_interval
from armillary.words.pairs import KINDS
from armillary.words.settings import WordsConfig
from armillary.words.statistics import difference_row, mean_row, verdict

_MOVED_CM = 1.0
_MINUS = ("T-probe", "T-true", "T-noise", "linear (probe)", "copy_last (probe)")


def summarise(
    seeds: Sequence[Mapping[str, Any]], config: WordsConfig, registered: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the result of a study.

    Args:
        seeds: what was measured of each.
        config: of the study.
        registered: the registration.

    Returns:
        ``primary``: the registered difference and its verdict.
        ``state_error_cm``: by variant and horizon, mean, 95 % interval, means of the seeds; beside
        it ``pusher``, ``object`` and ``object_moved`` (of episodes whose object moved by 1 cm).
        ``W_minus``: differences of W from others by horizon, p-values with Holm's correction.
        ``W_minus_written``: the same of simulators that somebody wrote; not registered.
        ``pairs``: accuracy by variant and kind. ``goals``: reached, with Wilson's interval.
        ``unparsable``: how many states did not parse, with examples.
    """
    errors = _errors(seeds)
    moved = np.array([one["predictions"]["moved_cm"] for one in seeds]) >= _MOVED_CM
    written = _written(seeds)
    primary = registered["primary"]
    first, second = primary["variants"]
    found = {
        "primary": _primary(errors, config, registered, first, second),
        "state_error_cm": {
            variant: _rows(values, moved, config.horizons)
            for variant, values in (errors | written).items()
        },
        "W_minus": _minus(errors, _MINUS, config),
        "W_minus_written": _minus({"W": errors["W"], **written}, tuple(written), config),
        "read_out_cm": mean_row(
            np.array([one["predictions"]["read_out_cm"] for one in seeds]).mean(-1)
        ),
        "pairs": _pairs(seeds),
        "goals": _goals(seeds),
        "unparsable": _unparsable(seeds),
        "n": {
            "seeds": len(seeds),
            "episodes": moved.shape[1],
            "moved": {str(h): int(moved[0, :, at].sum()) for at, h in enumerate(config.horizons)},
        },
    }
    return found


def _errors(seeds: Sequence[Mapping[str, Any]]) -> dict[str, Float[np.ndarray, "M W L 2"]]:
    variants = seeds[0]["predictions"]["errors_cm"]
    return {
        variant: np.array([one["predictions"]["errors_cm"][variant] for one in seeds])
        for variant in variants
    }


def _written(seeds: Sequence[Mapping[str, Any]]) -> dict[str, Float[np.ndarray, "M W L 2"]]:
    """Return the errors of simulators that somebody wrote."""
    names = seeds[0]["written"]["errors_cm"]
    return {
        name: np.array([one["written"]["errors_cm"][name] for one in seeds], np.float64)
        for name in names
    }


def _rows(values: np.ndarray, moved: np.ndarray, horizons: tuple[int, ...]) -> dict[str, Any]:
    return {
        str(ahead): {
            **mean_row(values[:, :, at].mean(axis=-1)),
            "pusher": _mean(values[:, :, at, 0]),
            "object": _mean(values[:, :, at, 1]),
            "object_moved": _mean(values[:, :, at, 1][moved[:, :, at]]),
        }
        for at, ahead in enumerate(horizons)
    }


def _mean(values: np.ndarray) -> float | None:
    """Return the mean; what is not judged is NaN."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def _primary(
    errors: Mapping[str, np.ndarray],
    config: WordsConfig,
    registered: Mapping[str, Any],
    first: str,
    second: str,
) -> dict[str, Any]:
    primary = registered["primary"]
    fewest = registered.get("judged", {}).get("fewest_seeds", 1)
    if primary["horizon"] not in config.horizons or not {first, second} <= {*errors}:
        missing = "a variant is missing, or the episodes are too short"
        return {**primary, "verdict": f"not measured: {missing}"}
    at = config.horizons.index(primary["horizon"])
    a, b = (errors[variant][:, :, at].mean(axis=-1) for variant in (first, second))
    row = difference_row(a, b)
    said = verdict(row, primary["margin_cm"], first, second)
    if not registered.get("sha256"):
        said = "none: nothing is registered for this world"
    elif len(a) < fewest:  # the interval would be of episodes alone
        said = f"open: {len(a)} of at least {fewest} seeds"
    return {**primary, **row, "verdict": said}


def _minus(
    errors: Mapping[str, np.ndarray], others: Sequence[str], config: WordsConfig
) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {
        variant: {
            str(ahead): difference_row(
                errors["W"][:, :, at].mean(axis=-1), errors[variant][:, :, at].mean(axis=-1)
            )
            for at, ahead in enumerate(config.horizons)
        }
        for variant in others
        if variant in errors
    }
    every = [row for one in rows.values() for row in one.values()]
    for row, p in zip(every, holm([row["p"] for row in every]), strict=True):
        row["p_holm"] = p
    return rows


def _pairs(seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    kinds = np.array(seeds[0]["pairs"]["kind"])
    balanced = np.isin(kinds, ("held", "moved"))
    found: dict[str, dict[str, Any]] = {}
    rights = [one["pairs"]["right"] | one["written"]["right"] for one in seeds]
    for variant in rights[0]:
        right = np.array([one[variant] for one in rights], np.float64)
        found[variant] = {kind: _mean(right[:, kinds == kind]) for kind in KINDS}
        found[variant]["held_and_moved"] = mean_row(right[:, balanced]) if balanced.any() else None
    counts = {kind: int((kinds == kind).sum()) for kind in KINDS}
    return {"n": counts, "floor": 0.5, "accuracy": found}


def _goals(seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found = {}
    for variant in seeds[0]["acting"]["rows"]:
        rows = [one["acting"]["rows"][variant] for one in seeds]
        reached = [one for row in rows for one in row["reached"]]
        any_step = [one for row in rows for one in row["reached_at_any_step"]]
        found[variant] = {
            "reached": sum(reached),
            "n": len(reached),
            "rate": float(np.mean(reached)),
            "wilson95": list(wilson_interval(sum(reached), len(reached))),
            "rate_at_any_step": float(np.mean(any_step)),
            "final_cm": float(np.mean([far for row in rows for far in row["final_cm"]])),
            "core_seconds_per_decision": float(
                np.mean([row["core_seconds_per_decision"] for row in rows])
            ),
            "candidates": [row["candidates"] for row in rows],
        }
    return found


def _unparsable(seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found = {}
    for variant in seeds[0]["predictions"]["unparsed"]:
        rows = [one["predictions"]["unparsed"][variant] for one in seeds]
        found[variant] = {
            "unparsable": sum(row["unparsable"] for row in rows),
            "states": sum(row["states"] for row in rows),
            "examples": [example for row in rows for example in row["examples"]][:5],
        }
    return found
