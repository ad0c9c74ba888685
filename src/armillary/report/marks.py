"""Small drawings: a number on its scale, a legend's marks, the page's emblem."""

from __future__ import annotations

import math

from markupsafe import Markup

from armillary.report.contents import Number, ResultRow
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


def mark_sample(name: str, colour: str, shape: str) -> Markup:
    """Return how a mark over a picture looks, for a legend.

    Args:
        name: what it marks.
        colour: CSS colour.
        shape: ``ring``, ``cross`` or ``path``.
    """
    style = f"fill:none;stroke:{colour};stroke-width:2.4"
    if shape == "ring":
        drawn = tag("circle", cx=16, cy=8, r=5.5, style=style)
    elif shape == "cross":
        drawn = tag("path", d="M11 3L21 13M21 3L11 13", style=style)
    else:
        drawn = tag("line", x1=2, x2=30, y1=8, y2=8, style=style)
    return drawing(32, 16, "sample", name, drawn)


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
