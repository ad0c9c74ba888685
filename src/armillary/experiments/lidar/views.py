"""Views: what may be known about a sweep before it is taken, from earlier sweeps and the odometry.

Earlier sweeps are brought together by matched poses (both were taken), and from the present to the
target by odometry alone. Read backwards, a recording is another recording: ``direction`` -1 makes a
view of the past from the future, with the odometry inverted.

Axes: B views, C channels, P beams, Q numbers about the motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from armillary.experiments.lidar.track import Track, between
from armillary.models.sweeps import SweepView
from armillary.spatial.poses import inverse
from armillary.spatial.scan_warp import (
    fill_scan_gaps,
    known_beside,
    planar_motion,
    warp_scan_ranges,
)

RECENT, MEMORY = 4, 4  # sweeps shown one by one; the oldest, in steps, that fills gaps
SEEN, HINTS, MOTION = RECENT + 5, RECENT + 5, 13
TOGETHER = 0  # the channel of all sweeps as one
# channels of what lies right and left of a gap, in what is seen as in the hints
_RIGHT_LEFT = (RECENT + 1, RECENT + 2)
_MOST_BEAMS = 40.0
_MIRRORED = (1.0, -1.0, -1.0)  # forward, left, turn
# so that all numbers are about 1: metres and radians of the way, of a step, of an odometry error
_WAY, _STEP, _ERROR = (1.0, 3.0, 3.0), (2.0, 10.0, 10.0), (5.0, 20.0, 20.0)


@dataclass(frozen=True)
class Views:
    """Views with their targets.

    Attributes:
        view: for the network.
        truth_m: [B P], NaN where there was no return.
    """

    view: SweepView
    truth_m: Float[Tensor, "B P"]

    def rows(self, index: Tensor) -> Views:
        """Return some of them."""
        view = self.view
        rows = SweepView(view.seen_m[index], view.hints[index], view.motion[index])
        return Views(rows, self.truth_m[index])


def make_views(
    track: Track,
    poses: Float[Tensor, "T 4 4"],
    targets: Int[Tensor, " B"],
    horizon: int,
    direction: int = 1,
) -> Views:
    """Return the views of targets from ``horizon`` steps before.

    Args:
        track: the recording.
        poses: by the corrected odometry.
        targets: numbers of sweeps; their whole windows must exist.
        horizon: steps ahead.
        direction: 1, or -1 to look from the future.
    """
    present = targets - direction * horizon
    ahead = between(poses, present, targets)
    warped, turns = [], []
    for age in range(MEMORY + 1):
        older = present - direction * age
        way = between(track.matched, older, present) @ ahead
        warped.append(warp_scan_ranges(track.ranges_m[older], track.angles_rad, way.float()))
        turns.append((older, planar_motion(way)[:, 2].float()))
    recent = warped[:RECENT]
    memory = warped[0]
    for scan in warped[1:]:
        memory = torch.where(memory.isfinite(), memory, scan)
    beside = known_beside(warped[0])
    raw_way = between(track.recorded, present, targets).float()
    raw = warp_scan_ranges(track.ranges_m[present], track.angles_rad, raw_way)
    together, *filled = [fill_scan_gaps(scan) for scan in (memory, *recent)]
    other = [fill_scan_gaps(scan) for scan in (raw, track.ranges_m[present])]
    seen = [together, *filled, beside.right_m, beside.left_m, *other]
    held = [scan.isfinite().float() for scan in (*recent, memory)]
    away = [beams.clamp(max=_MOST_BEAMS) / 10 for beams in (beside.beams_right, beside.beams_left)]
    lost = [_no_return(track, older, turn) for older, turn in turns[:2]]
    motion = _motion(track, poses, present, ahead, horizon, direction)
    view = SweepView(torch.stack(seen, 1), torch.stack([*held, *away, *lost], 1), motion)
    return Views(view, track.ranges_m[targets])


def mirrored(views: Views, where: Bool[Tensor, " B"]) -> Views:
    """Return the views with left and right swapped in the rows of ``where``."""
    view = views.view
    seen = _swapped(view.seen_m.flip(-1), _RIGHT_LEFT)
    hints = _swapped(view.hints.flip(-1), _RIGHT_LEFT)
    signs = view.motion.new_tensor([*_MIRRORED * 4, 1.0])
    return Views(
        SweepView(
            torch.where(where[:, None, None], seen, view.seen_m),
            torch.where(where[:, None, None], hints, view.hints),
            torch.where(where[:, None], view.motion * signs, view.motion),
        ),
        torch.where(where[:, None], views.truth_m.flip(-1), views.truth_m),
    )


def joined(parts: list[Views]) -> Views:
    """Return several lists of views as one."""
    views = [part.view for part in parts]
    return Views(
        SweepView(
            torch.cat([view.seen_m for view in views]),
            torch.cat([view.hints for view in views]),
            torch.cat([view.motion for view in views]),
        ),
        torch.cat([part.truth_m for part in parts]),
    )


def _motion(
    track: Track, poses: Tensor, present: Tensor, ahead: Tensor, horizon: int, direction: int
) -> Tensor:
    """Return [B Q]: the way, its first step, and how wrong the odometry was in the last two."""
    first = between(poses, present, present + direction)
    numbers = [planar_motion(ahead) * ahead.new_tensor(_WAY)]
    numbers.append(planar_motion(first) * ahead.new_tensor(_STEP))
    for age in (1, 2):
        ends = present - direction * age, present - direction * (age - 1)
        error = inverse(between(poses, *ends)) @ between(track.matched, *ends)
        numbers.append(planar_motion(error) * ahead.new_tensor(_ERROR))
    numbers.append(torch.full_like(ahead[:, :1, 0], horizon / 5))
    return torch.cat(numbers, 1).float()


def _no_return(track: Track, sweeps: Tensor, turn_rad: Tensor) -> Tensor:
    """Return where a sweep had no return, turned to the target's beams; far things only turn."""
    beams = len(track.angles_rad)
    step_rad = track.angles_rad[1] - track.angles_rad[0]
    index = torch.arange(beams) + (turn_rad / step_rad)[:, None]
    index = index.round().long().clamp(0, beams - 1)
    return track.ranges_m[sweeps].isnan().float().gather(1, index)


def _swapped(channels: Tensor, pair: tuple[int, int]) -> Tensor:
    order = list(range(channels.shape[1]))
    order[pair[0]], order[pair[1]] = pair[1], pair[0]
    return channels[:, order]
