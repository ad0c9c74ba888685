"""Reported: reports on training data that nobody made, or that are about other data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from armillary.proof.attack.forge import Forge
from armillary.proof.attack.paper import OTHER, rerun
from armillary.proof.attack.plan import Attack, Plant, Planted
from armillary.proof.attack.stage import Stage
from armillary.proof.attack.teaching import recorded
from armillary.proof.contamination_report import report_contamination, write_report
from armillary.proof.data_manifest import data_digest, write_data_manifest

_DRAWS = 100
_CHANCE = "0" * 10


def _told(forge: Forge, data: str, **found: Any) -> dict[str, Any]:
    """Return a report that says the same of every task, and that nobody made."""
    said = {"verdict": "accepted", "exact": 0, **found}
    names = [task.name for task in forge.suite.tasks]
    return {"data": data, "chance": _CHANCE, "tasks": dict.fromkeys(names, said)}


def _written(forge: Forge, folder: Path, report: dict[str, Any]) -> Forge:
    """Put a report into a submission's folder before the rest of it is written."""
    (folder / "run").mkdir(parents=True)
    write_report(folder / "run" / "contamination.json", report)
    return forge


def _made_up(data: str = OTHER, named: str = OTHER, tasks: bool = True, **found: Any) -> Plant:
    """Return what hands in a report that was made up.

    Args:
        data: digest of the data that it is about.
        named: digest that the commit names.
        tasks: whether the report is about the suite's tasks.
        found: what it says.
    """

    def plant(stage: Stage, folder: Path) -> Planted:
        forge = Forge.of(stage)
        forge.commit["data"] = named
        report = _told(forge, data, **found)
        report = report if tasks else {**report, "tasks": {}}
        return Planted(_written(forge, folder, report).write(folder))

    return plant


def _true(stage: Stage, folder: Path) -> Planted:
    """Hand in the report that the owner's own check made, and show the data."""
    return _shown(stage, folder, {})


def _other_numbers(stage: Stage, folder: Path) -> Planted:
    """Hand in the report with another number in it, and show the data."""
    return _shown(stage, folder, {"exact": 7})


def _shown(stage: Stage, folder: Path, change: dict[str, Any]) -> Planted:
    forge, data = Forge.of(stage), recorded(stage)
    # one task: a report takes seconds for each
    forge.suite = replace(stage.suite, id="attack-reported", tasks=stage.suite.tasks[:1])
    forge.rows = {task.name: forge.rows[task.name] for task in forge.suite.tasks}
    rerun(forge)
    with TemporaryDirectory() as spare:
        forge.commit["data"] = data_digest(write_data_manifest(data, Path(spare)))
    acted = {task: row["agent"] for task, row in forge.rows.items()}
    report = report_contamination(data, forge.drawn, acted, draws=_DRAWS)
    report["tasks"] = {name: {**found, **change} for name, found in report["tasks"].items()}
    how = {"data": data, "draws": _DRAWS, "suites": (forge.suite,)}
    return Planted(_written(forge, folder, report).write(folder), how)


REPORTED: tuple[Attack, ...] = (
    Attack(
        "report_on_others",
        "a report on other training data than the commit names",
        _made_up(data="e" * 64),
        alone="data.report",
        twin=_made_up(),
    ),
    Attack(
        "report_on_nothing",
        "a report that names no task of the suite",
        _made_up(tasks=False),
        alone="data.report",
        twin=_made_up(),
    ),
    Attack(
        "report_contradicts",
        "a report that accepts what its own number refuses",
        _made_up(p="0.0000"),
        alone="data.report",
        twin=_made_up(p="0.2000"),
    ),
    Attack(
        "report_made_up",
        "a report that does not come out again when the data are shown",
        _other_numbers,
        alone="data.report",
        twin=_true,
    ),
)
