"""The numbers of a guard study: the guard's rates, beside other judges on the same episodes.

The others are the whole latent's surprise (as ``armillary surprise`` measures it), copy-last and
the change of pixels. They are fitted on the same exploring episodes, and their limits come from
the same calibration episodes under the same bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from armillary.core.values import ActionBounds
from armillary.evaluation import Record, summarise
from armillary.monitoring import Guard, conformal_limit
from armillary.monitoring.calibration import DIRECTIONS
from armillary.monitoring.guard_rows import Trial, caught_row, false_row, first_shown
from armillary.monitoring.rewatch import Watched
from armillary.monitoring.watching import Differences, Seen
from armillary.objectives.expected_error import fit_expected_error
from armillary.objectives.whitening import fit_whitening

OTHER_LEAST_ACTIONS = (0.1, 0.5)  # a stuck actuator is also counted from these shares on


@dataclass(frozen=True)
class Run:
    """Records of one manifest and what was seen in them; episodes that broke are left out."""

    records: tuple[Record, ...]
    watched: Sequence[Watched]

    @property
    def alarms(self) -> list[int | None]:
        """World step of the guard's alarm in each episode."""
        return [None if one.alarm is None else one.alarm.step for one in self.records]


@dataclass(frozen=True)
class Judge:
    """Scores every model step of an episode; a score above the limit is an alarm."""

    score: Callable[[Seen], np.ndarray]
    limit: float

    def alarms(self, run: Run, frame_skip: int) -> list[int | None]:
        """Return the world step of the first alarm in each episode."""
        above = [np.flatnonzero(self.score(one.seen) > self.limit) for one in run.watched]
        return [frame_skip * (int(steps[0]) + 1) if len(steps) else None for steps in above]


def other_judges(
    exploring: Sequence[Seen], calm: Sequence[Seen], false_alarms: float
) -> dict[str, Judge]:
    """Return the baselines by name.

    Args:
        exploring: episodes to fit on.
        calm: calibration episodes of the policy, for the limits.
        false_alarms: share of normal episodes that may alarm.
    """
    steps = Differences.join([episode.differences for episode in exploring])
    whole = fit_whitening(steps.residual)
    usual = fit_expected_error(whole.score(steps.residual), steps.foreseen)
    states = np.concatenate([episode.states for episode in exploring])
    changes = fit_whitening(steps.change).towards(states, DIRECTIONS)
    scores: dict[str, Callable[[Seen], np.ndarray]] = {
        "surprise": lambda seen: (
            whole.score(seen.differences.residual) / usual.at(seen.differences.foreseen)
        ),
        "copy_last": lambda seen: changes.score(seen.differences.change),
        "pixel_difference": lambda seen: seen.differences.picture,
    }
    judges = {}
    for name, score in scores.items():
        highest = np.array([score(one).max() for one in calm], np.float64)
        judges[name] = Judge(score, conformal_limit(highest, false_alarms))
    return judges


@dataclass(frozen=True)
class Rules:
    """What counts as caught.

    Attributes:
        bounds: the world's box of actions.
        frame_skip: world steps in a model step.
        within: steps in which an event must be caught.
        least_action: what shows a stuck actuator, as a share of the largest action.
    """

    bounds: ActionBounds
    frame_skip: int
    within: int
    least_action: float


def study_result(
    guard: Guard,
    others: Mapping[str, Judge],
    normal: Run,
    perturbed: Mapping[str, Run],
    rules: Rules,
) -> dict[str, Any]:
    """Return the rates of the guard and of the other judges, as JSON values.

    Args:
        guard: whose alarms are on record.
        others: the baselines.
        normal: episodes in which nothing happens.
        perturbed: episodes by what goes wrong in them.
        rules: what counts.
    """
    own = {kind: run.alarms for kind, run in perturbed.items()}
    rows = {"guard": _row(normal.alarms, own, perturbed, rules)}
    for name, judge in others.items():
        found = {kind: judge.alarms(run, rules.frame_skip) for kind, run in perturbed.items()}
        calm = judge.alarms(normal, rules.frame_skip)
        rows[name] = _row(calm, found, perturbed, rules)
    return {
        "policy": guard.policy,
        "false_stops_at_most": guard.false_alarms,
        "calibration_episodes": guard.episodes,
        "limits": dict(guard.limits),
        "least_action": rules.least_action,
        "rows": rows,
        "reasons": {kind: _reasons(run) for kind, run in perturbed.items()},
        "sizes": {kind: _sizes(run) for kind, run in perturbed.items()},
        "normal": summarise(normal.records).to_dict(),
    }


def _row(
    normal: Sequence[int | None],
    alarms: Mapping[str, Sequence[int | None]],
    perturbed: Mapping[str, Run],
    rules: Rules,
) -> dict[str, Any]:
    row: dict[str, Any] = {"normal": false_row(normal)}
    for kind, run in perturbed.items():
        row[kind] = caught_row(_trials(run, alarms[kind], rules), rules.within)
    if "stuck" in perturbed:
        row["stuck"]["by_least_action"] = {
            f"{share:g}": caught_row(
                _trials(perturbed["stuck"], alarms["stuck"], rules, share), rules.within
            )
            for share in OTHER_LEAST_ACTIONS
        }
    return row


def _trials(
    run: Run, alarms: Sequence[int | None], rules: Rules, least_action: float | None = None
) -> list[Trial]:
    share, trials = least_action or rules.least_action, []
    for one, alarm in zip(run.watched, alarms, strict=True):
        assert one.event is not None
        shows = first_shown(one.event, one.actions, rules.bounds, share)
        trials.append(Trial(one.event.step, shows, alarm))
    return trials


def _reasons(run: Run) -> dict[str, int]:
    raised = [one.alarm.reason for one in run.records if one.alarm is not None]
    return {reason: raised.count(reason) for reason in sorted(set(raised))}


def _sizes(run: Run) -> dict[str, dict[str, float]]:
    """Return mean and range of what went wrong, by name and unit."""
    sizes = [one.event.size for one in run.watched if one.event is not None]
    names = sorted({name for size in sizes for name in size})
    values = {name: [size[name] for size in sizes if name in size] for name in names}
    return {
        name: {"mean": float(np.mean(found)), "least": min(found), "most": max(found)}
        for name, found in values.items()
    }
