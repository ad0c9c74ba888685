"""What a report holds: plain values and arrays, no models, no files.

Whoever makes a report measures first and fills these in; the page only shows. A section that is
left out (None or empty) is not drawn.

Axes: T steps, H W image, K plan points, P points of a cloud. Images are uint8 RGB.
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
class CloudFrames:
    """Points in 3-D over time, drawn so that they can be turned.

    Attributes:
        points: [T] clouds, float32 [P 3] metres, z up; P may differ from step to step.
        colours: [T], uint8 [P 3] each. Empty: coloured by height.
        eye: direction from the middle of the points to where one looks from at first.
    """

    points: tuple[Float[np.ndarray, "_ 3"], ...]
    colours: tuple[UInt8[np.ndarray, "_ 3"], ...] = ()
    eye: tuple[Number, Number, Number] = (-1.0, 0.0, 0.6)


@dataclass(frozen=True)
class EpisodeView:
    """Pictures and points of one episode, which play together.

    Attributes:
        title: e.g. ``Episode 3``.
        time_s: [T] of the steps that are shown.
        steps: [T] their numbers in the episode.
        pictures: [T H W 3] by camera.
        clouds: points over the same steps, by sensor.
        caption: one sentence.
    """

    title: str
    time_s: Float[np.ndarray, " T"]
    steps: tuple[int, ...]
    pictures: Mapping[str, UInt8[np.ndarray, "T _ _ 3"]] = field(default_factory=dict)
    clouds: Mapping[str, CloudFrames] = field(default_factory=dict)
    caption: str = ""


@dataclass(frozen=True)
class Track:
    """A place that moves over the pictures of a clip, as predicted and as it was.

    Attributes:
        name: of the thing.
        predicted_px: [T 2] (column, row); NaN where there is nothing to draw.
        true_px: [T 2].
    """

    name: str
    predicted_px: Float[np.ndarray, "T 2"]
    true_px: Float[np.ndarray, "T 2"]


@dataclass(frozen=True)
class RolloutView:
    """A rollout from the first step of a clip: predicted positions on the true pictures.

    Attributes:
        frames: [T] true pictures.
        time_s: [T].
        tracks: at most four.
        errors: curves of the error over time, x in seconds.
        caption: one sentence.
    """

    frames: UInt8[np.ndarray, "T H W 3"]
    time_s: Float[np.ndarray, " T"]
    tracks: tuple[Track, ...]
    errors: Chart
    caption: str = ""


@dataclass(frozen=True)
class SurpriseView:
    """Surprise over a clip; the curves are drawn as they are given, 1 is normal.

    Attributes:
        surprise: [steps], of steps 1 to steps.
        frames: pictures of ``shown``; None without pictures.
        baselines: by name, [steps] each.
        event: the impossible step, or None.
        caption: one sentence.
        step_s: seconds from one step to the next; None: steps are numbered instead.
        shown: numbers of the steps that have a picture, ascending; empty: 0 to ``steps``.
        moments: the most surprising steps, most surprising first; each is shown with the step
            before it.
    """

    surprise: Float[np.ndarray, " steps"]
    frames: UInt8[np.ndarray, "_ _ _ 3"] | None = None
    baselines: Mapping[str, Float[np.ndarray, " steps"]] = field(default_factory=dict)
    event: int | None = None
    caption: str = ""
    step_s: float | None = None
    shown: tuple[int, ...] = ()
    moments: tuple[int, ...] = ()


@dataclass(frozen=True)
class PlanView:
    """The plans of an episode drawn over its pictures, beside what happened.

    Attributes:
        frames: [T] pictures, one at each decision and one at the end.
        time_s: [T].
        goal: the picture of the goal.
        plans_px: [T] paths [K 2] (column, row) that the plan at each step expects; empty at the
            end.
        taken_px: [T 2], where the agent was.
        goal_px: (column, row) of the goal, where it is a place.
        distance: the distance to the goal over time, of the first plan and as it happened; x in
            seconds.
        caption: one sentence.
    """

    frames: UInt8[np.ndarray, "T H W 3"]
    time_s: Float[np.ndarray, " T"]
    goal: Picture
    plans_px: tuple[Float[np.ndarray, "_ 2"], ...]
    taken_px: Float[np.ndarray, "T 2"]
    goal_px: tuple[Number, Number] | None = None
    distance: Chart | None = None
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
        episodes: episodes that play, with points in 3-D.
        rollouts: predicted positions on the true pictures.
        surprise: a clip with its surprise.
        plans: plans drawn over scenes.
        quadruplets: possible and impossible clips, by concept.
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
    episodes: tuple[EpisodeView, ...] = ()
    rollouts: tuple[RolloutView, ...] = ()
    surprise: SurpriseView | None = None
    plans: tuple[PlanView, ...] = ()
    quadruplets: tuple[QuadrupletView, ...] = ()
    charts_title: str = "Training"
    facts: Mapping[str, str] = field(default_factory=dict)
    retrievals: tuple[RetrievalView, ...] = ()
