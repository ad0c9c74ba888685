"""Training: the loop, its settings, its state on disk and its log."""

from armillary.training.augment import AugmentConfig
from armillary.training.config import ObjectiveConfig, OptimizerConfig, SettlingConfig, TrainConfig
from armillary.training.learner import Learner
from armillary.training.log import read_log
from armillary.training.loop import TrainSummary, check_free, train
from armillary.training.processes import Processes, join_processes
from armillary.training.scales import fit_scales
from armillary.training.stepper import Stepper

__all__ = [
    "AugmentConfig",
    "Learner",
    "ObjectiveConfig",
    "OptimizerConfig",
    "Processes",
    "SettlingConfig",
    "Stepper",
    "TrainConfig",
    "TrainSummary",
    "check_free",
    "fit_scales",
    "join_processes",
    "read_log",
    "train",
]
