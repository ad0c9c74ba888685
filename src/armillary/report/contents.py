"""What a report holds: plain values and arrays, no models, no files.

Whoever makes a report measures first and fills these in; the page only shows. A section that is
left out (None or empty) is not drawn.

Axes: T steps, H W image, K plan points. Images are uint8 RGB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

Form = Literal["percent", "number", "cm", "seconds", "count", "points", "units"]
Number = float | int
Picture = UInt8[np.ndarray, "H W 3"]


@dataclass(frozen=True)
class Floor:
    """What a number stands beside: a baseline below it or an oracle above it.

    Attributes:
        name: e.g. ``random``, ``untrained encoder``, ``copy-last``, ``oracle``.
        value: in the same unit as the row's.
        interval: 95 %, where there is one.
    """

    name: str
    value: Number
    interval: tuple[Number, Number] | None = None


@dataclass(frozen=True)
class ResultRow:
    """One number, and all that is needed to believe it.

    Attributes:
        name: what was measured, in words.
        value: the number; NaN where it could not be measured.
        form: how it is written. ``cm`` takes metres, ``percent`` takes a share of 1; ``points``
            are differences of percentages, ``units`` are of the row's own kind, and neither is on
            a scale from 0 to 1.
        interval: 95 %.
        floors: what it stands beside.
        n: how many episodes, clips or frames.
        wanted: the bar in words, e.g. ``at least 80 %``; empty where there is none.
        mark: where the bar is drawn.
        held: whether the bar was reached.
        command: what to type to measure it again.
        record: path of the raw record, relative to the report.
        note: one sentence on how to read it.
        headline: also shown large at the top.
    """

    name: str
    value: Number
    form: Form = "number"
    interval: tuple[Number, Number] | None = None
    floors: tuple[Floor, ...] = ()
    n: int | None = None
    wanted: str = ""
    mark: Number | None = None
    held: bool | None = None
    command: str = ""
    record: str = ""
    note: str = ""
    headline: bool = False


@dataclass(frozen=True)
class ResultGroup:
    """Rows that belong together: act, understand, learn."""

    title: str
    rows: tuple[ResultRow, ...]
    note: str = ""


@dataclass(frozen=True)
class ContactSheet:
    """What was recorded: pictures and, below each, its depth.

    Attributes:
        rgb: pictures of different episodes. Empty without colour.
        depth_m: camera z of the same pictures, metres; NaN or 0 is invalid. Empty without depth.
        caption: how much of it there is, e.g. ``400 episodes, 16,000 steps``.
    """

    rgb: tuple[Picture, ...]
    depth_m: tuple[Float[np.ndarray, "H W"], ...] = ()
    caption: str = ""


@dataclass(frozen=True)
class Curve:
    """A line: ``y`` over ``x``; one with an interval at each point is drawn as dots with whiskers.

    Attributes:
        name: in the legend.
        x: values along.
        y: values up.
        low: lower ends of the intervals of ``y``, or None.
        high: upper ends.
        notes: what each point says when pointed at; empty for nothing.
    """

    name: str
    x: Float[np.ndarray, " T"]
    y: Float[np.ndarray, " T"]
    low: Float[np.ndarray, " T"] | None = None
    high: Float[np.ndarray, " T"] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chart:
    """Curves that share axes; at most four, so that colours stay apart.

    A linear y axis begins at 0 at the latest and ends at ``top``, or above the highest value.
    """

    title: str
    curves: tuple[Curve, ...]
    x_label: str = "update"
    y_label: str = ""
    log_y: bool = False
    log_x: bool = False
    top: Number | None = None


@dataclass(frozen=True)
class RolloutStrip:
    """What came and what was foreseen from the first step, picture by picture.

    Attributes:
        labels: one per column, e.g. ``+0.5 s``.
        came: [columns] pictures.
        foreseen: [columns] pictures from the small decoder.
        caption: one sentence.
    """

    labels: tuple[str, ...]
    came: tuple[Picture, ...]
    foreseen: tuple[Picture, ...]
    caption: str = ""


@dataclass(frozen=True)
class SurpriseView:
    """Surprise over a clip, with the impossible step marked.

    Attributes:
        frames: [T] pictures.
        surprise: [T-1], of steps 1 to T-1.
        baselines: by name, [T-1] each.
        event: the impossible step, or None.
        caption: one sentence.
    """

    frames: UInt8[np.ndarray, "T H W 3"]
    surprise: Float[np.ndarray, " steps"]
    baselines: Mapping[str, Float[np.ndarray, " steps"]] = field(default_factory=dict)
    event: int | None = None
    caption: str = ""


@dataclass(frozen=True)
class PlanView:
    """A plan drawn over the scene it was made for.

    Attributes:
        scene: the picture at the moment of the decision.
        goal: the picture of the goal.
        plan_px: [K 2] (column, row), the path the plan expects, from where it starts.
        taken_px: [K 2], the path that was then taken; empty where unknown.
        candidates_px: some other plans that were weighed.
        goal_px: (column, row) of the goal, where it is a place.
        caption: one sentence.
    """

    scene: Picture
    goal: Picture
    plan_px: Float[np.ndarray, "K 2"]
    taken_px: Float[np.ndarray, "J 2"] | None = None
    candidates_px: tuple[Float[np.ndarray, "_ 2"], ...] = ()
    goal_px: tuple[Number, Number] | None = None
    caption: str = ""


@dataclass(frozen=True)
class QuadrupletView:
    """Two contexts by two outcomes, and how surprising each of the four clips was.

    Attributes:
        name: of the concept.
        frames: [4 T H W 3], the two possible clips first.
        surprise: [4 T-1], of the same clips.
        event: first step at which the outcomes differ.
        caption: one sentence.
    """

    name: str
    frames: UInt8[np.ndarray, "4 T H W 3"]
    surprise: Float[np.ndarray, "4 steps"]
    event: int
    caption: str = ""


@dataclass(frozen=True)
class RetrievalView:
    """A held-out window, and the training frames whose latents are nearest to what was predicted.

    Attributes:
        labels: one per column, e.g. ``+4 steps, 0.4 s``.
        true: [columns] pictures that were seen.
        predicted: [columns] training frames nearest to the predicted latents.
        best: [columns] training frames nearest to the true latents: what retrieval could show.
    """

    labels: tuple[str, ...]
    true: tuple[Picture, ...]
    predicted: tuple[Picture, ...]
    best: tuple[Picture, ...]


@dataclass(frozen=True)
class ReportContents:
    """A whole report.

    Attributes:
        title: what this is, in a few words.
        summary: what was done, in two or three sentences.
        results: the numbers.
        machine: e.g. ``{"processor": ..., "cores": "2", "torch": ...}``.
        date: ISO 8601.
        command: what made the whole report.
        warning: shown above everything, e.g. that a quick run's numbers mean nothing.
        seconds: how long each part took.
        contact: what was recorded.
        charts: curves.
        charts_title: heading of the section with the curves.
        retrievals: held-out windows beside the training frames nearest to what was predicted.
        facts: what is to be known first, by name, in words; stands under the summary.
        rollouts: what came against what was foreseen.
        surprise: a clip with its surprise.
        plans: plans drawn over scenes.
        quadruplets: what can be and what cannot, by concept.
    """

    title: str
    summary: str
    results: tuple[ResultGroup, ...]
    machine: Mapping[str, str]
    date: str
    command: str = ""
    warning: str = ""
    seconds: Mapping[str, Number] = field(default_factory=dict)
    contact: ContactSheet | None = None
    charts: tuple[Chart, ...] = ()
    rollouts: tuple[RolloutStrip, ...] = ()
    surprise: SurpriseView | None = None
    plans: tuple[PlanView, ...] = ()
    quadruplets: tuple[QuadrupletView, ...] = ()
    charts_title: str = "How it was learned"
    facts: Mapping[str, str] = field(default_factory=dict)
    retrievals: tuple[RetrievalView, ...] = ()
