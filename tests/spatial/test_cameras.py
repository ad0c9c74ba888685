"""Cameras and depth: pixels and points are each other's inverse, by the conventions we state."""

import torch

from armillary.spatial import (
    intrinsics_from_fov,
    inverse,
    opencv_from_opengl,
    pixel_grid,
    point_map,
    points_from_depth,
    pose_from_quaternion,
    project,
    scale_intrinsics,
    transform_points,
    unproject,
    valid_depth,
)

K = torch.tensor([[50.0, 0.3, 31.5], [0.0, 55.0, 23.5], [0.0, 0.0, 1.0]])


def depths(*shape):
    return 0.3 + 3 * torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def test_project_and_unproject_are_inverse():
    depth_m = depths(2, 100)
    pixels = 64 * torch.rand(2, 100, 2, generator=torch.Generator().manual_seed(2))
    many = K.expand(2, 3, 3)
    points = unproject(pixels, depth_m, many)
    again, depth_again = project(points, many)
    assert (again - pixels).abs().max() < 1e-4
    assert (
        unproject(again, depth_again, K.expand(2, 3, 3))
        - unproject(pixels, depth_m, K.expand(2, 3, 3))
    ).abs().max() < 1e-5


def test_axes_are_right_down_forward():
    points = torch.tensor([[0.0, 0.0, 2.0], [0.1, 0.0, 2.0], [0.0, 0.1, 2.0]])
    pixels, depth_m = project(points, K)
    assert torch.allclose(pixels[0], K[:2, 2])
    assert pixels[1, 0] > pixels[0, 0]
    assert pixels[2, 1] > pixels[0, 1]
    assert (depth_m == 2.0).all()


def test_pixel_centres_are_at_integers():
    grid = pixel_grid(3, 5)
    assert grid[0, 0].tolist() == [0.0, 0.0]
    assert grid[2, 4].tolist() == [4.0, 2.0]


def test_point_map_puts_points_back_into_their_pixels():
    depth_m = depths(2, 3, 48, 64)
    pose = pose_from_quaternion(torch.tensor([0.1, -0.2, 0.3, 1.0]), torch.tensor([1.0, 2.0, 3.0]))
    points, valid = point_map(depth_m, K.expand(2, 3, 3, 3), pose.expand(2, 3, 4, 4))
    assert valid.all()
    camera = transform_points(inverse(pose), points[1, 2].flatten(0, 1))
    pixels, again = project(camera, K)
    assert (pixels - pixel_grid(48, 64).flatten(0, 1)).abs().max() < 1e-3
    assert (again - depth_m[1, 2].flatten()).abs().max() < 1e-5


def test_invalid_depth_is_zero_and_masked():
    depth_m = torch.tensor([[1.0, 0.0], [float("nan"), float("inf")]])
    assert valid_depth(depth_m).tolist() == [[True, False], [False, False]]
    points = points_from_depth(depth_m, K)
    assert torch.isfinite(points).all()
    assert (points[~valid_depth(depth_m)] == 0).all()


def test_resized_picture_sees_the_same_ray():
    small = scale_intrinsics(K, 0.5, 0.5)
    # The centre between pixels 0 and 1 of the large picture is pixel 0 of the small one.
    ray_large = unproject(torch.tensor([[0.5, 0.5]]), torch.ones(1), K)
    ray_small = unproject(torch.tensor([[0.0, 0.0]]), torch.ones(1), small)
    assert torch.allclose(ray_large, ray_small, atol=1e-2)
    level = intrinsics_from_fov(0.7, 64, 64)
    assert torch.allclose(scale_intrinsics(level, 0.5, 0.5), intrinsics_from_fov(0.7, 32, 32))


def test_opengl_camera_looks_the_other_way():
    gl = torch.eye(4)
    cv = opencv_from_opengl(gl)
    # OpenGL looks along -z; in OpenCV's axes that is +z.
    ahead = transform_points(cv, torch.tensor([[0.0, 0.0, 1.0]]))
    assert torch.equal(ahead, torch.tensor([[0.0, 0.0, -1.0]]))
    assert torch.equal(opencv_from_opengl(cv), gl)
