"""LiDAR: does a model predict real laser sweeps better than moving the last one?"""

from armillary.experiments.lidar.learning import LearnConfig
from armillary.experiments.lidar.run import LidarConfig, predict_sweeps

__all__ = ["LearnConfig", "LidarConfig", "predict_sweeps"]
