"""Settings of a peers bench in one environment, and where each of its stages leaves its work.

Every folder and file carries the hash of all settings that decide what is in it. So a stage that
is finished is never repeated, one whose settings changed is made beside the old one, and nothing
is ever lost.

    settings.json                            of the last command
    code/armillary                           the code that ran last
    data/KEY, cache                          one recording for all
    train/POLICY-KEY/trained.json            seconds, frames, updates; written last
    evaluate/TASK/manifest-KEY.json          made before anything is run
    evaluate/TASK/records/ROW-KEY.jsonl      one line per episode
    evaluate/TASK/rows-KEY.json              which of them belong to these settings; written last
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from armillary.benchmark.ground import PEER_KINDS, PeerPlanning, PeerTraining
from armillary.control import ModelSpec, PriorSpec
from armillary.core.errors import ConfigError, unknown_name
from armillary.core.files import read_json, write_json
from armillary.core.hashing import json_sha256
from armillary.data.cache import safe_name
from armillary.models.checkpoint import config_from_dict
from armillary.planning import make_planner
from armillary.recipes.acting import NO_PLANNER
from armillary.recipes.changing import changed
from armillary.recipes.peers.grounds import GROUNDS, Ground
from armillary.recipes.recipe import Recipe
from armillary.recipes.world import world
from armillary.training.prior import PriorConfig, imitation
from armillary.worlds import WORLDS
from armillary.worlds.registry import GYM_PREFIX

TASKS = ("ahead_25", "ahead_50", "ahead_100", "any")
OURS = "armillary"
PLANNINGS = ("own", "equal")
# The training ends by the clock, which leaves no time for the second stage of the recipe.
_BY_CLOCK = {"settling.steps": 0}


@dataclass(frozen=True)
class PeersConfig:
    """Everything that decides a bench in one environment.

    Attributes:
        name: of the environment in the results.
        world: for ``make_world``.
        recipe: of armillary.
        act: fields of ``ModelSpec``, how armillary plans; or with the planner ``none`` those of
            ``PriorSpec``: its goal prior is followed, without a search.
        tasks: goal tasks of the world.
        peers: keys of ``PEER_KINDS``.
        peer_sizes: pictures that the peers are trained on, pixels; one model of each. The first
            bears the peer's own name, others NAME_SIZE.
        training: of the peers.
        planning: of the peers, their own.
        seconds: of training, the same for each.
        threads: of training.
        recorded: episodes of the recording.
        steps: of each of them.
        picture: H = W that is recorded and seen, pixels; each model brings it to its own size.
        record_settings: of the world while recording.
        world_settings: of the world while evaluating.
        held_out: share of the episodes that no one is trained on.
        episodes: of each task.
        plannings: how the peers plan: ``own``, and ``equal`` with as many model steps per decision
            as armillary takes. The first bears the peer's name, the other NAME_own or NAME_equal.
        equal_steps: model steps per decision that ``equal`` gives the peers at least, where
            armillary takes few or none.
        own_episodes: by task, how many of the episodes the peers run with their own planner, which
            takes 10 to 60 s a decision on one core; all of them where a task is not named.
        workers: processes of recording and evaluation; results do not depend on it.
        seed: names recording, split, weights and evaluation episodes.
        peer_cache_gib: most room for one peer's prepared pictures. Training episodes beyond it,
            drawn at random, are left out; how often it saw each is in the results.
        prior_share: of armillary's seconds, for a goal prior on the latents of its model; with
            0 there is none, else ``act`` should say ``prior``.
        prior: fields of ``PriorConfig`` that are not as usual, dotted names to values; the usual
            are those of ``imitation`` where the prior is followed. Its steps follow the seconds.
    """

    name: str
    world: str
    recipe: Recipe
    act: Mapping[str, Any] = field(default_factory=lambda: {"planner": "icem"})
    tasks: tuple[str, ...] = TASKS
    peers: tuple[str, ...] = ("lewm", "pldm")
    peer_sizes: tuple[int, ...] = (224,)
    training: PeerTraining = field(default_factory=PeerTraining)
    planning: PeerPlanning = field(default_factory=PeerPlanning)
    seconds: float = 600.0
    threads: int = 1
    recorded: int = 1000
    steps: int = 100
    picture: int = 224
    record_settings: Mapping[str, Any] = field(default_factory=dict)
    world_settings: Mapping[str, Any] = field(default_factory=dict)
    held_out: float = 0.1
    episodes: int = 200
    plannings: tuple[str, ...] = PLANNINGS
    equal_steps: int = 0
    own_episodes: Mapping[str, int] = field(default_factory=dict)
    workers: int = 2
    seed: int = 0
    peer_cache_gib: float = 6.0
    prior_share: float = 0.0
    prior: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_names()
        names = ("threads", "recorded", "steps", "episodes", "workers")
        counts = {name: getattr(self, name) for name in names}
        own = self.own_episodes.values()
        whole = all(isinstance(count, int) for count in own)
        if not whole or min(*counts.values(), *own) < 1 or not self.seconds > 0:
            raise ConfigError(
                f"seconds must be above 0, and own_episodes, {', '.join(counts)} whole numbers of "
                f"at least 1; got {self.seconds}, {dict(self.own_episodes)}, {counts}."
            )
        if not 0 < self.held_out < 1:
            raise ConfigError(f"held_out must lie between 0 and 1; got {self.held_out}.")
        self._check_act()
        if self.recipe.settling.steps:
            raise ConfigError(
                "The predictor is not fine-tuned here, so settling.steps must be 0; got "
                f"{self.recipe.settling.steps}. Add --change settling.steps=0."
            )
        if not 0 <= self.prior_share < 1 or bool(self.act.get("prior")) > bool(self.prior_share):
            raise ConfigError(
                "act.prior needs a prior_share between 0 and 1, its share of the training time; "
                f"got {self.prior_share}."
            )
        if self.equal_steps < 0:
            raise ConfigError(f"equal_steps is 0 or more, got {self.equal_steps}.")
        if not self.peer_sizes or max(self.peer_sizes) > self.picture:
            raise ConfigError(
                f"peer_sizes must be at most {self.picture} pixels, the recorded size; got "
                f"{self.peer_sizes}."
            )

    def _check_names(self) -> None:
        listed = {
            "peer": (self.peers, PEER_KINDS),
            "planning of a peer": (self.plannings, PLANNINGS),
            "task": (self.own_episodes, self.tasks),
        }
        for what, (names, known) in listed.items():
            for name in names:
                if name not in known:
                    raise unknown_name(what, name, known)

    def _check_act(self) -> None:
        """Check policy and prior as far as they can be without the model."""
        spec = self.policy(Path())
        if isinstance(spec, ModelSpec):
            _check_search(spec)
        elif not self.act.get("prior"):
            raise ConfigError(
                "act.planner none needs act.prior, as the goal-conditioned policy acts then. Add "
                "--act prior=true, or choose a planner."
            )
        _ = self.prior_config  # its settings are checked as it is made

    def policy(self, folder: Path) -> ModelSpec | PriorSpec:
        """Return how armillary acts with the model in a folder.

        Raises:
            ConfigError: a field that such a policy does not have.
        """
        if self.act.get("planner") != NO_PLANNER:
            return changed(ModelSpec(folder), self.act)
        own = {name: value for name, value in self.act.items() if name not in ("planner", "prior")}
        return changed(PriorSpec(folder), own)

    @property
    def prior_config(self) -> PriorConfig:
        """Settings of the prior's training; its steps follow from the seconds."""
        followed = self.act.get("planner") == NO_PLANNER
        usual = imitation() if followed else PriorConfig()
        return replace(changed(usual, self.prior), seed=self.seed)

    @property
    def variants(self) -> dict[str, tuple[str, PeerTraining]]:
        """Kind and training of each peer that is trained, by its name in the results."""
        found = {}
        for place, size in enumerate(self.peer_sizes):
            for kind in self.peers:
                name = f"{kind}_{size}" if place else kind
                found[name] = kind, replace(self.training, image_size=size)
        return found

    @property
    def folder(self) -> str:
        """Name of the environment's folder."""
        return safe_name(self.name)

    @property
    def suffixes(self) -> dict[str, str]:
        """What is put behind a peer's name, by its planning; nothing for the first."""
        return {name: f"_{name}" if place else "" for place, name in enumerate(self.plannings)}

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_json(path, asdict(self))

    def data_key(self) -> str:
        """Hash of all that decides the recording."""
        names = ("world", "record_settings", "recorded", "steps", "picture", "seed")
        return _key([getattr(self, name) for name in names])

    def train_key(self, policy: str) -> str:
        """Hash of all that decides a trained model."""
        prior = self.prior_config if self.prior_share else None
        ours = [self.recipe, self.prior_share, prior]
        own = ours if policy == OURS else self.variants[policy]
        shared = [self.data_key(), self.seconds, self.threads, self.held_out, self.seed]
        return _key([shared, own, policy != OURS and self.peer_cache_gib])

    def manifest_key(self, task: str) -> str:
        """Hash of all that decides the evaluation episodes of a task."""
        rules = [self.picture, self.world_settings, self.planning.model_steps]
        return _key([self.world, task, self.episodes, self.seed, *rules])

    def rows_key(self, task: str) -> str:
        """Hash of all that decides the rows of a task."""
        trained = [self.train_key(policy) for policy in (OURS, *self.variants)]
        plans = [self.act, self.planning, self.plannings, self.equal_steps]
        return _key([self.manifest_key(task), trained, plans, self.own_episodes.get(task)])


def make_config(
    name: str,
    recipe_changes: Mapping[str, Any] | None = None,
    **settings: Any,
) -> PeersConfig:
    """Return the settings for an environment of ``GROUNDS``, or for any world with goal tasks.

    Args:
        name: a key of ``GROUNDS``, or the name of a world; give ``tasks`` with the latter.
        recipe_changes: dotted names in the recipe ``world`` to values.
        settings: fields of ``PeersConfig``; of ``act``, ``training`` and ``planning`` those fields
            that differ from the usual.

    Raises:
        ConfigError: an unknown field, or a value that cannot be.
    """
    if name not in (*GROUNDS, *WORLDS) and not name.startswith(GYM_PREFIX):
        raise unknown_name("environment", name, (*GROUNDS, *WORLDS))
    if taken := sorted({"name", "recipe", "world"} & settings.keys()):
        raise ConfigError(f"{taken[0]} cannot be set so: environment and recipe decide it.")
    ground = GROUNDS.get(name, Ground(name, PeerPlanning().iterations))
    inner: dict[str, Any] = {
        part: settings.pop(part, {}) for part in ("act", "training", "planning")
    }
    usual = ground.acting["act"]
    acting = {**ground.acting, "act": {**usual, **inner["act"]}}
    if inner["act"].get("planner", usual["planner"]) != usual["planner"]:
        acting = {"act": inner["act"]}
    changes = {part: _frozen(value) for part, value in (recipe_changes or {}).items()}
    settings = {**ground.settings, **acting, **settings}
    config = PeersConfig(
        name=name,
        world=ground.world,
        recipe=changed(world(), _BY_CLOCK | changes),
        planning=PeerPlanning(iterations=ground.iterations),
    )
    for part in ("training", "planning"):
        settings[part] = changed(getattr(config, part), inner[part])
    return changed(config, {part: _frozen(value) for part, value in settings.items()})


def read_config(path: Path) -> PeersConfig:
    """Read what ``PeersConfig.save`` wrote.

    Raises:
        FormatError: not a JSON file.
        CheckpointError: a part of it is not what it should be.
    """
    value: dict[str, Any] = read_json(path)
    parts = {"recipe": Recipe, "training": PeerTraining, "planning": PeerPlanning}
    for name, kind in parts.items():
        value[name] = config_from_dict(kind, value[name], f"{path}: {name}")
    for name in ("tasks", "peers", "peer_sizes", "plannings"):
        value[name] = tuple(value[name])
    return PeersConfig(**value)


def _check_search(spec: ModelSpec) -> None:
    """Refuse what the policy would refuse, which is made only after hours of training."""
    planner = make_planner(spec.planner, **spec.planner_settings)
    length = getattr(getattr(planner, "config", None), "length", spec.replan)
    if not 1 <= spec.replan <= length:
        raise ConfigError(f"act.replan is 1 to {length}, the plan's length; got {spec.replan}.")
    if min(spec.proposals, spec.value_weight) < 0:
        raise ConfigError(
            "act.proposals and act.value_weight must be at least 0; got "
            f"{spec.proposals} and {spec.value_weight}."
        )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _key(parts: Any) -> str:
    return json_sha256(parts)[:12]
