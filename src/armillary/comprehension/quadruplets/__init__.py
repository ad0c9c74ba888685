"""Quadruplets: is what cannot be more surprising than what can? Two contexts by two outcomes."""

from armillary.comprehension.quadruplets.asking import ask, read_labels, read_said
from armillary.comprehension.quadruplets.concepts import CONCEPTS, make_quadruplet
from armillary.comprehension.quadruplets.judges import (
    CONTROLS,
    JepaJudges,
    Judges,
    SurpriseModel,
)
from armillary.comprehension.quadruplets.scoring import RULE, RULE_SHA256, Scores, score
from armillary.comprehension.quadruplets.self_test import self_test
from armillary.comprehension.quadruplets.suite import SEEDS, Suite, fresh_seed, suite_digest
from armillary.comprehension.quadruplets.table import (
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
