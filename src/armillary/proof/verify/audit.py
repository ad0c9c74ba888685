"""Audit: level 2. Single decisions, picked by the verifier's nonce, are made again with the agent.

Half of them are the last decisions of claimed successes: to turn a failure into a success, it is
often enough to forge the last. Of quadruplets, half are clips of the successes with the smallest
margins, one clip of each: a failure that is nudged over the line comes to lie there.

The world is taken to the step by the recorded actions, the planner gets its recorded state, and
what comes out must be what was recorded: actions, cost, model steps, and the state that the next
decision begins with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from armillary.core.processes import map_in_processes
from armillary.evaluation.records import Record
from armillary.proof.code import QUADRUPLETS
from armillary.proof.quadruplets.world import CELLS, margin
from armillary.proof.verify.active import shared_share
from armillary.proof.verify.case import Case
from armillary.proof.verify.redoing import Job, Redoing, Redone
from armillary.proof.verify.replaying import workers_for
from armillary.proof.verify.rules import Check, Said, broken, first, holds, unknown
from armillary.proof.verify.sampling import (
    POWER,
    TOO_HIGH,
    caught,
    falsified_of,
    most_flips,
    picked,
    stratified,
)

_COST = {"same": 1e-5, "other-isa": 1e-4, "other-graphics": 1e-4, "bfloat16": 2e-2}
# Another instruction set lets a close race of two plans end otherwise: 0.08 % of the steps were
# not bit-equal when measured (1,200 steps); six times that.
CLOSE_RACES = 0.005
_ROUTED = 0.5
LEAST = 40  # decisions of an audit, or all where there are fewer


@dataclass(frozen=True)
class Audited:
    """The decisions of one task that were made again."""

    task: str
    redone: tuple[Redone, ...]


def audited(case: Case) -> tuple[Audited, ...]:
    """Return the picked decisions of every task, made again; found once per case."""
    found = case.__dict__.get("audited")
    if found is None:
        found = tuple(_task(case, task) for task in case.sources.rows)
        case.__dict__["audited"] = found
    return found


def _task(case: Case, task: str) -> Audited:
    records = {record.id: record for record in case.sources.rows[task]["agent"]}
    jobs = drawn_jobs(case, task, records)
    return Audited(task, redone_of(case, task, jobs))


def whole(record: Record) -> Job:
    """Return all decisions of an episode, to be made again."""
    return Job(record, tuple(range(len(record.decisions))))


def redone_of(
    case: Case, task: str, jobs: Sequence[Job], attributed: bool = True
) -> tuple[Redone, ...]:
    """Make decisions of a task again; ``attributed`` as of `Redoing`."""
    jobs = [job for job in jobs if job.indices]
    if not jobs:
        return ()
    steps = sum(max(job.record.decisions[i].step for i in job.indices) for job in jobs)
    opener = Redoing(case.sources.manifests[task], case.sources.agent.for_task(task), attributed)
    found = map_in_processes(opener, jobs, workers_for(case, steps), case.how.progress)
    return tuple(one for part in found for one in part)


def strays(case: Case, one: Redone) -> bool:
    """Tell whether a decision that was made again is another than recorded."""
    limit = case.tolerance.limit
    near = one.action <= limit and one.carry <= limit and one.cost <= _COST[case.arithmetic]
    return bool(one.problem) or not near or one.model_steps != one.claimed_steps


def drawn_jobs(case: Case, task: str, records: dict[str, Record]) -> list[Job]:
    """Return which decisions to make again: the same number per task.

    Half are the last ones of successes, or of quadruplets those of the nearest; the rest are drawn
    from all others, successes first.
    """
    share = -(-case.how.decisions // len(case.sources.rows))

    def rank(one: tuple[str, int]) -> bytes:
        return case.rank("audit", task, *one)

    if _judged(case, task):
        last, solved, others = _nearest(records.values(), _lasts(share), rank)
    else:
        last, solved, others = _places(records.values())
    chosen = picked(last, _lasts(share), rank)
    kept = {*chosen}
    left = [one for one in last if one not in kept]
    chosen += stratified([*solved, *left], others, share - len(chosen), rank)
    by_record: dict[str, list[int]] = {}
    for name, index in chosen:
        by_record.setdefault(name, []).append(index)
    return [Job(records[name], tuple(sorted(found))) for name, found in by_record.items()]


def _places(records: Iterable[Record]) -> tuple[list[tuple[str, int]], ...]:
    """Return the last decisions of successes, their other ones, and those of failures."""
    last, solved, others = [], [], []
    for record in records:
        places = [(record.id, index) for index in range(len(record.decisions))]
        if record.success:
            last += places[-1:]
            solved += places[:-1]
        else:
            others += places
    return last, solved, others


def _judged(case: Case, task: str) -> bool:
    """Tell whether the decisions of a task are judgements of clips."""
    return case.sources.suite.task(task).world == QUADRUPLETS


def _all_judged(case: Case) -> bool:
    return all(_judged(case, task) for task in case.sources.rows)


def _nearest(
    records: Iterable[Record], most: int, rank: Callable[[tuple[str, int]], bytes]
) -> tuple[list[tuple[str, int]], ...]:
    """Return one clip of each of the nearest successes, the other clips of successes, the rest."""
    nearest, solved, others = [], [], []
    ranked = sorted(records, key=lambda one: margin(one.seed, [a[0] for a in one.actions]))
    for record in ranked:
        places = [(record.id, index) for index in range(len(record.decisions))]
        if record.success and places and len(nearest) < most:
            nearest.append(min(places, key=rank))
            solved += [one for one in places if one != nearest[-1]]
        else:
            (solved if record.success else others).extend(places)
    return nearest, solved, others


def _lasts(share: int) -> int:
    """Return how many of the decisions of a task are the last ones of successes."""
    return -(-share // 2)


def power(case: Case) -> Said:
    """The audit would have seen a claim that is five points too high, wherever one decision lies.

    Whoever forges chooses where: at the last decision of an episode, or at one before. Of a
    quadruplet, it is the clip that is nudged just over the line, or one that is moved far.
    """
    share = -(-case.how.decisions // len(case.sources.rows))
    found = {}
    for task, row in case.sources.rows.items():
        wrong, lasts = falsified_of(len(row["agent"])), _lasts(share)
        if _judged(case, task):
            last, solved, _ = _nearest(row["agent"], lasts, lambda one: case.rank("audit", *one))
            # the forged clip is the one that is taken of its quadruplet, or among the others
            other = min(1.0, (share - len(last)) * 3 // 4 / max(len(solved), 1))
            missed = (1 - 1 / len(CELLS)) * (1 - other)
            at_end = 1 - missed ** min(wrong, len(last)) if last else 1.0
        else:
            last, solved, _ = _places(row["agent"])
            at_end = caught(len(last), wrong, lasts)
        rest = (share - min(lasts, len(last))) * 3 // 4
        before = caught(len(solved), wrong, rest) if solved else 1.0
        found[task] = at_end, before
    at_end, before = (min(pair[place] for pair in found.values()) for place in (0, 1))
    where = "surprises nudged over the line" if _all_judged(case) else "forged last decisions"
    said = (
        f"A claim {100 * TOO_HIGH:.0f} points too high by {where} would be refuted "
        f"with {100 * at_end:.0f} %, by one forged decision elsewhere with {100 * before:.0f} %."
    )
    enough = min(at_end, before) >= POWER
    return (holds if enough else broken)(said, power=f"{min(at_end, before):.4f}")


def too_small(case: Case) -> bool:
    """Tell whether fewer decisions were made again than an audit is."""
    available = sum(
        len(one.decisions) for row in case.sources.rows.values() for one in row["agent"]
    )
    done = sum(len(part.redone) for part in audited(case))
    return done < min(LEAST, available)


def schedule(case: Case) -> Said:
    """Every episode has a decision wherever the agent's planner makes one."""
    return first(_schedule_problems(case), "Every decision that the agent makes is on record.")


def _schedule_problems(case: Case) -> Iterator[str]:
    for task, row in case.sources.rows.items():
        every = _every(case, task)
        for record in row["agent"]:
            steps = [decision.step for decision in record.decisions]
            broke = record.outcome in ("crash", "timeout")
            wanted = list(range(0, record.steps, every))
            # what broke while it decided may have a last decision that was not executed
            if steps != wanted and not (broke and steps == list(range(0, record.steps + 1, every))):
                yield f"{task}: {record.id} has {len(steps)} decisions where {len(wanted)} are due."


def _every(case: Case, task: str) -> int:
    """Return how many world steps the agent goes from one decision to the next."""
    world = case.sources.suite.task(task).factory()
    try:
        policy = case.sources.agent.for_task(task)(world.spec)
        return policy.decides_every
    finally:
        world.close()


def actions(case: Case) -> Said:
    """The actions are those that the agent decides on."""
    return _within(case, "actions", lambda one: one.action, case.tolerance.limit)


def costs(case: Case) -> Said:
    """The plans cost what the agent's model says."""
    return _within(case, "costs", lambda one: one.cost, _COST[case.arithmetic])


def carries(case: Case) -> Said:
    """Every decision begins with what the one before it left behind."""
    return _within(case, "planner states", lambda one: one.carry, case.tolerance.limit)


def _within(case: Case, what: str, gap: Callable[[Redone], float], limit: float) -> Said:
    """Say whether decisions that were made again stay within what arithmetic explains."""
    done = [(one.task, redone) for one in audited(case) for redone in one.redone]
    if not done:
        return broken("No decision is on record that could be made again.")
    failed = [
        f"{task}: {one.episode}, step {one.step}: {one.problem}"
        for task, one in done
        if one.problem
    ]
    if failed:
        return first(failed, "")
    gaps = [gap(one) for _, one in done]
    beyond = [place for place, found in enumerate(gaps) if not found <= limit]
    numbers = {"n": len(done), "beyond": len(beyond), "largest": max(gaps), "limit": limit}
    said = f"{len(done)} decisions made again ({case.arithmetic}); "
    if not beyond:
        return holds(f"{said}{what} differ by {max(gaps):.2g} at most.", **numbers)
    task, one = done[beyond[0]]
    said += (
        f"{what} of {len(beyond)} differ by more than {limit:g}, e.g. {task} {one.episode}, step "
        f"{one.step}, by {gap(one):.3g}."
    )
    if len(beyond) <= case.tolerance.share * len(done):
        return holds(said, **numbers)
    if case.arithmetic == "other-graphics":
        return unknown(f"{said} Another driver draws here; check on a machine alike.", **numbers)
    if case.arithmetic != "same" and len(beyond) <= most_flips(len(done), CLOSE_RACES):
        return unknown(f"{said} Close races can do that here; check on a machine alike.", **numbers)
    return broken(said, **numbers)


def model_steps(case: Case) -> Said:
    """The decisions took as many model steps as recorded, and no more than the budget."""
    return first(_budget_problems(case), "Decisions take as many model steps as recorded.")


def _budget_problems(case: Case) -> Iterator[str]:
    for part in audited(case):
        for one in part.redone:
            if not one.problem and one.model_steps != one.claimed_steps:
                yield (
                    f"{part.task}: {one.episode}, step {one.step}: {one.claimed_steps} model steps "
                    f"are claimed, {one.model_steps} are taken."
                )


def shared(case: Case) -> Said:
    """All decisions of a row depend on the same parameters."""
    found = {}
    for part in audited(case):
        masks = [one.active for one in part.redone if one.active is not None]
        if masks:
            found[part.task] = shared_share(masks)
    if not found:
        return unknown("No decision could be made again.")
    task = min(found, key=lambda name: found[name])
    share, tensor = found[task]
    numbers = {name: round(one[0], 4) for name, one in found.items()}
    said = f"In {task}, {100 * share:.0f} % of {tensor} serve every decision; of others more."
    if share < _ROUTED:
        return broken(f"{said} Several models may share this folder (a router).", **numbers)
    return holds(said, **numbers)


AUDIT = (
    Check("audit.schedule", 2, schedule, about="decisions left out of the record"),
    Check("audit.actions", 2, actions, about="actions of another model, planner or oracle"),
    Check("audit.costs", 2, costs, about="a model that reached the same action otherwise"),
    Check("audit.carry", 2, carries, about="planner states chosen so that a wanted action comes"),
    Check("audit.model_steps", 2, model_steps, about="more search than is reported"),
    Check("audit.shared", 2, shared, "warning", False, "several models in one folder"),
    Check("audit.power", 2, power, "warning", False, "an audit that a forged decision may escape"),
)
