"""A room whose scans are known exactly."""

import math

import torch


def cast(corners, pose, angles_rad):
    """Ray-cast ranges in a closed polygon of walls [B P], by brute force."""
    start = torch.tensor(corners, dtype=torch.float64)
    end = start.roll(-1, 0)
    yaw = torch.atan2(pose[..., 1, 0], pose[..., 0, 0])
    bearing = yaw[..., None] + angles_rad.double()
    ray = torch.stack([bearing.cos(), bearing.sin()], -1)[..., None, :]
    to_start, along = start - pose[..., None, None, :2, 3], end - start
    turn = ray[..., 0] * along[:, 1] - ray[..., 1] * along[:, 0]
    range_m = (to_start[..., 0] * along[:, 1] - to_start[..., 1] * along[:, 0]) / turn
    share = (to_start[..., 0] * ray[..., 1] - to_start[..., 1] * ray[..., 0]) / turn
    hit = (range_m > 0) & (share >= 0) & (share <= 1)
    return torch.where(hit, range_m, torch.inf).amin(-1)


def beams(count=361, width_rad=math.pi):
    return torch.linspace(-width_rad / 2, width_rad / 2, count, dtype=torch.float64)


SQUARE = [(-4.0, -4.0), (4.0, -4.0), (4.0, 4.0), (-4.0, 4.0)]
