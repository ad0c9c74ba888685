"""Training: the loop, its settings, its state on disk and its log."""

from armillary.training.augment import AugmentConfig
from armillary.training.compute import ComputeConfig
from armillary.training.config import FinetuneConfig, OptimizerConfig, TrainConfig
from armillary.training.learner import Learner
from armillary.training.log import read_log
from armillary.training.loop import TrainSummary, check_free, check_settings, train
from armillary.training.processes import Processes, check_share, join_processes
from armillary.training.scales import fit_scales
from armillary.training.stepper import Stepper
from armillary.training.terms import (
    TERMS,
    EncodedClips,
    ObjectiveConfig,
    Term,
    TermConfig,
    check_term,
)

__all__ = [
    "TERMS",
    "AugmentConfig",
    "ComputeConfig",
    "EncodedClips",
    "FinetuneConfig",
    "Learner",
    "ObjectiveConfig",
    "OptimizerConfig",
    "Processes",
    "Stepper",
    "Term",
    "TermConfig",
    "TrainConfig",
    "TrainSummary",
    "check_free",
    "check_settings",
    "check_share",
    "check_term",
    "fit_scales",
    "join_processes",
    "read_log",
    "train",
]
