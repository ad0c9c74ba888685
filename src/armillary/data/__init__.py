"""Data: episodes, datasets on disk (LeRobot v3), sources, the training cache, and windows of it."""

from armillary.data.batches import batch_from_episode, batch_from_observations
from armillary.data.cache import Cache, open_cache
from armillary.data.check import check_format
from armillary.data.clouds import Clouds
from armillary.data.dataset import Dataset
from armillary.data.ingest import IngestOptions, IngestSummary, ingest
from armillary.data.opening import open_dataset
from armillary.data.point_sampling import PointSampling
from armillary.data.prepare import default_cache_root, prepare
from armillary.data.verify import VerifyReport, describe, verify
from armillary.data.windows import Windows, epoch_order, split_episodes
from armillary.data.writer import DatasetWriter, Frames

__all__ = [
    "Cache",
    "Clouds",
    "Dataset",
    "DatasetWriter",
    "Frames",
    "IngestOptions",
    "IngestSummary",
    "PointSampling",
    "VerifyReport",
    "Windows",
    "batch_from_episode",
    "batch_from_observations",
    "check_format",
    "default_cache_root",
    "describe",
    "epoch_order",
    "ingest",
    "open_cache",
    "open_dataset",
    "prepare",
    "split_episodes",
    "verify",
]
