"""Players: a clip, its curves and what is drawn over it, under one slider.

Each function turns a part of the contents into what the template needs: a JSON text that
``player.js`` reads, and the drawings beside it.

Axes: T frames that are shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from markupsafe import Markup

from armillary.report.contents import (
    Chart,
    Curve,
    EpisodeView,
    PlanView,
    RolloutView,
    SurpriseView,
)
from armillary.report.images import frames_around, png_uri
from armillary.report.lines import line_chart
from armillary.report.sprites import packed_clouds, sheets

_LOG_FROM = 20.0  # a peak this many times the ordinary hides everything else on a linear scale
_COLOURS = ("#2f78c8", "#b8508a", "#a8741a", "#2d9a5f")  # over pictures, with a white halo
_PLAN, _TAKEN, _GOAL = "#2f78c8", "#d2463c", "#2d9a5f"
_SHORTEST_MS, _LONGEST_MS = 40, 400


@dataclass(frozen=True)
class Player:
    """One player of the page.

    Attributes:
        spec: for ``player.js``, as JSON.
        panels: what the canvases show, in words.
        frames: how many there are.
        start: the frame that is shown first.
        title: heading; empty for none.
        chart_title: what the drawing shows, with its unit.
        curves: of the drawing, for its legend.
        drawing: the chart under the same cursor.
        marks: name, colour and shape of what is drawn over the pictures.
        caption: one sentence.
        stills: pairs of words and picture, each with the frame it leads to.
        goal: picture of the goal; empty for none.
    """

    spec: str
    panels: tuple[str, ...]
    frames: int
    start: int = 0
    title: str = ""
    chart_title: str = ""
    curves: tuple[Curve, ...] = ()
    drawing: Markup | None = None
    marks: tuple[tuple[str, str, str], ...] = ()
    caption: str = ""
    stills: tuple[dict[str, Any], ...] = ()
    goal: str = ""


def spread_steps(count: int, most: int, keep: Iterable[int] = ()) -> tuple[int, ...]:
    """Return at most ``most`` evenly spaced steps of ``count``, and those that are kept anyway."""
    even = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
    return tuple(sorted({*even.tolist(), *(step for step in keep if 0 <= step < count)}))


def top_moments(
    surprise: Float[np.ndarray, " steps"], count: int = 5, apart: int = 3
) -> tuple[int, ...]:
    """Return the steps with the largest surprise, the largest first.

    Args:
        surprise: of steps 1 to ``steps``.
        count: at most so many.
        apart: steps between two of them at least, so that one moment is not shown five times.
    """
    found: list[int] = []
    for step in (np.argsort(-surprise, kind="stable") + 1).tolist():
        if all(abs(step - other) >= apart for other in found):
            found.append(step)
    return tuple(found[:count])


def over_median(
    values: Float[np.ndarray, " steps"], event: int | None = None
) -> Float[np.ndarray, " steps"]:
    """Return values in units of their own median over the steps that are not the event."""
    others = values if event is None else np.delete(values, event - 1)
    middle = float(np.nanmedian(others)) if len(others) else 1.0
    return values.astype(np.float64) / (middle if middle > 0 else 1.0)


def episode_player(view: EpisodeView) -> Player:
    """Return the player of an episode: its cameras and its points."""
    panels: list[dict[str, Any]] = [
        {"kind": "picture", **sheets(frames)} for frames in view.pictures.values()
    ]
    panels += [{"kind": "cloud", **packed_clouds(cloud)} for cloud in view.clouds.values()]
    labels = [
        f"step {step:,}, {time_s:.2f} s"
        for step, time_s in zip(view.steps, view.time_s, strict=True)
    ]
    turned = [f"{name}: drag to turn" for name in view.clouds]
    return Player(
        spec=_spec(panels, labels, view.time_s),
        panels=(*view.pictures, *turned),
        frames=len(view.steps),
        title=view.title,
        caption=view.caption,
    )


def rollout_player(view: RolloutView) -> Player:
    """Return the player of a rollout: predicted and true positions on the true pictures."""
    overlays = []
    for number, track in enumerate(view.tracks):
        colour = _COLOURS[number % len(_COLOURS)]
        overlays += [
            _overlay("ring", colour, [place[None] for place in track.true_px]),
            _overlay("cross", colour, [place[None] for place in track.predicted_px]),
        ]
    marks = [
        mark
        for number, track in enumerate(view.tracks)
        for mark in (
            (f"{track.name}, true", _COLOURS[number % len(_COLOURS)], "ring"),
            (f"{track.name}, predicted", _COLOURS[number % len(_COLOURS)], "cross"),
        )
    ]
    panel = {"kind": "picture", **sheets(view.frames), "overlays": overlays}
    return Player(
        spec=_spec([panel], _seconds(view.time_s), view.time_s, view.time_s),
        panels=("",),
        frames=len(view.frames),
        start=len(view.frames) - 1,
        chart_title=_titled(view.errors),
        curves=view.errors.curves,
        drawing=line_chart(view.errors, place="beside"),
        marks=tuple(marks),
        caption=view.caption,
    )


def plan_player(view: PlanView) -> Player:
    """Return the player of a plan: what it expects at each step, and what happened."""
    frames = len(view.frames)
    taken = [view.taken_px[: step + 1] for step in range(frames)]
    overlays = [
        _overlay("path", _TAKEN, taken),
        _overlay("path", _PLAN, list(view.plans_px)),
        _overlay("dots", _PLAN, list(view.plans_px)),
    ]
    marks = [("path taken so far", _TAKEN, "path")]
    if any(len(plan) for plan in view.plans_px):
        marks.insert(0, ("plan at this step", _PLAN, "path"))
    if view.goal_px is not None:
        place = np.array([view.goal_px], np.float64)
        overlays.append(_overlay("ring", _GOAL, [place] * frames))
        marks.append(("place in the goal picture", _GOAL, "ring"))
    panel = {"kind": "picture", **sheets(view.frames), "overlays": overlays}
    chart = view.distance
    return Player(
        spec=_spec([panel], _seconds(view.time_s), view.time_s, view.time_s),
        panels=("",),
        frames=frames,
        chart_title=_titled(chart) if chart else "",
        curves=chart.curves if chart else (),
        drawing=line_chart(chart, place="beside") if chart else None,
        marks=tuple(marks),
        caption=view.caption,
        goal=png_uri(view.goal),
    )


def surprise_player(view: SurpriseView) -> Player:
    """Return the player of a clip and its surprise, with pictures of what matters in it."""
    steps = np.arange(1, len(view.surprise) + 1, dtype=np.float64)
    unit = 1.0 if view.step_s is None else view.step_s
    series = {"model": view.surprise, **view.baselines}
    curves = tuple(
        Curve(name, steps * unit, np.asarray(values, np.float64)) for name, values in series.items()
    )
    highest = max(float(np.nanmax(curve.y, initial=0.0)) for curve in curves)
    log_y = highest > _LOG_FROM
    if log_y:  # a step of no change at all (0) would stretch the scale to nothing
        curves = tuple(Curve(c.name, c.x, np.maximum(c.y, 0.05)) for c in curves)
    chart = Chart("Surprise", curves, "step" if view.step_s is None else "time, s", log_y=log_y)
    shown = view.shown or tuple(range(len(view.surprise) + 1))
    event = None if view.event is None else float(view.event) * unit
    pictured = view.frames is not None and len(view.frames) > 0
    peak = int(np.nanargmax(view.surprise)) + 1 if len(view.surprise) else 0
    return Player(
        spec=_spec(
            [{"kind": "picture", **sheets(view.frames)}] if view.frames is not None else [],
            [f"step {s:,}" if view.step_s is None else f"{s * unit:.2f} s" for s in shown],
            np.array(shown) * (view.step_s or 0.15),
            np.array(shown) * unit,
        ),
        panels=("",) if pictured else (),
        frames=len(shown),
        start=int(np.abs(np.array(shown) - peak).argmin()),
        curves=curves,
        drawing=line_chart(chart, event, place="beside" if pictured else "wide"),
        caption=view.caption,
        stills=_stills(view, shown) if pictured else (),
    )


def _stills(view: SurpriseView, shown: Sequence[int]) -> tuple[dict[str, Any], ...]:
    """Return the most surprising moments, each after the step before it; or steps at the event."""
    assert view.frames is not None
    place = {step: number for number, step in enumerate(shown)}
    found = []
    for rank, step in enumerate(view.moments, 1):
        if step not in place:
            continue
        pictures = [view.frames[place[s]] for s in (step - 1, step) if s in place]
        when = f"step {step:,}" if view.step_s is None else f"{step * view.step_s:.2f} s"
        found.append(
            {
                "words": f"{rank}. {when}: {view.surprise[step - 1]:.2f}",
                "pictures": [png_uri(picture) for picture in pictures],
                "frame": place[step],
                "here": step == view.event,
            }
        )
    if not view.moments:
        found = [
            {
                "words": f"step {step}",
                "pictures": [png_uri(view.frames[place[step]])],
                "frame": place[step],
                "here": step == view.event,
            }
            for step in frames_around(len(view.surprise) + 1, view.event)
            if step in place
        ]
    return tuple(found)


def _spec(
    panels: Sequence[Mapping[str, Any]],
    labels: Sequence[str],
    time_s: Float[np.ndarray, " T"],
    x: Float[np.ndarray, " T"] | None = None,
) -> str:
    """Return what ``player.js`` reads.

    Args:
        panels: what the canvases show.
        labels: of each frame.
        time_s: of each frame; steps that are far apart play faster.
        x: of each frame on the chart; None without a chart.
    """
    gaps = np.diff(time_s)
    ms = 1000 * float(np.median(gaps)) if len(gaps) else float(_LONGEST_MS)
    spec: dict[str, Any] = {
        "panels": panels,
        "labels": list(labels),
        "ms": round(min(max(ms, _SHORTEST_MS), _LONGEST_MS)),
    }
    if x is not None:
        spec["x"] = [round(float(value), 4) for value in x]
    return json.dumps(spec, separators=(",", ":"))


def _overlay(kind: str, colour: str, paths: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return marks by frame: [T] lists of (column, row); those that are not finite are left out."""
    kept = [path[np.isfinite(path).all(axis=1)] for path in paths]
    return {"kind": kind, "colour": colour, "paths": [path.round(2).tolist() for path in kept]}


def _titled(chart: Chart) -> str:
    return f"{chart.title}, {chart.y_label}" if chart.y_label else chart.title


def _seconds(time_s: Float[np.ndarray, " T"]) -> list[str]:
    return [f"{value:.2f} s" for value in time_s]
