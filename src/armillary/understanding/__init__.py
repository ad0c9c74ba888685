"""Comprehension: does the model know where things are, and what is possible?"""

from armillary.core.statistics import auroc, auroc_interval, block_bootstrap_interval
from armillary.understanding.probe import ProbeResult, probe, shuffle_across_episodes
from armillary.understanding.probe_suite import encode_frames, frame_targets, probe_suite
from armillary.understanding.suites.teleport import TeleportStudy, teleport_study
from armillary.understanding.surprise import (
    Calibration,
    SurpriseTrace,
    calibrate,
    pixel_difference,
    surprise,
)

__all__ = [
    "Calibration",
    "ProbeResult",
    "SurpriseTrace",
    "TeleportStudy",
    "auroc",
    "auroc_interval",
    "block_bootstrap_interval",
    "calibrate",
    "encode_frames",
    "frame_targets",
    "pixel_difference",
    "probe",
    "probe_suite",
    "shuffle_across_episodes",
    "surprise",
    "teleport_study",
]
