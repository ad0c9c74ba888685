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
from armillary.models.checkpoint import config_from_dict
from armillary.planning import make_planner
from armillary.recipes import RECIPES
from armillary.recipes.acting import NO_PLANNER
from armillary.recipes.changing import changed
from armillary.recipes.fine_view import UNSPREAD
from armillary.recipes.recipe import Recipe
from armillary.training.prior import PriorConfig, imitation
from armillary.worlds import WORLDS
from armillary.worlds.registry import GYM_PREFIX

TASKS = ("ahead_25", "ahead_50", "ahead_100", "any")
OURS = "armillary"
PLANNINGS = ("own", "equal")
_SWM = "gym:stable_worldmodel:swm/"


@dataclass(frozen=True)
class Ground:
    """One environment of the peers.

    Attributes:
        world: its name for ``make_world``.
        iterations: of the peers' solver, as their authors set it here.
        changes: of the recipe, dotted names to values.
        settings: fields of ``PeersConfig`` that are not as usual here.
        acting: likewise, those that say how armillary acts and what it learns for it. They belong
            together: where another planner is asked for, none of them holds.
        recipe: of armillary, a key of ``RECIPES``; empty for the one called as the environment.
        acting_changes: of the recipe, which belong to ``acting``.
    """

    world: str
    iterations: int
    changes: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    acting: Mapping[str, Any] = field(default_factory=lambda: {"act": {"planner": "icem"}})
    recipe: str = ""
    acting_changes: Mapping[str, Any] = field(default_factory=dict)


_BLOCKS = {"model.frame_skip": 5}  # the peers' own: 25 steps ahead are 5 model steps
# The T's mark on the floor lies askew, and has one mirror: the diagonal from bottom left to top
# right. y points down in pictures and in actions: both change places, and signs.
_ASKEW = {
    **_BLOCKS,
    "augment.mirror": 0.5,
    "augment.mirror_line": "rising",
    "augment.swapped_actions": (0, 1),
    "augment.mirrored_actions": (0, 1),
}
# Where the policy is followed nothing is foreseen: a step of foresight is enough, and variance and
# covariance presumably only spread what the policy has to read. Of 300 other goals 25 steps ahead
# 69 % before, 74 with the mirror, 80 with both; only the first and the last are told apart.
_LEAN = {f"objective.{name}": value for name, value in UNSPREAD.items()}
_NO_GLIMPSE = {**_BLOCKS, "objective.glimpse": 0.0}
_CHEAP = {"quick_pictures": True}
_QUICK = {"record_settings": _CHEAP, "world_settings": _CHEAP}


def _followed(within: int, executed: int, share: float, **prior: Any) -> dict[str, Any]:
    """Return how armillary acts where its goal prior is followed.

    Args:
        within: model steps, at most, to the goals that it learns from.
        executed: world steps until the next look.
        share: of the seconds, for the prior.
        prior: other fields of ``PriorConfig`` that are not as usual.
    """
    return {
        "act": {"planner": NO_PLANNER, "prior": True, "executed": executed},
        "prior": {"goals.within": within, "components": 1, **prior},
        "prior_share": share,
        "equal_steps": 320,  # what a search takes in two_room
    }


# A torque decides within a fraction of a model step, and one picture does not show how fast the arm
# is. Found with true angles (60 goals 25 steps ahead, at the end): goals up to five model steps
# ahead, eight components and a look at every model step 58 %; up to two, one component and a look
# at every world step 98 %. A policy that is told how fast the arm moves repeats what it did: 38 %.
_AT_ONCE = _followed(within=2, executed=1, share=0.3)
# A push lasts. Found with true places and noise of 4 px (100 goals 25 steps ahead, at the end):
# eight components and a look at every model step 45 %, at every second world step 67 %; with one
# component 56 and 78 %. Goals up to seven model steps ahead, 2 px, longer training: 87 %.
_PUSHING = _followed(within=7, executed=2, share=0.5, distance_every=4)
_SEARCHED = {
    "act": {
        "planner": "icem",
        "prior": True,
        "planner_settings": {"length": 5, "samples": 32, "iterations": 2, "elites": 6},
    },
    "prior_share": 0.2,
}
_PUSHER = {"collection": "strokes"}
_STROKES = {
    "record_settings": _PUSHER,
    "world_settings": _PUSHER,
    "recorded": 3000,
    "seconds": 1800.0,
}
_CUBE = {**_QUICK, "recorded": 500, "seconds": 450.0}  # a picture of it takes 30 ms
GROUNDS: dict[str, Ground] = {
    "two_room": Ground(f"{_SWM}TwoRoom-v1", 10, _BLOCKS, {"seconds": 300.0}, _SEARCHED),
    "push_t": Ground(f"{_SWM}PushT-v1", 30, _ASKEW, _STROKES, _PUSHING, acting_changes=_LEAN),
    # recording and goals by the package's own policy, which moves at random; as it was measured
    "push_t_weak": Ground(f"{_SWM}PushT-v1", 30, _NO_GLIMPSE, {}, _SEARCHED, "push_t"),
    "reacher": Ground(f"{_SWM}ReacherDMControl-v0", 10, _BLOCKS, _QUICK, _AT_ONCE),
    "cube": Ground(f"{_SWM}OGBCube-v0", 10, _BLOCKS, _CUBE, _AT_ONCE),
}


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
        if min(*counts.values(), *self.own_episodes.values()) < 1 or not self.seconds > 0:
            raise ConfigError(
                f"seconds must be above 0 and own_episodes, {', '.join(counts)} at least 1; got "
                f"{self.seconds}, {dict(self.own_episodes)}, {counts}."
            )
        if not 0 < self.held_out < 1:
            raise ConfigError(f"held_out must lie between 0 and 1; got {self.held_out}.")
        self._check_act()
        if not 0 <= self.prior_share < 1 or bool(self.act.get("prior")) > bool(self.prior_share):
            raise ConfigError(
                "act.prior needs a prior_share between 0 and 1, the time in which it is trained; "
                f"got {self.prior_share}."
            )
        if self.equal_steps < 0:
            raise ConfigError(f"equal_steps is 0 or more, got {self.equal_steps}.")
        if not self.peer_sizes or max(self.peer_sizes) > self.picture:
            raise ConfigError(
                f"The peers' pictures must not be larger than what is recorded ({self.picture} "
                f"pixels); got {self.peer_sizes}."
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
            make_planner(spec.planner, **spec.planner_settings)
        elif not self.act.get("prior"):
            raise ConfigError(
                "Without a planner the goal prior acts, which was not asked for: add --act "
                "prior=true, or choose a planner."
            )
        elif spec.executed is not None and not 1 <= spec.executed <= self.recipe.model.frame_skip:
            raise ConfigError(
                f"act.executed is 1 to {self.recipe.model.frame_skip}, the world steps of a model "
                f"step (model.frame_skip); got {spec.executed}."
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
        return "".join(c if c.isalnum() or c in "._-" else "_" for c in self.name)

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


def make_config(
    name: str,
    recipe: str = "",
    recipe_changes: Mapping[str, Any] | None = None,
    **settings: Any,
) -> PeersConfig:
    """Return the settings for an environment of ``GROUNDS``, or for any world with goal tasks.

    Args:
        name: a key of ``GROUNDS``, or the name of a world; give ``tasks`` with the latter.
        recipe: a key of ``RECIPES``; empty takes the environment's own, else two_rooms.
        recipe_changes: dotted names in the recipe to values.
        settings: fields of ``PeersConfig``; of ``act``, ``training`` and ``planning`` those fields
            that differ from the usual.

    Raises:
        ConfigError: an unknown recipe or field, or a value that cannot be.
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
    changes = {**ground.changes, **ground.acting_changes}
    if inner["act"].get("planner", usual["planner"]) != usual["planner"]:
        acting, changes = {"act": inner["act"]}, {**ground.changes}
    changes |= {part: _frozen(value) for part, value in (recipe_changes or {}).items()}
    settings = {**ground.settings, **acting, **settings}
    chosen = recipe or ground.recipe or (name if name in RECIPES else "two_rooms")
    if chosen not in RECIPES:
        raise unknown_name("recipe", chosen, RECIPES)
    config = PeersConfig(
        name=name,
        world=ground.world,
        recipe=changed(RECIPES[chosen](), changes),
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


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _key(parts: Any) -> str:
    return json_sha256(parts)[:12]
