"""Guard rows: how many events were caught, how soon; how many normal episodes were stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from armillary.core.statistics import wilson_interval
from armillary.core.values import ActionBounds
from armillary.worlds.perturbed import Event


@dataclass(frozen=True)
class Trial:
    """One perturbed episode.

    Attributes:
        event: step of the first observation under it.
        shows: step of the first observation that can show it; None where none can.
        alarm: step of the observation that raised the alarm; None without one.
    """

    event: int
    shows: int | None
    alarm: int | None


def first_shown(
    event: Event, actions: np.ndarray, bounds: ActionBounds, least_action: float
) -> int | None:
    """Return the step of the first observation that can show an event.

    For a stuck actuator it is what follows the first ignored action [A] of at least this share of
    the largest action in the box, both measured from the one nearest to zero; for others it is the
    event's own step. None if there is no such action.
    """
    if event.kind != "stuck":
        return event.step
    nothing = np.clip(np.zeros(bounds.width), bounds.low, bounds.high)
    largest = np.linalg.norm(np.maximum(bounds.high - nothing, nothing - bounds.low))
    ignored = np.linalg.norm(actions[event.step - 1 :] - nothing, axis=1)
    large = np.flatnonzero(ignored >= least_action * largest)
    return event.step + int(large[0]) if len(large) else None


def caught_row(trials: Sequence[Trial], within: int) -> dict[str, Any]:
    """Return how many of the events that can be seen were caught in time.

    Caught: the alarm comes at the event or later, and at most ``within`` steps after the event can
    first be seen (1 = at once). An alarm before the event is a false one, and the event is not
    caught. Latency is over all alarms at or after the event, however late.
    """
    seen = [(t.event, t.shows, t.alarm) for t in trials if t.shows is not None]
    steps = [
        max(1, alarm - shows + 1)
        for event, shows, alarm in seen
        if alarm is not None and alarm >= event
    ]
    caught = sum(step <= within for step in steps)
    return {
        "n": len(seen),
        "caught": caught,
        "rate": caught / len(seen) if seen else None,
        "wilson95": list(wilson_interval(caught, len(seen))),
        "within_steps": within,
        "median_latency_steps": float(np.median(steps)) if steps else None,
        "caught_later": len(steps) - caught,
        "false_alarm_before": sum(a is not None and a < event for event, _, a in seen),
        "never_shown": len(trials) - len(seen),
    }


def false_row(alarms: Sequence[int | None]) -> dict[str, Any]:
    """Return how many normal episodes raised an alarm."""
    raised = sum(alarm is not None for alarm in alarms)
    return {
        "n": len(alarms),
        "false_stops": raised,
        "rate": raised / len(alarms),
        "wilson95": list(wilson_interval(raised, len(alarms))),
    }
