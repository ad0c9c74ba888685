"""Data: episodes, datasets on disk (LeRobot v3), sources, the training cache, and windows of it."""

from armillary.data.dataset import Dataset
from armillary.data.opening import open_dataset
from armillary.data.writer import DatasetWriter, Frames

__all__ = ["Dataset", "DatasetWriter", "Frames", "open_dataset"]
