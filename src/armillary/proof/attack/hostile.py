"""Hostile: files that attack their reader: odd JSON, odd shapes, links, sizes, names of modules.

Most are refused before anything is judged: ``malformed``, exit code 2, one sentence.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from armillary.core.errors import FormatError
from armillary.evaluation.carry import Decision
from armillary.evaluation.records import Record
from armillary.proof.attack.forge import Forge
from armillary.proof.attack.paper import Change, first_failed, forged, task_names
from armillary.proof.attack.plan import AUDIT, Asked, Attack, Plant
from armillary.proof.attack.stage import Stage
from armillary.proof.canonical import canonical_bytes
from armillary.proof.verify.case import How
from armillary.proof.verify.submission import Submission
from armillary.proof.verify.verdict import verify

_DEEP = 100
_TENSORS = 100_000
_SPARSE = 2 << 30
# A module of Python's own that nobody imports by accident: it prints a poem.
_MODULE = "this"


def _edited(place: Callable[[Submission, str], Path], edit: Callable[[bytes], bytes]) -> Change:
    """Return what edits one file when all else is written; it gets the first task's name."""

    def change(forge: Forge) -> None:
        task = task_names(forge)[0]

        def late(where: Submission) -> None:
            path = place(where, task)
            path.write_bytes(edit(path.read_bytes()))

        forge.late = late

    return change


def _records(where: Submission, task: str) -> Path:
    return where.run.records(task, "agent")


def _in_body(edit: Callable[[dict[str, Any]], None]) -> Change:
    """Return what edits the body of the first record of the agent."""

    def edited(data: bytes) -> bytes:
        first, _, rest = data.partition(b"\n")
        value = json.loads(first)
        edit(value["body"])
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode() + b"\n" + rest

    return _edited(_records, edited)


def _twice(data: bytes) -> bytes:
    """Say the outcome twice: the first says success, the second what was."""
    return data.replace(b'"outcome":', b'"outcome":"success","outcome":', 1)


def _not_a_number(body: dict[str, Any]) -> None:
    body["distances"][0] = float("nan")


def _nested(body: dict[str, Any]) -> None:
    value: Any = {}
    for _ in range(_DEEP):
        value = {"a": value}
    body["decisions"][0]["carry"] = value


def _unknown_field(body: dict[str, Any]) -> None:
    body["note"] = "carried along unseen"


def _wrong_type(body: dict[str, Any]) -> None:
    body["goal_seed"] = str(body["goal_seed"])


def _large_integer(body: dict[str, Any]) -> None:
    body["seed"] = 2**60 + 1


def _shape_of_text(body: dict[str, Any]) -> None:
    body["decisions"][1]["carry"]["mean"]["shape"] = "wide"


def _carried(edit: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    """Return what changes what the planner carried into every decision but the first, everywhere.

    The records are consistent: whoever reads them alone finds nothing.
    """

    def changed(record: Record) -> Record:
        later = [replace(one, carry=edit(dict(one.carry))) for one in record.decisions[1:]]
        return replace(record, decisions=(*record.decisions[:1], *later))

    def change(forge: Forge) -> None:
        for task in task_names(forge):
            forge.rows[task]["agent"] = [changed(one) for one in forge.rows[task]["agent"]]

    return change


def _tensor(shape: list[int], raw: bytes) -> dict[str, Any]:
    return {"shape": shape, "float32": base64.b64encode(raw).decode()}


def _huge_shape(carry: dict[str, Any]) -> dict[str, Any]:
    return {**carry, "mean": {**carry["mean"], "shape": [1 << 20] * 6}}


def _infinite(carry: dict[str, Any]) -> dict[str, Any]:
    shape = carry["mean"]["shape"]
    return {**carry, "mean": _tensor(shape, np.full(shape, np.nan, "<f4").tobytes())}


def _torn_floats(carry: dict[str, Any]) -> dict[str, Any]:
    return {**carry, "mean": _tensor(carry["mean"]["shape"], b"abc")}


def _no_base64(carry: dict[str, Any]) -> dict[str, Any]:
    return {**carry, "mean": {**carry["mean"], "float32": "not base64!"}}


def _nothing(carry: dict[str, Any]) -> dict[str, Any]:
    return {}


def _cut_short(forge: Forge) -> None:
    """End an episode at the moment when it was near the goal, before the budget was used up."""
    task = task_names(forge)[0]
    place = first_failed(forge, task)
    one = forge.rows[task]["agent"][place]
    near = (*one.distances[:2], one.success_distance / 2)
    forge.rows[task]["agent"][place] = replace(
        one,
        outcome="success",
        distances=near,
        actions=one.actions[:2],
        decisions=one.decisions[:2],
    )


def _other_seed(forge: Forge) -> None:
    task = task_names(forge)[0]
    one = forge.rows[task]["agent"][0]
    forge.rows[task]["agent"][0] = replace(one, seed=one.seed + 1)


def _privileged(forge: Forge) -> None:
    """Let the agent see the simulator's state, and say so where nobody reads."""
    task = task_names(forge)[0]
    rows = forge.rows[task]["agent"]
    forge.rows[task]["agent"] = [replace(one, privileged=True) for one in rows]


def _control_decides(forge: Forge) -> None:
    """Carry something along in a control's record."""
    task = task_names(forge)[0]
    rows = forge.rows[task]["random"]
    forge.rows[task]["random"] = [
        replace(rows[0], decisions=(Decision(0, 0, None, {}),)),
        *rows[1:],
    ]


def _key_leads_nowhere(forge: Forge) -> None:
    def late(where: Submission) -> None:
        where.key.unlink()
        where.key.symlink_to("/nowhere")

    forge.late = late


def _attestations_lead_out(forge: Forge) -> None:
    elsewhere = forge.stage.folder

    def late(where: Submission) -> None:
        where.attestations.symlink_to(elsewhere)

    forge.late = late


def _environment_is_a_pipe(forge: Forge) -> None:
    def late(where: Submission) -> None:
        where.run.env.unlink()
        os.mkfifo(where.run.env)

    forge.late = late


def _sparse(forge: Forge) -> None:
    """Add a file of two gigabytes that takes no room on its owner's disk."""

    def late(where: Submission) -> None:
        with (where.run.path / "more.bin").open("wb") as file:
            file.truncate(_SPARSE)

    forge.late = late


def _many_tensors(forge: Forge) -> None:
    """Put more tensors of no numbers into the weights than anybody wants to list."""

    def late(where: Submission) -> None:
        empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
        header = json.dumps({f"t{n}": empty for n in range(_TENSORS)}).encode()
        path = where.agent / "model.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header)

    forge.late = late


def _pickled(forge: Forge) -> None:
    def late(where: Submission) -> None:
        (where.agent / "model.pkl").write_bytes(pickle.dumps(0))

    forge.late = late


def _config(where: Submission, task: str) -> Path:
    return where.agent / "config.json"


def _architecture_twice(data: bytes) -> bytes:
    return data.replace(b'"architecture":', b'"architecture": "other", "architecture":', 1)


def _card(where: Submission, task: str) -> Path:
    return where.run.card


def _spaced(data: bytes) -> bytes:
    return json.dumps(json.loads(data), indent=1).encode()


def _other_base64(data: bytes) -> bytes:
    """Spell the last character of the payload otherwise, where its last bits mean nothing."""
    value = json.loads(data)
    padding = len(value["payload"]) - len(value["payload"].rstrip("="))
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    if not padding:  # a signature of 64 bytes always has two characters of it
        sig = value["signatures"][0]
        last = letters[letters.index(sig["sig"][-3]) | 1]
        sig["sig"] = f"{sig['sig'][:-3]}{last}=="
        return canonical_bytes(value)
    body = value["payload"].rstrip("=")
    value["payload"] = body[:-1] + letters[letters.index(body[-1]) | 1] + "=" * padding
    return canonical_bytes(value)


def _suite_imports(world: str, settings: dict[str, Any]) -> Plant:
    """Name a module in the suite that making the world would import, and so run."""

    def plant(stage: Stage, folder: Path) -> Asked:
        forge = Forge.of(stage)

        def late(where: Submission) -> None:
            value = json.loads(where.run.suite.read_bytes())
            value["tasks"][0] |= {"world": world, "settings": settings}
            where.run.suite.write_bytes(canonical_bytes(value))

        forge.late = late
        where = forge.write(folder)

        def answer() -> str:
            sys.modules.pop(_MODULE, None)
            report = verify(where, How(nonce="8" * 64, suites=(stage.suite,)), (0,))
            # what was imported has run, whatever is said afterwards
            if _MODULE not in sys.modules:
                raise FormatError(report.rules[0].detail)
            return ""

        return Asked(answer)

    return plant


def _verified_honest(stage: Stage, folder: Path) -> Asked:
    def answer() -> str:
        report = verify(stage.honest, How(nonce="8" * 64, suites=(stage.suite,)), (0,))
        return "" if report.verdict == "accepted" else report.rules[0].detail

    return Asked(answer)


_PROOF = "armillary.proof"
_RECORDS, _LINK = f"{_PROOF}.verify.records", f"{_PROOF}.verify.submission:_check_link"
# Name, what refuses it, the change, and what it is.
_REFUSED: tuple[tuple[str, tuple[str, ...], Change, str], ...] = (
    ("key_twice", (f"{_PROOF}.canonical:_object",), _edited(_records, _twice),
     "a record whose outcome stands there twice"),
    ("not_a_number", (f"{_PROOF}.canonical:_refuse", f"{_PROOF}.shapes:Number.check"),
     _in_body(_not_a_number), "a distance that is not a number"),
    ("nested", (f"{_PROOF}.canonical:_bound", f"{_RECORDS}:_CARRY"), _in_body(_nested),
     "a record with a hundred brackets in each other"),
    ("unknown_field", (f"{_PROOF}.shapes:Fields.check",), _in_body(_unknown_field),
     "a record with a field that nobody knows"),
    ("wrong_type", (f"{_PROOF}.shapes:Whole.check",), _in_body(_wrong_type),
     "a seed that is text"),
    ("large_integer", (f"{_PROOF}.canonical:_integer", f"{_PROOF}.shapes:Whole.check"),
     _in_body(_large_integer), "a seed that other readers round"),
    ("shape_of_text", (f"{_RECORDS}:_CARRY",), _in_body(_shape_of_text),
     "a planner's state whose shape is a word"),
    ("key_leads_nowhere", (_LINK,), _key_leads_nowhere, "a key that is a link to nowhere"),
    ("attestations_lead_out", (_LINK,), _attestations_lead_out,
     "attestations that are a link to another folder"),
    ("a_pipe", (), _environment_is_a_pipe, "a pipe in place of a file, which nobody writes into"),
    ("sparse", (f"{_PROOF}.verify.submission:_check_sizes",), _sparse,
     "two gigabytes of nothing beside the records"),
    ("many_tensors", (f"{_PROOF}.agent:_check_header",), _many_tensors,
     "weights with a hundred thousand tensors"),
    ("pickled", (f"{_PROOF}.agent:FILES",), _pickled, "a pickle in the agent's folder"),
    ("architecture_twice", (f"{_PROOF}.agent:parse_json",), _edited(_config, _architecture_twice),
     "an agent whose architecture stands there twice"),
    ("card_spaced", (f"{_PROOF}.scorecard:parse_canonical",), _edited(_card, _spaced),
     "a card with another text for the same value"),
    ("other_base64", (f"{_PROOF}.envelope:from_base64",), _edited(_card, _other_base64),
     "a card with another base64 for the same bytes"),
)  # fmt: skip
# Name, the change, and what it is: a planner's state that no planner leaves behind.
_CARRIED: tuple[tuple[str, Change, str], ...] = (
    ("huge_shape", _carried(_huge_shape), "planner states of 10^36 numbers, by their shape"),
    ("infinite", _carried(_infinite), "planner states that are not numbers"),
    ("torn_floats", _carried(_torn_floats), "planner states of three bytes"),
    ("no_base64", _carried(_no_base64), "planner states that are no base64"),
    ("states_left_out", _carried(_nothing), "planner states left out"),
)
HOSTILE: tuple[Attack, ...] = (
    *(
        Attack(name, about, forged(change), expected="malformed", guards=guards)
        for name, guards, change, about in _REFUSED
    ),
    *(Attack(name, about, forged(change), AUDIT) for name, change, about in _CARRIED),
    Attack(
        "cut_short",
        "an episode that ends where it was near the goal",
        forged(_cut_short),
        alone="records.counts",
    ),
    Attack("other_seed", "an episode of another seed", forged(_other_seed), alone="records.rows"),
    Attack(
        "privileged",
        "an agent that saw the simulator's state",
        forged(_privileged),
        alone="records.rows",
    ),
    Attack(
        "control_decides",
        "something carried along in a control's record",
        forged(_control_decides),
        alone="records.rows",
    ),
    Attack(
        "suite_imports",
        "a suite whose world would import a module",
        _suite_imports(f"gym:{_MODULE}:World-v0", {}),
        expected="malformed",
        twin=_verified_honest,
        guards=(f"{_PROOF}.verify.sources:load_suite",),
    ),
    Attack(
        "base_imports",
        "a suite whose world rests on one that would import a module",
        _suite_imports("perturbed", {"base": f"gym:{_MODULE}:World-v0"}),
        expected="malformed",
        twin=_verified_honest,
        guards=(f"{_PROOF}.verify.sources:load_suite",),
    ),
)
