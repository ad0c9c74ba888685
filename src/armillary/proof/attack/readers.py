"""Readers: attacks on who reads strangers' files beside ``verify``: boards and ``data verify``."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from armillary.core.values import Episode, Stream
from armillary.data import DatasetWriter, layout
from armillary.data import verify as verify_data
from armillary.data.ingest import clear_leftovers
from armillary.proof.attack.plan import Asked, Attack, Plant
from armillary.proof.attack.stage import OWNER, STRANGER, VERIFIER, Stage
from armillary.proof.canonical import canonical_bytes, parse_json
from armillary.proof.envelope import Statement, read_unverified, sign_statement
from armillary.proof.leaderboard import make_leaderboard
from armillary.proof.leaderboard_cards import Verdict
from armillary.proof.verify.attestation import attest, leaderboard_verdict, verdict_of
from armillary.proof.verify.case import How
from armillary.proof.verify.submission import Submission, find_submission
from armillary.proof.verify.verdict import Report, verify

_NONCE = "8" * 64
_NOBODY = 999_999_999  # no process has so large a number
_LONG_AGO = 1_000_000_000
Edit = Callable[[Path], None]


# --- attestations ---------------------------------------------------------------------------------


def _checked(stage: Stage, levels: tuple[int, ...] = (0, 1, 2), **how: Any) -> Report:
    return verify(stage.honest, How(nonce=_NONCE, suites=(stage.suite,), **how), levels)


def _copied(stage: Stage, folder: Path) -> Submission:
    if not folder.exists():
        shutil.copytree(stage.honest.root, folder)
    return find_submission(folder)


def _hurried(decisions: int) -> Plant:
    """Ask whether an audit of so few decisions, and no episode run again, is called one."""

    def plant(stage: Stage, folder: Path) -> Asked:
        def answer() -> str:
            report = _checked(stage, decisions=decisions)
            return "" if report.level >= 2 else f"It is called {report.reached}, no audit."

        return Asked(answer)

    return plant


def _attested(edit: Callable[[dict[str, Any]], None], key: Any = VERIFIER) -> Plant:
    """Ask how high a board shows a card that a trusted key attests.

    Args:
        edit: changes what the attestation says, before it is signed.
        key: signs it; all of these keys are trusted.
    """

    def plant(stage: Stage, folder: Path) -> Asked:
        where = _copied(stage, folder)
        said = read_unverified(_honestly_attested(stage))
        value, subject = json.loads(json.dumps(dict(said.predicate))), dict(said.subject)
        about = {"value": value, "subject": subject}
        edit(about)
        signed = sign_statement(Statement(subject, said.predicate_type, value), key)
        where.attestations.mkdir(exist_ok=True)
        (where.attestations / "one.json").write_bytes(canonical_bytes(signed))
        trusted = [one.public for one in (OWNER, STRANGER, VERIFIER)]

        report = _checked(stage, (0,))

        def answer() -> str:
            shown = verdict_of(where, report, trusted).level
            return "" if shown not in ("self", "replayed") else f"The board shows {shown}."

        return Asked(answer)

    return plant


def _honestly_attested(stage: Stage) -> Any:
    """Return an honest attestation of the honest card; made once per stage."""
    path = stage.folder / "attested.json"
    if not path.exists():
        path.write_bytes(canonical_bytes(attest(_checked(stage, decisions=80), VERIFIER)))
    return parse_json(path.read_bytes(), str(path))


def _as_it_was(about: dict[str, Any]) -> None:
    """Change nothing."""


def _one_decision(about: dict[str, Any]) -> None:
    about["value"]["level"] = "rerun"
    about["value"]["sample"] = {"decisions": 1, "episodes": 1, "fresh": 0}


def _of_another_card(about: dict[str, Any]) -> None:
    about["subject"]["scorecard"] = "c" * 64


def _of_tomorrow(about: dict[str, Any]) -> None:
    about["value"]["time"] = "2999-01-01T00:00:00Z"


def _of_no_day(about: dict[str, Any]) -> None:
    about["value"]["time"] = "2026-02-31T00:00:00Z"


def _by_its_owner(about: dict[str, Any]) -> None:
    about["value"]["verifier"]["public_key"] = OWNER.public.hex


# --- boards ---------------------------------------------------------------------------------------


def _deep_card(folder: Path) -> None:
    (folder / "run" / "scorecard.json").write_bytes(b"[" * 100_000)


def _linked_card(folder: Path) -> None:
    card = folder / "run" / "scorecard.json"
    card.unlink()
    card.symlink_to("/nowhere")


def _folder_for_card(folder: Path) -> None:
    card = folder / "run" / "scorecard.json"
    card.unlink()
    card.mkdir()


def _torn_ledger(folder: Path) -> None:
    (folder / "ledger.jsonl").write_bytes(b'{"v":1')


def _no_records(folder: Path) -> None:
    shutil.rmtree(folder / "run" / "records")


def _bad_suite(folder: Path) -> None:
    (folder / "run" / "suite.json").write_bytes(b"[]")


def _not_a_number_in_env(folder: Path) -> None:
    (folder / "run" / "env.json").write_bytes(b'{"profile":NaN}')


_BAD: tuple[Edit, ...] = (
    *(_deep_card, _linked_card, _folder_for_card, _torn_ledger),
    *(_no_records, _bad_suite, _not_a_number_in_env),
)


def _board(bad: tuple[Edit, ...]) -> Plant:
    """Ask whether a board still shows an honest card, and names every bad entry beside it."""

    def plant(stage: Stage, folder: Path) -> Asked:
        folder.mkdir()
        shutil.copytree(stage.honest.root, folder / "honest")
        for number, edit in enumerate(bad):
            one = folder / f"bad{number}"
            shutil.copytree(stage.honest.root, one)
            edit(one)

        def checked(card: Path) -> Verdict:
            return leaderboard_verdict(card, (0,), (), How(nonce=_NONCE, suites=(stage.suite,)))

        def answer() -> str:
            found = make_leaderboard(folder, checked)
            shown = {card.name: card.verdict.ok for board in found.boards for card in board.cards}
            if not shown.pop("honest"):
                return ""
            named = len(found.unreadable) + sum(not ok for ok in shown.values())
            if named != len(bad):
                return ""
            return f"The honest card stands, and {named} bad entries are named."

        return Asked(answer)

    return plant


def _honest_board(stage: Stage, folder: Path) -> Asked:
    """Ask whether a board of honest cards alone names no bad entry."""
    folder.mkdir()
    shutil.copytree(stage.honest.root, folder / "honest")

    def answer() -> str:
        found = make_leaderboard(folder)
        return " ".join(found.unreadable)

    return Asked(answer)


# --- data -----------------------------------------------------------------------------------------


def small_recording(folder: Path) -> Path:
    """Write a small recording of noise; return its folder."""
    rng = np.random.default_rng(0)
    writer = DatasetWriter(folder, fps=10, robot_type="noise", task="t")
    for index in range(2):
        shown = rng.integers(0, 255, (4, 16, 16, 3), np.uint8)
        times = np.arange(4, dtype=np.int64) * 10**8
        writer.write(index, Episode({"rgb": Stream("rgb", shown)}, times, None, "noise"))
    writer.finalize()
    return folder


def _data(edit: Edit) -> Plant:
    """Ask whether ``data verify`` calls a dataset whole after something was done to it."""

    def plant(stage: Stage, folder: Path) -> Asked:
        path = small_recording(folder)
        edit(path)

        def answer() -> str:
            report = verify_data(path)
            return "" if report.ok else " ".join(report.problems)

        return Asked(answer)

    return plant


def _in_manifest(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    file = path / layout.MANIFEST
    value = parse_json(file.read_bytes(), str(file))
    edit(value)
    file.write_text(json.dumps(value))


def _hash_left_out(path: Path) -> None:
    """Change the steps of an episode, and leave out their hash."""
    name = layout.steps_file(1)
    shutil.copyfile(path / layout.steps_file(0), path / name)
    _in_manifest(path, lambda value: value["episodes"][1]["files"].pop(name))


def _shared_hash_left_out(path: Path) -> None:
    """Say that another robot recorded it, and leave out the hash of what says so."""
    file = path / layout.INFO
    info = json.loads(file.read_text())
    file.write_text(json.dumps({**info, "robot_type": "another"}))
    _in_manifest(path, lambda value: value["shared"].pop(layout.INFO))


def _no_hashes(path: Path) -> None:
    """Leave out all hashes: a manifest of nothing."""

    def emptied(value: dict[str, Any]) -> None:
        value["shared"] = {}
        value["episodes"] = []

    _in_manifest(path, emptied)


def _manifest_gone(path: Path) -> None:
    (path / layout.MANIFEST).unlink()


def _manifest_leads_out(path: Path) -> None:
    """Let the manifest name a file outside, whose hash the reader then computes."""
    _in_manifest(path, lambda value: value["shared"].update({"../../secret": "0" * 64}))


def _whole(path: Path) -> None:
    """Change nothing."""


# --- leftovers ------------------------------------------------------------------------------------


def _leftover(process: int) -> Plant:
    """Ask whether what an ingest left beside a dataset is still there before the next one.

    Args:
        process: whose it was.
    """

    def plant(stage: Stage, folder: Path) -> Asked:
        part = folder / f".data.{process}.part"

        def answer() -> str:
            part.mkdir(parents=True, exist_ok=True)
            (part / "half.mp4").write_bytes(bytes(1000))
            for path in (part / "half.mp4", part):
                os.utime(path, (_LONG_AGO, _LONG_AGO))
            clear_leftovers(folder / "data")
            return "" if part.exists() else "What a killed ingest left is gone."

        return Asked(answer)

    return plant


_ATTESTATION = "armillary.proof.verify.attestation"
_HASHES = ("armillary.data.verify:_without_hash",)
# Name, what stops it, what is asked, what it is.
_THIN: tuple[tuple[str, tuple[str, ...], Plant, str], ...] = (
    ("attested_thinly", (f"{_ATTESTATION}:shown_level",), _attested(_one_decision),
     "an attestation of one decision that says rerun"),
    ("attested_other_card", (f"{_ATTESTATION}:_is_about",), _attested(_of_another_card),
     "an attestation of another card"),
    ("attested_tomorrow", (f"{_ATTESTATION}:utc_now",), _attested(_of_tomorrow),
     "an attestation of a time to come"),
    ("attested_no_day", (f"{_ATTESTATION}:check_time",), _attested(_of_no_day),
     "an attestation of 31 February"),
    ("attested_by_owner", (f"{_ATTESTATION}:_refuse_owner",), _attested(_by_its_owner, OWNER),
     "an attestation by the card's own key"),
)  # fmt: skip
# The same for what is said of a dataset, and how it ends.
_DATA: tuple[tuple[str, tuple[str, ...], Edit, str], ...] = (
    ("hash_left_out", _HASHES, _hash_left_out, "a changed file whose hash is left out"),
    ("shared_hash_left_out", _HASHES, _shared_hash_left_out,
     "another robot's name, whose hash is left out"),
    ("no_hashes", _HASHES, _no_hashes, "a manifest without any hash"),
)  # fmt: skip
_DATA_REFUSED: tuple[tuple[str, tuple[str, ...], Edit, str], ...] = (
    ("manifest_gone", ("armillary.data.layout:ABOUT",), _manifest_gone,
     "a dataset whose manifest was taken away"),
    ("manifest_leads_out", ("armillary.data.layout:is_inside",), _manifest_leads_out,
     "a manifest that names files outside the dataset"),
)  # fmt: skip
READERS: tuple[Attack, ...] = (
    Attack(
        "hurried_audit",
        "an audit of a single decision",
        _hurried(1),
        twin=_hurried(80),
        guards=("armillary.proof.verify.verdict:_too_weak",),
    ),
    *(
        Attack(name, about, plant, twin=_attested(_as_it_was), guards=guards)
        for name, guards, plant, about in _THIN
    ),
    Attack(
        "bad_entries",
        "a board with seven entries that cannot be read",
        _board(_BAD),
        twin=_honest_board,
        guards=("armillary.proof.leaderboard:_entries",),
    ),
    *(
        Attack(name, about, _data(edit), twin=_data(_whole), guards=guards)
        for name, guards, edit, about in _DATA
    ),
    *(
        Attack(name, about, _data(edit), expected="malformed", twin=_data(_whole), guards=guards)
        for name, guards, edit, about in _DATA_REFUSED
    ),
    Attack(
        "killed_ingest",
        "what a killed ingest left beside a dataset",
        _leftover(_NOBODY),
        twin=_leftover(os.getpid()),
        guards=("armillary.data.ingest:_is_alive",),
    ),
)
