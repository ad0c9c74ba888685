"""Acting by a goal-conditioned policy: as it says, or as a search around what it says finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.control.model_policy import ModelPolicy
from armillary.control.prior_policy import PriorPolicy
from armillary.control.specs import check_action_width, observation_streams
from armillary.core.errors import CheckpointError, ConfigError, unknown_name
from armillary.core.hashing import file_sha256, json_sha256
from armillary.core.settings import as_declared
from armillary.core.values import WorldSpec
from armillary.models import JEPA, load_model
from armillary.models.goal_policy import GoalPolicy
from armillary.models.goal_policy_file import POLICY_FILE, load_goal_policy
from armillary.planning.guided import Guided, GuidedConfig

PROPOSALS = 16
_FILES = ("config.json", "model.safetensors", "normalizer.safetensors", POLICY_FILE)


@dataclass(frozen=True)
class DirectSpec:
    """The goal policy in a model folder acts, without a search; it looks at every world step.

    Attributes:
        folder: the model.
    """

    folder: Path

    def __call__(self, world: WorldSpec) -> PriorPolicy:
        """Return the policy, with the model loaded.

        Raises:
            CheckpointError: the folder is not a complete model, or holds no goal policy.
            ShapeError: the model's actions are not the world's.
        """
        model, policy = _loaded(self.folder, world)
        return PriorPolicy(
            model=model,
            prior=_Likeliest(policy),
            bounds=world.bounds,
            observes=observation_streams(model.config),
            frame_skip=model.config.frame_skip,
            image_size=model.config.encoder.image_size,
            executed=1,
        )

    def identity(self) -> str:
        """Return the hash of the files, the folder's place left out."""
        return f"direct {json_sha256(_hashes(self.folder))}"


@dataclass(frozen=True)
class GuidedPolicy(ModelPolicy):
    """A model policy whose proposals come from a goal policy, which has no distance.

    Attributes:
        prior: a ``GoalPolicy``.
    """

    prior: Any = None


@dataclass(frozen=True)
class GuidedSpec:
    """A search around what the goal policy in a model folder proposes (``planning/guided.py``).

    Attributes:
        folder: the model.
        settings: fields of ``GuidedConfig`` that differ from the default; without ``margin``, it is
            how wrong the model's cost was on recordings, for a plan of that length.
        proposals: plans of the policy that each decision tries.
        replan: as in ``ModelPolicy``.
        batch: as in ``ModelPolicy``.
        budget_model_steps: as in ``ModelPolicy``.
    """

    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    proposals: int = PROPOSALS
    replan: int = 1
    batch: int = 1
    budget_model_steps: int | None = None

    def __call__(self, world: WorldSpec) -> GuidedPolicy:
        """Return the policy, with the model loaded.

        Raises:
            CheckpointError: the folder is not a complete model, or holds no goal policy.
            ConfigError: a setting or budget that cannot be.
            ShapeError: the model's actions are not the world's.
        """
        if self.proposals < 1:
            raise ConfigError(f"A guided search needs at least 1 proposal; got {self.proposals}.")
        model, policy = _loaded(self.folder, world)
        return GuidedPolicy(
            model=model,
            planner=guided_planner(self.settings, policy),
            bounds=world.bounds,
            observes=observation_streams(model.config),
            replan=self.replan,
            frame_skip=model.config.frame_skip,
            budget_model_steps=self.budget_model_steps,
            image_size=model.config.encoder.image_size,
            prior=policy,
            proposals=self.proposals,
            batch=self.batch,
        )

    def identity(self) -> str:
        """Return the hash of the files and all settings, the folder's place left out."""
        settings = [dict(self.settings), self.proposals, self.replan]
        beside = f" batch {self.batch}" if self.batch > 1 else ""
        return f"guided {json_sha256([_hashes(self.folder), settings])}{beside}"


@dataclass(frozen=True)
class _Likeliest:
    """A goal policy as what a ``PriorPolicy`` follows."""

    policy: GoalPolicy

    def intent(
        self, latent: Float[Tensor, " Z"], goal: Float[Tensor, " Z"], rng: torch.Generator
    ) -> Float[Tensor, " A"]:
        return self.policy.act(latent[None], goal[None])[0]


def guided_planner(settings: Mapping[str, Any], policy: GoalPolicy) -> Guided:
    """Return the planner with some settings, and the margin that fits its model.

    Args:
        settings: fields of ``GuidedConfig`` that differ from the default.
        policy: knows how wrong the model's cost was.

    Raises:
        ConfigError: an unknown field, or a value of another type or out of range.
    """
    known = {field.name for field in fields(GuidedConfig)}
    for name in settings:
        if name not in known:
            raise unknown_name("setting of the guided planner", name, known)
    config = GuidedConfig(**as_declared("guided", get_type_hints(GuidedConfig), settings))
    if "margin" not in settings:
        config = replace(config, margin=config.length * float(policy.cost_error))
    return Guided(config)


def has_goal_policy(folder: Path) -> bool:
    """Tell whether a model folder holds a goal policy."""
    return (Path(folder) / POLICY_FILE).is_file()


def _loaded(folder: Path, world: WorldSpec) -> tuple[JEPA, GoalPolicy]:
    model = load_model(Path(folder))
    check_action_width(model, world.bounds, model.config.frame_skip)
    policy = load_goal_policy(Path(folder), model)
    if policy is None:
        raise CheckpointError(
            f"{folder}: contains no goal policy. Train one with: armillary policy {folder} DATASET"
        )
    return model, policy


def _hashes(folder: Path) -> dict[str, str]:
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"{folder}: there is no such folder; a model folder was expected.")
    paths = [folder / name for name in _FILES]
    return {path.name: file_sha256(path) for path in paths if path.is_file()}
