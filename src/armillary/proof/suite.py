"""Suite: what is asked, by which rules, and how it is counted, under one digest S.

``suite.json`` is canonical JSON with closed fields. Episodes are not in it: they are drawn from S
and from a value that is revealed after the agent was committed (``seeds.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from armillary.core.errors import ConfigError, FormatError
from armillary.core.files import replacing
from armillary.evaluation.worlds import WorldFactory
from armillary.proof.canonical import canonical_bytes, digest, read_canonical, refuse_floats
from armillary.proof.code import DRAWN_BY_A_DRIVER, WORLD_MODULES, code_digest
from armillary.proof.golden import Golden, check_golden
from armillary.proof.profiles import PROFILES
from armillary.proof.shapes import (
    Anything,
    Decimal,
    Fields,
    Flag,
    Hex,
    ListOf,
    Name,
    Nullable,
    Text,
    Whole,
)

FORMAT = "armillary.suite/1"
METRICS = ("success", "first_hit")
CONTROLS = ("random", "noop", "oracle")
HEADLINE_EPISODES = 200
_MAX_EPISODES = 100_000
_GOLDEN = {"task": Name(), "seed": Hex(14), "goal_seed": Hex(14), "start": Hex(64), "goal": Hex(64)}
_TASK = Fields(
    {
        "name": Name(40),
        "world": Text(choices=tuple(WORLD_MODULES)),
        "settings": Anything(),
        "task": Name(40),
        "episodes": Whole(1, _MAX_EPISODES),
        "budget": Whole(1, 1_000_000),
        "success_distance": Decimal(),
        "distance_unit": Text(20),
        "planner_budget": Nullable(Whole(1)),
        "stop_at_hit": Flag(),
        "reachable": Nullable(Flag()),
    }
)
_WITHOUT_CODE = {
    "format": Text(choices=(FORMAT,)),
    "id": Name(40),
    "headline": Flag(),
    "tasks": ListOf(_TASK, 64, 1),
    "metrics": ListOf(Text(choices=METRICS), len(METRICS), 1),
    "controls": ListOf(Text(choices=CONTROLS), len(CONTROLS)),
    "profile": Text(choices=tuple(PROFILES)),
    "golden": ListOf(Fields(_GOLDEN), 1000),
}
SUITE = Fields({**_WITHOUT_CODE, "code": Hex(64)})
DEFINITION = Fields(_WITHOUT_CODE)


@dataclass(frozen=True)
class Task:
    """One row of a suite.

    Attributes:
        name: of the row.
        world: a key of ``WORLD_MODULES``.
        settings: the world's, without floats.
        task: the world's goal task.
        episodes: N, fixed before the run.
        budget: world steps per episode.
        success_distance: solved within it, as decimal text.
        distance_unit: its unit.
        planner_budget: most model steps per decision; None for no limit.
        stop_at_hit: end an episode at the first hit.
        reachable: whether every goal can be reached; None where nobody knows.
    """

    name: str
    world: str
    settings: Mapping[str, Any]
    task: str
    episodes: int
    budget: int
    success_distance: str
    distance_unit: str
    planner_budget: int | None = None
    stop_at_hit: bool = False
    reachable: bool | None = True

    @property
    def factory(self) -> WorldFactory:
        """Makes the world."""
        return WorldFactory(self.world, self.settings)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {name: getattr(self, name) for name in _TASK.required} | {
            "settings": dict(self.settings)
        }


@dataclass(frozen=True)
class Suite:
    """A suite.

    Attributes:
        id: its name.
        headline: whether its rows may stand in a headline.
        tasks: in order.
        metrics: that rows have.
        controls: actors that run on the same episodes.
        profile: numeric profile under which it is run.
        code: hash of the code that decides.
        golden: what known seeds must look like.
    """

    id: str
    headline: bool
    tasks: tuple[Task, ...]
    metrics: tuple[str, ...]
    controls: tuple[str, ...]
    profile: str
    code: str
    golden: tuple[Golden, ...]

    def __post_init__(self) -> None:
        if len({task.name for task in self.tasks}) != len(self.tasks):
            raise ConfigError(f"Suite {self.id}: a task's name is used twice.")
        least = min(task.episodes for task in self.tasks)
        if self.headline and least < HEADLINE_EPISODES:
            raise ConfigError(
                f"Suite {self.id}: a headline needs at least {HEADLINE_EPISODES} episodes a task; "
                f"it has {least}."
            )

    @cached_property
    def digest(self) -> str:
        """S: the hash of everything in it."""
        return digest(self.to_dict())

    @property
    def actors(self) -> tuple[str, ...]:
        """Names of those who act, the agent first."""
        return ("agent", *self.controls)

    def task(self, name: str) -> Task:
        """Return a task by name.

        Raises:
            ConfigError: there is none.
        """
        found = [task for task in self.tasks if task.name == name]
        if not found:
            raise ConfigError(f"Suite {self.id} has no task {name!r}.")
        return found[0]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "format": FORMAT,
            "id": self.id,
            "headline": self.headline,
            "tasks": [task.to_dict() for task in self.tasks],
            "metrics": list(self.metrics),
            "controls": list(self.controls),
            "profile": self.profile,
            "code": self.code,
            "golden": [one.to_dict() for one in self.golden],
        }

    @property
    def drawn(self) -> bool:
        """Whether a graphics driver draws any of its pictures."""
        return any(task.world in DRAWN_BY_A_DRIVER for task in self.tasks)

    def save(self, path: Path) -> None:
        """Write ``suite.json``, in one step.

        Raises:
            StorageError: the disk is full or not writable.
        """
        with replacing(path) as beside:
            beside.write_bytes(canonical_bytes(self.to_dict()))

    def check_installation(self) -> None:
        """Check that this installation asks and judges as the suite says.

        Raises:
            CheckFailedError: its worlds draw something else than the golden vectors.
            ConfigError: its code is another version than the suite's.
        """
        worlds = {task.name: (task.factory, task.task) for task in self.tasks}
        check_golden(self.golden, worlds)
        here = code_digest(sorted({task.world for task in self.tasks}))
        if here != self.code:
            raise ConfigError(
                f"Suite {self.id} was made with other code ({self.code[:16]}) than is installed "
                f"here ({here[:16]}); install that version, or commit to the suite anew."
            )


def load_suite(path: Path) -> Suite:
    """Read ``suite.json``.

    Raises:
        FormatError: not a suite, or not canonical JSON.
        ConfigError: a suite that cannot be.
    """
    return suite_from(read_canonical(path), str(path))


def suite_from(value: Any, where: str) -> Suite:
    """Return the suite of JSON values.

    Raises:
        FormatError: not a suite.
        ConfigError: a suite that cannot be.
    """
    SUITE.check(value, where)
    refuse_floats(value, where)
    for task in value["tasks"]:
        base = task["settings"].get("base", "two_rooms")
        known = isinstance(base, str) and base in WORLD_MODULES
        if not known or float(task["success_distance"]) <= 0:
            raise FormatError(
                f"{where}: task {task['name']!r} has a base world that suites do not have, or a "
                "success distance of 0."
            )
    return Suite(
        id=value["id"],
        headline=value["headline"],
        tasks=tuple(Task(**task) for task in value["tasks"]),
        metrics=tuple(value["metrics"]),
        controls=tuple(value["controls"]),
        profile=value["profile"],
        code=value["code"],
        golden=tuple(Golden.from_dict(one) for one in value["golden"]),
    )
