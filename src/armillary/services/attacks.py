"""Attacks: all of ``proof.attack``, and those on commands that evaluate a model or show a file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from armillary.core.errors import ArmillaryError, MissingExtraError
from armillary.evaluation import NoOpSpec, Record, load_manifest, read_records
from armillary.evaluation.records import append_record, write_records
from armillary.proof.attack.plan import Asked, Attack, Plant
from armillary.proof.attack.stage import Stage
from armillary.proof.attack.suite import ATTACKS
from armillary.services.acting import LOCK, ActConfig, evaluate_policies
from armillary.services.rerun_view import view_rerun

_WORLD, _SETTINGS = "two_rooms", {"image_size": 16}
_CONFIG = ActConfig(episodes=3, world_settings=_SETTINGS, budget=2, workers=1)
# A module of Python's own that nobody imports by accident: it prints a poem.
_MODULE = "this"


def _acting(taken: bool) -> Plant:
    """Ask whether an evaluation begins in a folder where another one is going on.

    Args:
        taken: whether one is.
    """

    def plant(stage: Stage, folder: Path) -> Asked:
        def answer() -> str:
            folder.mkdir(exist_ok=True)
            other = FileLock(folder / LOCK)
            if taken:
                other.acquire(timeout=0)
            try:
                evaluate_policies({"still": NoOpSpec()}, _WORLD, folder, _CONFIG)
            finally:
                other.release()
            return ""

        return Asked(answer)

    return plant


def _doubled(edit: Callable[[Record], Record]) -> Plant:
    """Ask how many episodes an evaluation counts when a record stands in its file twice.

    Args:
        edit: of the second one.
    """

    def plant(stage: Stage, folder: Path) -> Asked:
        acted = {"still": NoOpSpec()}
        evaluate_policies(acted, _WORLD, folder, _CONFIG)
        file = folder / "records" / "still.jsonl"

        def answer() -> str:  # mends the file, so it is damaged each time
            append_record(file, edit(read_records(file)[0]))
            _, records = evaluate_policies(acted, _WORLD, folder, _CONFIG)
            counted = len(records["still"])
            return "" if counted > _CONFIG.episodes else f"{counted} episodes are counted."

        return Asked(answer)

    return plant


def _untouched(stage: Stage, folder: Path) -> Asked:
    """Ask whether an evaluation that nobody touched is counted as it was."""
    acted = {"still": NoOpSpec()}
    evaluate_policies(acted, _WORLD, folder, _CONFIG)

    def answer() -> str:
        _, records = evaluate_policies(acted, _WORLD, folder, _CONFIG)
        return "" if len(records["still"]) == _CONFIG.episodes else "Episodes were lost."

    return Asked(answer)


def _same(record: Record) -> Record:
    return record


def _solved(record: Record) -> Record:
    """Return the record with its goal reached."""
    return replace(record, outcome="success", distances=(*record.distances[:-1], 0.0))


def _shown(world: str, settings: dict[str, Any]) -> Plant:
    """Ask whether showing an evaluation again would import the module that its manifest names.

    Args:
        world: that the manifest names.
        settings: of the world.
    """

    def plant(stage: Stage, folder: Path) -> Asked:
        evaluate_policies({"model": NoOpSpec()}, _WORLD, folder, _CONFIG)
        file = folder / "manifest.json"
        named = replace(load_manifest(file), world=world, settings=settings)
        named.save(file)
        for records in (folder / "records").glob("*.jsonl"):
            theirs = [replace(one, manifest=named.sha256) for one in read_records(records)]
            write_records(records, theirs)

        def answer() -> str:
            sys.modules.pop(_MODULE, None)
            try:
                view_rerun(folder, folder / "shown.rrd")
            except MissingExtraError:
                return ""  # everything but the file's format was made
            except ArmillaryError:
                # what was imported has run, whatever was said afterwards
                if _MODULE not in sys.modules:
                    raise
            return ""

        return Asked(answer)

    return plant


_IMPORTING = f"gym:{_MODULE}:World-v0"
_CHECK = ("armillary.services.rerun_view:check_module",)
ON_COMMANDS: tuple[Attack, ...] = (
    Attack(
        "two_at_once",
        "two evaluations in one folder, each of which would write all episodes",
        _acting(taken=True),
        expected="malformed",
        twin=_acting(taken=False),
        guards=("armillary.services.acting:alone_in",),
    ),
    Attack(
        "counted_twice",
        "a good episode that stands in a file of records twice",
        _doubled(_same),
        twin=_untouched,
        guards=("armillary.services.acting:mend",),
    ),
    Attack(
        "two_outcomes",
        "an episode with two outcomes, the second better",
        _doubled(_solved),
        expected="malformed",
        twin=_untouched,
        guards=("armillary.services.acting:mend",),
    ),
    Attack(
        "shown_world",
        "a manifest whose world would import a module when its episodes are shown",
        _shown(_IMPORTING, {}),
        expected="malformed",
        twin=_shown(_WORLD, _SETTINGS),
        guards=_CHECK,
    ),
    Attack(
        "shown_base",
        "a manifest whose world rests on one that would import a module",
        _shown("perturbed", {"base": _IMPORTING}),
        expected="malformed",
        twin=_shown(_WORLD, _SETTINGS),
        guards=_CHECK,
    ),
)
EVERY_ATTACK: tuple[Attack, ...] = (*ATTACKS, *ON_COMMANDS)
