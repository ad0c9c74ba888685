"""Measure how often a laundered card is refuted: results/laundering.json.

    python scripts/measure_laundering.py [CARD] [--nonces 200] [--record FILE]

Laundering: some failed episodes of a signed run are shown as successes. Their last action is
another's, or one in the middle, and all is signed again. A forged decision that is made again
differs, and so does an episode that is run again (the attacks `last_actions` and `one_nudge` show
both). So what decides is which are drawn, and that is done here as the verifier does it, on the
episodes of a card, for fresh nonces. Nothing is run.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from armillary.benchmark.machine import provenance
from armillary.core.files import write_json
from armillary.core.rng import generator
from armillary.evaluation.records import Record
from armillary.proof.verify.audit import drawn_jobs
from armillary.proof.verify.case import Case, How, load_case
from armillary.proof.verify.rerunning import drawn_episodes
from armillary.proof.verify.submission import find_submission

FALSIFIED = (1, 3, 5, 10, 20)


def laundered(records: list[Record], count: int) -> tuple[list[Record], dict[str, int]]:
    """Return a row in which so many more episodes are successes, and where each was forged.

    Failures come first; where there are too few, successes count as forged, too.
    """
    order = sorted(records, key=lambda one: one.success)
    forged = {one.id: len(one.decisions) - 1 for one in order[:count]}
    shown = [replace(one, outcome="success") if one.id in forged else one for one in records]
    return shown, forged


def with_rows(case: Case, task: str, shown: list[Record], how: How) -> Case:
    """Return a case whose agent's records of a task are others, as a forger would write them."""
    sources = copy(case.sources)
    row = {**case.sources.rows[task], "agent": tuple(shown)}
    sources.__dict__["rows"] = {**case.sources.rows, task: row}
    return Case(sources, case.card, how)


def rates(case: Case, nonces: int) -> dict[str, Any]:
    """Return the share of nonces that refute, by number of falsified episodes and level."""
    task = next(iter(case.sources.rows))
    honest = list(case.sources.rows[task]["agent"])
    found: dict[str, Any] = {}
    for count in FALSIFIED:
        shown, last = laundered(honest, count)
        rng = generator("laundering", count)
        middle = {name: int(rng.integers(0, max(place, 1))) for name, place in last.items()}
        hits = {
            "level_2_last_action": 0,
            "level_2_middle_action": 0,
            "level_3": 0,
            "levels_2_and_3_last_action": 0,
            "levels_2_and_3_middle_action": 0,
        }
        for number in range(nonces):
            nonce = hashlib.sha256(f"laundering {number}".encode()).hexdigest()
            one = with_rows(case, task, shown, How(nonce=nonce))
            jobs = drawn_jobs(one, task, {record.id: record for record in shown})
            drawn = {(job.record.id, index) for job in jobs for index in job.indices}
            at_end = any(pair in drawn for pair in last.items())
            before = any(pair in drawn for pair in middle.items())
            again = bool({record.id for record in drawn_episodes(one, task)} & last.keys())
            hits["level_2_last_action"] += at_end
            hits["level_2_middle_action"] += before
            hits["level_3"] += again
            hits["levels_2_and_3_last_action"] += at_end or again
            hits["levels_2_and_3_middle_action"] += before or again
        found[str(count)] = {name: hit / nonces for name, hit in hits.items()}
    shown, _ = laundered(honest, 10)
    sized = with_rows(case, task, shown, How())
    return {
        "falsified": found,
        "n": len(honest),
        "solved": sum(record.success for record in honest),
        "decisions": How().decisions,
        "episodes_run_again": len(drawn_episodes(sized, task)),
        "nonces": nonces,
    }


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("card", type=Path, nargs="?", default=Path("results/proof/tabletop"))
    parser.add_argument("--nonces", type=int, default=200)
    parser.add_argument("--record", type=Path, default=Path("results/laundering.json"))
    chosen = parser.parse_args()
    case = load_case(find_submission(chosen.card), How())
    value = rates(case, chosen.nonces) | provenance(" ".join(["python", *sys.argv]), 1)
    write_json(chosen.record, value)
    sys.stdout.write(f"{value}\n")


if __name__ == "__main__":
    main()
