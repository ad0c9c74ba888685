"""Worlds bench: the recipe ``world`` in many environments, and what a search adds to acting.

    record -> train -> act in three ways, beside random, no-op and oracle, on the same episodes

Nothing is set for an environment but how much of it is recorded. The ways:

    direct          the goal policy acts (``models/goal_policy.py``)
    direct_search   it is tried in the model first (``planning/guided.py``)
    search_only     a search with the model and the latent distance alone (``planning/icem.py``)

    OUT/NAME/recording, OUT/NAME/run        of one environment; tasks of one world share them
    OUT/NAME/acting/TASK                    manifest and records
    OUT/result.json                         all of it

A folder that holds part of this is continued, and all that is finished in it is told. For what is
finished, no package is needed: packages that do not go together can be acted one after another, and
joined by a last call that names all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from armillary.benchmark.machine import provenance
from armillary.core.claiming import claim
from armillary.core.errors import ConfigError, unknown_name
from armillary.core.files import read_json, write_json
from armillary.core.hashing import json_sha256
from armillary.core.on_ray import ray_address
from armillary.core.progress import Bars, no_bars
from armillary.core.statistics import holm, mcnemar
from armillary.evaluation import Manifest, Record, WorldFactory, read_records, summarise
from armillary.models.config import config_values
from armillary.models.goal_policy import SHARE
from armillary.planning import ICEMConfig, Planning
from armillary.planning.guided import GuidedConfig
from armillary.planning.planning import DIRECT, GUIDED, SEARCH
from armillary.proof.manifests import read_manifest
from armillary.recipes.goal_policy import SUMMARY
from armillary.recipes.recipe import train_recipe
from armillary.recipes.recipe_config import Recipe, shortened
from armillary.recipes.world import world
from armillary.services.acting import ActConfig, evaluate_models, model_spec
from armillary.training.goal_policy import GoalPolicyTraining
from armillary.worlds import record
from armillary.worlds.two_rooms.layout import ARENA_M
from armillary.zoo.finding import find_model

WAYS = {
    "direct": Planning(DIRECT),
    "direct_search": Planning(GUIDED),
    "search_only": Planning(SEARCH),
}
ANY = "any"
_FLOORS = ("random", "noop", "oracle")
_QUICK = {"quick_pictures": True}
_AHEAD = {"25": "ahead_25", "50": "ahead_50"}
_FAR = {**_AHEAD, "100": "ahead_100"}
_FETCH, _SWM = "gym:gymnasium_robotics:", "gym:stable_worldmodel:swm/"
_CONTROL, _METAWORLD = "gym:shimmy:dm_control/", "gym:metaworld:Meta-World/MT1"

# EB-JEPA's rooms with random walls, in units of a pixel of its pictures of 65 x 65. An episode is
# solved when the agent is within 4.5 px of the goal, in the other room, at the last of 200 steps.
# Its data keep to a step of 2.45 px, which is the corner of this box of actions. The world is not
# theirs: the agent has a body of 2 px radius, and layouts are held out.
_EB_PIXEL_M = ARENA_M / 65
_EB_STEP_M = 0.017
_EB_RULE = {
    "budget": 200,
    "success_distance": 4.5 * _EB_PIXEL_M,
    "world_settings": {"max_step_m": _EB_STEP_M, "split": "held_out"},
}
# OGBench's large maze: the expert's longest way takes 380 steps, the mean way 155.
_LARGE = {"env_settings": {"maze_type": "large"}}
_MAZE_RULE = {"budget": 500}


@dataclass(frozen=True)
class Environment:
    """One environment, and what is recorded of it.

    Attributes:
        world: its name for ``make_world``.
        tasks: by offset, in world steps from start to goal, or ``any``.
        settings: of the world, in recording and acting.
        episodes: recorded.
        steps: of each.
        shares: name of the environment whose recording and model this one uses; empty for its own.
        judged: settings of ``ActConfig`` that its rule of success fixes; none for the world's own.
    """

    world: str
    tasks: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    episodes: int = 300
    steps: int = 50
    shares: str = ""
    judged: Mapping[str, Any] = field(default_factory=dict)


def _metaworld(task: str) -> Environment:
    """Return a task of Meta-World, seen by a camera that stands still, with one list of starts."""
    settings = {"env_name": task, "seed": 0, "camera_name": "corner2"}
    return Environment(_METAWORLD, _AHEAD, {**_QUICK, "env_settings": settings}, 300, 100)


ENVIRONMENTS: dict[str, Environment] = {
    "tabletop_reach": Environment("tabletop", {ANY: "reach"}, {}, 2000, 24),
    "tabletop_push": Environment("tabletop", {ANY: "push"}, {}, 2000, 24, "tabletop_reach"),
    "FetchReach-v4": Environment(f"{_FETCH}FetchReach-v4", _AHEAD, _QUICK),
    "FetchPush-v4": Environment(f"{_FETCH}FetchPush-v4", _AHEAD, _QUICK),
    "PointMaze_Medium-v3": Environment(f"{_FETCH}PointMaze_Medium-v3", _AHEAD, _QUICK),
    "Reacher-v5": Environment("gym:Reacher-v5", _AHEAD, _QUICK),
    "Pusher-v5": Environment("gym:Pusher-v5", _AHEAD, _QUICK),
    "metaworld_reach": _metaworld("reach-v3"),
    "metaworld_push": _metaworld("push-v3"),
    "metaworld_drawer_open": _metaworld("drawer-open-v3"),
    "dm_point_mass": Environment(f"{_CONTROL}point_mass-easy-v0", _AHEAD, _QUICK, 300, 100),
    "dm_reacher": Environment(f"{_CONTROL}reacher-easy-v0", _AHEAD, _QUICK, 300, 100),
    "two_room": Environment(f"{_SWM}TwoRoom-v1", _AHEAD, {}, 1000, 100),
    "push_t": Environment(f"{_SWM}PushT-v1", _FAR, {"collection": "strokes"}, 1000, 100),
    "push_t_textured": Environment(
        f"{_SWM}PushT-v1", _AHEAD, {"collection": "strokes", "textured": True}, 1000, 100
    ),
    "rooms_eb": Environment(
        "two_rooms", {ANY: "cross"}, {"max_step_m": _EB_STEP_M}, 2000, 128, judged=_EB_RULE
    ),
    "reacher": Environment(f"{_SWM}ReacherDMControl-v0", _AHEAD, _QUICK, 300, 100),
    "cube": Environment(f"{_SWM}OGBCube-v0", _AHEAD, _QUICK, 300, 100),
    # across the maze: the goal is the start of another episode
    "ogbench_maze": Environment(
        f"{_SWM}OGBMaze-v0", {ANY: "any"}, {**_QUICK, **_LARGE}, 1000, 100, judged=_MAZE_RULE
    ),
}


@dataclass(frozen=True)
class WorldsConfig:
    """How much of everything.

    Attributes:
        names: keys of ``ENVIRONMENTS``.
        episodes: goals of each task.
        steps: of training; None for the recipe's.
        recorded: episodes of each environment; None for its own number.
        seed: names recordings, weights and goals.
        workers: processes; results do not depend on it.
        threads: of a training.
        offsets: those to take where an environment has several; none for all.
        ways: keys of ``WAYS``; ``direct`` and ``direct_search`` are compared.
        on: ``ray`` or ``ray://HOST:PORT`` for actors of Ray in place of processes, in recording and
            acting; models are trained here. Machines of a cluster must share the folder.
    """

    names: tuple[str, ...] = ("tabletop_reach", "tabletop_push")
    episodes: int = 200
    steps: int | None = None
    recorded: int | None = None
    seed: int = 0
    workers: int = 2
    threads: int = 1
    offsets: tuple[str, ...] = ()
    ways: tuple[str, ...] = tuple(WAYS)
    on: str = ""

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in ENVIRONMENTS:
                raise unknown_name("environment", name, ENVIRONMENTS)
        for offset in self.offsets:
            if offset not in _FAR:
                raise unknown_name("offset", offset, _FAR)
        for way in self.ways:
            if way not in WAYS:
                raise unknown_name("way to act", way, WAYS)
        if not {"direct", "direct_search"} <= {*self.ways}:
            raise ConfigError("bench worlds compares the ways direct and direct_search; name both.")
        if not self.names or min(self.episodes, self.workers, self.threads) < 1:
            raise ConfigError(
                "bench worlds needs an environment, and episodes, workers and threads of at least "
                f"1; got {len(self.names)}, {self.episodes}, {self.workers}, {self.threads}."
            )


def run_worlds(
    out: Path, config: WorldsConfig | None = None, bars: Bars = no_bars, command: str = ""
) -> dict[str, Any]:
    """Record, train and act in each environment.

    Args:
        out: folder; what is finished there is used again.
        config: how much of everything.
        bars: makes a progress bar for a stage.
        command: that does the same again, for the result.

    Returns:
        ``environments.NAME.offsets.OFFSET``: by way and floor ``n``, ``success_final``,
        ``success_first_hit``, ``wilson95``, ``ms_per_decision``, ``model_steps_per_decision``; and
        ``paired.search_over_direct.{only_search,only_direct,p,p_holm}``, Holm over all tests here,
        and the same of goals that were met at any step (``search_over_direct_first_hit``).
        ``recipe_sha256``, ``planning_sha256``, and how it was made.

    Raises:
        ConfigError: ``out`` holds other settings, an environment is not installed, or nothing
            answers where Ray was said to be.
        StorageError: ``out`` is not writable.
    """
    config, out = config or WorldsConfig(), out.absolute()  # actors stand in another folder
    if config.on:
        ray_address(config.on)
    done = {name: _acted_before(out, name, config) for name in config.names}
    for name in config.names:  # a package that is missing shows before hours of work
        if done[name] is None:
            WorldFactory(ENVIRONMENTS[name].world, ENVIRONMENTS[name].settings)().close()
    found: dict[str, Any] = {}
    for name in config.names:
        offsets = done[name]
        if offsets is None:
            run = _trained(out, name, config, bars)
            offsets = {
                offset: _acted(_acting(out, name, task), run, name, task, config, bars)
                for offset, task in _tasks(name, config).items()
            } | (_acted_before(out, name, config) or {})
        found[name] = {"offsets": offsets, **_about(name, _run(out, name))}
    rows = [row for one in found.values() for row in one["offsets"].values()]
    for kind in ("search_over_direct", "search_over_direct_first_hit"):
        tests = [row["paired"][kind] for row in rows]
        for test, p in zip(tests, holm([test["p"] for test in tests]), strict=True):
            test["p_holm"] = p
    result = {
        "environments": found,
        "recipe_sha256": json_sha256(config_values(_recipe(config))),
        "planning_sha256": planning_sha256(),
        "config": asdict(config),
        **provenance(command, config.threads),
    }
    write_json(out / "result.json", result)
    return result


def planning_sha256() -> str:
    """Return the hash of how goals are reached in all environments: training and planning."""
    ways = {name: asdict(way) for name, way in WAYS.items()}
    settings = [asdict(one) for one in (GuidedConfig(), ICEMConfig(), GoalPolicyTraining())]
    return json_sha256([ways, *settings, SHARE])


def rows_of(records: Mapping[str, Sequence[Record]]) -> dict[str, Any]:
    """Return the rows of one task, and the paired test of searching against not searching.

    Args:
        records: by way or floor.
    """
    rows: dict[str, Any] = {}
    for name, some in records.items():
        row = summarise(some)
        rows[name] = {
            "n": row.n,
            "success_final": row.success,
            "success_first_hit": row.first_hit_success,
            "wilson95": list(row.wilson95),
            "ms_per_decision": row.ms_per_decision,
            "model_steps_per_decision": row.model_steps_per_decision,
        }
    paired = {
        "search_over_direct": _paired(records, lambda record: record.outcome == "success"),
        "search_over_direct_first_hit": _paired(records, lambda record: record.first_hit),
    }
    return {**rows, "paired": paired}


def _paired(
    records: Mapping[str, Sequence[Record]], reached: Callable[[Record], bool]
) -> dict[str, Any]:
    """Return McNemar's test of searching against not searching, by what counts as reached."""
    search, direct = ([*map(reached, records[name])] for name in ("direct_search", "direct"))
    test = mcnemar(search, direct)
    return {"only_search": test.only_a, "only_direct": test.only_b, "p": test.p_value}


def _tasks(name: str, config: WorldsConfig) -> dict[str, str]:
    """Return the tasks of an environment that are acted, by offset."""
    wanted = (*config.offsets, ANY) if config.offsets else ()
    tasks = ENVIRONMENTS[name].tasks
    return {offset: task for offset, task in tasks.items() if not wanted or offset in wanted}


def _acting(out: Path, name: str, task: str) -> Path:
    return out / name / "acting" / task


def _run(out: Path, name: str) -> Path:
    return out / (ENVIRONMENTS[name].shares or name) / "run"


def _acted_before(out: Path, name: str, config: WorldsConfig) -> dict[str, Any] | None:
    """Return the rows of an environment that is finished; None if it is not.

    Its package is not needed for that. So environments whose packages do not go together can be
    acted one after another in the same folder, each from where its packages are installed.
    """
    run, rows = _run(out, name), {}
    if not (run / SUMMARY).is_file():
        return None
    _claimed(out, ENVIRONMENTS[name].shares or name, config)
    asked = _tasks(name, config)
    for offset, task in ENVIRONMENTS[name].tasks.items():
        records = _finished(out, name, task, config)
        if {*config.ways, *_FLOORS} <= records.keys():
            rows[offset] = rows_of(records)
        elif offset in asked:
            return None
    return rows


def _finished(
    out: Path, name: str, task: str, config: WorldsConfig
) -> dict[str, tuple[Record, ...]]:
    """Return the records of a task that are whole and of today, by way and floor.

    They may be of more ways than were asked for: what was finished before is told, too.
    """
    folder, model = _acting(out, name, task), find_model(_run(out, name))
    if not (folder / "manifest.json").is_file():
        return {}
    rules = read_manifest(folder / "manifest.json")
    if not _asks(rules, name, task):
        return {}
    found = {}
    for who in (*WAYS, *_FLOORS):
        file = folder / "records" / f"{who}.jsonl"
        some = tuple(read_records(file, cut_off=True)) if file.is_file() else ()
        policy = model_spec(model, _way(WAYS[who], config)).identity() if who in WAYS else None
        ours = all(policy in (None, one.policy) and one.manifest == rules.sha256 for one in some)
        if ours and len(some) == config.episodes:
            found[who] = some
    return found


def _asks(rules: Manifest, name: str, task: str) -> bool:
    """Tell whether a manifest asks what an environment does today."""
    environment = ENVIRONMENTS[name]
    judged = {"world_settings": environment.settings, **environment.judged}
    settings = judged.pop("world_settings")
    return (
        (rules.world, rules.task) == (environment.world, task)
        and all(rules.settings.get(key) == value for key, value in settings.items())
        and all(getattr(rules, key) == value for key, value in judged.items())
    )


def _claimed(out: Path, owner: str, config: WorldsConfig) -> tuple[Recipe, int]:
    """Return recipe and number of recorded episodes, once the folder is known to belong to them."""
    environment, folder = ENVIRONMENTS[owner], out / owner
    recipe = replace(_recipe(config), seed=config.seed)
    episodes = config.recorded or environment.episodes
    recorded = [environment.world, dict(environment.settings), environment.steps, episodes]
    made = (folder / "recording").exists()
    claim(folder / "settings.json", [config_values(recipe), *recorded], "an environment", made=made)
    return recipe, episodes


def _trained(out: Path, name: str, config: WorldsConfig, bars: Bars) -> Path:
    """Return the run of an environment; it is recorded and trained unless it was."""
    owner = ENVIRONMENTS[name].shares or name
    environment, folder = ENVIRONMENTS[owner], out / owner
    data, run = folder / "recording", folder / "run"
    recipe, episodes = _claimed(out, owner, config)
    with bars(f"recording {owner}") as progress:
        record(
            environment.world,
            data,
            episodes,
            environment.steps,
            workers=config.workers,
            seed=config.seed,
            settings={"image_size": recipe.model.encoder.image_size, **environment.settings},
            resume=data.exists(),
            progress=progress,
            on=config.on,
        )
    if not (run / SUMMARY).is_file():
        recipe = replace(recipe, threads=config.threads)
        train_recipe(recipe, data, run, (run / "run.json").is_file(), bars, diagnosed=False)
    return run


def _recipe(config: WorldsConfig) -> Recipe:
    """Return the recipe, the same in every environment."""
    return world() if config.steps is None else shortened(world(), config.steps)


def _acted(
    out: Path, run: Path, name: str, task: str, config: WorldsConfig, bars: Bars
) -> dict[str, Any]:
    """Return the rows of one task."""
    environment = ENVIRONMENTS[name]
    usual = replace(_way(Planning(), config), task=task, world_settings=environment.settings)
    usual = replace(usual, **environment.judged)
    folder = find_model(run)
    specs = {way: model_spec(folder, _way(WAYS[way], config)) for way in config.ways}
    with bars(f"acting {name} {task}") as progress:
        _, records = evaluate_models(specs, environment.world, out, usual, progress)
    return rows_of(records)


def _way(planning: Planning, config: WorldsConfig) -> ActConfig:
    """Return how one way acts, the same in every environment."""
    return ActConfig(
        planning=planning,
        episodes=config.episodes,
        seed=config.seed,
        workers=config.workers,
        on=config.on,
    )


def _about(name: str, run: Path) -> dict[str, Any]:
    environment = ENVIRONMENTS[name]
    policy = read_json(run / SUMMARY)
    return {
        "world": environment.world,
        "settings": dict(environment.settings),
        "policy_r2": policy["r2"],
        "policy_seconds": policy["seconds"],
    }
