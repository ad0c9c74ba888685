"""Budget: decide within a time, with as much of a search as fits into it.

    1. the goal policy acts, without a search: this is the best so far
    2. a search of as many ways as should fit begins
    3. it ends in time and its plan stands, or it is cut short and the best so far stands

All ways of a guided search are led forward together, and their costs are known at their ends alone.
So a search that is cut short has found nothing yet, and what stands is the way without noise.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from jaxtyping import Float

from armillary.core.protocols import WorldModel
from armillary.core.values import Observation
from armillary.evaluation import GoalConditionedPolicy
from armillary.evaluation.goal_conditioned_policy import GoalConditionedState
from armillary.evaluation.situation import steps_left
from armillary.planning import ActionProposer, GuidedConfig

_REMEMBERED = 50  # decisions whose times say how long the next takes
_SHARES = (1, 4, 16)  # of the ways of a whole search: all, a quarter, a sixteenth
_SPARE = 1.5  # times the usual step is kept for the last one
_LEAST = 2  # ways: the policy's own, and another


class _OutOfTimeError(Exception):
    """The answer is due, and the search has not ended."""


@dataclass
class Pace:
    """How long a model step of a search takes, by how many ways are tried; learned from the last.

    Attributes:
        step_ms: of the last searches, by their most ways.
    """

    step_ms: dict[int, deque[float]] = field(default_factory=dict)
    _left_out: int = 0

    def took(self, ways: int, steps: int, ms: float) -> None:
        """Note a search, whole or cut short.

        Args:
            ways: most ways that it was to try.
            steps: model steps that all ways were led.
            ms: that this took.
        """
        self.step_ms.setdefault(ways, deque(maxlen=_REMEMBERED)).append(ms / max(steps, 1))

    def ways(self, most: int, length: int, left_ms: float) -> int:
        """Return how many ways should fit, 0 for none; what was never tried is tried.

        After as many decisions without a search as are remembered, the times are forgotten. Else
        a machine that was busy once would never search again.

        Args:
            most: ways of a whole search.
            length: model steps of each.
            left_ms: until the answer is due.
        """
        sizes = dict.fromkeys(max(most // share, min(_LEAST, most)) for share in _SHARES)
        for size in sizes:
            known = self.step_ms.get(size)
            if known is None or length * statistics.median(known) <= left_ms:
                self._left_out = 0
                return size
        self._left_out += 1
        if self._left_out >= _REMEMBERED:
            self.step_ms.clear()
            self._left_out = 0
        return 0


@dataclass
class BudgetedPolicy:
    """A goal policy that answers in time; made for one decision.

    Attributes:
        policy: with its search.
        pace: of the searches so far.
        due: when the answer is due, in seconds of ``time.perf_counter``.
        ways: that were tried; 0 before a search, and without one.
        cut_short: whether a search began and did not end.
    """

    policy: GoalConditionedPolicy
    pace: Pace
    due: float
    ways: int = 0
    cut_short: bool = False

    @property
    def observes(self) -> tuple[str, ...]:
        """What the policy sees."""
        return self.policy.observes

    def init(self, goal: Observation, seed: int) -> GoalConditionedState:
        """Return the state at the start of an episode."""
        return self.policy.init(goal, seed)

    def sent(
        self, action: Float[np.ndarray, " A"], state: GoalConditionedState
    ) -> GoalConditionedState:
        """Return the state after an action that was sent in place of the last one it gave."""
        return self.policy.sent(action, state)

    def act(
        self, observation: Observation, state: GoalConditionedState
    ) -> tuple[Float[np.ndarray, " A"], GoalConditionedState]:
        """Return the action of the search if it ended in time, else that of the goal policy."""
        best = replace(self.policy, search=None).act(observation, state)
        search = self.policy.search
        assert search is not None
        length = self._length(state, search)
        if length > search.longest:
            return best
        most, left_ms = search.ways(length), 1000 * (self.due - time.perf_counter())
        ways = self.pace.ways(most, length, left_ms)
        if not ways:
            return best
        led = _LedUntil(self.policy.model, self.due)
        changed = replace(search, samples=ways)
        policy = replace(self.policy, model=cast("WorldModel", led), search=changed)
        began = time.perf_counter()
        try:
            best, self.ways = policy.act(observation, state), ways
        except _OutOfTimeError:
            self.cut_short = True
        self.pace.took(ways, led.steps, 1000 * (time.perf_counter() - began))
        return best

    def _length(self, state: GoalConditionedState, search: GuidedConfig) -> int:
        """Return the model steps of a plan."""
        proposer = cast("ActionProposer", self.policy.policy)
        left = steps_left(self.policy.deadline, state.step, self.policy.frame_skip)
        steps = proposer.goal_time(left)
        return max(math.ceil(steps), 1) if steps <= search.longest else search.longest + 1


class _LedUntil:
    """A world model that leads no way further once the answer is due.

    Args:
        model: which it is in all else.
        due: in seconds of ``time.perf_counter``.

    Attributes:
        steps: that it led.
    """

    def __init__(self, model: Any, due: float) -> None:
        self._model, self._due, self.steps = model, due, 0
        self._began = time.perf_counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def start(self, *given: Any) -> Any:
        """As the model does."""
        return self._model.start(*given)

    def step(self, *given: Any) -> Any:
        """As the model does, in time.

        Raises:
            _OutOfTimeError: the answer is due.
        """
        now = time.perf_counter()
        usual = _SPARE * (now - self._began) / self.steps if self.steps else 0.0
        if now + usual >= self._due:
            raise _OutOfTimeError
        self.steps += 1
        return self._model.step(*given)
