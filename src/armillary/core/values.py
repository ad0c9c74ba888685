"""Values: what flows through the house. Frozen; nobody writes into an argument.

Axes: B batch, T time, H W image, P points, F features of a point, N tokens or beams, D latent
width, A action width, S plans, L plan length.
Numpy arrays up to the training cache and in worlds; torch tensors from ``Batch`` on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from armillary.core.display import html_of
from armillary.core.errors import MissingStepError

StreamKind = Literal[
    "rgb", "depth", "points", "lidar", "pose", "proprio", "segmentation", "truth", "derived"
]
_NOT_OBSERVED = ("truth", "segmentation")  # the simulator's own


@dataclass(frozen=True)
class Stream:
    """One sensor over an episode.

    Attributes:
        kind: what it measures. ``truth`` is simulator state: for probes and judges only.
        values: [T ...]; rgb uint8 [T H W 3]; depth float32 metres [T H W] (camera z, NaN where
            invalid); points float32 [T P F], x y z in metres first, rows of NaN where a step has
            fewer points; lidar float32 metres [T N], the ranges of a fixed fan of beams, NaN
            invalid; pose float64 ``world_from_camera`` [T 4 4]; segmentation uint8 [T H W];
            proprio and truth float32 [T Q].
        unit: SI unit of the values ("m", "rad", ...), empty where there is none.
        frame: coordinate frame of the values ("world", "camera", ...), empty where there is none.
        intrinsics: 3x3 K in pixels for cameras whose geometry is known (pixel centres at integers).
        columns: of points, the names of the F features: ``x y z``, then any of ``intensity``
            (the sensor's own scale), ``ring`` (number of the beam), ``r g b`` (0..1), or others.
        beams_rad: of lidar, azimuth (from x towards y) and elevation (from the xy plane towards z)
            of each beam in the stream's frame [N 2]; None where unknown.
    """

    kind: StreamKind
    values: np.ndarray
    unit: str = ""
    frame: str = ""
    intrinsics: Float[np.ndarray, "3 3"] | None = None
    columns: tuple[str, ...] = ()
    beams_rad: Float[np.ndarray, "N 2"] | None = None

    def __repr__(self) -> str:
        unit = f" in {self.unit}" if self.unit else ""
        return f"Stream({self.kind} {_shape(self.values)} {self.values.dtype}{unit})"


@dataclass(frozen=True)
class Episode:
    """One continuous recording: T steps and the T-1 actions between them.

    Attributes:
        streams: sensors by name. The names that models look for are ``rgb``, ``depth``,
            ``points``, ``lidar``, ``world_from_camera`` and ``proprio``.
        time_ns: time of each step in nanoseconds from the start.
        actions: [T-1 A]; ``actions[t]`` leads from step t to step t+1. None for plain video.
        source: where it came from (world and seed, or file name).
        license: SPDX identifier or a sentence; empty where unknown.
        task: what is done in it, in words, as an instruction says it; empty where unknown.
    """

    streams: Mapping[str, Stream]
    time_ns: Int64[np.ndarray, " T"]
    actions: Float[np.ndarray, "T-1 A"] | None = None
    source: str = ""
    license: str = ""
    task: str = ""

    def __len__(self) -> int:
        return len(self.time_ns)

    def __repr__(self) -> str:
        acts = "no actions" if self.actions is None else f"actions of {self.actions.shape[1]}"
        names = ", ".join(self.streams)
        return f"Episode({len(self)} steps, {self.seconds:.1f} s, {acts}; {names})"

    def _repr_html_(self) -> str | None:
        return html_of(self)

    @property
    def seconds(self) -> float:
        """Time from the first step to the last, in seconds."""
        return float(self.time_ns[-1] - self.time_ns[0]) / 1e9 if len(self) else 0.0

    def observation(self, step: int) -> Observation:
        """Return what the sensors gave at one step; truth and segmentation are left out.

        Args:
            step: from 0; negative steps count from the end.

        Raises:
            MissingStepError: the episode has no such step.
        """
        if not -len(self) <= step < len(self):
            raise MissingStepError(
                f"There is no step {step}; the episode has {len(self)}, from 0 to {len(self) - 1}."
            )
        sensors = {n: s for n, s in self.streams.items() if s.kind not in _NOT_OBSERVED}
        seen = {name: stream.values[step] for name, stream in sensors.items()}
        lenses = [s for s in sensors.values() if s.intrinsics is not None]
        # depth first: it is what a lens turns into points
        for stream in sorted(lenses, key=lambda each: each.kind != "depth")[:1]:
            assert stream.intrinsics is not None
            seen["intrinsics"] = stream.intrinsics
        return Observation(seen)


@dataclass(frozen=True)
class Batch:
    """Clips stacked for a model.

    Attributes:
        streams: tensors [B T ...] by name: ``rgb`` uint8 [B T H W 3]; ``depth_m`` float32 [B T H W]
            (0 where invalid); ``points`` float32 [B T P F] metres (rows of NaN are padding);
            ``lidar`` float32 [B T N] metres (NaN invalid); ``world_from_camera`` float32
            [B T 4 4]; ``intrinsics`` float32 [B T 3 3]; ``proprio`` float32 [B T Q]. In training
            also ``clean_rgb`` and ``clean_depth_m``: what was there before clips were changed.
        actions: [B T-1 A] in the world's own units, or None.
        valid: [B T]; False where a step is padding.
    """

    streams: Mapping[str, Tensor]
    # B T-1 A; the shape check reads fields in order and meets T only in ``valid``
    actions: Float[Tensor, "B _ A"] | None
    valid: Bool[Tensor, "B T"]


@dataclass(frozen=True)
class Latent:
    """The model's state of the world over a stretch of steps.

    Attributes:
        tokens: [B T N D].
        actions: the actions between those steps [B T-1 A], which a predictor with memory needs;
            None where there are none (T = 1, or plain video).
    """

    tokens: Float[Tensor, "B T N D"]
    actions: Float[Tensor, "B T-1 A"] | None = None


@dataclass(frozen=True)
class ActionBounds:
    """The box of actions that a world accepts, in the world's units.

    Attributes:
        low: [A].
        high: [A].
    """

    low: Float[np.ndarray, " A"]
    high: Float[np.ndarray, " A"]

    @property
    def width(self) -> int:
        """Number of action dimensions A."""
        return len(self.low)


@dataclass(frozen=True)
class Plan:
    """What a planner decided.

    Attributes:
        actions: [B L A].
        costs: [B], the cost of each plan.
        model_steps: predictor steps spent on the decision (candidates x length x iterations, per
            batch element), the unit of a planning budget.
    """

    actions: Float[Tensor, "B L A"]
    costs: Float[Tensor, " B"]
    model_steps: int


@dataclass(frozen=True)
class Observation:
    """What the sensors gave at one step: arrays by stream name, as in ``Episode`` but without T.

    Attributes:
        streams: ``rgb`` uint8 [H W 3]; ``depth`` float32 metres [H W], NaN invalid;
            ``points`` float32 metres [P F]; ``lidar`` float32 metres [N], NaN invalid;
            ``world_from_camera`` float64 [4 4]; ``intrinsics`` float64 [3 3]; ``proprio`` [Q].
    """

    streams: Mapping[str, np.ndarray]

    def only(self, names: tuple[str, ...]) -> Observation:
        """Return the observation cut down to an allow-list of streams."""
        return Observation({name: self.streams[name] for name in names if name in self.streams})

    def __repr__(self) -> str:
        parts = (f"{name} {_shape(value)}" for name, value in self.streams.items())
        return f"Observation({', '.join(parts)})"


@dataclass(frozen=True)
class Goal:
    """Where to get: the picture for the policy, the truth for the judge.

    Attributes:
        task: name of the task it belongs to, e.g. ``"reach"``.
        observation: what the sensors would give there. All that a policy sees.
        truth: simulator state there. Never given to a policy.
    """

    task: str
    observation: Observation
    truth: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class WorldSpec:
    """What a world promises.

    Attributes:
        name: its name on the command line.
        bounds: box of actions.
        step_s: seconds of world time that one action lasts.
        tasks: goal tasks that ``draw_goal`` knows, first one is the default; may be empty.
        budget: steps that an evaluation episode may take.
        success_distance: an episode is solved when ``distance`` is at most this.
        distance_unit: unit of ``distance``.
        sensors: stream kinds by name, of all observations (without ``intrinsics``).
        units: unit and frame of streams and truth by name, e.g. ``{"pusher_xy": ("m", "world")}``.
        extra: what else callers may look for: values per task (``budget``, ``success_distance``,
            ``reachable``), settings for ``evaluation``.
        beams_rad: of LiDAR sensors by name, azimuth and elevation of each beam [N 2], as in
            ``Stream``.
    """

    name: str
    bounds: ActionBounds
    step_s: float
    tasks: tuple[str, ...]
    budget: int
    success_distance: float
    distance_unit: str
    sensors: Mapping[str, StreamKind]
    units: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    beams_rad: Mapping[str, Float[np.ndarray, "_ 2"]] = field(default_factory=dict)


def _shape(values: np.ndarray) -> str:
    return "x".join(map(str, values.shape)) or "1"
