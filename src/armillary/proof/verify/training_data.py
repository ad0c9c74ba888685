"""Training data that somebody shows: are they those of the commit, and do they hold the test?"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from armillary.data import open_dataset
from armillary.proof.contamination import Thoroughness
from armillary.proof.contamination_report import held_against
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
    with TemporaryDirectory() as folder:
        found = data_digest(write_data_manifest(case.how.data, Path(folder)))
    return same("Training data", named, found)


DATA = (
    Check("data.same", 0, committed_data, about="other training data than were committed to"),
    Check("data.contamination", 0, contamination, about="training on the test"),
)
