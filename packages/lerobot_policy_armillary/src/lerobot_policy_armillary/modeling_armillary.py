"""Policy: an armillary model acts in LeRobot as it does in ``armillary act`` and ``serve``.

Every row of a batch is an episode with a session of its own, as a client of the server has. A goal
that differs from the last one begins an episode, and so does ``reset``.

A decision is made for every step, so a chunk holds one action. Decisions are made on the processor,
on one thread, whatever the device is: they are then the same as in ``armillary act``.

Axes: B batch, T = 1 actions of a chunk, A action width.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor

from armillary.core.errors import CheckpointError, ConfigError
from armillary.core.files import read_json, replacing, replacing_folder
from armillary.core.processes import one_thread
from armillary.core.values import WorldSpec
from armillary.evaluation import ModelSpec, WorldFactory
from armillary.planning import Planning
from armillary.serve import Decider, Session, world_of_a_robot
from armillary.zoo.finding import find_model
from lerobot_policy_armillary.configuration_armillary import ArmillaryConfig
from lerobot_policy_armillary.goals import read_goal
from lerobot_policy_armillary.observations import goal_of, number_of, observed, rows_of
from lerobot_policy_armillary.processor_armillary import make_armillary_pre_post_processors

MODEL_FOLDER = "armillary"  # of a saved policy
_CONFIG = "config.json"
_GOAL, _GUARD = "goal", "guard.json"
_ROBOT_STEPS = 50
_PATTERNS = ("*.json", "*.safetensors", "*.md", f"{_GOAL}.*")
_HUB_SETTINGS = ("cache_dir", "force_download", "local_files_only", "revision", "token")

log = logging.getLogger(__name__)


class ArmillaryPolicy(PreTrainedPolicy):
    """An armillary model as a policy of LeRobot.

    Args:
        config: which model, which robot, which goal.
        kwargs: what LeRobot passes to every policy; not used.

    Raises:
        CheckpointError: there is no complete model.
        ConfigError: a setting that cannot be, or a world that does not give what the model sees.
        FormatError: the goal or the guard cannot be read.
        ShapeError: the model's actions are not those of the world or robot.
    """

    config_class = ArmillaryConfig
    name = "armillary"

    def __init__(self, config: ArmillaryConfig, **kwargs: Any) -> None:
        super().__init__(config)
        config.validate_features()
        self.config: ArmillaryConfig = config
        self.model_folder: Path = find_model(config.model)
        spec = ModelSpec(self.model_folder, Planning(config.planner))
        guard = Path(config.guard) if config.guard else None
        self.decider: Decider = Decider.load(spec, _world(config), guard)
        self._goal = read_goal(Path(config.goal)) if config.goal else {}
        self._episodes = 0
        self._rows: list[_Row] = []

    @property
    def stopped(self) -> tuple[bool, ...]:
        """Whether the guard has stopped each row; it then gets the actions nearest to zero."""
        return tuple(row.stopped for row in self._rows)

    @property
    def plans(self) -> tuple[Mapping[str, Any], ...]:
        """What the last decision of each row says: searched, model_steps, cost, ..."""
        return tuple(row.plan for row in self._rows)

    def reset(self) -> None:
        """Begin new episodes."""
        self._rows = []

    @torch.no_grad()
    def select_action(self, batch: dict[str, Any], **kwargs: Any) -> Tensor:
        """Return the action of this step, float32 [B A].

        Raises:
            ConfigError: there is no goal, or another number of rows than the episodes have.
            FormatError: something that the model sees is missing, or has another form.
        """
        return self.predict_action_chunk(batch)[:, 0]

    @torch.no_grad()
    def predict_action_chunk(self, batch: dict[str, Any], **kwargs: Any) -> Tensor:
        """Return the action of this step as a chunk, float32 [B 1 A]; it counts as taken.

        Raises:
            ConfigError: as ``select_action``.
            FormatError: as ``select_action``.
        """
        count = rows_of(batch)
        if not self._rows:
            self._rows = [_Row(self.decider) for _ in range(count)]
        if len(self._rows) != count:
            raise ConfigError(
                f"The episodes began with {len(self._rows)} rows, and this batch has {count}; call "
                "reset() before another batch."
            )
        # A planner may differentiate, which inference mode forbids.
        with torch.inference_mode(False), one_thread():
            chunks = [self._act(batch, place) for place in range(count)]
        return torch.from_numpy(np.stack(chunks).astype(np.float32))

    def _act(self, batch: Mapping[str, Any], place: int) -> np.ndarray:
        row, streams = self._rows[place], self.decider.policy.observes
        seen = observed(batch, place, streams, self.config.keys)
        request: dict[str, Any] = {f"observation/{name}": value for name, value in seen.items()}
        goal = goal_of(batch, place, streams) or self._goal
        if not goal and row.goal is None:
            raise ConfigError(
                "There is no goal. Give its picture with --policy.goal, or as "
                "observation.images.goal."
            )
        if goal and not _same(goal, row.goal):
            row.goal = goal
            request |= {f"goal/{name}": value for name, value in goal.items()}
            request |= self._beginning(batch, place)
        if self.config.latency_budget_ms:
            request["latency_budget_ms"] = self.config.latency_budget_ms
        return row.decide(request, place)

    def _beginning(self, batch: Mapping[str, Any], place: int) -> dict[str, int]:
        """Return the chance of a new episode, and its steps where somebody says them."""
        seed = number_of(batch, place, "seed")
        if seed is None:
            seed = self.config.seed + self._episodes
        self._episodes += 1
        steps = number_of(batch, place, "steps") or self.config.steps
        return {"seed": seed} | ({"steps": steps} if steps else {})

    def forward(self, batch: dict[str, Tensor]) -> NoReturn:
        """Refuse: LeRobot does not train it.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            "LeRobot does not train an armillary model. Train one on a LeRobot dataset with: "
            "armillary train RECIPE --data DATASET --out RUN"
        )

    def get_optim_params(self) -> NoReturn:
        """Refuse: LeRobot does not train it.

        Raises:
            ConfigError: always.
        """
        self.forward({})

    def _save_pretrained(
        self, save_directory: Path, state_dict: Mapping[str, Any] | None = None
    ) -> None:
        """Write a folder that holds everything: configuration, model, goal, guard, processors.

        The bounds of a world are written instead of its name, so that a robot needs no simulator.
        """
        if (save_directory / _CONFIG).exists() and not _is_saved_policy(save_directory):
            raise ConfigError(
                f"{save_directory}: holds another model, which this policy would overwrite; name "
                "a new folder."
            )
        with replacing_folder(save_directory / MODEL_FOLDER) as beside:
            _copy_model(self.model_folder, beside)
        world = self.decider.world
        config = replace(
            self.config,
            model="",
            world="",
            low=tuple(world.bounds.low.tolist()),
            high=tuple(world.bounds.high.tolist()),
            step_s=world.step_s,
            steps=world.budget,
            pretrained_path=None,
        )
        if config.goal:
            config.goal = _copied(Path(config.goal), save_directory, _GOAL)
        if config.guard:
            config.guard = _copied(Path(config.guard), save_directory, _GUARD)
        for pipeline in make_armillary_pre_post_processors(config):
            pipeline.save_pretrained(save_directory)
        config._save_pretrained(save_directory)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_name_or_path: str | Path,
        *,
        config: PreTrainedConfig | None = None,
        **kwargs: Any,
    ) -> ArmillaryPolicy:
        """Load a saved policy, or an armillary model as it is.

        Args:
            pretrained_name_or_path: folder or Hub id of a saved policy; or model folder, run folder
                or Hub id of armillary.
            config: None for that of the saved policy, or a new one for a model.
            kwargs: fields of the configuration that are to be changed (``world``, ``goal``, ...),
                and settings of the Hub (``revision``, ``token``, ...).

        Raises:
            CheckpointError: there is no such folder, and the Hub does not have it either.
            ConfigError: ``config`` is of another policy, or names an environment to import.
            ArmillaryError: as the constructor.
        """
        known = {one.name for one in fields(ArmillaryConfig)}
        changes = {name: value for name, value in kwargs.items() if name in known}
        hub = {name: kwargs[name] for name in _HUB_SETTINGS if name in kwargs}
        folder = _folder(str(pretrained_name_or_path), hub)
        saved = _is_saved_policy(folder)
        if config is None:
            config = PreTrainedConfig.from_pretrained(folder) if saved else ArmillaryConfig()
        if not isinstance(config, ArmillaryConfig):
            raise ConfigError(
                f"{pretrained_name_or_path}: is a policy of type {config.type}, not armillary."
            )
        config = replace(config, **changes)
        if not config.model:
            config.model = str(folder / MODEL_FOLDER if saved else folder)
        if saved:
            if ":" in config.world:  # the name of a module: files name none here
                raise ConfigError(
                    f"{pretrained_name_or_path}: a saved policy may not name the environment "
                    f"{config.world}, whose code would run; give --policy.low and --policy.high."
                )
            config.goal = _beside(folder, config.goal)
            config.guard = _beside(folder, config.guard)
        return cls(config).eval()


class _Row:
    """One episode of a batch.

    Attributes:
        goal: that it goes for; None before the first.
        stopped: whether the guard has stopped it.
        plan: what its last decision says.
    """

    def __init__(self, decider: Decider) -> None:
        self.session = Session(decider)
        self.goal: Mapping[str, np.ndarray] | None = None
        self.stopped = False
        self.plan: Mapping[str, Any] = {}

    def decide(self, request: Mapping[str, Any], place: int) -> np.ndarray:
        """Return the actions [1 A]."""
        reply = self.session.decide(request)
        stopped = bool(reply["stop"][0])
        if stopped and not self.stopped:
            log.warning("The guard stopped row %d: %s.", place, reply["plan"].get("alarm"))
        self.stopped, self.plan = stopped, reply["plan"]
        return reply["actions"]


def _world(config: ArmillaryConfig) -> WorldSpec:
    """Return what the actions are, and the steps to a goal."""
    if not config.world:
        steps = config.steps or _ROBOT_STEPS
        return world_of_a_robot(tuple(config.low), tuple(config.high), config.step_s, steps)
    world = WorldFactory(config.world)()
    try:
        spec = world.spec
    finally:
        world.close()
    return replace(spec, budget=config.steps) if config.steps else spec


def _same(goal: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray] | None) -> bool:
    if goal is other:
        return True
    if other is None or goal.keys() != other.keys():
        return False
    # Bytes, since NaN stands for no depth and is equal to itself here.
    return all(
        value.shape == other[name].shape and value.tobytes() == other[name].tobytes()
        for name, value in goal.items()
    )


def _folder(name: str, hub: Mapping[str, Any]) -> Path:
    """Return the folder of a saved policy or model; from the Hub, files of these kinds alone."""
    if Path(name).is_dir():
        path = Path(name)
        return path if _is_saved_policy(path) else find_model(path)
    if not hub and "/" not in name:
        return find_model(name)
    try:
        return Path(snapshot_download(name, allow_patterns=list(_PATTERNS), **hub))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"{name}: there is no such folder here, and the Hub has no such repository or cannot "
            "be reached."
        ) from error


def _is_saved_policy(folder: Path) -> bool:
    path = folder / _CONFIG
    value = read_json(path) if path.is_file() else None
    return isinstance(value, dict) and "type" in value


def _beside(folder: Path, name: str) -> str:
    """Return the path of a file that a saved policy holds; other names stay as they are."""
    held = name and Path(name).name == name and (folder / name).is_file()
    return str(folder / name) if held else name


def _copied(source: Path, folder: Path, name: str) -> str:
    """Copy a file into a folder and return its new name; its ending is kept."""
    name = Path(name).stem + source.suffix
    if source.resolve() != (folder / name).resolve():
        with replacing(folder / name) as beside:
            shutil.copyfile(source, beside)
    return name


def _copy_model(source: Path, target: Path) -> None:
    for place, _, names in os.walk(source):
        for name in names:
            if name.endswith((".json", ".safetensors", ".md")):
                path = Path(place) / name
                copy = target / path.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
