"""Training data that somebody shows: are they those of the commit, and do they hold the test?"""

from __future__ import annotations

from armillary.data import open_dataset
from armillary.proof.contamination import Thoroughness, check_contamination
from armillary.proof.evaluations import manifest_evaluation
from armillary.proof.verify.case import Case
from armillary.proof.verify.rules import Check, Said, broken, holds, unknown

_PICTURES = 13


def contamination(case: Case) -> Said:
    """The training data hold no episode of the test, and none that is nearly one."""
    if case.how.data is None:
        return holds("No training data were shown; only fresh seeds answer for them.")
    dataset, chance = open_dataset(case.how.data), int(case.how.nonce[:12], 16)
    for task, manifest in case.sources.manifests.items():
        steps = min(manifest.budget, _PICTURES - 1)
        records = case.sources.rows[task]["agent"]
        evaluation = manifest_evaluation(manifest, chance, records, max(steps, 4))
        how = Thoroughness(chance, case.how.draws, max(steps, 4) + 1)
        found = check_contamination(dataset, evaluation, how, case.how.progress)
        for rule in found.rules:
            if rule.severity == "error" and rule.ok is False:
                return broken(f"{task}: {rule.name}: {rule.detail}")
            if rule.severity == "error" and rule.ok is None:
                return unknown(f"{task}: {rule.name}: {rule.detail}")
    return holds("The training data hold no episode of the test and none that is nearly one.")


DATA = (Check("data.contamination", 0, contamination, about="training on the test"),)
