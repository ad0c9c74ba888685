"""Results: what the functions of the API return; short in a terminal, drawn in a notebook.

Every result that has a folder can be passed wherever a path is taken.

Axes: L plan length, N tokens, D latent width, A action width, T steps, H W image.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64, UInt8
from markupsafe import Markup, escape
from torch import Tensor

from armillary.api import html
from armillary.api.tables import evaluation_rows, probe_rows, text_table
from armillary.core.values import Observation
from armillary.data.layout import first_of_kind
from armillary.evaluation import Manifest, Record, Row
from armillary.models import JEPA, load_model
from armillary.report import Chart, Curve
from armillary.training import TrainSummary, read_log
from armillary.understanding.unusual import UnusualEvent
from armillary.zoo.finding import find_model

_MOST_CURVES = 4  # of actions in one chart


class Run:
    """A training run: a folder with the model, its settings and its log.

    ``Run("out/run")`` opens one that was trained earlier.

    Args:
        path: folder of the run.
        summary: the result of the training; None for a run that was opened.
    """

    def __init__(self, path: str | os.PathLike[str], summary: TrainSummary | None = None) -> None:
        self.path = Path(path)
        self.summary = summary

    @cached_property
    def model(self) -> JEPA:
        """The trained model, read once, ready for evaluation.

        Raises:
            CheckpointError: the run is not finished, or its model is damaged.
        """
        return load_model(find_model(self.path)).requires_grad_(False)

    @property
    def log(self) -> list[dict[str, Any]]:
        """Entries of ``log.jsonl``: numbers by name, ``step`` counts optimizer steps."""
        file = self.path / "log.jsonl"
        return read_log(file) if file.is_file() else []

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        log = [entry for entry in self.log if "train/loss" in entry]
        if not log:
            return f"Run({str(self.path)!r}: nothing logged yet)"
        last = log[-1]
        return f"Run({str(self.path)!r}: {last['step']:,} steps, loss {last['train/loss']:.3f})"

    def _repr_html_(self) -> str:
        return html.run(self.path, repr(self))


@dataclass(frozen=True, repr=False)
class Probe(Mapping[str, Mapping[str, Any]]):
    """How well truths can be read from a model's latents, beside its controls; a mapping by target.

    Attributes:
        targets: of each truth stream ``r2`` (linear), ``r2_mlp``, ``r2_untrained`` (an encoder
            with random weights), ``r2_shuffled`` (shuffled labels), ``error_m`` (mean error in the
            target's unit, metres where it has one) and more.
    """

    targets: Mapping[str, Mapping[str, Any]]

    def __getitem__(self, target: str) -> Mapping[str, Any]:
        return self.targets[target]

    def __iter__(self) -> Iterator[str]:
        return iter(self.targets)

    def __len__(self) -> int:
        return len(self.targets)

    def __str__(self) -> str:
        return text_table(probe_rows(self.targets))

    def __repr__(self) -> str:
        shares = ", ".join(f"{name}: R2 {row['r2']:.2f}" for name, row in self.items())
        return f"Probe({shares})"

    def _repr_html_(self) -> str:
        return html.table(probe_rows(self.targets))


@dataclass(frozen=True, repr=False)
class Surprise:
    """How surprised a model is at model steps 1 to T-1 of a clip.

    Attributes:
        time_s: time of each step, in seconds from the start [T-1].
        values: surprise; 1 is usual in normal life [T-1].
        copy_last: the same of a baseline that predicts no change, in its own units [T-1].
        pixel_difference: mean absolute change of RGB, 0 to 1 [T-1]; empty without pictures.
        peak_step: the most surprising model step, counted from 1.
        normal: what normal life is, in words: which episodes calibrated the values.
        events: what is unlike normal pictures, in the order of time; None where there are no
            pictures, or fewer than 100 normal steps.
        false_alarms_per_minute: of events, on normal pictures; None where it was not measured.
    """

    time_s: Float[np.ndarray, " steps"]
    values: Float[np.ndarray, " steps"]
    copy_last: Float[np.ndarray, " steps"]
    pixel_difference: Float[np.ndarray, " seen"]
    peak_step: int
    normal: str
    events: tuple[UnusualEvent, ...] | None = None
    false_alarms_per_minute: float | None = None

    @property
    def peak_s(self) -> float:
        """Time of the most surprising step, in seconds."""
        return float(self.time_s[self.peak_step - 1])

    @property
    def peak(self) -> float:
        """Surprise at that step; 1 is usual."""
        return float(self.values[self.peak_step - 1])

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        where = f"step {self.peak_step} ({self.peak_s:.2f} s)"
        return f"Surprise({len(self)} steps; most at {where}: {self.peak:.1f} where 1 is usual)"

    def _repr_html_(self) -> str:
        curves = (
            Curve("model", self.time_s, self.values),
            Curve("copy-last", self.time_s, self.copy_last),
        )
        charts = [Chart("Surprise; 1 is usual", curves, "seconds")]
        if len(self.pixel_difference):
            pixels = Curve("pixel change", self.time_s, self.pixel_difference)
            charts.append(Chart("Change of the pixels, 0 to 1", (pixels,), "seconds"))
        caption = f"{self!r}; calibrated on {self.normal}"
        return html.fragment(html.said(caption), html.charts(charts))


@dataclass(frozen=True, repr=False)
class Rollout:
    """What a model predicts of a clip from its start, and what the clip shows.

    Attributes:
        predicted: latents after each of the L model steps [L N D].
        recorded: latents of the same steps as they were recorded; None under other actions than
            the recorded ones [L N D].
        before: the latent of the last step that the model was shown [N D].
        nearest: for each prediction the model step of the clip whose latent is nearest [L].
        pictures: of all model steps of the clip [T H W 3]; None without a colour camera.
        start: the last model step that the model was shown.
        step_s: seconds of a model step.
    """

    predicted: Float[Tensor, "L N D"]
    recorded: Float[Tensor, "L N D"] | None
    before: Float[Tensor, "N D"]
    nearest: Int64[np.ndarray, " L"]
    pictures: UInt8[np.ndarray, "T H W 3"] | None
    start: int
    step_s: float

    @property
    def error(self) -> Float[np.ndarray, " L"] | None:
        """Root mean square of predicted minus recorded latents after each step [L]."""
        return None if self.recorded is None else _rms(self.predicted, self.recorded)

    @property
    def copy_error(self) -> Float[np.ndarray, " L"] | None:
        """The same for a baseline that predicts no change [L]."""
        return None if self.recorded is None else _rms(self.before, self.recorded)

    def __len__(self) -> int:
        return len(self.predicted)

    def __repr__(self) -> str:
        said = f"Rollout({len(self)} steps from step {self.start}"
        if self.error is None or self.copy_error is None:
            return f"{said})"
        return f"{said}; last error {self.error[-1]:.3f}, of no change {self.copy_error[-1]:.3f})"

    def _repr_html_(self) -> str:
        parts = [html.said(repr(self))]
        if self.pictures is not None:
            parts += self._strip(self.pictures)
        if self.error is not None and self.copy_error is not None:
            seconds = (1 + np.arange(len(self))) * self.step_s
            curves = (
                Curve("model", seconds, self.error),
                Curve("no change", seconds, self.copy_error),
            )
            chart = Chart("Error of the latent (root mean square)", curves, "seconds")
            parts.append(html.charts([chart]))
        return html.fragment(*parts)

    def _strip(self, pictures: np.ndarray) -> list[Markup]:
        """Return recorded pictures above those whose latents are nearest to the predictions.

        A latent has no picture of its own.
        """
        columns = []
        for place in html.spread(len(self)):
            step, near = self.start + 1 + place, int(self.nearest[place])
            above = [html.image(pictures[step], "recorded")] if self.recorded is not None else []
            below = html.image(pictures[near], "nearest to the prediction")
            label = Markup("+{:.1f} s<br>step {}").format((place + 1) * self.step_s, near)
            columns.append([*above, below, label])
        above = "Above: recorded. " if self.recorded is not None else ""
        caption = "Below: the step of this clip whose latent is nearest to the prediction."
        return [html.said(above + caption), html.row(columns)]


@dataclass(frozen=True, repr=False)
class Plan:
    """Actions that should lead from an observation to a goal, and what the model predicts of them.

    Attributes:
        actions: in the units of the data, one a world step [L*S A], S world steps a model step.
        predicted: latents after each model step [L N D].
        distances: root mean square of latent minus the goal's, now and after each model step [L+1];
            without a goal, the cost there.
        cost: of the plan, as the planner minimises it.
        model_steps: predictor steps that the search took.
        observation: where the plan begins.
        goal: where it should end; None where a cost alone defines what is wanted.
    """

    actions: Float[np.ndarray, "steps A"]
    predicted: Float[Tensor, "L N D"]
    distances: Float[np.ndarray, " L1"]
    cost: float
    model_steps: int
    observation: Observation
    goal: Observation | None

    def __len__(self) -> int:
        return len(self.actions)

    def __repr__(self) -> str:
        steps, width = self.actions.shape
        first, last = self.distances[0], self.distances[-1]
        what = "cost of a step" if self.goal is None else "latent distance"
        return f"Plan({steps} actions of {width}; {what} {first:.3f} -> {last:.3f})"

    def _repr_html_(self) -> str:
        seen = {"now": self.observation, "goal": self.goal}
        pairs = [(name, _colour(one)) for name, one in seen.items() if one is not None]
        pictures = [
            [html.image(picture, name), escape(name)]
            for name, picture in pairs
            if picture is not None
        ]
        steps = np.arange(len(self.distances), dtype=np.float64)
        distance = Curve("distance", steps, self.distances)
        title = "Predicted distance of the latent to the goal's"
        if self.goal is None:
            title = "Predicted cost of each step"
        charts = [Chart(title, (distance,), "model step")]
        if self.actions.shape[1] <= _MOST_CURVES:
            moves = np.arange(len(self.actions), dtype=np.float64)
            columns = enumerate(self.actions.T.astype(np.float64))
            curves = tuple(Curve(f"action {k}", moves, values) for k, values in columns)
            charts.append(Chart("Actions", curves, "world step"))
        return html.fragment(html.said(repr(self)), html.row(pictures), html.charts(charts))


@dataclass(frozen=True, repr=False)
class Evaluation:
    """A policy's success in a world, beside random, no-op and oracle on the same episodes.

    Attributes:
        rows: by policy: ``model`` (or ``policy``), ``random``, ``noop``, ``oracle``.
        comparisons: the first policy minus each other one, with paired tests.
        records: of every episode, by policy.
        manifest: the episodes and the rules, made before anything ran.
        path: folder with manifest, records and rows; None where nothing was kept.
    """

    rows: Mapping[str, Row]
    comparisons: Mapping[str, Mapping[str, Any]]
    records: Mapping[str, tuple[Record, ...]]
    manifest: Manifest
    path: Path | None = None

    @property
    def first(self) -> Row:
        """The row of the policy that was evaluated."""
        return next(iter(self.rows.values()))

    @property
    def success(self) -> float:
        """Share of its episodes that were at the goal at their end, 0 to 1."""
        return self.first.success

    @property
    def n(self) -> int:
        """Number of episodes."""
        return self.first.n

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of the success."""
        low, high = self.first.wilson95
        return low, high

    def __fspath__(self) -> str:
        if self.path is None:
            raise TypeError("The evaluation was kept in no folder; pass out= to keep it.")
        return str(self.path)

    def __str__(self) -> str:
        return text_table(self._table())

    def __repr__(self) -> str:
        shares = ", ".join(f"{name} {row.success:.0%}" for name, row in self.rows.items())
        return f"Evaluation({self.manifest.world} {self.manifest.task}, n = {self.n}: {shares})"

    def _repr_html_(self) -> str:
        return html.table(self._table(), f"{self.manifest.world}, task {self.manifest.task}")

    def _table(self) -> list[dict[str, str]]:
        return evaluation_rows({name: row.to_dict() for name, row in self.rows.items()})


def _rms(latents: Tensor, others: Tensor) -> np.ndarray:
    apart = (latents.detach() - others.detach()).square()
    return apart.mean(dim=(-2, -1)).sqrt().numpy().astype(np.float64)


def _colour(seen: Observation) -> np.ndarray | None:
    shown = {name: p for name, p in seen.streams.items() if p.dtype == np.uint8 and p.ndim == 3}
    name = first_of_kind(dict.fromkeys(shown, "rgb"))
    return None if name is None else shown[name]
