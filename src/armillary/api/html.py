"""HTML for notebooks: contact sheets, tables, curves and strips, each on its own in one string.

Colours are those of the notebook where they can be, so that light and dark themes both work.
What is drawn with is imported when something is drawn.

Axes: H W image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup, escape

from armillary.api.tables import TableRow
from armillary.core.display import show_with
from armillary.core.values import Episode
from armillary.data import Dataset, describe

if TYPE_CHECKING:
    from armillary.report import Chart

_SHOWN = 8  # pictures in a row
_STYLE = Markup("""<style>
.armillary { font: 14px/1.45 system-ui, sans-serif; }
.armillary .said { opacity: .8; margin: .3em 0; }
.armillary .warning { border-left: 4px solid #c08a2e; padding-left: .6em; margin: .3em 0; }
.armillary table { border-collapse: collapse; margin: .3em 0; font-variant-numeric: tabular-nums; }
.armillary th, .armillary td { padding: .2em .9em .2em 0; text-align: right; background: none; }
.armillary th:first-child, .armillary td:first-child { text-align: left; }
.armillary th { border-bottom: 1px solid currentColor; font-weight: 500; }
.armillary .row { display: flex; flex-wrap: wrap; gap: 6px; margin: .3em 0; }
.armillary .row > div { text-align: center; font-size: 12px; }
.armillary .row img { display: block; width: 88px; margin: 0 0 2px; image-rendering: auto; }
.armillary .charts { display: flex; flex-wrap: wrap; gap: 1em; }
.armillary .charts > div { flex: 1 1 320px; max-width: 430px; }
.armillary svg.chart { width: 100%; height: auto; display: block; font: 12px system-ui; }
.armillary .chart text { fill: currentColor; opacity: .8; }
.armillary .chart .grid { stroke: currentColor; opacity: .15; }
.armillary .chart .axis { stroke: currentColor; opacity: .5; }
.armillary .chart .end { text-anchor: end; } .armillary .chart .mid { text-anchor: middle; }
.armillary .chart .line { fill: none; stroke-width: 2; }
.armillary .s0 { stroke: #3b82c4; color: #3b82c4; } .armillary .s1 { stroke: #c08a2e; color: #c08a2e; stroke-dasharray: 7 4; }
.armillary .s2 { stroke: #8a8a8a; color: #8a8a8a; stroke-dasharray: 2 4; } .armillary .s3 { stroke: #b8608c; color: #b8608c; }
.armillary .key { font-size: 12px; margin-right: 1em; }
.armillary .key::before { content: "\\2014\\a0"; font-weight: bold; }
</style>""")  # noqa: E501 - one rule a line


def dataset(found: Dataset) -> str:
    """Return the table of a dataset: its counts, then each stream with shape and unit."""
    about = describe(found.path)
    shortest, longest = about["steps_per_episode"]
    steps = f"{shortest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
    facts = (
        f"{about['episodes']:,} episodes of {steps} steps, {about['frames']:,} in all; "
        f"{about['fps']:g} steps per second"
    )
    rows = [
        {
            "stream": name,
            "kind": spec["kind"],
            "shape": " x ".join(map(str, spec["shape"])),
            "unit": spec["unit"],
            "frame": spec["frame"],
        }
        for name, spec in about["streams"].items()
    ]
    if width := about["action_width"]:
        rows.append({"stream": "actions", "kind": "action", "shape": str(width)})
    licence = f"licence: {about['license'] or 'unknown'}"
    return fragment(_title("Dataset", found.path), said(facts), _table(rows), said(licence))


def episode(found: Episode) -> str:
    """Return the contact sheet of an episode: pictures and depth at evenly spaced steps."""
    steps = spread(len(found))
    columns = [[_caption(found, step)] for step in steps]
    for name, stream in found.streams.items():
        if stream.kind not in ("rgb", "depth") or not len(stream.values):
            continue
        pictures = _pictures(stream.values[steps], stream.kind)
        for column, picture in zip(columns, pictures, strict=True):
            column.insert(-1, image(picture, name))
    rows = [
        {
            "stream": name,
            "kind": stream.kind,
            "shape": " x ".join(map(str, stream.values.shape[1:])) or "1",
            "unit": stream.unit,
            "frame": stream.frame,
        }
        for name, stream in found.streams.items()
    ]
    sheet = row(columns) if any(len(column) > 1 for column in columns) else _table(rows)
    return fragment(said(repr(found)), sheet)


def run(path: Path, text: str) -> str:
    """Return the curves of a run: its loss, and how many dimensions its latent uses."""
    from armillary.core.errors import FormatError
    from armillary.services.view.run import run_page

    try:
        page = run_page(path)
    except FormatError as error:
        return fragment(_title("Run", path), said(str(error)))
    chosen = [c for c in page.charts if c.title.startswith(("Loss, weighted", "Effective rank"))]
    warning = (
        (Markup('<div class="warning">{}</div>').format(page.warning),) if page.warning else ()
    )
    return fragment(said(text), *warning, charts(chosen))


def table(rows: Sequence[TableRow], text: str = "") -> str:
    """Return rows as a table, with a sentence above it."""
    return fragment(*([said(text)] if text else []), _table(rows))


def fragment(*parts: Markup) -> str:
    """Return parts as one piece of HTML with its style."""
    return str(Markup('{}<div class="armillary">{}</div>').format(_STYLE, Markup("").join(parts)))


def _title(kind: str, path: Path) -> Markup:
    return Markup("<div><b>{}</b> {}</div>").format(kind, str(path))


def said(text: str) -> Markup:
    """Return a line of text."""
    return Markup('<div class="said">{}</div>').format(text)


def _table(rows: Sequence[TableRow]) -> Markup:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    head = Markup("").join(Markup("<th>{}</th>").format(name) for name in columns)
    lines = [
        Markup("").join(Markup("<td>{}</td>").format(row.get(name, "")) for name in columns)
        for row in rows
    ]
    body = Markup("").join(Markup("<tr>{}</tr>").format(line) for line in lines)
    return Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(head, body)


def row(columns: Sequence[Sequence[Markup]]) -> Markup:
    """Return columns of pictures and labels side by side."""
    cells = [Markup("<div>{}</div>").format(Markup("").join(column)) for column in columns]
    return Markup('<div class="row">{}</div>').format(Markup("").join(cells))


def image(picture: np.ndarray, label: str) -> Markup:
    """Return a picture uint8 [H W C] of at most 176 pixels a side, twice what is shown."""
    from armillary.report import png_uri

    every = max(1, max(picture.shape[:2]) // 176)
    uri = png_uri(picture[::every, ::every])
    return Markup('<img src="{}" alt="{}" title="{}">').format(uri, label, label)


def charts(shown: Sequence[Chart]) -> Markup:
    """Return line charts side by side, each with its title and the names of its curves."""
    from armillary.report.lines import line_chart

    cells = []
    for chart in shown:
        keys = [
            Markup('<span class="key s{}">{}</span>').format(number % 4, curve.name)
            for number, curve in enumerate(chart.curves)
        ]
        legend = Markup("").join(keys) if len(keys) > 1 else Markup("")
        cells.append(
            Markup("<div><div>{}</div>{}{}</div>").format(chart.title, legend, line_chart(chart))
        )
    return Markup('<div class="charts">{}</div>').format(Markup("").join(cells))


def spread(count: int) -> list[int]:
    """Return at most 8 places, evenly spaced from the first to the last."""
    return np.unique(np.linspace(0, count - 1, min(count, _SHOWN)).round().astype(int)).tolist()


def _caption(found: Episode, step: int) -> Markup:
    seconds = float(found.time_ns[step] - found.time_ns[0]) / 1e9
    return Markup(escape(f"{seconds:.1f} s"))


def _pictures(values: np.ndarray, kind: str) -> list[np.ndarray]:
    from armillary.report import depth_picture
    from armillary.report.images import depth_range

    if kind == "rgb":
        return list(values)
    limits = depth_range(tuple(values)) or (0.0, 1.0)
    return [depth_picture(depth, *limits) for depth in values]


show_with(Dataset, dataset)
show_with(Episode, episode)
