"""Session: one person's drive. It steps the model and what is real, and reports the result.

It knows no network and no clock. The same source, seed and controls give the same frames.

Axes: A action of a model step, Z flattened latent, H W image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from armillary.core.errors import ConfigError
from armillary.core.progress import Progress, silent
from armillary.core.values import ActionBounds
from armillary.models import JEPA
from armillary.play.controls import Controls
from armillary.play.goal import GoalPlan, search
from armillary.play.imagining import Apart, Imagined, Looking, apart
from armillary.play.memory import Memory
from armillary.play.sensors import COLOUR
from armillary.play.showing import Showing, Shown
from armillary.play.sources import RecordingSource, Seen, Source

_REPLAN = 3  # model steps with one plan


@dataclass(frozen=True)
class Frame:
    """What is shown of one step.

    Attributes:
        imagined: the model's latent, drawn, or what was measured at the kept step nearest to it.
        real: what was seen; None where nothing is known.
        facts: for the page, as JSON: see ``Session.frame``.
    """

    imagined: Shown
    real: Shown | None
    facts: Mapping[str, Any]


@dataclass
class _Drive:
    """What changes while one drives."""

    memory: Memory
    showing: Showing
    seen: Seen
    imagined: Imagined
    looking: Looking
    drawn: np.ndarray
    seed: int
    step: int = 0
    looked: int = 0
    departed: int | None = None
    apart: Apart | None = None
    action: np.ndarray = field(default_factory=lambda: np.zeros(0))
    plan: GoalPlan | None = None
    planned_for: Any = None
    planned_at: int = 0
    over: str = ""


class Session:
    """A drive through one source.

    Args:
        model: imagines.
        source: what stands beside it; it belongs to the session.
    """

    def __init__(self, model: JEPA, source: Source) -> None:
        self.model, self.source = model, source
        self.about, self.sensors = source.about, source.sensors
        self._drive: _Drive | None = None

    @property
    def skip(self) -> int:
        """World steps of a model step."""
        return self.model.config.frame_skip

    def controls(self) -> Controls:
        """Return the controls at the start: rest."""
        return Controls((0.0,) * self.about.bounds.width)

    def begin(self, seed: int, progress: Progress = silent) -> dict[str, Any]:
        """Begin a scene, and return what is to be reported of it.

        Raises:
            WorldError: the world raised.
        """
        memory, seen, words = self.source.begin(seed, progress)
        looking = Looking((seen.state,))
        imagined = looking.begin(self.model)
        drawn = seen.state[0].numpy()
        self._drive = _Drive(
            memory, Showing(self.source, memory.pictures), seen, imagined, looking, drawn, seed
        )
        return {
            "seed": seed,
            "drawn_from": words,
            "places": [
                {
                    "name": name,
                    "error": place.read_out.error,
                    "unit": self.about.units.get(name, ""),
                    "r2": round(place.read_out.r2, 3),
                    "map": place.on_picture.source,
                }
                for name, place in memory.places.items()
            ],
            "read_alone": list(memory.read_alone),
            "sensors": list(self.sensors.names),
            "aligned": self.sensors.aligned,
        }

    def step(self, controls: Controls) -> Frame:
        """Go on by one model step, and return the frame.

        A recording leads on by its own actions until an axis is moved, a plan is followed, or one
        departs; at its end it stands until then.
        """
        drive = self._running()
        self._plan(controls)
        action = self._action(controls)
        if action is None:
            drive.over = self.source.why_over()
            return self._frame(controls)
        before = drive.looking
        drive.imagined = drive.imagined.after(self.model, action)
        drive.drawn = drive.imagined.state[0].numpy()
        drive.action, drive.step, drive.apart = action, drive.step + 1, None
        seen = None if drive.departed is not None else self.source.go(action)
        if seen is not None:
            predicted = before.begin(self.model).after(self.model, action)
            drive.apart = apart(
                drive.memory.calibration,
                before.now,
                predicted.state,
                drive.imagined.state,
                seen.state,
            )
            drive.seen, drive.looking = seen, before.after(action, seen.state)
            if controls.mode == "real":
                drive.imagined = drive.looking.begin(self.model)
                drive.looked = drive.step
        left = seen is None and drive.departed is None
        drive.over = self.source.why_over() if left else ""
        return self._frame(controls)

    def depart(self) -> None:
        """Leave a recording here."""
        drive = self._running()
        if isinstance(self.source, RecordingSource) and drive.departed is None:
            drive.departed = self.source.at

    def rejoin(self) -> None:
        """Go back to where a recording was left, and look."""
        drive = self._running()
        if isinstance(self.source, RecordingSource) and drive.departed is not None:
            drive.seen = self.source.back_to(drive.departed)
            drive.looking = Looking((drive.seen.state,))
            drive.imagined = drive.looking.begin(self.model)
            drive.drawn = drive.seen.state[0].numpy()
            drive.departed, drive.apart, drive.over = None, None, ""
            drive.looked = drive.step

    def frame(self, controls: Controls) -> Frame:
        """Return the present frame, with a plan where the goal has moved.

        Facts: ``step``, ``key``, ``mode``, ``blind`` (steps since the model looked), ``gap`` and
        ``surprise`` (None where nothing is real), ``far`` (from memory), ``action``, ``here`` and
        ``truth`` (places as shares of the picture, by name), ``plan``, ``departed`` (step, or
        None), ``over`` (why nothing follows), ``sensor`` (what is shown), and for depth and points
        those of ``Showing.views``.
        """
        self._plan(controls)
        return self._frame(controls)

    def close(self) -> None:
        """Give back what the source holds."""
        self.source.close()

    def _frame(self, controls: Controls) -> Frame:
        drive = self._running()
        imagined: Shown
        real: Shown
        imagined, far = drive.memory.draw(drive.drawn)
        real, shown = drive.seen.picture, {}
        sensor = controls.sensor if controls.sensor in self.sensors.names else COLOUR
        if sensor != COLOUR:
            nearest = drive.memory.nearest(drive.drawn)
            imagined, real, shown = drive.showing.views(sensor, nearest, drive.seen.picture)
        known = drive.departed is None
        found = None if drive.apart is None else drive.apart
        facts = {
            "step": drive.step,
            "key": controls.key,
            "mode": controls.mode,
            "blind": drive.step - drive.looked,
            "gap": None if found is None else _short(found.gap),
            "surprise": None if found is None else _short(found.surprise),
            "far": _short(far),
            "action": [
                _short(value) for value in drive.action.tolist()[-self.about.bounds.width :]
            ],
            "here": self._here(),
            "truth": self._truth() if known else {},
            "plan": self._shown_plan(controls),
            "departed": drive.departed,
            "over": drive.over,
            "sensor": sensor,
            **shown,
        }
        return Frame(imagined, real, facts)

    def _running(self) -> _Drive:
        if self._drive is None:
            raise ConfigError("Nothing was begun yet. Call begin(seed) first.")
        return self._drive

    def _action(self, controls: Controls) -> Float[np.ndarray, " A"] | None:
        """Return the next action: of the plan, the person, or the recording; None for none."""
        drive = self._running()
        bounds = self.about.bounds
        if controls.follow and drive.plan is not None:
            self.depart()
            rows = drive.plan.actions
            return rows[min(drive.step - drive.planned_at, len(rows) - 1)]
        if isinstance(self.source, RecordingSource) and drive.departed is None:
            if not any(controls.axes):
                return self.source.recorded()
            self.depart()
        return controls.action(bounds, self.skip).astype(np.float32)

    def _plan(self, controls: Controls) -> None:
        """Search for a plan, where there is a goal and the last plan is not of now."""
        drive, goal = self._running(), controls.goal
        place = drive.memory.places.get(goal[0]) if goal is not None else None
        if goal is None or place is None or not self.about.bounds.width:
            drive.plan = None
            return
        moved = drive.step - drive.planned_at
        same = drive.plan is not None and drive.planned_for == goal
        if same and moved < _REPLAN:
            return
        x, y = place.on_picture.place(np.array(goal[1])).tolist()
        before = drive.plan if same else None
        drive.plan = search(
            self.model, drive.imagined, place.read_out, (x, y), self._model_bounds(), before, moved,
            (drive.seed, drive.step),
        )  # fmt: skip
        drive.planned_for, drive.planned_at = goal, drive.step

    def _model_bounds(self) -> ActionBounds:
        bounds = self.about.bounds
        return ActionBounds(np.tile(bounds.low, self.skip), np.tile(bounds.high, self.skip))

    def _here(self) -> dict[str, list[float]]:
        """Return the places that are read from the drawn latent, as shares of the picture."""
        drive = self._running()
        return {
            name: _point(place.on_picture.shares(_read(place.read_out, drive.drawn)))
            for name, place in drive.memory.places.items()
        }

    def _truth(self) -> dict[str, list[float]]:
        drive = self._running()
        return {
            name: _point(place.on_picture.shares(np.asarray(drive.seen.truth[name], np.float64)))
            for name, place in drive.memory.places.items()
            if name in drive.seen.truth
        }

    def _shown_plan(self, controls: Controls) -> dict[str, Any] | None:
        drive = self._running()
        if drive.plan is None or controls.goal is None:
            return None
        place = drive.memory.places[controls.goal[0]]
        wanted = place.on_picture.place(np.array(controls.goal[1]))
        away = float(np.linalg.norm(_read(place.read_out, drive.drawn) - wanted))
        return {
            "place": controls.goal[0],
            "goal": list(controls.goal[1]),
            "best": _points(place.on_picture.shares(drive.plan.places)),
            "others": [_points(place.on_picture.shares(way)) for way in drive.plan.others],
            "away": _short(away),
        }


def _read(read_out: Any, state: Float[np.ndarray, " Z"]) -> Float[np.ndarray, " 2"]:
    return state @ read_out.weights.numpy() + read_out.offset.numpy()


def _point(share: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in share]


def _points(shares: np.ndarray) -> list[list[float]]:
    return [_point(share) for share in shares]


def _short(value: float) -> float:
    return float(f"{value:.4g}")
