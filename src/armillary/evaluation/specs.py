"""Specs: recipes for actors, small enough to be sent to another process or written down.

A spec is called with the world's promises and returns the actor; ``identity`` names it in records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from armillary.core.errors import CheckpointError, ConfigError, ShapeError, unknown_name
from armillary.core.hashing import file_sha256, json_sha256
from armillary.core.protocols import Planner, Policy
from armillary.core.values import ActionBounds, WorldSpec
from armillary.evaluation.goal_conditioned_policy import GoalConditionedPolicy
from armillary.evaluation.model_policy import ModelPolicy, check_budget
from armillary.evaluation.oracle import Oracle
from armillary.evaluation.policies import NoOpPolicy, RandomPolicy
from armillary.models import JEPA, load_model
from armillary.models.goal_policy import GoalPolicy
from armillary.models.goal_policy_file import POLICY_FILE, load_goal_policy
from armillary.planning import PLANNERS, Planning, make_planner
from armillary.planning.planning import GUIDED, guided_config

Actor = Policy | Oracle
PolicyFactory = Callable[[WorldSpec], Actor]
# A model reads ``depth_m`` where an observation holds ``depth``.
_OBSERVATION_OF = {"depth_m": "depth"}


@dataclass(frozen=True)
class RandomSpec:
    """A ``RandomPolicy``."""

    def __call__(self, world: WorldSpec) -> RandomPolicy:
        """Return the policy."""
        return RandomPolicy(world.bounds)

    def identity(self) -> str:
        """Return its name."""
        return "random"


@dataclass(frozen=True)
class NoOpSpec:
    """A ``NoOpPolicy``."""

    def __call__(self, world: WorldSpec) -> NoOpPolicy:
        """Return the policy."""
        return NoOpPolicy(world.bounds)

    def identity(self) -> str:
        """Return its name."""
        return "noop"


@dataclass(frozen=True)
class OracleSpec:
    """An ``Oracle``: privileged, for the ceiling row only."""

    def __call__(self, world: WorldSpec) -> Oracle:
        """Return the oracle."""
        return Oracle()

    def identity(self) -> str:
        """Return its name."""
        return "oracle (privileged)"


@dataclass(frozen=True)
class ModelSpec:
    """The policy that a model folder and a ``Planning`` make.

    Attributes:
        folder: the model, with its goal policy where it has one.
        planning: how it decides.
        budget_model_steps: most predictor steps per decision; None for no limit.
        batch: as in ``ModelPolicy``. The identity names it, since the shape of a batch can change
            the last bits of a decision.
    """

    folder: Path
    planning: Planning = field(default_factory=Planning)
    budget_model_steps: int | None = None
    batch: int = 1

    @property
    def chosen(self) -> Planning:
        """How it decides, with the planner named."""
        return self.planning.fitting(has_goal_policy(Path(self.folder)))

    def __call__(self, world: WorldSpec) -> ModelPolicy | GoalConditionedPolicy:
        """Return the policy, with the model loaded.

        Raises:
            CheckpointError: the folder is not a complete model, or lacks the goal policy it needs.
            ConfigError: a planner, setting or budget that cannot be.
            ShapeError: the model's actions are not the world's.
        """
        planning = self.chosen
        if planning.planner in PLANNERS:
            return self.searching(world)
        model = self._model(world)
        policy = _goal_policy(Path(self.folder), model)
        search = None
        if planning.planner == GUIDED:
            search = guided_config(planning.settings)
            check_budget(search.model_steps, self.budget_model_steps)
        return GoalConditionedPolicy(
            model, policy, world.bounds, *_seeing(model), world.budget, search
        )

    def searching(self, world: WorldSpec) -> ModelPolicy:
        """Return the policy that searches without a goal policy.

        Raises:
            CheckpointError: the folder is not a complete model.
            ConfigError: a planner that needs a goal policy, or a setting or budget that cannot be.
            ShapeError: the model's actions are not the world's.
        """
        planning = self.chosen
        if planning.planner not in PLANNERS:
            raise unknown_name("planner that searches by itself", planning.planner, PLANNERS)
        planner = make_planner(planning.planner, **planning.settings)
        return self._searching(planner, self._model(world), world)

    def _model(self, world: WorldSpec) -> JEPA:
        model = load_model(Path(self.folder))
        check_action_width(model, world.bounds, _seeing(model)[1])
        return model

    def _searching(self, planner: Planner, model: JEPA, world: WorldSpec) -> ModelPolicy:
        observes, frame_skip, image_size = _seeing(model)
        return ModelPolicy(
            model=model,
            planner=planner,
            bounds=world.bounds,
            observes=observes,
            history=self.chosen.remembered,
            replan=self.planning.replan,
            frame_skip=frame_skip,
            deadline=world.budget,
            budget_model_steps=self.budget_model_steps,
            image_size=image_size,
            batch=self.batch,
        )

    def identity(self) -> str:
        """Return the hash of the model's files and all settings, the folder's place left out.

        Settings that are left at their default count, too: a later default is another policy.
        """
        planning = self.chosen.with_all_settings()
        files = _hashes(Path(self.folder), planning.planner not in PLANNERS)
        beside = f" batch {self.batch}" if self.batch > 1 else ""
        way = asdict(planning) | {"history": planning.remembered}
        return f"model {json_sha256([files, way])}{beside}"


def check_action_width(model: Any, bounds: ActionBounds, frame_skip: int) -> None:
    """Check that a model that says how wide its actions are fits the world.

    Raises:
        ShapeError: it does not.
    """
    width = getattr(getattr(model, "config", None), "action_width", None)
    if width is not None and width != bounds.width * frame_skip:
        raise ShapeError(
            f"The model takes {width} action numbers per model step, and this world has "
            f"{bounds.width * frame_skip}. Use the world it was trained in."
        )


def _seeing(model: JEPA) -> tuple[tuple[str, ...], int, int | None]:
    """Return the streams that a model sees, world steps per model step, and its picture size."""
    config = getattr(model, "config", None)
    return (
        observation_streams(config),
        getattr(config, "frame_skip", 1),
        getattr(getattr(config, "encoder", None), "image_size", None),
    )


def has_goal_policy(folder: Path) -> bool:
    """Tell whether a model folder holds a goal policy."""
    return (folder / POLICY_FILE).is_file()


def _goal_policy(folder: Path, model: JEPA) -> GoalPolicy:
    found = load_goal_policy(folder, model)
    if found is None:
        raise CheckpointError(
            f"{folder}: contains no goal policy. Train one with: armillary policy {folder} DATASET"
        )
    return found


def _hashes(folder: Path, acting: bool) -> dict[str, str]:
    """Return the hash of each file of a model by its name, with its goal policy or without."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: there is no such folder; a model folder was expected.")
    paths = [path for path in sorted(folder.iterdir()) if path.suffix in (".safetensors", ".json")]
    if acting:
        paths += [folder / POLICY_FILE]
    return {path.name: file_sha256(path) for path in paths if path.is_file()}


def observation_streams(config: Any) -> tuple[str, ...]:
    """Return the observation streams behind a model's batch streams (``config.streams``)."""
    streams = getattr(config, "streams", ("rgb",))
    return tuple(_OBSERVATION_OF.get(name, name) for name in streams)


def identity_of(factory: Any) -> str:
    """Return the name of a factory for the records: its ``identity()``, else its type's name."""
    if hasattr(factory, "identity"):
        return factory.identity()
    return getattr(factory, "__qualname__", type(factory).__qualname__)
