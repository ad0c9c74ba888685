"""Draw docs/images/yard.png: three yards from above with what the LiDAR sees, and its scan.

.venv/bin/python tools/yard_picture.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from armillary.core.rng import generator
from armillary.core.values import Goal
from armillary.worlds.yard.layout import MOVER_RADIUS_M, VEHICLE_RADIUS_M
from armillary.worlds.yard.world import Yard

Rgb = tuple[int, int, int]
At = Callable[[np.ndarray], list[tuple[float, float]]]

OUT = Path(__file__).parents[1] / "docs" / "images" / "yard.png"
SEEDS = (21, 29, 36)
STEPS = 34
FINE = 3  # drawn so many times as large, then brought down: smooth edges
PANEL, SCAN, GAP = 420, 96, 24
SHOWN_M = 10.6
GROUND, FLOOR, THING = (250, 249, 246), (240, 237, 228), (62, 74, 94)
SEEN, BEAM, VEHICLE, MOVER = (238, 148, 60), (252, 226, 190), (214, 72, 38), (34, 139, 120)
GOAL, TRUE, BELIEVED = (44, 92, 168), (90, 90, 96), (150, 110, 190)


def main() -> None:
    """Draw the picture."""
    width = len(SEEDS) * PANEL + (len(SEEDS) + 1) * GAP
    height = PANEL + SCAN + 3 * GAP + 26
    picture = Image.new("RGB", (width * FINE, height * FINE), GROUND)
    draw = ImageDraw.Draw(picture)
    for index, seed in enumerate(SEEDS):
        left = (GAP + index * (PANEL + GAP)) * FINE
        _panel(draw, seed, left, GAP * FINE, (PANEL + 2 * GAP) * FINE)
    _legend(draw, GAP * FINE, (PANEL + SCAN + 2 * GAP + 12) * FINE)
    small = picture.resize((width, height), Image.Resampling.LANCZOS)
    small.save(OUT, optimize=True)
    sys.stdout.write(f"{OUT}\n")


def _panel(draw: ImageDraw.ImageDraw, seed: int, left: int, top: int, below: int) -> None:
    world, goal, streams, driven, believed = _driven(seed)
    scale = PANEL * FINE / SHOWN_M

    def at(xy: np.ndarray) -> list[tuple[float, float]]:
        middle = np.array([left, top]) + PANEL * FINE / 2
        return [(float(u), float(v)) for u, v in middle + np.atleast_2d(xy) * (scale, -scale)]

    pose, layout = world.save_state().pose, world.layout
    azimuth = pose.yaw_rad + world.spec.beams_rad["lidar"][:, 0]
    ranges = streams["lidar"].astype(float)
    hits = pose.xy + ranges[:, None] * np.stack([np.cos(azimuth), np.sin(azimuth)], -1)
    hits = hits[np.isfinite(ranges)]
    half = np.array(layout.half_m)
    wall = 0.12
    draw.rounded_rectangle([*_box(at, half + wall)], radius=8 * FINE, fill=THING)
    draw.rectangle([*_box(at, half)], fill=FLOOR)
    draw.polygon(at(hits), fill=BEAM)
    for hit in hits[::4]:
        draw.line([*at(pose.xy), *at(hit)], fill=(247, 209, 158), width=FINE)
    for side in np.split(layout.segments_m[4:], len(layout.boxes)) if layout.boxes else ():
        draw.polygon(at(side[:, :2]), fill=THING)
    for x, y, radius in layout.posts:
        _disc(draw, at, np.array([x, y]), radius, THING)
    path = layout.path
    if path is not None:
        _dashes(draw, at, np.linspace(path.start, path.end, 60), MOVER)
        _disc(draw, at, world.truth()["mover_xy"].astype(float), MOVER_RADIUS_M, MOVER)
    for hit in hits:
        _disc(draw, at, hit, 0.045, SEEN)
    place = goal.truth["vehicle_xy"].astype(float)
    _disc(draw, at, place, 0.3, None, GOAL)
    _disc(draw, at, place, 0.07, GOAL)
    draw.line(at(np.array(driven)), fill=TRUE, width=2 * FINE, joint="curve")
    draw.line(at(np.array(believed)), fill=BELIEVED, width=2 * FINE, joint="curve")
    _disc(draw, at, pose.xy, VEHICLE_RADIUS_M, VEHICLE, GROUND)
    ahead = np.array([np.cos(pose.yaw_rad), np.sin(pose.yaw_rad)])
    _disc(draw, at, pose.xy + 0.13 * ahead, 0.08, GROUND)
    _scan(draw, ranges, left, below)


def _driven(
    seed: int,
) -> tuple[Yard, Goal, Mapping[str, np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Drive towards a goal; return world, goal, what is seen, true and believed places."""
    world = Yard(sensors=("lidar", "world_from_lidar"), beams=240, drift=0.04)
    world.reset(seed)
    goal = world.draw_goal("reach", generator("picture.goal", seed))
    start = world.save_state().pose
    driven, believed = [start.xy], [start.xy]
    streams = world.observe().streams
    for _ in range(STEPS):
        if world.distance(goal) < 1.0:
            break
        streams = world.step(world.expert(goal, generator("picture", seed))).streams
        driven.append(world.save_state().pose.xy)
        believed.append((start.matrix() @ streams["world_from_lidar"])[:2, 3])
    return world, goal, streams, driven, believed


def _scan(draw: ImageDraw.ImageDraw, ranges: np.ndarray, left: int, top: int) -> None:
    """Draw the ranges beam by beam, from behind over the right, ahead and left to behind."""
    width, height = PANEL * FINE, SCAN * FINE
    draw.rectangle([left, top, left + width, top + height], fill=FLOOR)
    step = width / len(ranges)
    for beam, far in enumerate(ranges):
        if np.isfinite(far):
            tall = min(far / 8.0, 1.0) * (height - 4 * FINE)
            x = left + beam * step
            low = top + height
            draw.rectangle([x, low - tall, x + step, low], fill=BEAM)
            draw.rectangle([x, low - tall - 3 * FINE, x + step, low - tall], fill=SEEN)


def _legend(draw: ImageDraw.ImageDraw, left: int, top: int) -> None:
    font = ImageFont.load_default(size=14 * FINE)
    entries = (
        (VEHICLE, "vehicle"),
        (SEEN, "LiDAR: returns above, ranges by beam below (ahead in the middle)"),
        (MOVER, "walker and way"),
        (GOAL, "goal"),
        (TRUE, "way driven"),
        (BELIEVED, "way by odometry"),
    )
    for colour, said in entries:
        draw.ellipse([left, top + 2 * FINE, left + 12 * FINE, top + 14 * FINE], fill=colour)
        draw.text((left + 18 * FINE, top - FINE), said, fill=(70, 70, 74), font=font)
        left += int(draw.textlength(said, font=font)) + 44 * FINE


def _box(at: At, half: np.ndarray) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = at(np.stack([half * (-1, 1), half * (1, -1)]))
    return x0, y0, x1, y1


def _disc(
    draw: ImageDraw.ImageDraw,
    at: At,
    xy: np.ndarray,
    radius_m: float,
    fill: Rgb | None,
    outline: Rgb | None = None,
) -> None:
    (x, y), radius = at(xy)[0], radius_m * PANEL * FINE / SHOWN_M
    box = [x - radius, y - radius, x + radius, y + radius]
    draw.ellipse(box, fill=fill, outline=outline, width=2 * FINE)


def _dashes(draw: ImageDraw.ImageDraw, at: At, places: np.ndarray, colour: Rgb) -> None:
    for first, second in zip(places[::3], places[1::3], strict=False):
        draw.line([*at(first), *at(second)], fill=colour, width=FINE)


if __name__ == "__main__":
    main()
