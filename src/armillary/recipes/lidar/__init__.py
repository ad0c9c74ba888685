"""LiDAR: does a model predict real laser sweeps better than moving the last one?"""

from armillary.recipes.lidar.learning import LearnConfig
from armillary.recipes.lidar.run import LidarConfig, predict_sweeps

__all__ = ["LearnConfig", "LidarConfig", "predict_sweeps"]
