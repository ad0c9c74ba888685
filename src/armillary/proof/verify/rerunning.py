"""Rerunning: level 3. A sample of the agent's episodes is run again from start to end.

No forged action escapes in an episode that is run again. How many are drawn follows from what is
to be refuted: a claim five points too high, with 90 %, forged successes being among the successes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from armillary.control.evaluate import evaluate
from armillary.control.records import Record, actions_of
from armillary.proof.suite_worlds import SuiteWorld
from armillary.proof.verify.case import Case
from armillary.proof.verify.replaying import workers_for
from armillary.proof.verify.rules import Check, Said, broken, holds, unknown
from armillary.proof.verify.sampling import (
    POWER,
    TOO_HIGH,
    caught,
    falsified_of,
    most_flips,
    picked,
    sample_size,
)

# Share of honest episodes whose outcome may differ on another machine; none of 30 did. Of a model
# with convolutions 4 of 84 did (an EPYC and a Xeon), so more than these leave it open, up to a
# share that no processor explains.
FLIPS = 0.01
_OPEN_FLIPS = 0.1
_OTHERS = 10  # one failure for so many successes


def outcomes(case: Case) -> Said:
    """Episodes that are run again end as recorded."""
    differing, n, total = [], 0, 0
    for task in case.sources.rows:
        sample = drawn_episodes(case, task)
        differing += [f"{task}: {name}" for name in _differing(case, task, sample)]
        n, total = n + len(sample), total + len(case.sources.rows[task]["agent"])
    allowed = 0 if case.arithmetic == "same" else most_flips(n, FLIPS)
    said = (
        f"{n} of {total} episodes run again; {len(differing)} end otherwise, {allowed} may "
        f"({case.arithmetic})."
    )
    numbers = {"n": n, "of": total, "differing": len(differing), "allowed": allowed}
    if len(differing) > allowed and case.arithmetic == "other-graphics":
        return unknown(f"{said} Another driver draws here.", **numbers)
    if allowed < len(differing) <= most_flips(n, _OPEN_FLIPS) and case.arithmetic == "other-isa":
        return unknown(f"{said} Another processor computes here.", **numbers)
    if len(differing) > allowed:
        return broken(f"{said} The first is {differing[0]}.", **numbers)
    return holds(said, **numbers)


def power(case: Case) -> Said:
    """The re-run would have seen a claim that is five points too high, however it was forged."""
    drawn = {task: _counts(case, task) for task in case.sources.rows}
    n = sum(one + other for one, other in drawn.values())
    allowed = 0 if case.arithmetic == "same" else most_flips(n, FLIPS)
    weakest = 1.0
    for task, row in case.sources.rows.items():
        solved = sum(record.success for record in row["agent"])
        wrong = falsified_of(len(row["agent"]))
        found = caught(solved, wrong, drawn[task][0], allowed) if solved else 1.0
        weakest = min(weakest, found)
    said = (
        f"A claim {100 * TOO_HIGH:.0f} points too high would be refuted with {100 * weakest:.0f} %."
    )
    return (holds if weakest >= POWER else broken)(said, power=f"{weakest:.4f}")


def _counts(case: Case, task: str) -> tuple[int, int]:
    """Return how many successes and how many failures of a task are run again."""
    records = case.sources.rows[task]["agent"]
    solved = sum(record.success for record in records)
    wanted = case.how.episodes
    if wanted is None:
        wrong = min(falsified_of(len(records)), max(solved, 1))
        first = sample_size(solved, wrong, POWER) if solved else 0
        return first, min(len(records) - solved, -(-max(first, 1) // _OTHERS))
    share = -(-wanted // len(case.sources.rows))
    first = min(solved, share - min(len(records) - solved, share // _OTHERS))
    return first, min(len(records) - solved, share - first)


def drawn_episodes(case: Case, task: str) -> list[Record]:
    """Return the episodes of a task that are run again."""

    def rank(one: Record) -> bytes:
        return case.rank("rerun", task, one.id)

    records = case.sources.rows[task]["agent"]
    first, rest = _counts(case, task)
    chosen = picked([record for record in records if record.success], first, rank)
    return chosen + picked([record for record in records if not record.success], rest, rank)


def _differing(case: Case, task: str, sample: list[Record]) -> list[str]:
    manifest, wanted = case.sources.manifests[task], {record.id for record in sample}
    episodes = tuple(one for one in manifest.episodes if one.id in wanted)
    workers = workers_for(case, len(episodes) * manifest.budget)
    again = evaluate(
        replace(manifest, episodes=episodes),
        case.sources.agent.for_task(task),
        SuiteWorld.of(manifest),
        workers=workers,
        progress=case.how.progress,
    )
    found = {record.id: record for record in again}
    exact = case.arithmetic == "same"
    return [
        one.id
        for one in sample
        if not _alike(one, found.get(one.id), case.tolerance.limit if exact else None)
    ]


def _alike(claimed: Record, again: Record | None, limit: float | None) -> bool:
    """Tell whether an episode ends alike and, where a limit is given, acts alike."""
    if again is None or claimed.success != again.success:
        return False
    if limit is None:
        return True
    if (claimed.outcome, claimed.steps) != (again.outcome, again.steps):
        return False
    return bool(np.abs(actions_of(claimed) - actions_of(again)).max(initial=0.0) <= limit)


RERUN = (
    Check("rerun.outcomes", 3, outcomes, about="single actions put in by hand"),
    Check("rerun.power", 3, power, "warning", False, "a re-run too small to tell"),
)
