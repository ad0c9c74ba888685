"""What may be chosen for an ingest, and what came of it: shared by all sources."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from armillary.core.errors import ConfigError

Skipped = tuple[tuple[Path, str], ...]


@dataclass(frozen=True)
class IngestSummary:
    """What came of an ingest.

    Attributes:
        written: number of episodes.
        skipped: what was not usable, with the reason.
        frames: steps in all episodes.
        out: the dataset's folder.
        fitted: videos of another size than most: scaled and cropped in the middle to fit.
    """

    written: int
    skipped: Skipped
    frames: int
    out: Path
    fitted: tuple[Path, ...] = ()


@dataclass(frozen=True)
class IngestOptions:
    """What may be chosen.

    Attributes:
        fps: frames per second of the dataset; None takes what most of the videos have.
        max_side: longer side of the pictures at most, in pixels; None keeps their size.
        license: licence of the videos, kept with every episode.
        replace: whether an existing dataset at ``out`` may be replaced.
        tolerance_s: how far apart in time what belongs to one step may be, in seconds.
        depth_scale: metres of one unit of the stored depth (of one unit of length for COLMAP);
            None takes what the format says.
        intrinsics: fx, fy, cx, cy in pixels (pixel centres at integers), instead of the source's.
        topics: topics of a robot's log to prefer where several would do.
        action_topic: topic of a robot's log whose commands are the actions; empty for none.
    """

    fps: float | None = None
    max_side: int | None = None
    license: str = ""
    replace: bool = False
    tolerance_s: float = 0.02
    depth_scale: float | None = None
    intrinsics: tuple[float, float, float, float] | None = None
    topics: tuple[str, ...] = ()
    action_topic: str = ""

    def __post_init__(self) -> None:
        scale = self.depth_scale
        if not 0 <= self.tolerance_s < math.inf:
            raise ConfigError(f"tolerance_s is seconds of at least 0, got {self.tolerance_s}.")
        if scale is not None and not 0 < scale < math.inf:
            raise ConfigError(f"depth_scale is metres of one unit, above 0, got {scale}.")
