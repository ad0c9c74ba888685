"""Specs: recipes for actors, small enough to be sent to another process or written down.

A spec is called with the world's promises and returns the actor; ``identity`` names it in records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from armillary.control.model_policy import ModelPolicy
from armillary.control.oracle import Oracle
from armillary.control.policies import NoOpPolicy, RandomPolicy
from armillary.control.prior_policy import PriorPolicy
from armillary.core.errors import CheckpointError, ConfigError, ShapeError
from armillary.core.hashing import file_sha256, json_sha256
from armillary.core.protocols import Policy
from armillary.core.values import ActionBounds, WorldSpec
from armillary.models import JEPA, GoalPrior, load_model, load_prior
from armillary.models.prior_file import PRIOR_FILE
from armillary.planning import make_planner
from armillary.planning.experience import AdaptationConfig

Actor = Policy | Oracle
PolicyFactory = Callable[[WorldSpec], Actor]
PROPOSALS = 16
VALUE_WEIGHT = 3.0
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
    """A ``ModelPolicy`` on a model folder.

    Attributes:
        folder: the model.
        planner: a key of ``planning.PLANNERS``.
        planner_settings: fields of the planner's config that differ from the default.
        history: as in ``ModelPolicy``.
        replan: as in ``ModelPolicy``.
        discount: as in ``ModelPolicy``.
        summed: as in ``ModelPolicy``.
        budget_model_steps: as in ``ModelPolicy``.
        observes: observation streams; None for those that the model's config names.
        prior: use the goal prior in the folder; False plans without.
        proposals: as in ``ModelPolicy``; only with the prior.
        value_weight: as in ``ModelPolicy``; only with the prior.
        batch: as in ``ModelPolicy``. The identity names it, since the shape of a batch can change
            the last bits of a decision.
        consensus: as in ``ModelPolicy``.
        together: as in ``ModelPolicy``, with models that see ``filled_cloud``; to others it means
            nothing, though the identity names it.
        hold: as in ``ModelPolicy``.
        adapt: as in ``ModelPolicy``.
    """

    folder: Path
    planner: str = "cem"
    planner_settings: Mapping[str, Any] = field(default_factory=dict)
    history: int = 1
    replan: int = 1
    discount: float = 1.0
    summed: bool = True
    budget_model_steps: int | None = None
    observes: tuple[str, ...] | None = None
    prior: bool = False
    proposals: int = PROPOSALS
    value_weight: float = VALUE_WEIGHT
    batch: int = 1
    consensus: int = 1
    together: bool = False
    hold: bool = False
    adapt: AdaptationConfig | None = None

    def __call__(self, world: WorldSpec) -> ModelPolicy:
        """Return the policy, with the model loaded.

        Raises:
            CheckpointError: the folder is not a complete model, or lacks the prior it should use.
            ConfigError: a planner, setting or budget that cannot be.
            ShapeError: the model's actions are not the world's.
        """
        planner = make_planner(self.planner, **self.planner_settings)
        model = load_model(Path(self.folder))
        config = getattr(model, "config", None)
        skip = getattr(config, "frame_skip", 1)
        check_action_width(model, world.bounds, skip)
        return ModelPolicy(
            model=model,
            planner=planner,
            bounds=world.bounds,
            observes=self.observes or observation_streams(config),
            history=self.history,
            replan=self.replan,
            frame_skip=skip,
            discount=self.discount,
            summed=self.summed,
            budget_model_steps=self.budget_model_steps,
            image_size=getattr(getattr(config, "encoder", None), "image_size", None),
            prior=_prior_of(self.folder, model) if self.prior else None,
            proposals=self.proposals if self.prior else 0,
            value_weight=self.value_weight if self.prior else 0.0,
            batch=self.batch,
            consensus=self.consensus,
            together=self.together and "filled_cloud" in getattr(config, "sensors", ()),
            hold=self.hold,
            adapt=self.adapt,
        )

    def identity(self) -> str:
        """Return the hash of the model's files and all settings, the folder's place left out."""
        files = _hashes(self.folder, self.prior)
        settings = [self.planner, dict(self.planner_settings), self.history, self.replan]
        settings += [self.discount, self.observes]
        # what is not asked for leaves no trace: names are what they were before it could be
        if not self.summed:
            settings.append("last state")
        if self.prior:
            settings += [self.proposals, self.value_weight]
        if self.consensus > 1:
            settings.append(f"consensus of {self.consensus}")
        if self.together:
            settings.append("together")
        if self.hold:
            settings.append("held")
        if self.adapt is not None:
            settings.append(asdict(self.adapt))
        beside = f" batch {self.batch}" if self.batch > 1 else ""
        return f"model {json_sha256([files, settings])}{beside}"


@dataclass(frozen=True)
class PriorSpec:
    """A ``PriorPolicy`` on a model folder that holds a goal prior.

    Attributes:
        folder: the model.
        executed: as in ``PriorPolicy``.
    """

    folder: Path
    executed: int | None = None

    def __call__(self, world: WorldSpec) -> PriorPolicy:
        """Return the policy, with model and prior loaded.

        Raises:
            CheckpointError: the folder is not a complete model, or holds no prior.
            ConfigError: executed is more than a model step has.
            ShapeError: the model's actions are not the world's.
        """
        model = load_model(Path(self.folder))
        config = model.config
        check_action_width(model, world.bounds, config.frame_skip)
        return PriorPolicy(
            model=model,
            prior=_prior_of(self.folder, model),
            bounds=world.bounds,
            observes=observation_streams(config),
            frame_skip=config.frame_skip,
            image_size=config.encoder.image_size,
            executed=self.executed,
        )

    def identity(self) -> str:
        """Return the hash of the model's files and all settings, the folder's place left out."""
        named = f"prior {json_sha256(_hashes(self.folder, prior=True))}"
        return named if self.executed is None else f"{named} executed {self.executed}"


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


def _prior_of(folder: Path, model: JEPA) -> GoalPrior:
    found = load_prior(Path(folder), model)
    if found is None:
        raise CheckpointError(
            f"{folder}: contains no goal prior. Train one with: armillary prior {folder} DATASET"
        )
    return found


def _hashes(folder: Path, prior: bool) -> dict[str, str]:
    """Return the hash of each file of a model, by its name."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"{folder}: there is no such folder; a model folder was expected.")
    return {
        path.name: file_sha256(path)
        for path in sorted(folder.iterdir())
        if path.suffix in (".safetensors", ".json") and (prior or path.name != PRIOR_FILE)
    }


def observation_streams(config: Any) -> tuple[str, ...]:
    """Return the observation streams behind a model's batch streams (``config.streams``)."""
    streams = getattr(config, "streams", ("rgb",))
    return tuple(_OBSERVATION_OF.get(name, name) for name in streams)


def identity_of(factory: Any) -> str:
    """Return the name of a factory for the records: its ``identity()``, else its type's name."""
    if hasattr(factory, "identity"):
        return factory.identity()
    return getattr(factory, "__qualname__", type(factory).__qualname__)
