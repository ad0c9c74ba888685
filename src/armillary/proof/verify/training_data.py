"""Training data that somebody shows: are they those of the commit, and do they hold the test?"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from armillary.data import open_dataset
from armillary.proof.contamination import Thoroughness
from armillary.proof.contamination_report import held_against, read_report, report_problem
from armillary.proof.data_manifest import data_digest, write_data_manifest
from armillary.proof.verify.case import Case
from armillary.proof.verify.rules import Check, Said, broken, holds, same, unknown


def contamination(case: Case) -> Said:
    """The training data hold no episode of the test, and none that is nearly one."""
    if case.how.data is None:
        return holds("No training data were shown; only fresh seeds answer for them.")
    dataset, chance = open_dataset(case.how.data), int(case.how.nonce[:12], 16)
    how = Thoroughness(chance, case.how.draws)
    undecided = ""
    for task, manifest in case.sources.manifests.items():
        records = case.sources.rows[task]["agent"]
        found = held_against(dataset, manifest, records, how, case.how.progress)
        for rule in found.rules:
            sentence = f"{task}: {rule.name}: {rule.detail}"
            if rule.severity == "error" and rule.ok is False:
                return broken(sentence)
            if rule.severity == "error" and rule.ok is None:
                undecided = undecided or sentence  # a later task may be refuted all the same
    if undecided:
        return unknown(undecided)
    return holds("The training data hold no episode of the test and none that is nearly one.")


def committed_data(case: Case) -> Said:
    """The training data are those that the commit names."""
    named = case.sources.claimed.commit.body.get("data")
    if case.how.data is None or named is None:
        return holds("No training data were both named in the commit and shown.")
    return same("Training data", named, _shown(case, case.how.data))


def report(case: Case) -> Said:
    """What the owner reports of training data is about them and the suite, and comes out again."""
    told = read_report(case.sources.where.run.contamination)
    if told is None:
        return holds("No report on training data was handed in.")
    sentence = report_problem(told, case.sources.claimed.commit.body, case.sources.rows)
    if sentence:
        return broken(sentence)
    if case.how.data is None:
        return holds("The report on training data is its owner's word; --data makes it again.")
    if told["data"] != _shown(case, case.how.data):
        return broken("The report is about other training data than are shown.")
    dataset = open_dataset(case.how.data)
    how = Thoroughness(int(told["chance"], 16), case.how.draws)
    for task, manifest in case.sources.manifests.items():
        records = case.sources.rows[task]["agent"]
        found = held_against(dataset, manifest, records, how, case.how.progress)
        again = {"verdict": found.verdict, "exact": found.for_scorecard()["exact"]}
        claimed = {name: told["tasks"][task][name] for name in again}
        if claimed != again:
            return same(f"Report on training data, {task}", claimed, again)
    return holds("The report on training data comes out again.")


def _shown(case: Case, data: Path) -> str:
    """Return the digest of the training data that are shown; found once per case."""
    found = case.__dict__.get("shown")
    if found is None:
        with TemporaryDirectory() as folder:
            found = data_digest(write_data_manifest(data, Path(folder)))
        case.__dict__["shown"] = found
    return found


DATA = (
    Check("data.same", 0, committed_data, about="other training data than were committed to"),
    Check("data.contamination", 0, contamination, about="training on the test"),
    Check("data.report", 0, report, about="a report on training data that nobody made"),
)
