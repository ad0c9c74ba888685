"""Lies: one in every field of the card and in a record's own hash, told there and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from armillary.core.hashing import file_sha256
from armillary.evaluation.records import read_records, record_line, write_records
from armillary.proof.attack.forge import Forge
from armillary.proof.attack.paper import OTHER, Change, forged, honest_card, one_more, task_names
from armillary.proof.attack.plan import Attack
from armillary.proof.attack.stage import VALUE
from armillary.proof.reveal import local_reveal, secret_hash
from armillary.proof.scorecard import read_card_file
from armillary.proof.verify.sources import file_hash
from armillary.proof.verify.submission import Submission

_CLEAN = {"data": OTHER, "chance": "0" * 10, "tasks": {}}


def _line_hash(forge: Forge) -> None:
    """Write one record with a wrong hash of its own, and tell that file everywhere."""
    task = task_names(forge)[0]
    records, name = forge.rows[task]["agent"], f"{task}/agent"
    wrong = record_line(records[0]).replace(records[0].sha256, OTHER)
    data = (wrong + "".join(record_line(one) for one in records[1:])).encode()
    probe = forge.stage.folder / "wrong-line"
    probe.write_bytes(data)
    honest = dict(honest_card(forge.stage)["episodes"])
    forge.card["episodes"] = {**honest, "files": {**_files(forge), name: file_hash(probe, 1 << 25)}}
    forge.late = lambda where: _overwrite(where.run.records(task, "agent"), data)


def _files(forge: Forge) -> dict[str, str]:
    """Return the hashes of the record files as the forge writes them."""
    found = {}
    probe = forge.stage.folder / "probe.jsonl"
    for task, row in forge.rows.items():
        for actor, records in row.items():
            write_records(probe, records)
            found[f"{task}/{actor}"] = file_sha256(probe)
    return found


def _overwrite(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _told_slower(forge: Forge) -> None:
    """Edit the times of a record, which no hash of a record holds."""
    task = task_names(forge)[0]

    def late(where: Submission) -> None:
        path = where.run.records(task, "agent")
        write_records(path, [replace(one, ms_per_decision=(1.0,)) for one in read_records(path)])

    forge.late = late


def _weak_as_fresh(forge: Forge) -> None:
    forge.commit["secret"] = secret_hash(VALUE)
    forge.reveals = lambda commit: [local_reveal(commit.hash, VALUE)]
    forge.card["seed"] = {"kind": "local", "value": VALUE, "label": "fresh"}


def _hidden_interruption(forge: Forge) -> None:
    note = {"text": "killed; goes on", "kind": "interrupted"}
    forge.between = lambda start: [("note", {**note, "about": start.hash})]
    forge.end["interruptions"] = 1
    forge.card["interruptions"] = 0


def _card(name: str, **fields: Any) -> Change:
    """Return what changes fields of one part of the card, and nothing else."""

    def change(forge: Forge) -> None:
        forge.card[name] = {**honest_card(forge.stage)[name], **fields}

    return change


def _card_ledger(forge: Forge) -> None:
    forge.card["ledger"] = _wrong_root(forge)


def _wrong_root(forge: Forge) -> Mapping[str, Any]:
    """Return the ledger part of the forge's own ledger with another root."""
    with TemporaryDirectory(dir=forge.stage.folder) as folder:
        part = read_card_file(forge.write(Path(folder) / "probe").run.card).value["ledger"]
    return {**part, "root": OTHER}


def _field_lies() -> Iterator[Attack]:
    """Yield one lie in every field of the card, told there and nowhere else."""
    lies: dict[str, Change] = {
        "suite": _card("suite", headline=True),
        "agent": _card("agent", parameters=10**9),
        "rule": _card_value("rule", "best-val"),
        "seed": _weak_as_fresh,
        "rows": one_more,
        "episodes": _told_slower,
        "manifests": _card_value("manifests", {}),
        "interruptions": _hidden_interruption,
        "data": _card_value("data", OTHER),
        "contamination": _card_value("contamination", _CLEAN),
        "env": _card("env", cpu="a machine of another kind"),
        "ledger": _card_ledger,
    }
    for name, change in lies.items():
        rule = f"card.{name}"
        yield Attack(f"card_{name}", f"a lie in the card's {name}", forged(change), alone=rule)


def _card_value(name: str, value: Any) -> Change:
    def change(forge: Forge) -> None:
        forge.card[name] = value

    return change


LIES: tuple[Attack, ...] = (
    Attack("line_hash", "a record with a wrong hash", forged(_line_hash), alone="records.hashes"),
    *_field_lies(),
)
