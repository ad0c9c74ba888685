"""Control: act in worlds through policies, and judge them: manifests, records, statistics, rows."""

from armillary.control.calibration import conformal_limit, fit_normal, set_limits
from armillary.control.evaluate import evaluate
from armillary.control.goal_conditioned_policy import GoalConditionedPolicy
from armillary.control.guard import Guard, GuardedPolicy
from armillary.control.guard_file import GuardedSpec, load_guard, save_guard
from armillary.control.manifest import EpisodeSpec, Manifest, load_manifest, make_manifest
from armillary.control.model_policy import ModelPolicy
from armillary.control.oracle import Oracle
from armillary.control.policies import NoOpPolicy, RandomPolicy
from armillary.control.records import Alarm, Record, read_records, write_records
from armillary.control.replay import Replay, redecide, replay
from armillary.control.specs import ModelSpec, NoOpSpec, OracleSpec, RandomSpec
from armillary.control.statistics import (
    McNemar,
    bootstrap_interval,
    mcnemar,
    paired_bootstrap,
)
from armillary.control.summary import Comparison, Row, compare, success_curve, summarise
from armillary.control.watching import Watcher, watch
from armillary.control.worlds import WorldFactory
from armillary.core.rates import holm, wilson_interval

__all__ = [
    "Alarm",
    "Comparison",
    "EpisodeSpec",
    "GoalConditionedPolicy",
    "Guard",
    "GuardedPolicy",
    "GuardedSpec",
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
    "Watcher",
    "WorldFactory",
    "bootstrap_interval",
    "compare",
    "conformal_limit",
    "evaluate",
    "fit_normal",
    "holm",
    "load_guard",
    "load_manifest",
    "make_manifest",
    "mcnemar",
    "paired_bootstrap",
    "read_records",
    "redecide",
    "replay",
    "save_guard",
    "set_limits",
    "success_curve",
    "summarise",
    "watch",
    "wilson_interval",
    "write_records",
]
