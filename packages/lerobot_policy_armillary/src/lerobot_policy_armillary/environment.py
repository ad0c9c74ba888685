"""Environment: the evaluation episodes of armillary as a Gymnasium environment for LeRobot.

    lerobot-eval --env.type=armillary --env.manifest=out/act/manifest.json --seed=0 ...

``armillary act`` writes the manifest. The seed of a reset is the place of an episode in it, so
``lerobot-eval`` with ``--seed=0`` runs the same episodes in the same order. The harness's rules are
those of ``armillary act``: the policy sees sensors alone, and success is judged at the end.

Pictures travel as LeRobot wants them. Other streams, the episode's chance for the policy and its
budget travel in ``robot_state``, which LeRobot hands on unchanged.

Axes: H W image, A action.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE

from armillary.core.errors import ConfigError, WorldError
from armillary.core.values import Goal, Observation
from armillary.evaluation import EpisodeSpec, Manifest, WorldFactory, load_manifest
from armillary.evaluation.episode import check_action, policy_seed
from armillary.evaluation.manifest import draw_goal
from armillary.evaluation.records import Record, append_record

ENVIRONMENT_ID = "armillary/GoalEpisodes-v0"
RECORD_POLICY = "lerobot"
_OBSERVED = ("rgb", "depth", "points", "lidar", "pose", "proprio")


class GoalEpisodes(gymnasium.Env):
    """The episodes of a manifest.

    Args:
        manifest: file that ``armillary act`` wrote.
        records: file to which a record of every episode is added, as ``armillary act`` writes
            them; empty for none. Only episodes that a seed has chosen are recorded.
        render_mode: ``rgb_array``, the model's own picture.

    Raises:
        ConfigError: ``records`` is there already.
        FormatError: the file is not a manifest.
    """

    metadata: Mapping[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, manifest: str, records: str = "", render_mode: str = "rgb_array") -> None:
        self.render_mode = render_mode
        self.manifest: Manifest = load_manifest(Path(manifest))
        self._records = Path(records) if records else None
        if self._records is not None and self._records.exists():
            raise ConfigError(
                f"{self._records}: there are records already; name another file, or remove it."
            )
        self._max_episode_steps = self.manifest.budget  # LeRobot reads this name
        self._world = WorldFactory(self.manifest.world, self.manifest.settings)()
        self._place = -1
        self._chosen = False
        self._begin(0)
        bounds = self._world.spec.bounds
        self.metadata = {**self.metadata, "render_fps": max(round(1 / self._world.spec.step_s), 1)}
        self.action_space = gymnasium.spaces.Box(
            bounds.low.astype(np.float32), bounds.high.astype(np.float32)
        )
        self.observation_space = _space(self.observe())

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: its place in the manifest; counted on from the first after the last. None for the
                one after the present one, which is not recorded.
            options: not used.
        """
        super().reset(seed=seed)
        self._chosen = seed is not None
        self._begin(self._place + 1 if seed is None else seed)
        return self.observe(), {"episode": self._episode.id}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Act once.

        An action is brought into the bounds as float64 first: as float32, LeRobot's kind of number,
        the bounds themselves can be outside by a rounding.

        Raises:
            ShapeError: another width, or not a finite number.
            WorldError: the world broke.
        """
        bounds, manifest = self._world.spec.bounds, self.manifest
        values = np.asarray(action, np.float64)
        if values.shape == bounds.low.shape:
            values = np.clip(values, bounds.low, bounds.high)
        sent = check_action(values, bounds)
        self._now = self._world.step(sent)
        self._actions.append(tuple(sent.tolist()))
        self._distances.append(self._distance())
        near = self._distances[-1] <= manifest.success_distance
        ended = manifest.stop_at_hit and near
        truncated = not ended and len(self._actions) >= manifest.budget
        success = near and (ended or truncated)
        if ended or truncated:
            self._record(success)
        info = {"is_success": bool(success), "distance": self._distances[-1]}
        return self.observe(), float(success), bool(ended), bool(truncated), info

    def render(self) -> np.ndarray:
        """Return the first camera's picture, uint8 [H W 3]."""
        name = next(name for name in self._now.streams if self._kind(name) == "rgb")
        return self._now.streams[name]

    def close(self) -> None:
        """Close the world."""
        self._world.close()

    def _begin(self, place: int) -> None:
        self._place = place % len(self.manifest.episodes)
        self._episode: EpisodeSpec = self.manifest.episodes[self._place]
        self._now: Observation = self._world.reset(self._episode.seed)
        self._goal: Goal = draw_goal(self._world, self.manifest.task, self._episode)
        self._actions: list[tuple[float, ...]] = []
        self._distances = [self._distance()]

    def _distance(self) -> float:
        distance = float(self._world.distance(self._goal))
        if not np.isfinite(distance):
            raise WorldError(f"{self.manifest.world}: the distance to the goal is no number.")
        return distance

    def _record(self, success: bool) -> None:
        if self._records is None or not self._chosen:
            return
        record = Record(
            id=self._episode.id,
            seed=self._episode.seed,
            goal_seed=self._episode.goal_seed,
            manifest=self.manifest.sha256,
            policy=RECORD_POLICY,
            privileged=False,
            outcome="success" if success else "failure",
            error="",
            success_distance=self.manifest.success_distance,
            distances=tuple(self._distances),
            actions=tuple(self._actions),
            decisions=(),
        )
        self._records.parent.mkdir(parents=True, exist_ok=True)
        append_record(self._records, record)

    def _kind(self, name: str) -> str:
        return "pose" if name == "intrinsics" else self._world.spec.sensors.get(name, "truth")

    def observe(self) -> dict[str, Any]:
        """Return what LeRobot's ``preprocess_observation`` reads."""
        pixels, state, vector = self._parts(self._now)
        aims, goal, goal_vector = self._parts(self._goal.observation)
        if goal_vector is not None:
            goal["proprio"] = goal_vector
        pixels |= {"goal": aims.pop("rgb")} if "rgb" in aims else {}
        if goal or aims:  # Gymnasium refuses a space of nothing
            state["goal"] = goal | aims
        state["seed"] = np.array([policy_seed(self._episode)], np.int64)
        state["steps"] = np.array([self.manifest.budget], np.int64)
        found = {"pixels": pixels, "robot_state": state}
        return found if vector is None else {**found, "agent_pos": vector}

    def _parts(
        self, observation: Observation
    ) -> tuple[dict[str, np.ndarray], dict[str, Any], np.ndarray | None]:
        """Return pictures, other streams and proprioception; truth is left out."""
        streams = {
            name: np.array(value, order="C")  # the caller's own
            for name, value in observation.streams.items()
            if self._kind(name) in _OBSERVED
        }
        vector = streams.pop("proprio", None)
        pixels = {name: streams.pop(name) for name in list(streams) if self._kind(name) == "rgb"}
        return pixels, streams, vector


@EnvConfig.register_subclass("armillary")
@dataclass
class ArmillaryEnv(EnvConfig):
    """Settings of the environment.

    Attributes:
        manifest: file that ``armillary act`` wrote.
        records: file for records; empty for none.
    """

    fps: int = 10
    manifest: str = ""
    records: str = ""
    features: dict[str, PolicyFeature] = field(default_factory=dict)
    features_map: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.manifest:
            raise ConfigError(
                "Name the evaluation episodes with --env.manifest; armillary act writes them as "
                "manifest.json."
            )
        environment = GoalEpisodes(self.manifest)
        try:
            found, space = environment.observe(), environment.action_space
            self.fps = int(environment.metadata["render_fps"])
            self.task = self.task or environment.manifest.task
        finally:
            environment.close()
        self._add(ACTION, ACTION, FeatureType.ACTION, space.shape)
        for name, picture in found["pixels"].items():
            self._add(f"pixels/{name}", f"{OBS_IMAGES}.{name}", FeatureType.VISUAL, picture.shape)
        if "agent_pos" in found:
            self._add("agent_pos", OBS_STATE, FeatureType.STATE, found["agent_pos"].shape)

    def _add(self, name: str, key: str, kind: FeatureType, shape: Any) -> None:
        self.features[name] = PolicyFeature(type=kind, shape=tuple(shape))
        self.features_map[name] = key

    @property
    def gym_id(self) -> str:
        """Name of the environment in Gymnasium."""
        return ENVIRONMENT_ID

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        """Arguments of the environment."""
        return {"manifest": self.manifest, "records": self.records}


def _space(value: Any) -> gymnasium.Space:
    """Return the space of arrays like these."""
    if isinstance(value, Mapping):
        return gymnasium.spaces.Dict({name: _space(one) for name, one in value.items()})
    if value.dtype.kind == "f":
        return gymnasium.spaces.Box(-np.inf, np.inf, value.shape, value.dtype)
    limits = np.iinfo(value.dtype)
    return gymnasium.spaces.Box(limits.min, limits.max, value.shape, value.dtype)


if ENVIRONMENT_ID not in gymnasium.registry:
    gymnasium.register(ENVIRONMENT_ID, entry_point=GoalEpisodes)
