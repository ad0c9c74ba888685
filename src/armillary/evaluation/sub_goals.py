"""Sub-goals: where a goal is farther than those of the training, go to a landmark on the way first.

The goal policy, and the search around it, get the sub-goal in place of the goal, with the time that
the way there takes. Once the goal is near enough, they get the goal itself.

Axes: Z flattened latent, A action width, k world steps of a model step.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.core.hashing import file_sha256, json_sha256
from armillary.core.values import Observation, WorldSpec
from armillary.evaluation.carry import Decision
from armillary.evaluation.goal_conditioned_policy import GoalConditionedPolicy, GoalConditionedState
from armillary.evaluation.model_policy import ModelPolicy
from armillary.evaluation.specs import ModelSpec
from armillary.models import JEPA
from armillary.models.goal_policy import SHARE
from armillary.models.landmarks import LANDMARKS_FILE, Landmarks, Ways, load_landmarks
from armillary.planning import PLANNERS, Planning


@dataclass(frozen=True)
class SubGoalState(GoalConditionedState):
    """What is remembered within an episode.

    Attributes:
        ways: from all landmarks to the goal.
    """

    ways: Ways | None = None


@dataclass(frozen=True)
class SubGoalPolicy(GoalConditionedPolicy):
    """Follows a goal policy over landmarks.

    Attributes:
        landmarks: of the model's latents.

    Raises:
        ConfigError: there are none, or as ``GoalConditionedPolicy``.
    """

    landmarks: Landmarks | None = None

    def __post_init__(self) -> None:
        if self.landmarks is None:
            raise ConfigError("A policy with sub-goals needs landmarks.")
        super().__post_init__()

    def init(self, goal: Observation, seed: int) -> SubGoalState:
        """Return the state at the start of an episode; ways to the goal are found here, once."""
        state = super().init(goal, seed)
        return SubGoalState(**_values(state), ways=self._known.ways_to(state.goal))

    def decide(
        self, state: GoalConditionedState
    ) -> tuple[Float[np.ndarray, " A"], Float[Tensor, " kA"], Decision]:
        """Return what ``GoalConditionedPolicy`` decides, towards the sub-goal where there is one.

        Args:
            state: from ``init``, with the present as the last of what was seen.

        Raises:
            ConfigError: the state of another policy, which knows no ways.
        """
        if not isinstance(state, SubGoalState) or state.ways is None:
            raise ConfigError("This state knows no ways to its goal; begin with init.")
        found = self._known.sub_goal(state.seen[-1].flatten(), state.ways)
        if found is None:
            return super().decide(state)
        goal, steps = found
        # the goal policy means to arrive in a share of the time that is left
        soon = state.step + round(steps / SHARE * self.frame_skip)
        if self.deadline is not None:
            soon = min(soon, self.deadline)
        towards = GoalConditionedPolicy(**(_own(self) | {"deadline": soon}))
        return towards.decide(replace(state, goal=goal))

    @property
    def _known(self) -> Landmarks:
        assert self.landmarks is not None  # checked when it was made
        return self.landmarks


@dataclass(frozen=True)
class SubGoalSpec(ModelSpec):
    """The policy that a model folder with landmarks and a ``Planning`` make."""

    def __call__(self, world: WorldSpec) -> ModelPolicy | GoalConditionedPolicy:
        """Return the policy, with model and landmarks loaded.

        Raises:
            CheckpointError: as ``ModelSpec``, or the landmarks are damaged or of another model.
            ConfigError: as ``ModelSpec``.
            ShapeError: as ``ModelSpec``.
        """
        policy = super().__call__(world)
        if not isinstance(policy, GoalConditionedPolicy):
            return policy
        width = cast("JEPA", policy.model).config.latent_width
        landmarks = load_landmarks(Path(self.folder), width)
        return SubGoalPolicy(**_own(policy), landmarks=landmarks)

    def identity(self) -> str:
        """Return the hash of the model's files, its landmarks and all settings."""
        flat, file = super().identity(), Path(self.folder) / LANDMARKS_FILE
        if self.chosen.planner in PLANNERS:
            return flat
        return f"model {json_sha256([flat, file_sha256(file)])}"


def acting_spec(folder: Path, planning: Planning | None = None, batch: int = 1) -> ModelSpec:
    """Return what a model folder acts as: with sub-goals where it has landmarks.

    Args:
        folder: the model.
        planning: how it decides; None takes the defaults.
        batch: as in ``ModelSpec``.
    """
    kind = SubGoalSpec if (folder / LANDMARKS_FILE).is_file() else ModelSpec
    return kind(folder, planning or Planning(), batch=batch)


def _values(state: GoalConditionedState) -> dict[str, Any]:
    return {one.name: getattr(state, one.name) for one in fields(GoalConditionedState)}


def _own(policy: GoalConditionedPolicy) -> dict[str, Any]:
    return {one.name: getattr(policy, one.name) for one in fields(GoalConditionedPolicy)}
