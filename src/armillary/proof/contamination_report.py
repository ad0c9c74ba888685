"""Contamination report: what a scorecard says of training data, from a check of the owner's own.

``contamination.json`` in a run's folder, canonical. It is the owner's word until somebody who has
the data checks it again with dice of their own (``verify --data``). Numbers are integers or decimal
text.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from armillary.core.files import replacing
from armillary.core.progress import Progress, silent
from armillary.data import Dataset, open_dataset
from armillary.evaluation.manifest import Manifest
from armillary.evaluation.records import Record
from armillary.proof.canonical import canonical_bytes, read_canonical
from armillary.proof.code import QUADRUPLETS
from armillary.proof.contamination import Contamination, Thoroughness, check_contamination
from armillary.proof.contamination_rules import ALPHA
from armillary.proof.data_manifest import data_digest, write_data_manifest
from armillary.proof.evaluations import manifest_evaluation
from armillary.proof.shapes import Decimal as Digits
from armillary.proof.shapes import Fields, Hex, MapOf, Name, Text, Whole
from armillary.worlds.stage.crossing import STEPS

_DIGITS = Digits(40)
_FOUND = Fields(
    {"verdict": Text(choices=("accepted", "refuted", "undecided")), "exact": Whole()},
    {"state_nn": _DIGITS, "null": _DIGITS, "p": _DIGITS},
)
REPORT = Fields({"data": Hex(64), "chance": Hex(10), "tasks": MapOf(_FOUND, 64, Name(40))})
_PICTURES = 13  # first ones of an episode that are held against the data
_LEAST_STEPS = 4


def report_contamination(
    dataset: Path,
    manifests: Mapping[str, Manifest],
    records: Mapping[str, Sequence[Record]],
    progress: Progress = silent,
    draws: int = 400,
) -> dict[str, Any]:
    """Hold training data against the episodes of a run; return the report.

    Args:
        dataset: what the agent learned from.
        manifests: of the run, by task.
        records: of the agent, by task: their trajectories are compared too.
        progress: told about each training episode.
        draws: independent episodes that they are compared with.

    Raises:
        DatasetError: the data cannot be read.
    """
    chance = secrets.token_hex(5)
    with TemporaryDirectory() as folder:
        digest = data_digest(write_data_manifest(dataset, Path(folder)))
    opened, tasks = open_dataset(dataset), {}
    for name, manifest in manifests.items():
        how = Thoroughness(int(chance, 16), draws)
        found = held_against(opened, manifest, records[name], how, progress)
        tasks[name] = {"verdict": found.verdict, **found.for_scorecard()}
    return {"data": digest, "chance": chance, "tasks": tasks}


def held_against(
    dataset: Dataset,
    manifest: Manifest,
    records: Sequence[Record],
    how: Thoroughness,
    progress: Progress = silent,
) -> Contamination:
    """Hold training data against the episodes of one task, in their first pictures.

    Args:
        dataset: what the agent learned from.
        manifest: the task's episodes.
        records: of the agent.
        how: how much is compared; its ``pictures`` follow from the task's budget.
        progress: told about each training episode.

    Raises:
        DatasetError: the data cannot be read.
    """
    shown = STEPS if manifest.world == QUADRUPLETS else manifest.budget
    steps = max(min(shown, _PICTURES - 1), _LEAST_STEPS)
    evaluation = manifest_evaluation(manifest, how.chance, records, steps)
    return check_contamination(dataset, evaluation, replace(how, pictures=steps + 1), progress)


def report_problem(
    report: Mapping[str, Any], commit: Mapping[str, Any], tasks: Collection[str]
) -> str:
    """Return what in a report contradicts the rest or itself; empty where nothing does.

    Args:
        report: as ``read_report`` gives it.
        commit: its body.
        tasks: of the suite.
    """
    if commit.get("data") not in (None, report["data"]):
        return "The report is about other training data than the commit names."
    if set(report["tasks"]) != set(tasks):
        return "The report is about other tasks than the suite has."
    for task, found in sorted(report["tasks"].items()):
        p = Decimal(found.get("p", "1"))
        if not 0 <= p <= 1 or (found["verdict"] == "accepted" and p < Decimal(str(ALPHA))):
            return f"The report says {found['verdict']} of {task}, and p = {p}; both cannot be."
    return ""


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write ``contamination.json``, in one step.

    Raises:
        StorageError: the disk is full or not writable.
    """
    with replacing(path) as beside:
        beside.write_bytes(canonical_bytes(dict(report)))


def read_report(path: Path) -> dict[str, Any] | None:
    """Read ``contamination.json``; None where there is none.

    Raises:
        FormatError: it is something else.
    """
    if not path.exists():
        return None
    value = read_canonical(path)
    REPORT.check(value, str(path))
    return value
