"""Built-in suites: their rules and golden vectors are files of this package, made once.

The code's hash is added when a suite is asked for: the same rules under other code are another
suite (another S), while the golden vectors stay what they were and show whether the worlds did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from armillary.core.errors import unknown_name
from armillary.evaluation.manifest import EpisodeSpec
from armillary.proof.canonical import read_canonical
from armillary.proof.code import DRAWN_BY_A_DRIVER, QUADRUPLETS, code_digest
from armillary.proof.golden import Golden, make_golden
from armillary.proof.seeds import episode_seeds
from armillary.proof.suite import CONTROLS, DEFINITION, METRICS, Suite, Task, load_suite, suite_from
from armillary.proof.suite_worlds import SuiteWorld

BUILTIN = ("rooms-1", "rooms-2", "table-1", "table-2", "tiny", "understand-1")
_FOLDER = Path(__file__).parent / "suites"
_GOLDEN_DIGEST = "0" * 64
_VECTORS = 4


def find_suite(name: str) -> Suite:
    """Return a built-in suite by name, or the one in a ``suite.json``.

    Raises:
        ConfigError: neither.
        FormatError: the file is not a suite.
    """
    if name in BUILTIN:
        return builtin_suite(name)
    path = Path(name)
    if path.is_file():
        return load_suite(path)
    raise unknown_name("suite", name, BUILTIN)


def builtin_suite(name: str) -> Suite:
    """Return a built-in suite, with the hash of the code that is installed.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in BUILTIN:
        raise unknown_name("suite", name, BUILTIN)
    path = _FOLDER / f"{name}.json"
    value = read_canonical(path)
    DEFINITION.check(value, str(path))
    worlds = sorted({task["world"] for task in value["tasks"]})
    return suite_from({**value, "code": code_digest(worlds)}, str(path))


def draft(name: str) -> Suite:
    """Return a built-in suite as it is written down in this file, its golden vectors drawn anew.

    Only for making a file of ``suites/``; a vector that changed is a world that changed.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in BUILTIN:
        raise unknown_name("suite", name, BUILTIN)
    rooms, table = _rooms(200), _table(200)
    cross = replace(rooms, name="two_rooms-cross", task="cross", budget=80)
    tasks = {
        "rooms-1": (rooms,),
        "rooms-2": (rooms, cross),
        "table-1": (table,),
        "table-2": (table, _push(200)),
        "tiny": (_rooms(8),),
        "understand-1": (_quadruplets(500),),
    }[name]
    return Suite(
        id=name,
        headline=name != "tiny",
        tasks=tasks,
        metrics=METRICS,
        controls=CONTROLS,
        profile="portable",
        code=code_digest(sorted({task.world for task in tasks})),
        golden=_vectors(tasks),
    )


def _rooms(episodes: int) -> Task:
    return Task(
        name="two_rooms-reach",
        world="two_rooms",
        settings={"image_size": 64, "split": "held_out"},
        task="reach",
        episodes=episodes,
        budget=60,
        success_distance="0.03",
        distance_unit="m",
        planner_budget=10_000,
    )


def _table(episodes: int) -> Task:
    return Task(
        name="tabletop-reach",
        world="tabletop",
        settings={"image_size": 64},
        task="reach",
        episodes=episodes,
        budget=30,
        success_distance="0.03",
        distance_unit="m",
        planner_budget=10_000,
    )


def _quadruplets(episodes: int) -> Task:
    return Task(
        name="quadruplets-order",
        world=QUADRUPLETS,
        settings={},
        task="order",
        episodes=episodes,
        budget=4,
        success_distance="0.5",
        distance_unit="0 right, 1 wrong",
        planner_budget=31,
    )


def _push(episodes: int) -> Task:
    return replace(
        _table(episodes), name="tabletop-push", task="push", budget=60, success_distance="0.04"
    )


def _vectors(tasks: Sequence[Task]) -> tuple[Golden, ...]:
    found = []
    for task in tasks:
        world, seen = SuiteWorld(task.world, task.settings)(), task.world not in DRAWN_BY_A_DRIVER
        for index in range(_VECTORS):
            seeds = episode_seeds(_GOLDEN_DIGEST, _GOLDEN_DIGEST, task.name, index)
            episode = EpisodeSpec("", *seeds)
            found.append(make_golden(world, task.name, task.task, episode, seen))
        world.close()
    return tuple(found)
