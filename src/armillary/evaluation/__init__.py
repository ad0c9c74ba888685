"""Evaluation: act in worlds through policies, and judge them: manifests, records, rows."""

from armillary.core.statistics import (
    McNemar,
    bootstrap_interval,
    holm,
    mcnemar,
    paired_bootstrap,
    wilson_interval,
)
from armillary.evaluation.evaluate import evaluate
from armillary.evaluation.goal_conditioned_policy import GoalConditionedPolicy
from armillary.evaluation.manifest import EpisodeSpec, Manifest, load_manifest, make_manifest
from armillary.evaluation.model_policy import ModelPolicy
from armillary.evaluation.oracle import Oracle
from armillary.evaluation.policies import NoOpPolicy, RandomPolicy
from armillary.evaluation.records import Alarm, Record, read_records, write_records
from armillary.evaluation.replay import Replay, redecide, replay
from armillary.evaluation.specs import ModelSpec, NoOpSpec, OracleSpec, RandomSpec
from armillary.evaluation.summary import Comparison, Row, compare, success_curve, summarise
from armillary.evaluation.worlds import WorldFactory

__all__ = [
    "Alarm",
    "Comparison",
    "EpisodeSpec",
    "GoalConditionedPolicy",
    "Manifest",
    "McNemar",
    "ModelPolicy",
    "ModelSpec",
    "NoOpPolicy",
    "NoOpSpec",
    "Oracle",
    "OracleSpec",
    "RandomPolicy",
    "RandomSpec",
    "Record",
    "Replay",
    "Row",
    "WorldFactory",
    "bootstrap_interval",
    "compare",
    "evaluate",
    "holm",
    "load_manifest",
    "make_manifest",
    "mcnemar",
    "paired_bootstrap",
    "read_records",
    "redecide",
    "replay",
    "success_curve",
    "summarise",
    "wilson_interval",
    "write_records",
]
