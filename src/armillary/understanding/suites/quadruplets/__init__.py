"""Quadruplets: is what cannot be more surprising than what can? Two contexts by two outcomes."""

from armillary.understanding.suites.quadruplets.asking import ask, read_labels, read_said
from armillary.understanding.suites.quadruplets.concepts import CONCEPTS, make_quadruplet
from armillary.understanding.suites.quadruplets.judges import (
    CONTROLS,
    JepaJudges,
    Judges,
    SurpriseModel,
)
from armillary.understanding.suites.quadruplets.scoring import RULE, RULE_SHA256, Scores, score
from armillary.understanding.suites.quadruplets.self_test import self_test
from armillary.understanding.suites.quadruplets.suite import SEEDS, Suite, fresh_seed, suite_digest
from armillary.understanding.suites.quadruplets.table import (
    concept_rows,
    gap,
    headline_concepts,
    mean_headline,
)

__all__ = [
    "CONCEPTS",
    "CONTROLS",
    "RULE",
    "RULE_SHA256",
    "SEEDS",
    "JepaJudges",
    "Judges",
    "Scores",
    "Suite",
    "SurpriseModel",
    "ask",
    "concept_rows",
    "fresh_seed",
    "gap",
    "headline_concepts",
    "make_quadruplet",
    "mean_headline",
    "read_labels",
    "read_said",
    "score",
    "self_test",
    "suite_digest",
]
