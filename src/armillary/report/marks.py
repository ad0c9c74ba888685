"""Small drawings: a number on its scale, a plan over its scene, the page's emblem."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from armillary.report.contents import Number, PlanView, ResultRow
from armillary.report.images import png_uri
from armillary.report.svg import drawing, tag

_RAIL = (5.0, 155.0)
_MIDDLE = 12.0


def interval_strip(row: ResultRow) -> Markup:
    """Return a row's value, interval, floors and bar on a scale from 0 to 1; empty for others.

    A value below 0 (an R2) is drawn at the left end.
    """
    on_scale = row.form in ("percent", "number") and math.isfinite(row.value)
    if not on_scale or row.value > 1.0001:
        return Markup("")
    parts = [_flat("rail", *_RAIL)]
    if row.mark is not None:
        parts.append(_tick("bar", row.mark, 9.0, row.wanted or "bar"))
    parts += [
        _tick("floor", floor.value, 5.0, floor.name)
        for floor in row.floors
        if math.isfinite(floor.value)
    ]
    if row.interval is not None and all(math.isfinite(end) for end in row.interval):
        low, high = (_place(end) for end in row.interval)
        parts.append(_flat("whisker", low, max(high, low + 0.5)))
    parts.append(tag("circle", class_="dot", cx=_place(row.value), cy=_MIDDLE, r=4))
    return drawing(160, 24, "strip", f"{row.name}, on a scale from 0 to 1", *parts)


def plan_overlay(plan: PlanView) -> Markup:
    """Return the scene with the plan, what was weighed, and what was done drawn over it."""
    height, width = plan.scene.shape[:2]
    unit = width / 64
    picture = tag("image", href=png_uri(plan.scene), width=width, height=height, class_="pixels")
    marks = [_path("candidate", path, unit * 0.35) for path in plan.candidates_px]
    if plan.taken_px is not None and len(plan.taken_px):
        marks += [_path("halo", plan.taken_px, unit * 1.6)]
        marks += [_path("taken", plan.taken_px, unit * 0.8)]
    marks += [_path("halo", plan.plan_px, unit * 1.8), _path("plan", plan.plan_px, unit)]
    marks += [_spot("plan-spot", point, unit * 1.1) for point in plan.plan_px]
    if plan.goal_px is not None:
        marks.append(_spot("goal-halo", plan.goal_px, unit * 3, unit * 1.6))
        marks.append(_spot("goal-ring", plan.goal_px, unit * 3, unit * 0.8))
    # pixel (0, 0) has its centre at (0, 0)
    over = tag("g", *marks, transform="translate(0.5 0.5)")
    return drawing(width, height, "scene", "The plan drawn over the scene", picture, over)


def emblem() -> Markup:
    """Return a small armillary sphere: a circle, its equator, its ecliptic and a meridian."""
    rings = [
        tag("circle", cx=32, cy=32, r=27),
        tag("ellipse", cx=32, cy=32, rx=27, ry=8),
        tag("ellipse", cx=32, cy=32, rx=27, ry=8, transform="rotate(-38 32 32)", class_="brass"),
        tag("ellipse", cx=32, cy=32, rx=11, ry=27),
        tag("line", x1=32, y1=0, x2=32, y2=64),
        tag("circle", cx=32, cy=32, r=3.4, class_="core"),
    ]
    return drawing(64, 64, "emblem", "armillary", *rings)


def _place(value: Number) -> float:
    return _RAIL[0] + min(max(value, 0.0), 1.0) * (_RAIL[1] - _RAIL[0])


def _flat(name: str, x1: float, x2: float) -> Markup:
    return tag("line", class_=name, x1=x1, x2=x2, y1=_MIDDLE, y2=_MIDDLE)


def _tick(name: str, value: Number, reach: float, title: str) -> Markup:
    x = _place(value)
    return tag(
        "line", tag("title", title), class_=name, x1=x, x2=x, y1=_MIDDLE - reach, y2=_MIDDLE + reach
    )


def _path(name: str, points: np.ndarray, width: float) -> Markup:
    text = " ".join(f"{column:.2f},{row:.2f}" for column, row in points)
    return tag("polyline", class_=name, points=text, stroke_width=width)


def _spot(
    name: str, point: Sequence[Number] | np.ndarray, radius: float, width: float = 0.0
) -> Markup:
    return tag(
        "circle",
        class_=name,
        cx=float(point[0]),
        cy=float(point[1]),
        r=radius,
        stroke_width=width,
    )
