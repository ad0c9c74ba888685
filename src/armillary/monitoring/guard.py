"""Guard: a policy that stops, or slows down, when the world no longer does what was foreseen.

Four questions at every model step, each with a limit of its own:

    scene    Is what came far from what was foreseen? The residual, in the directions in which
             scenes differ most, in units of normal residuals and of the error that is usual when
             so much change is foreseen.
    jump     Did far more change in one step than in the steps around it? The change of the latent,
             in directions of the same kind, beside that of its neighbours: what moves fast, or
             passes before something, takes several steps to come and go. It is answered one step
             late, and needs no foresight, so it still sees where foresight is poor.
    motion   Is what came explained better by "nothing was done" than by the action that was sent?
             The gain in explained error is evidence; it adds up over steps (CUSUM), a step counts
             for at most ``STEP_CAP`` and only above ``STEP_DRIFT``, so that one odd step alone
             decides nothing and a faint one is forgotten.
    picture  Did more of the picture change at once than ever does? An encoder leaves out what
             never mattered in training, such as a view that is turned a little.

Limits come from whole normal episodes of the same policy (``calibration.py``). An alarm is final:
only a new episode clears it. What cannot be judged (NaN) is an alarm.

Source: Page 1954 (CUSUM). Axes: X latent, A action width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float, Float64

from armillary.core.errors import ConfigError, unknown_name
from armillary.core.protocols import HeedingPolicy, Policy
from armillary.core.values import Observation
from armillary.evaluation.records import Alarm
from armillary.monitoring.watching import Differences, Memory, Watcher
from armillary.objectives.expected_error import ExpectedError
from armillary.objectives.whitening import Whitening

Reaction = Literal["stop", "slow", "note"]
QUESTIONS = ("scene", "jump", "motion", "picture")
STEP_CAP = 0.5
STEP_DRIFT = 0.1
# in normal changes: how much a step must change to stand out where nothing else moves
JUMP_FLOOR = 4.0


@dataclass(frozen=True)
class Trail:
    """What an episode has shown so far, beside which its next step is judged.

    Attributes:
        evidence: score of ``motion``.
        earlier: change of the step before the last, in normal changes.
        last: change of the last step; whether it was a jump shows with the next one.
    """

    evidence: float = 0.0
    earlier: float = 0.0
    last: float = 0.0


@dataclass(frozen=True)
class Normal:
    """What normal life looks like to one model.

    Attributes:
        scene: weighs residuals in the directions in which scenes differ.
        scene_error: the error that is usual there for a foreseen change.
        change: weighs changes in the directions in which scenes differ.
        motion: weighs residuals in the directions in which things move within an episode.
        motion_error: the error that is usual there.
    """

    scene: Whitening
    scene_error: ExpectedError
    change: Whitening
    motion: Whitening
    motion_error: ExpectedError

    def judge(self, step: Differences, trail: Trail) -> tuple[dict[str, float], Trail]:
        """Return the score of every question after one more step by its name, and what it leaves.

        Args:
            step: F = 1.
            trail: of the steps before.
        """
        error = self.scene.score(step.residual) / self.scene_error.at(step.foreseen)
        gain = self.motion.score(step.residual) - self.motion.score(step.idle)
        gain = float((gain / self.motion_error.at(step.foreseen))[0])
        # min and max would swallow a NaN or not, by the order of their arguments
        grown = trail.evidence + (STEP_CAP if gain > STEP_CAP else gain) - STEP_DRIFT
        evidence = 0.0 if grown < 0 else grown
        change = float(self.change.score(step.change)[0])
        scores = {
            "scene": float(error[0]),
            "jump": trail.last / (trail.earlier + change + JUMP_FLOOR),
            "motion": evidence,
            "picture": float(step.picture[0]),
        }
        return scores, Trail(evidence, trail.last, change)

    def trace(self, steps: Differences) -> dict[str, Float64[np.ndarray, " F"]]:
        """Return all scores at every step of an episode, judged one by one as it is done live."""
        trail, found = Trail(), []
        for row in range(len(steps.residual)):
            scores, trail = self.judge(steps.at(row), trail)
            found.append(scores)
        return {name: np.array([s[name] for s in found], np.float64) for name in QUESTIONS}


@dataclass(frozen=True)
class Guard:
    """Normal life and the limits of it.

    Attributes:
        normal: scores a step.
        limits: an alarm above it, by question.
        history: most model steps that the model sees.
        policy: identity of the policy whose episodes gave the limits.
        episodes: how many gave them.
        false_alarms: share of new normal episodes of this policy that alarm, at most.
    """

    normal: Normal
    limits: Mapping[str, float]
    history: int
    policy: str
    episodes: int
    false_alarms: float

    def __post_init__(self) -> None:
        if tuple(self.limits) != QUESTIONS:
            raise ConfigError(
                f"A guard needs a limit for each of {', '.join(QUESTIONS)}, in this order; "
                f"got {', '.join(self.limits)}."
            )

    def alarm(self, step: int, scores: Mapping[str, float]) -> Alarm | None:
        """Return the alarm that these scores raise at a world step, if any."""
        for reason, limit in self.limits.items():
            score = scores[reason]
            if not score <= limit:  # also where it is not a number
                return Alarm(step, reason, score if np.isfinite(score) else None, limit)
        return None


@dataclass(frozen=True)
class GuardState:
    """What a guarded policy remembers within an episode.

    Attributes:
        inner: the policy's own state.
        memory: what the watcher remembers.
        trail: what the steps so far have shown.
        step: world step of the next action.
        alarm: what ended normal life; None so far.
    """

    inner: Any
    memory: Memory
    trail: Trail
    step: int
    alarm: Alarm | None = None

    @property
    def decision(self) -> Any:
        """The policy's last decision, for the record."""
        return getattr(self.inner, "decision", None)


@dataclass(frozen=True)
class GuardedPolicy:
    """Any policy, under guard.

    Attributes:
        policy: who acts.
        watcher: who watches, with ``guard.history``.
        guard: who judges.
        reaction: from the alarm on: ``stop`` sends the action nearest to zero, ``slow`` scales
            actions towards it, ``note`` changes nothing (what a guard would do, tried first).
        slow_factor: of ``slow``, 0 to 1.
    """

    policy: Policy
    watcher: Watcher
    guard: Guard
    reaction: Reaction = "stop"
    slow_factor: float = 0.25

    def __post_init__(self) -> None:
        if self.reaction not in get_args(Reaction):
            raise unknown_name("reaction of a guard", self.reaction, get_args(Reaction))
        if not 0 <= self.slow_factor <= 1:
            raise ConfigError(f"slow_factor must be 0 to 1; got {self.slow_factor}.")

    @property
    def observes(self) -> tuple[str, ...]:
        """What the policy and its watcher see."""
        return tuple(dict.fromkeys((*self.policy.observes, *self.watcher.observes)))

    def init(self, goal: Observation, seed: int) -> GuardState:
        """Return the state at the start of an episode."""
        inner = self.policy.init(goal.only(self.policy.observes), seed)
        return GuardState(inner, Memory(), Trail(), 0)

    def act(
        self, observation: Observation, state: GuardState
    ) -> tuple[Float[np.ndarray, " A"], GuardState]:
        """Return the policy's action, or what the reaction makes of it after an alarm."""
        state = self._watch(observation, state)
        stopped = state.alarm is not None and self.reaction == "stop"
        action, inner = self.watcher.nothing, state.inner
        if not stopped:
            sees = observation.only(self.policy.observes)
            action, inner = self.policy.act(sees, state.inner)
        if state.alarm is not None and self.reaction == "slow":
            action = self.watcher.nothing + self.slow_factor * (action - self.watcher.nothing)
            if isinstance(self.policy, HeedingPolicy):
                inner = self.policy.sent(action, inner)
        memory = state.memory if state.alarm else self.watcher.did(action, state.memory)
        return action, replace(state, inner=inner, memory=memory, step=state.step + 1)

    def _watch(self, observation: Observation, state: GuardState) -> GuardState:
        if state.alarm is not None:
            return state
        found, memory = self.watcher.see(observation, state.memory)
        if found is None:
            return replace(state, memory=memory)
        scores, trail = self.guard.normal.judge(found, state.trail)
        alarm = self.guard.alarm(state.step, scores)
        return replace(state, memory=memory, trail=trail, alarm=alarm)
