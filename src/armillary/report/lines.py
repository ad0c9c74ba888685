"""Line charts as inline SVG: curves, intervals, a grid, an event and a shaded stretch.

Axes: T points of a curve.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from markupsafe import Markup

from armillary.report.contents import Chart, Curve, Number
from armillary.report.svg import drawing, tag

Place = Literal["wide", "beside", "narrow"]

_HEIGHT = 250
# Units are pixels at full width, beside a picture, and at half width: text keeps its size.
_WIDTHS = {"wide": 840, "beside": 560, "narrow": 400}
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 14, 12, 40
_MOST_POINTS = 400  # more than a screen shows; keeps the page small


def line_chart(
    chart: Chart,
    event: Number | None = None,
    shade: tuple[Number, Number] | None = None,
    place: Place = "narrow",
) -> Markup:
    """Return curves over common axes.

    Args:
        chart: curves and labels; points that are not finite are left out.
        event: x of a vertical line that marks the impossible step.
        shade: range of x that is shaded.
        place: for the page's whole width, beside a picture, or for half of the page.
    """
    # Numbered with the empty ones, as legends are: a curve keeps its colour.
    cleaned = enumerate(_clean(curve, chart) for curve in chart.curves)
    numbered = [(number, curve) for number, curve in cleaned if len(curve.x)]
    curves = [curve for _, curve in numbered]
    if not curves:
        return tag("p", "Nothing to draw.", class_="muted")
    width = _WIDTHS[place]
    x, y = _axes(curves, chart, width)
    lines = [_line(curve, x, y, number) for number, curve in numbered]
    lines += [_dots(curve, x, y, number) for number, curve in numbered]
    label = f"{chart.title}: {', '.join(curve.name for curve in curves)}"
    below = tag("text", chart.x_label, class_="label end", x=x.stop, y=_HEIGHT - 5)
    parts = [_shade(x, shade), _grid(x, y), below, _event(x, event), *lines]
    return drawing(width, _HEIGHT, f"chart {place}", label, *parts, chart=_data(x, y, numbered))


def smoothed(curve: Curve, window: int) -> Curve:
    """Return the running mean of a curve, for training losses that jump from step to step."""
    if window < 2 or len(curve.y) <= window:
        return curve
    kernel = np.ones(window) / window
    x, y = (np.convolve(values, kernel, "valid") for values in (curve.x, curve.y))
    return Curve(curve.name, x, y)


@dataclass(frozen=True)
class _Axis:
    """A scale from values to pixels."""

    low: Number
    high: Number
    start: Number
    stop: Number
    log: bool = False

    def at(self, value: Number) -> float:
        low, high = self.low, self.high
        if self.log:
            value, low, high = (math.log10(max(v, 1e-12)) for v in (value, low, high))
        share = (value - low) / (high - low)
        return self.start + min(max(share, 0.0), 1.0) * (self.stop - self.start)

    def ticks(self) -> list[float]:
        if self.log:
            return _log_ticks(self.low, self.high)
        return _even_ticks(self.low, self.high)


def _clean(curve: Curve, chart: Chart) -> Curve:
    kept = np.isfinite(curve.x) & np.isfinite(curve.y)
    kept &= ((curve.y > 0) | (not chart.log_y)) & ((curve.x > 0) | (not chart.log_x))
    if curve.low is not None and curve.high is not None:
        notes = tuple(n for n, keep in zip(curve.notes, kept, strict=False) if keep)
        ends = curve.low[kept], curve.high[kept]
        return Curve(curve.name, curve.x[kept], curve.y[kept], *ends, notes)
    x, y = curve.x[kept], curve.y[kept]
    step = max(1, -(-len(x) // _MOST_POINTS))
    return Curve(curve.name, x[::step], y[::step])


def _axes(curves: Sequence[Curve], chart: Chart, width: int) -> tuple[_Axis, _Axis]:
    xs = np.concatenate([curve.x for curve in curves])
    ends = [end for c in curves for end in (c.y, c.low, c.high) if end is not None]
    ys = np.concatenate(ends)
    x_low, x_high = float(xs.min()), float(xs.max())
    low, high = float(ys.min()), float(ys.max())
    if chart.log_y:
        low, high = low / 1.2, high * 1.2
    else:
        low = min(low, 0.0)
        high = high + 0.05 * (high - low) if high > low else low + 1.0
        high = float(chart.top) if chart.top is not None else high
    if chart.log_x:  # room for the whiskers of the outermost points
        x_low, x_high = x_low / 1.2, x_high * 1.2
    x_high = x_high if x_high > x_low else x_low + 1.0
    x = _Axis(x_low, x_high, _LEFT, width - _RIGHT, chart.log_x)
    return x, _Axis(low, high, _HEIGHT - _BOTTOM, _TOP, chart.log_y)


def _data(x: _Axis, y: _Axis, numbered: Sequence[tuple[int, Curve]]) -> str:
    """Return the axes and the values of a chart as JSON: what hovering over it shows."""
    curves = [
        {
            "name": curve.name,
            "colour": number % 4,
            "x": [_rounded(value) for value in curve.x],
            "y": [_rounded(value) for value in curve.y],
        }
        for number, curve in numbered
    ]
    axes = {
        name: [axis.low, axis.high, axis.start, axis.stop, int(axis.log)]
        for name, axis in (("x", x), ("y", y))
    }
    return json.dumps(axes | {"curves": curves}, separators=(",", ":"))


def _rounded(value: Number) -> float:
    return float(f"{value:.5g}")


def _grid(x: _Axis, y: _Axis) -> Markup:
    base = _HEIGHT - _BOTTOM
    parts = [_across("axis", x, base)]
    for value in y.ticks():
        parts.append(_across("grid", x, y.at(value)))
        at = y.at(value) + 4
        parts.append(tag("text", _short(value), class_="tick end", x=_LEFT - 7, y=at))
    for value in x.ticks():
        at = x.at(value)
        parts.append(tag("text", _short(value), class_="tick mid", x=at, y=base + 18))
    return Markup("").join(parts)


def _across(name: str, x: _Axis, y: Number) -> Markup:
    return tag("line", class_=name, x1=x.start, x2=x.stop, y1=y, y2=y)


def _line(curve: Curve, x: _Axis, y: _Axis, number: int) -> Markup:
    points = " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in zip(curve.x, curve.y, strict=True))
    return tag("polyline", tag("title", curve.name), class_=f"line s{number % 4}", points=points)


def _dots(curve: Curve, x: _Axis, y: _Axis, number: int) -> Markup:
    """Return a dot and a whisker for each point that has an interval."""
    if curve.low is None or curve.high is None:
        return Markup("")
    parts = []
    notes = curve.notes or ("",) * len(curve.x)
    for a, b, low, high, note in zip(curve.x, curve.y, curve.low, curve.high, notes, strict=True):
        at = x.at(a)
        said = (tag("title", note),) if note else ()
        whisker = tag("line", class_="whisker", x1=at, x2=at, y1=y.at(low), y2=y.at(high))
        dot = tag("circle", class_="dot", cx=at, cy=y.at(b), r=4)
        parts.append(tag("g", *said, whisker, dot, class_=f"point s{number % 4}"))
    return Markup("").join(parts)


def _event(x: _Axis, event: Number | None) -> Markup:
    if event is None:
        return Markup("")
    at = x.at(event)
    side, gap = ("end", -6) if at > (x.start + x.stop) / 2 else ("start", 6)
    line = tag("line", class_="event", x1=at, x2=at, y1=_TOP, y2=_HEIGHT - _BOTTOM)
    text = tag("text", "impossible step", class_=f"event-text {side}", x=at + gap, y=_TOP + 12)
    return line + text


def _shade(x: _Axis, shade: tuple[Number, Number] | None) -> Markup:
    if shade is None:
        return Markup("")
    start, stop = (x.at(end) for end in shade)
    height = _HEIGHT - _BOTTOM - _TOP
    return tag("rect", class_="shade", x=start, y=_TOP, width=max(stop - start, 1.0), height=height)


def _nice_step(raw: float) -> float:
    power = 10.0 ** math.floor(math.log10(max(raw, 1e-12)))
    return next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * 0.999)


def _even_ticks(low: float, high: float) -> list[float]:
    step = _nice_step((high - low) / 4)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [10.0**p for p in powers if low <= 10.0**p <= high]
    if len(ticks) >= 3:
        return ticks[:: max(1, len(ticks) // 5)]
    fine = [m * 10.0**p for p in powers for m in (1, 2, 5)]
    ticks = [value for value in fine if low <= value <= high]
    # a narrow range may lie between all of them
    return ticks if len(ticks) >= 2 else _even_ticks(low, high)


def _short(value: float) -> str:
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
