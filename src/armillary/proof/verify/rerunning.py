"""Rerunning: level 3. A sample of the agent's episodes is run again from start to end.

No forged action escapes in an episode that is run again. How many are drawn follows from what is
to be refuted: a claim five points too high, with 90 %, forged successes being among the successes.

On another instruction set an honest episode may end otherwise. Then every decision on its record is
made again. Rounding explains the end only if each of them is the agent's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from armillary.evaluation.evaluate import evaluate
from armillary.evaluation.records import Record, actions_of
from armillary.proof.suite_worlds import SuiteWorld
from armillary.proof.verify.audit import CLOSE_RACES, redone_of, strays, whole
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

# Share of honest episodes whose outcome may differ on another machine. Of a model with convolutions
# 4 of 84 did (an EPYC and a Xeon), and on a second EPYC 1 of 105. More than these leave it open, up
# to a share that no processor explains.
FLIPS = 0.01
_OPEN_FLIPS = 0.1
_OTHERS = 10  # one failure for so many successes


def outcomes(case: Case) -> Said:
    """Episodes that are run again end as recorded, or another processor explains it."""
    differing: dict[str, list[Record]] = {}
    n, total = 0, 0
    for task in case.sources.rows:
        sample = drawn_episodes(case, task)
        differing[task] = _differing(case, task, sample)
        n, total = n + len(sample), total + len(case.sources.rows[task]["agent"])
    found = [f"{task}: {one.id}" for task, records in differing.items() for one in records]
    said = f"{n} of {total} episodes run again ({case.arithmetic}); {len(found)} end otherwise"
    numbers = {"n": n, "of": total, "differing": len(found), "allowed": 0}
    if not found:
        return holds(f"{said}.", **numbers)
    if case.arithmetic == "same":
        return broken(f"{said}. The first is {found[0]}.", **numbers)
    if case.arithmetic == "other-graphics":
        return unknown(f"{said}. Another driver draws here.", **numbers)
    return _explained(case, differing, f"{said}, e.g. {found[0]}", numbers)


def _explained(
    case: Case, differing: dict[str, list[Record]], said: str, numbers: dict[str, int]
) -> Said:
    """Say whether rounding explains that episodes end otherwise, from all their decisions."""
    redone = [
        (task, one)
        for task, records in differing.items()
        for one in redone_of(case, task, [whole(record) for record in records], attributed=False)
    ]
    forged = [
        f"{task}: {one.episode}, step {one.step}" for task, one in redone if strays(case, one)
    ]
    allowed = most_flips(numbers["n"], FLIPS)
    numbers = {**numbers, "allowed": allowed, "forged": len(forged)}
    said = f"{said}. {len(redone)} decisions of these were made again; "
    if forged:
        said += f"{len(forged)} are not the agent's, e.g. {forged[0]}."
        rate = max(CLOSE_RACES, case.tolerance.share)
        if len(forged) <= most_flips(len(redone), rate):
            return unknown(f"{said} A close race can do that; check on a machine alike.", **numbers)
        return broken(said, **numbers)
    said += "all are the agent's."
    if numbers["differing"] <= allowed:
        return holds(said, **numbers)
    if numbers["differing"] <= most_flips(numbers["n"], _OPEN_FLIPS):
        return unknown(f"{said} {allowed} would be no surprise on another processor.", **numbers)
    return broken(f"{said} So many are no rounding.", **numbers)


def power(case: Case) -> Said:
    """The re-run would not have accepted a claim that is five points too high by other actions.

    A forged episode that is drawn ends otherwise, and then its forged decision is found. So none is
    allowed, on any machine.
    """
    weakest = 1.0
    for task, row in case.sources.rows.items():
        solved = sum(record.success for record in row["agent"])
        wrong = falsified_of(len(row["agent"]))
        found = caught(solved, wrong, _counts(case, task)[0]) if solved else 1.0
        weakest = min(weakest, found)
    said = (
        f"A claim {100 * TOO_HIGH:.0f} points too high would not be accepted, with "
        f"{100 * weakest:.0f} %."
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


def _differing(case: Case, task: str, sample: list[Record]) -> list[Record]:
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
        one
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
