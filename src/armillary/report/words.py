"""Numbers as words: how a value, an interval and a duration are written everywhere."""

from __future__ import annotations

import math

from armillary.report.contents import Form, Number, ResultRow


def write_value(value: Number, form: Form) -> str:
    """Return a number as people read it; ``cm`` takes metres, ``percent`` a share of 1."""
    if not math.isfinite(value):
        return "not measured"
    if form == "percent":
        return f"{100 * value:.0f} %" if abs(value) in (0, 1) else f"{100 * value:.1f} %"
    if form == "cm":
        return f"{100 * value:.2f} cm"
    if form == "seconds":
        return write_seconds(value)
    if form == "count":
        return f"{value:,.0f}"
    if form == "points":  # + 0.0 makes a zero of what rounds to minus zero
        return f"{round(value, 1) + 0.0:.1f}".replace("-", "\u2212")
    return f"{value:.3f}".replace("-", "\u2212")


def write_interval(interval: tuple[Number, Number] | None, form: Form) -> str:
    """Return ``low - high`` in the unit of the value, or nothing."""
    if interval is None or not all(math.isfinite(end) for end in interval):
        return ""
    low, high = (write_value(end, form) for end in interval)
    unit = low.rpartition(" ")[2] if form in ("percent", "cm") else ""
    return f"{low.removesuffix(' ' + unit) if unit else low} to {high}"


def write_seconds(seconds: Number) -> str:
    """Return a duration: ``83 ms``, ``8.3 s``, ``4 min 05 s``, ``2 h 10 min``."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def write_verdict(row: ResultRow) -> str:
    """Return whether the bar of a row was reached, in a word."""
    if row.held is None:
        return ""
    return "reached" if row.held else "not yet"
