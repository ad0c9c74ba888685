"""Comprehension: does the model know where things are, and what is possible?"""

from armillary.comprehension.probe import ProbeResult, probe, shuffle_across_episodes
from armillary.comprehension.probe_suite import encode_frames, frame_targets, probe_suite
from armillary.comprehension.statistics import auroc, auroc_interval, block_bootstrap_interval
from armillary.comprehension.surprise import (
    Calibration,
    SurpriseTrace,
    calibrate,
    pixel_difference,
    surprise,
)
from armillary.comprehension.teleport import TeleportStudy, teleport_study

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
