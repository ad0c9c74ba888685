"""Spatial: poses, cameras, lenses, depth, clouds, scans.

Mathematics that a network may learn through (poses, twists, cameras, lenses, depth, scans, ego
motion) is on torch tensors with any batch axes; preparation of data (voxels, sampling, range
images, pillars, augmentation, depth noise) is on numpy arrays.

Convention: metres; right-handed world, z up; OpenCV camera (x right, y down, z forward);
``world_from_camera`` 4x4; depth is camera z; pixel (0, 0) has its centre at (0, 0).
"""

from armillary.spatial.augment import (
    Change,
    Changes,
    drop_points,
    jitter,
)
from armillary.spatial.cameras import (
    intrinsics_from_fov,
    opencv_from_opengl,
    pixel_grid,
    project,
    scale_intrinsics,
    unproject,
)
from armillary.spatial.depth import (
    depth_from_disparity,
    point_map,
    points_from_depth,
    valid_depth,
)
from armillary.spatial.depth_noise import (
    depth_holes,
    far_side,
    hole_blobs,
    noisy_depth,
)
from armillary.spatial.ego_motion import (
    deskew,
    remove_ego_motion,
    rigid_flow,
    warp_points,
)
from armillary.spatial.hole_filling import fill_holes
from armillary.spatial.lenses import (
    Lens,
    distort,
    project_lens,
    rays,
    undistort,
    unproject_lens,
)
from armillary.spatial.pillars import (
    Pillars,
    birds_eye,
    pillars,
    scatter_pillars,
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
from armillary.spatial.range_images import (
    RangeImage,
    RangeView,
    even_view,
    points_from_range_image,
    range_image,
)
from armillary.spatial.sampling import (
    Patches,
    farthest_points,
    nearest_points,
    patches,
)
from armillary.spatial.scan_match import match_scans
from armillary.spatial.scan_warp import (
    fill_scan_gaps,
    known_beside,
    planar_motion,
    planar_pose,
    range_slopes,
    warp_scan_ranges,
)
from armillary.spatial.scans import (
    points_from_scan,
    scan_from_points,
)
from armillary.spatial.twists import (
    exp,
    interpolate,
    log,
    pose_distance,
)
from armillary.spatial.voxels import (
    Grid,
    Voxels,
    occupancy,
    point_counts,
    voxel_downsample,
)

__all__ = [
    "Change",
    "Changes",
    "Grid",
    "Lens",
    "Patches",
    "Pillars",
    "RangeImage",
    "RangeView",
    "Voxels",
    "birds_eye",
    "check_pose",
    "compose",
    "depth_from_disparity",
    "depth_holes",
    "deskew",
    "distort",
    "drop_points",
    "even_view",
    "exp",
    "far_side",
    "farthest_points",
    "fill_holes",
    "fill_scan_gaps",
    "hole_blobs",
    "interpolate",
    "intrinsics_from_fov",
    "inverse",
    "jitter",
    "known_beside",
    "log",
    "match_scans",
    "nearest_points",
    "nearest_rotation",
    "noisy_depth",
    "occupancy",
    "opencv_from_opengl",
    "patches",
    "pillars",
    "pixel_grid",
    "planar_motion",
    "planar_pose",
    "point_counts",
    "point_map",
    "points_from_depth",
    "points_from_range_image",
    "points_from_scan",
    "pose_distance",
    "pose_from_parts",
    "pose_from_quaternion",
    "project",
    "project_lens",
    "quaternion_from_pose",
    "range_image",
    "range_slopes",
    "rays",
    "relative",
    "remove_ego_motion",
    "rigid_flow",
    "scale_intrinsics",
    "scan_from_points",
    "scatter_pillars",
    "transform_points",
    "undistort",
    "unproject",
    "unproject_lens",
    "valid_depth",
    "voxel_downsample",
    "warp_points",
    "warp_scan_ranges",
]
