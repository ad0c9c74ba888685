"""Rerunning: level 3. A sample of the agent's episodes is run again from start to end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from armillary.control.evaluate import evaluate
from armillary.control.records import Record, actions_of
from armillary.proof.verify.case import Case
from armillary.proof.verify.replaying import workers_for
from armillary.proof.verify.rules import Check, Said, broken, holds, unknown
from armillary.proof.verify.sampling import most_flips, sample_size, stratified

# Share of honest episodes whose outcome may differ on another machine; none of 30 did.
FLIPS = 0.01


def outcomes(case: Case) -> Said:
    """Episodes that are run again end as recorded."""
    differing, n, total = [], 0, 0
    share = -(-case.how.episodes // len(case.sources.rows))
    for task in case.sources.rows:
        sample = _sample(case, task, share)
        differing += [f"{task}: {name}" for name in _differing(case, task, sample)]
        n, total = n + len(sample), total + len(case.sources.rows[task]["agent"])
    allowed = 0 if case.arithmetic == "same" else most_flips(n, FLIPS)
    caught = next((f for f in range(1, total + 1) if sample_size(total, f) <= n), total)
    said = (
        f"{n} of {total} episodes run again; {len(differing)} end otherwise, {allowed} may "
        f"({case.arithmetic}). {caught} falsified ones would be met with 99 %."
    )
    numbers = {"n": n, "of": total, "differing": len(differing), "allowed": allowed}
    if len(differing) > allowed and case.arithmetic == "other-graphics":
        return unknown(f"{said} Another driver draws here.", **numbers, caught=caught)
    if len(differing) > allowed:
        return broken(f"{said} The first is {differing[0]}.", **numbers, caught=caught)
    return holds(said, **numbers, caught=caught)


def _sample(case: Case, task: str, n: int) -> list[Record]:
    records = case.sources.rows[task]["agent"]
    solved = [record for record in records if record.success]
    others = [record for record in records if not record.success]
    return stratified(solved, others, n, lambda one: case.rank("rerun", task, one.id))


def _differing(case: Case, task: str, sample: list[Record]) -> list[str]:
    manifest, wanted = case.sources.manifests[task], {record.id for record in sample}
    episodes = tuple(one for one in manifest.episodes if one.id in wanted)
    workers = workers_for(case, len(episodes) * manifest.budget)
    again = evaluate(
        replace(manifest, episodes=episodes),
        case.sources.agent.for_task(task),
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


RERUN = (Check("rerun.outcomes", 3, outcomes, about="single actions put in by hand"),)
