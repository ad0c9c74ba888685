"""The page: one self-contained HTML file, readable on a phone, on paper, in light and in dark.

No font, no picture and no script is loaded from anywhere. The one script is ``cloud.js``
and ``player.js``; the page's content security policy names it by its hash. All text is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
from markupsafe import Markup

from armillary.report.contents import (
    Chart,
    ContactSheet,
    Curve,
    QuadrupletView,
    ReportContents,
    ResultGroup,
    ResultRow,
    RetrievalView,
)
from armillary.report.html import fill, write_html
from armillary.report.images import depth_picture, depth_range, png_uri
from armillary.report.lines import line_chart
from armillary.report.marks import interval_strip, mark_sample
from armillary.report.players import (
    episode_player,
    plan_player,
    rollout_player,
    surprise_player,
)
from armillary.report.svg import drawing, tag
from armillary.report.words import write_interval, write_value, write_verdict

_CELLS = ("possible, first", "possible, second", "impossible, first", "impossible, second")


def write_report(contents: ReportContents, out: Path) -> Path:
    """Write a report, in one step.

    Args:
        contents: everything on it.
        out: the file, usually ``report.html``.

    Returns:
        The file.

    Raises:
        StorageError: not writable, or the disk is full.
    """
    return write_html(render_report(contents), out)


def render_report(contents: ReportContents) -> str:
    """Return the report as HTML."""
    groups, sources = _numbered(contents.results)
    rows = [row for group in contents.results for row in group.rows]
    return fill(
        "report.html",
        **_writers(),
        page=contents,
        headlines=[row for row in rows if row.headline],
        groups=groups,
        sources=sources,
        seconds=[(name, s) for name, s in contents.seconds.items() if name != "total"],
        total=contents.seconds.get("total", sum(contents.seconds.values())),
        contact=contents.contact and _contact(contents.contact),
        charts=[(chart, line_chart(chart)) for chart in contents.charts],
        episodes=[episode_player(view) for view in contents.episodes],
        retrievals=[_retrieval(view) for view in contents.retrievals],
        rollouts=[rollout_player(view) for view in contents.rollouts],
        surprise=contents.surprise and surprise_player(contents.surprise),
        plans=[plan_player(view) for view in contents.plans],
        quadruplets=[_quadruplet(view) for view in contents.quadruplets],
    )


def _writers() -> dict[str, Callable]:
    return {
        "value": write_value,
        "interval": write_interval,
        "verdict": write_verdict,
        "strip": interval_strip,
        "legend": _legend,
        "mark": mark_sample,
    }


@dataclass(frozen=True)
class _Group:
    """A group whose rows know the number of their command and record (0 without)."""

    title: str
    note: str
    rows: tuple[tuple[ResultRow, int], ...]


def _numbered(results: Sequence[ResultGroup]) -> tuple[list[_Group], list[tuple[ResultRow, int]]]:
    groups, sources = [], []
    for group in results:
        rows = []
        for row in group.rows:
            sourced = bool(row.command or row.record)
            rows.append((row, len(sources) + 1 if sourced else 0))
            if sourced:
                sources.append(rows[-1])
        groups.append(_Group(group.title, group.note, tuple(rows)))
    return groups, sources


def _retrieval(view: RetrievalView) -> list[tuple[str, list[str]]]:
    rows = (view.true, view.predicted, view.best)
    columns = zip(*[[png_uri(picture) for picture in row] for row in rows], strict=True)
    return [(label, list(column)) for label, column in zip(view.labels, columns, strict=True)]


def _contact(sheet: ContactSheet) -> dict:
    limits = depth_range(sheet.depth_m)
    depths = [png_uri(depth_picture(d, *limits)) for d in sheet.depth_m] if limits else []
    pictures = [png_uri(rgb) for rgb in sheet.rgb]
    pairs = list(zip_longest(pictures, depths, fillvalue=""))
    return {"caption": sheet.caption, "pairs": pairs, "range": limits}


def _quadruplet(view: QuadrupletView) -> dict:
    """Return four rows of every third frame as one picture, and four curves."""
    shown = np.arange(1, view.frames.shape[1], 3)
    framed = np.pad(view.frames[:, shown], ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
    rows = [np.concatenate(list(clip), axis=1) for clip in framed]
    steps = np.arange(1, view.surprise.shape[1] + 1, dtype=np.float64)
    curves = tuple(
        Curve(name, steps, values.astype(np.float64))
        for name, values in zip(_CELLS, view.surprise, strict=True)
    )
    chart = Chart(view.name, curves, "step", "surprise")
    return {
        "name": view.name,
        "picture": png_uri(np.concatenate(rows)),
        "curves": curves,
        "drawing": line_chart(chart, float(view.event), place="wide"),
        "caption": view.caption,
    }


def _legend(curves: Sequence[Curve]) -> Markup:
    if len(curves) < 2:
        return Markup("")
    items = []
    for number, curve in enumerate(curves):
        line = tag("line", class_=f"line s{number % 4}", x1=0, x2=32, y1=8, y2=8)
        items.append(tag("li", drawing(32, 16, "sample", curve.name, line), curve.name))
    return tag("ul", *items, class_="key")
