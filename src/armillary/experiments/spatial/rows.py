"""Rows of the sensor variants, from their records and probes alone, with paired tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from armillary.core.files import read_json
from armillary.core.statistics import holm, over_trainings
from armillary.evaluation import Record, read_records
from armillary.experiments.spatial.variants import VARIANTS

BEST = "point_map_world"  # the variant that the others are tested against
USUAL = "in_distribution"


def result_of(
    out: Path,
    variants: Sequence[str],
    seeds: Sequence[int],
    shifts: Sequence[str],
    subsets: Sequence[str],
    fused_seeds: Sequence[int],
) -> dict[str, Any]:
    """Return ``arms``, ``subsets`` and ``tests`` of a finished folder.

    Args:
        out: its folder.
        variants: names.
        seeds: of the variants' training.
        shifts: names.
        subsets: of the model of all sensors.
        fused_seeds: of its training.
    """
    solved = {
        variant: {shift: [_solved(out, seed, variant, shift) for seed in seeds] for shift in shifts}
        for variant in variants
    }
    fused = {
        name: [(seed, f"fused_{name}") for seed in fused_seeds] for name in subsets if fused_seeds
    }
    return {
        "arms": {variant: _variant(out, variant, seeds, solved[variant]) for variant in variants},
        "subsets": {name: _subset(out, runs) for name, runs in fused.items()},
        "tests": paired_tests(solved),
    }


def paired_tests(
    solved: Mapping[str, Mapping[str, Sequence[np.ndarray]]],
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return for each shift and variant the test against ``BEST`` on the same episodes.

    Args:
        solved: by variant and shift, for every seed whether each episode was solved.

    Returns:
        ``SHIFT.VARIANT.{best_only,arm_only,p,p_holm}``: pairs (training, episode) that only one of
        the two solved; p with the episode as what is drawn, Holm over all of them. Empty without
        ``BEST``.
    """
    if BEST not in solved:
        return {}
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for shift, best in solved[BEST].items():
        rows[shift] = {}
        for variant in solved:
            if variant != BEST:
                test = over_trainings(best, solved[variant][shift])
                counts = {"best_only": test.only_first, "arm_only": test.only_second}
                rows[shift][variant] = {**counts, "p": test.p}
    every = [row for variants in rows.values() for row in variants.values()]
    for row, p in zip(every, holm([row["p"] for row in every]), strict=True):
        row["p_holm"] = p
    return rows


def _variant(
    out: Path, variant: str, seeds: Sequence[int], solved: Mapping[str, Sequence[np.ndarray]]
) -> dict[str, Any]:
    probes = [read_json(out / str(seed) / variant / "probes.json") for seed in seeds]
    rows = [
        {
            shift: {
                "n": len(runs[place]),
                "success": float(runs[place].mean()),
                "position_error_cm": probes[place]["position_error_cm"][shift],
            }
            for shift, runs in solved.items()
        }
        for place in range(len(seeds))
    ]
    hidden = [found["hidden"] for found in probes]
    return {
        "said": VARIANTS[variant].said,
        "seeds": rows,
        "hidden_position_m_10": float(np.mean([found["error_m"] for found in hidden])),
        "last_seen_m_10": float(np.mean([found["last_seen_m"] for found in hidden])),
    }


def _subset(out: Path, runs: Sequence[tuple[int, str]]) -> dict[str, Any]:
    solved = np.concatenate([_solved(out, seed, name, USUAL) for seed, name in runs])
    probes = [read_json(out / str(seed) / name / "probes.json") for seed, name in runs]
    errors = [found["position_error_cm"][USUAL] for found in probes]
    return {
        "n": len(solved),
        "success": float(solved.mean()),
        "probe_cm": float(np.mean(errors)),
    }


def _solved(out: Path, seed: int, name: str, shift: str) -> np.ndarray:
    records: Sequence[Record] = read_records(out / str(seed) / name / "records" / f"{shift}.jsonl")
    return np.array([record.success for record in records], float)
