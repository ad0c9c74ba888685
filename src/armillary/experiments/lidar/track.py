"""Track: where the laser was, by the odometry, by matching scans, and by the odometry corrected.

Odometry is wrong in two ways: by chance, and by habit (a wheel that slips in turns). The habit is
learned on the sweeps that may be learned from: how much a step's matched motion differs from its
odometry, as a linear function of the step. Matching itself needs both sweeps, so it is only ever
used between sweeps that were already taken.

Axes: T sweeps, P beams.

Source: Huber 1964 (weights that bound what one bad match can do).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from armillary.data.sources.rawlog import POSE, RANGES, Rawlog
from armillary.spatial.poses import inverse
from armillary.spatial.scan_match import match_scans
from armillary.spatial.scan_warp import planar_motion, planar_pose

_ROUNDS = 20


@dataclass(frozen=True)
class Track:
    """A recording of flat scans with poses.

    Attributes:
        ranges_m: [T P], NaN where there was no return.
        angles_rad: [P].
        recorded: [T 4 4] ``world_from_lidar`` by the odometry, float64.
        matched: [T 4 4] by matching each scan with the next; only to be used between two sweeps
            that were both taken.
    """

    ranges_m: Float[Tensor, "T P"]
    angles_rad: Float[Tensor, " P"]
    recorded: Float[Tensor, "T 4 4"]
    matched: Float[Tensor, "T 4 4"]

    def __len__(self) -> int:
        return len(self.ranges_m)


def track_of(log: Rawlog) -> Track:
    """Return the recording with its scans matched."""
    streams = log.episode.streams
    ranges_m = torch.from_numpy(streams[RANGES].values)
    recorded = torch.from_numpy(streams[POSE].values)
    return track_from(ranges_m, torch.from_numpy(log.angles_rad).float(), recorded)


def track_from(
    ranges_m: Float[Tensor, "T P"],
    angles_rad: Float[Tensor, " P"],
    recorded: Float[Tensor, "T 4 4"],
) -> Track:
    """Return scans and odometry with the scans matched."""
    steps = planar_motion(inverse(recorded[:-1]) @ recorded[1:])
    motions, _ = match_scans(ranges_m[:-1], ranges_m[1:], angles_rad, steps.float())
    matched = added_up(recorded[0], planar_pose(motions.double()))
    return Track(ranges_m, angles_rad, recorded, matched)


def added_up(first: Float[Tensor, "4 4"], steps: Float[Tensor, "S 4 4"]) -> Float[Tensor, "_ 4 4"]:
    """Return the poses that steps lead through, from the first on."""
    poses = [first]
    for step in steps:
        poses.append(poses[-1] @ step)
    return torch.stack(poses)


def between(poses: Float[Tensor, "T 4 4"], source: Tensor, target: Tensor) -> Tensor:
    """Return ``source_from_target`` [B 4 4] of sweeps by their numbers [B]."""
    return inverse(poses[source]) @ poses[target]


def corrected_poses(
    track: Track, learned: Bool[np.ndarray, " T"], ridge: float
) -> Float[Tensor, "T 4 4"]:
    """Return the poses by the odometry, less the habits of its error.

    Args:
        track: of which only steps between learned sweeps teach.
        learned: [T].
        ridge: how strongly no correction is preferred.
    """
    steps = inverse(track.recorded[:-1]) @ track.recorded[1:]
    seen = inverse(track.matched[:-1]) @ track.matched[1:]
    errors = planar_motion(inverse(steps) @ seen).numpy()
    features = planar_motion(steps).numpy()[:, [0, 2]]  # forward, turned
    usable = learned[:-1] & learned[1:]
    habits = np.stack(
        [robust_slope(features[usable], errors[usable, axis], ridge) for axis in range(3)], 1
    )
    correction = planar_pose(torch.from_numpy(features @ habits))
    return added_up(track.recorded[0], steps @ correction)


def robust_slope(
    features: Float[np.ndarray, "R F"], values: Float[np.ndarray, " R"], ridge: float
) -> Float[np.ndarray, " F"]:
    """Return the linear map through zero, with Huber's weights and a ridge.

    Args:
        features: rows.
        values: what is to be explained.
        ridge: in rows of an average feature that say zero.
    """
    size = np.abs(features).mean(axis=0) + 1e-9
    scaled = features / size
    weight = np.ones(len(values))
    slope = np.zeros(features.shape[1])
    for _ in range(_ROUNDS):
        held = scaled * weight[:, None]
        slope = np.linalg.solve(held.T @ scaled + ridge * np.eye(len(size)), held.T @ values)
        away = np.abs(values - scaled @ slope)
        spread = 1.48 * np.median(away) + 1e-6
        weight = 1 / np.maximum(1, away / spread)
    return slope / size
