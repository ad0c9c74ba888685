"""Lenses: what real glass does to the pinhole's picture, and how to take it back.

    brown_conrady   k1 k2 p1 p2 [k3 [k4 k5 k6]], OpenCV's order: most cameras. (x, y) = (X, Y) / Z
                    moves along its radius r by (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 + ..),
                    and sideways by p1 p2.
    kannala_brandt  k1 k2 k3 k4: fisheyes. The angle t from the axis becomes the radius
                    t (1 + k1 t^2 + k2 t^4 + k3 t^6 + k4 t^8); sees past 90 degrees.

Both polynomials bend back somewhere outside what they were fitted on; from there on two points
share a pixel. What lies beyond is NaN here, never a wrong point. ``distort`` alone is the bare
formula.

Convention: OpenCV camera axes; "normalised" is (X, Y) / Z, the plane at one metre; pixel (0, 0) has
its centre at (0, 0). Float64 for a hundred-thousandth of a pixel; float32 keeps a thousandth.

Axes: *B any batch axes, C coefficients, P points.
Source: Brown 1971; Kannala & Brandt 2006; the OpenCV manual for order and names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ShapeError, unknown_name
from armillary.spatial.cameras import unproject

COUNTS = {"brown_conrady": (0, 4, 5, 8), "kannala_brandt": (4,)}
# Where a polynomial bends back is looked for in steps of 0.04 degrees.
_LOOKS = 2048
# Newton needs five to ten; the rest is for halving, should it leave its bracket.
_STEPS = 64


@dataclass(frozen=True, eq=False)
class Lens:
    """A camera with a lens.

    Attributes:
        intrinsics: K in pixels.
        model: of ``COUNTS``.
        coefficients: of the model, in its order (top of the file).

    Raises:
        ConfigError: an unknown model.
        ShapeError: a number of coefficients that the model does not have, or NaN among them.
    """

    intrinsics: Float[Tensor, "*B 3 3"]
    model: str
    coefficients: Float[Tensor, "*B C"]

    def __post_init__(self) -> None:
        if self.model not in COUNTS:
            raise unknown_name("lens model", self.model, COUNTS)
        count, known = self.coefficients.shape[-1], COUNTS[self.model]
        if count not in known:
            raise ShapeError(
                f"A {self.model} lens has {' or '.join(map(str, known))} coefficients, got "
                f"{count}; see armillary.spatial.lenses for their order."
            )
        if not (torch.isfinite(self.coefficients).all() and torch.isfinite(self.intrinsics).all()):
            raise ShapeError(f"A {self.model} lens holds NaN or infinity; calibrate it again.")


def distort(normalised: Float[Tensor, "*B P 2"], lens: Lens) -> Float[Tensor, "*B P 2"]:
    """Return where the lens puts points of the plane at one metre: the formula, everywhere."""
    if lens.model == "kannala_brandt":
        radius = _length(normalised)
        angle = torch.atan(radius)
        return normalised * _ratio(_radial(angle, lens), radius)
    square = normalised.square().sum(-1, keepdim=True)
    return normalised * _rational(square, lens)[0] + _sideways(normalised, square, lens)


def undistort(distorted: Float[Tensor, "*B P 2"], lens: Lens) -> Float[Tensor, "*B P 2"]:
    """Return the points of the plane at one metre that the lens puts there.

    NaN where no point does: outside the picture the model was fitted on, or for a fisheye 90
    degrees and more from the axis. Gradients are those of the exact inverse.
    """
    if lens.model == "kannala_brandt":
        radius = _length(distorted)
        angle, seen = _unbend(radius, lens)
        ahead = seen & (angle < math.pi / 2)
        tangent = torch.where(ahead, angle, 0.0).tan()
        return torch.where(ahead, distorted * _ratio(tangent, radius), torch.nan)
    return _undistort_brown(distorted, lens)


def project_lens(
    points_camera: Float[Tensor, "*B P 3"], lens: Lens
) -> tuple[Float[Tensor, "*B P 2"], Float[Tensor, "*B P"]]:
    """Return pixels (u, v) through the lens and depth in metres of points in the camera frame.

    Pixels are NaN for what the lens cannot see: beyond the angle where its formula bends back, and
    behind the camera (for a fisheye only beyond that angle: its depth may be negative).
    """
    plane, depth_m = points_camera[..., :2], points_camera[..., 2]
    if lens.model == "kannala_brandt":
        radius = _length(plane)
        angle = torch.atan2(radius, depth_m[..., None])
        # On the axis the radius is z times the angle, so that the ratio is 1 / z there.
        ratio = _ratio(_radial(angle, lens), radius, depth_m[..., None])
        bent, seen = plane * ratio, angle <= _reach(lens)
    else:
        ahead = depth_m > 0
        normalised = plane / torch.where(ahead, depth_m, 1.0)[..., None]
        seen = ahead[..., None] & (_length(normalised) <= _reach(lens))
        bent = distort(torch.where(seen, normalised, 0.0), lens)
    pixels = bent @ lens.intrinsics[..., :2, :2].mT + lens.intrinsics[..., None, :2, 2]
    return torch.where(seen, pixels, torch.nan), depth_m


def unproject_lens(
    pixels: Float[Tensor, "*B P 2"], depth_m: Float[Tensor, "*B P"], lens: Lens
) -> Float[Tensor, "*B P 3"]:
    """Return the points in the camera frame, metres; NaN where the lens sees nothing.

    Depth is camera z, so a fisheye's pixels at 90 degrees and beyond have none: use ``rays``.
    """
    distorted = unproject(pixels, torch.ones_like(depth_m), lens.intrinsics)[..., :2]
    normalised = undistort(distorted, lens)
    seen = torch.where(normalised[..., :1].isnan(), torch.nan, 1.0).to(normalised)
    return torch.cat([normalised, seen], -1) * depth_m[..., None]


def rays(pixels: Float[Tensor, "*B P 2"], lens: Lens) -> Float[Tensor, "*B P 3"]:
    """Return the unit directions in the camera frame that pixels look along; NaN outside.

    Point = ray times distance along it (not depth).
    """
    ones = torch.ones_like(pixels[..., 0])
    distorted = unproject(pixels, ones, lens.intrinsics)[..., :2]
    if lens.model == "kannala_brandt":
        radius = _length(distorted)
        angle, seen = _unbend(radius, lens)
        toward = torch.cat([distorted * _ratio(angle.sin(), radius), angle.cos()], dim=-1)
        return torch.where(seen, toward, torch.nan)
    normalised = undistort(distorted, lens)
    toward = torch.cat([normalised, torch.ones_like(normalised[..., :1])], dim=-1)
    return toward / torch.linalg.vector_norm(toward, dim=-1, keepdim=True)


def _undistort_brown(distorted: Tensor, lens: Lens) -> Tensor:
    with torch.no_grad():
        reach, radius = _reach(lens), _length(distorted)
        # Along the radius first, where a bracket makes it safe; then Newton with the sideways part.
        bent = torch.minimum(radius, _radial(reach, lens))
        guess = distorted * _ratio(_invert_radial(bent, reach, lens), radius)
        for _ in range(_STEPS):
            step = _newton_step(guess, distorted, lens)
            guess = guess + step
            if _settled(step, guess):
                break
        error = (distort(guess, lens) - distorted).abs().amax(-1, keepdim=True)
        tolerance = 64 * torch.finfo(guess.dtype).eps * (1 + radius)
        valid = (error <= tolerance) & (_length(guess) <= reach)
        guess = torch.where(valid, guess, 0.0)
    # A last step with gradients, those of the implicit function theorem.
    exact = guess + _newton_step(guess, distorted, lens)
    return torch.where(valid, exact, torch.nan)


def _newton_step(guess: Tensor, distorted: Tensor, lens: Lens) -> Tensor:
    """Return the step of Newton's method; gradients flow through the formula's error only."""
    error = distorted - distort(guess, lens)
    with torch.no_grad():
        square = guess.square().sum(-1, keepdim=True)
        ratio, slope = _rational(square, lens)
        p1, p2 = _coefficients(lens)[2:4]
        x, y = guess[..., :1], guess[..., 1:]
        xx = ratio + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
        yy = ratio + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
        xy = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
        determinant = xx * yy - xy * xy
    along = yy * error[..., :1] - xy * error[..., 1:]
    across = xx * error[..., 1:] - xy * error[..., :1]
    return torch.cat([along, across], dim=-1) / determinant


def _rational(square: Tensor, lens: Lens) -> tuple[Tensor, Tensor]:
    """Return Brown-Conrady's factor along the radius, and its slope over the squared radius."""
    k1, k2, _, _, k3, k4, k5, k6 = _coefficients(lens)
    top = 1 + square * (k1 + square * (k2 + square * k3))
    low = 1 + square * (k4 + square * (k5 + square * k6))
    top_slope = k1 + square * (2 * k2 + square * 3 * k3)
    low_slope = k4 + square * (2 * k5 + square * 3 * k6)
    return top / low, (top_slope * low - top * low_slope) / low.square()


def _sideways(normalised: Tensor, square: Tensor, lens: Lens) -> Tensor:
    p1, p2 = _coefficients(lens)[2:4]
    x, y = normalised[..., :1], normalised[..., 1:]
    along = 2 * p1 * x * y + p2 * (square + 2 * x * x)
    across = p1 * (square + 2 * y * y) + 2 * p2 * x * y
    return torch.cat([along, across], dim=-1)


def _coefficients(lens: Lens) -> tuple[Tensor, ...]:
    """Return the eight coefficients (zero where the lens has fewer), each [*B 1 1]."""
    missing = 8 - lens.coefficients.shape[-1]
    return torch.nn.functional.pad(lens.coefficients, (0, missing))[..., None, None, :].unbind(-1)


def _radial(place: Tensor, lens: Lens) -> Tensor:
    """Return the distorted radius of a fisheye's angle, or of another lens's radius."""
    square = place.square()
    if lens.model == "brown_conrady":
        return place * _rational(square, lens)[0]
    k1, k2, k3, k4 = _coefficients(lens)[:4]
    return place * (1 + square * (k1 + square * (k2 + square * (k3 + square * k4))))


def _slope(place: Tensor, lens: Lens) -> Tensor:
    """Return the derivative of ``_radial``."""
    square = place.square()
    if lens.model == "brown_conrady":
        ratio, slope = _rational(square, lens)
        return ratio + 2 * square * slope
    k1, k2, k3, k4 = _coefficients(lens)[:4]
    return 1 + square * (3 * k1 + square * (5 * k2 + square * (7 * k3 + square * 9 * k4)))


@torch.no_grad()
def _reach(lens: Lens) -> Tensor:
    """Return how far from the axis the lens is one-to-one: a radius, or a fisheye's angle."""
    widest = math.radians(179.9 if lens.model == "kannala_brandt" else 89.9)
    places = torch.linspace(0, widest, _LOOKS, dtype=torch.float64)[:, None]
    places = places.to(lens.coefficients)
    places = places.tan() if lens.model == "brown_conrady" else places
    slope, bent = _slope(places, lens), _radial(places, lens)
    rising = (slope > 1e-3) & torch.isfinite(slope) & (bent >= 0)
    last = rising.cumprod(dim=-2).sum(dim=-2, keepdim=True) - 1
    return places.expand(rising.shape).take_along_dim(last.clamp(min=0), dim=-2)


def _unbend(radius: Tensor, lens: Lens) -> tuple[Tensor, Tensor]:
    """Return the angle a fisheye puts at a radius, with gradients, and whether there is one."""
    reach = _reach(lens)
    with torch.no_grad():
        seen = radius <= _radial(reach, lens)
        angle = _invert_radial(torch.where(seen, radius, 0.0), reach, lens)
        slope = _slope(angle, lens)
    # A last step with gradients, those of the implicit function theorem.
    return angle + torch.where(seen, radius - _radial(angle, lens), 0.0) / slope, seen


def _invert_radial(bent: Tensor, reach: Tensor, lens: Lens) -> Tensor:
    """Return the place in 0..reach that is bent to a radius: Newton, kept inside a bracket."""
    low, high = torch.zeros_like(bent), reach.expand(bent.shape)
    place = torch.minimum(bent, high)
    for _ in range(_STEPS):
        error = _radial(place, lens) - bent
        low, high = torch.where(error < 0, place, low), torch.where(error < 0, high, place)
        newton = place - error / _slope(place, lens)
        inside = (newton >= low) & (newton <= high)
        before, place = place, torch.where(inside, newton, (low + high) / 2)
        if _settled(place - before, place):
            break
    return place


def _settled(step: Tensor, place: Tensor) -> bool:
    """Return whether a step changed only last digits, everywhere that is finite."""
    digits = 4 * torch.finfo(step.dtype).eps * (1 + place.abs())
    return not bool((step.abs() > digits).any())


def _length(vector: Tensor) -> Tensor:
    """Return the length [*B P 1], whose gradient at zero is zero rather than NaN."""
    return torch.linalg.vector_norm(vector, dim=-1, keepdim=True)


def _ratio(above: Tensor, below: Tensor, at_zero: Tensor | float = 1.0) -> Tensor:
    """Return above / below; one (over ``at_zero``) where both are zero, as on the lens's axis."""
    tiny = below <= torch.finfo(below.dtype).tiny
    limit = 1.0 / torch.where(tiny, torch.as_tensor(at_zero).to(below), 1.0)
    return torch.where(tiny, limit, above / torch.where(tiny, 1.0, below))
