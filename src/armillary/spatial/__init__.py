"""Spatial: poses, cameras, depth, on torch tensors with any batch axes.

Convention: metres; right-handed world, z up; OpenCV camera (x right, y down, z forward);
``world_from_camera`` 4x4; depth is camera z; pixel (0, 0) has its centre at (0, 0).
"""

from armillary.spatial.cameras import (
    intrinsics_from_fov,
    opencv_from_opengl,
    pixel_grid,
    project,
    scale_intrinsics,
    unproject,
)
from armillary.spatial.depth import point_map, points_from_depth, valid_depth
from armillary.spatial.lenses import (
    Lens,
    distort,
    project_lens,
    rays,
    undistort,
    unproject_lens,
)
from armillary.spatial.poses import (
    check_pose,
    compose,
    inverse,
    nearest_rotation,
    pose_from_parts,
    pose_from_quaternion,
    quaternion_from_pose,
    relative,
    transform_points,
)
from armillary.spatial.twists import exp, interpolate, log, pose_distance

__all__ = [
    "Lens",
    "check_pose",
    "compose",
    "distort",
    "exp",
    "interpolate",
    "intrinsics_from_fov",
    "inverse",
    "log",
    "nearest_rotation",
    "opencv_from_opengl",
    "pixel_grid",
    "point_map",
    "points_from_depth",
    "pose_distance",
    "pose_from_parts",
    "pose_from_quaternion",
    "project",
    "project_lens",
    "quaternion_from_pose",
    "rays",
    "relative",
    "scale_intrinsics",
    "transform_points",
    "undistort",
    "unproject",
    "unproject_lens",
    "valid_depth",
]
