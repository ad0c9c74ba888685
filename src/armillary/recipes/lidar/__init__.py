"""LiDAR: does a model foresee real laser sweeps better than moving the last one?"""

from armillary.recipes.lidar.learning import LearnConfig
from armillary.recipes.lidar.run import LidarConfig, foresee_sweeps

__all__ = ["LearnConfig", "LidarConfig", "foresee_sweeps"]
