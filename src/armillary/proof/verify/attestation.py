"""Attestation: a verifier signs what was checked, and how. Only others' keys lift a card's level.

An in-toto statement about the card's hash, like SLSA's verification summary. It lies beside the
card, in ``attestations/``; a card itself never says more than ``self``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from armillary.core.errors import ArmillaryError, CheckFailedError, ConfigError, FormatError
from armillary.core.files import replacing
from armillary.proof.canonical import canonical_bytes, parse_canonical, read_bytes
from armillary.proof.entry import check_time, utc_now
from armillary.proof.envelope import Statement, open_envelope, read_unverified, sign_statement
from armillary.proof.keys import PublicKey, SigningKey, public_key
from armillary.proof.leaderboard_cards import LEVELS, Verdict
from armillary.proof.profiles import facts
from armillary.proof.shapes import (
    Fields,
    Flag,
    Hex,
    ListOf,
    MapOf,
    Name,
    Nullable,
    Text,
    Time,
    Whole,
)
from armillary.proof.verify.audit import LEAST
from armillary.proof.verify.case import How
from armillary.proof.verify.challenging import ALPHA, ENOUGH, Challenged, power_of
from armillary.proof.verify.sampling import POWER, falsified_of, sample_size
from armillary.proof.verify.submission import Submission, find_submission
from armillary.proof.verify.verdict import Report, rules_digest, verify

PREDICATE_TYPE = "urn:armillary:verification:2"
_MAX_FILES, _MAX_BYTES = 64, 1 << 20
_RULE = Fields({"name": Name(), "level": Whole(0, 4), "ok": Nullable(Flag())})
PREDICATE = Fields(
    {
        "v": Whole(2, 2),
        "verifier": Fields({"public_key": Hex(64)}),
        "time": Time(),
        "result": Text(choices=("accepted", "refuted", "undecided")),
        "level": Text(choices=("none", *LEVELS)),
        "nonce": Hex(64),
        "policy": Hex(64),
        "suite": Hex(64),
        "arithmetic": Text(40),
        "rules": ListOf(_RULE, 200),
        "sample": Fields({"decisions": Whole(), "episodes": Whole(), "fresh": Whole()}),
        "env": MapOf(Text(500), 64, Name(40)),
    }
)


@dataclass(frozen=True)
class Attestation:
    """What somebody signed about a card.

    Attributes:
        verifier: who.
        card: SHA-256 of the card's file.
        result: accepted, refuted or undecided.
        level: up to which everything held.
        time: when, by the verifier's own clock.
        sample: how many decisions and episodes were made again, and how many fresh ones were run.
    """

    verifier: PublicKey
    card: str
    result: Literal["accepted", "refuted", "undecided"]
    level: str
    time: str
    sample: Mapping[str, int]


def attest(report: Report, key: SigningKey) -> dict[str, Any]:
    """Return a report as a signed attestation, as JSON values.

    Args:
        report: of a submission that could be read.
        key: the verifier's, which must not be that of the card's owner.

    Raises:
        ConfigError: nothing could be read, or the key is the owner's.
    """
    if report.verdict == "malformed":
        raise ConfigError("What cannot be read cannot be attested; nothing was signed.")
    if report.about["owner"] == key.public.hex:
        raise ConfigError("The key is the one that signed the card; others must attest it.")
    rules = [{"name": r.name, "level": r.level, "ok": r.ok} for r in report.rules]
    predicate = {
        "v": 2,
        "verifier": {"public_key": key.public.hex},
        "time": utc_now(),
        "result": report.verdict,
        "level": report.reached,
        "nonce": report.nonce,
        "policy": rules_digest(),
        "suite": report.about["suite"],
        "arithmetic": report.about["arithmetic"],
        "rules": rules,
        "sample": _sample(report),
        "env": facts(),
    }
    PREDICATE.check(predicate, "attestation")
    subject = {"agent": report.about["agent"], "scorecard": report.about["card"]}
    return sign_statement(Statement(subject, PREDICATE_TYPE, predicate), key)


def _sample(report: Report) -> dict[str, int]:
    """Return how many decisions and episodes were made again, and how many fresh ones were run."""
    values = {rule.name: rule.values or {} for rule in report.rules}
    fresh = values.get("challenge.rate", {}).values()
    return {
        "decisions": int(values.get("audit.actions", {}).get("n", 0)),
        "episodes": int(values.get("rerun.outcomes", {}).get("n", 0)),
        "fresh": sum(int(one["fresh"][1]) for one in fresh),
    }


def write_attestation(folder: Path, report: Report, key: SigningKey) -> Path:
    """Write an attestation under its verifier's and its nonce's name and return the file.

    Raises:
        ConfigError: as ``attest``.
        FormatError: the folder is a link.
        StorageError: the disk is full or not writable.
    """
    if folder.is_symlink():  # a stranger's: nothing is written where it leads
        raise FormatError(f"{folder}: is a link; links are not followed in a submission.")
    path = folder / f"{key.public.id[:16]}-{report.nonce[:8]}.json"
    data = canonical_bytes(attest(report, key))
    with replacing(path) as beside:
        beside.write_bytes(data)
    return path


def read_attestation(path: Path, owner: PublicKey) -> Attestation:
    """Read an attestation and check its signature.

    Raises:
        FormatError: not one.
        CheckFailedError: the signature does not hold, or the card's owner signed it.
    """
    envelope = parse_canonical(read_bytes(path, _MAX_BYTES), str(path))
    statement = read_unverified(envelope, str(path))
    if statement.predicate_type != PREDICATE_TYPE or "scorecard" not in statement.subject:
        raise CheckFailedError(f"{path}: not an attestation about a scorecard.")
    value = statement.predicate
    PREDICATE.check(value, str(path))
    check_time(value["time"], str(path))
    if value["time"] > utc_now(ahead=timedelta(days=1)):
        raise CheckFailedError(f"{path}: is of {value['time']}, which has not come here.")
    verifier = public_key(value["verifier"]["public_key"])
    open_envelope(envelope, [verifier], str(path))
    _refuse_owner(verifier, owner, path)
    card = statement.subject["scorecard"]
    sample = value["sample"]
    return Attestation(verifier, card, value["result"], value["level"], value["time"], sample)


def attestations(
    where: Submission, owner: PublicKey, trusted: Collection[PublicKey] | None = None
) -> tuple[Attestation, ...]:
    """Return the attestations beside a card that hold and are about it; others are left out.

    Args:
        where: the submission.
        owner: who signed the card.
        trusted: whose word counts; None for everybody's but the owner's.

    Raises:
        FormatError: the card cannot be read.
    """
    card = hashlib.sha256(read_bytes(where.run.card, 1 << 26)).hexdigest()
    found = []
    for path in sorted(where.attestations.glob("*.json"))[:_MAX_FILES]:
        try:
            one = read_attestation(path, owner)
        except ArmillaryError:
            continue  # what does not hold says nothing
        if _is_about(one, card) and (trusted is None or one.verifier in trusted):
            found.append(one)
    return tuple(found)


def _refuse_owner(verifier: PublicKey, owner: PublicKey, path: Path) -> None:
    """Refuse a card's owner as its verifier.

    Raises:
        CheckFailedError: the owner signed.
    """
    if verifier == owner:
        raise CheckFailedError(f"{path}: was signed by the card's own key; others must attest.")


def _is_about(one: Attestation, card: str) -> bool:
    return one.card == card


def verdict_of(where: Submission, report: Report, trusted: Collection[PublicKey] = ()) -> Verdict:
    """Return what a leaderboard shows: a check made here, lifted by what trusted keys attested.

    A key costs nothing, so that of a stranger says nothing: an owner has as many as he likes.

    Args:
        where: the submission.
        report: of the check made here.
        trusted: whose word counts.
    """
    if report.verdict != "accepted":
        worst = report.refuting[0].detail if report.refuting else "It cannot be decided here."
        return Verdict("self", report.verdict == "undecided", worst)
    said = attestations(where, public_key(report.about["owner"]), trusted)
    against = [one for one in said if one.result == "refuted"]
    if against:
        return Verdict("self", False, f"Refuted by {against[0].verifier.id[:16]}.")
    held = [one for one in said if one.result == "accepted"]
    reached = {"self", report.reached, *(shown_level(one, report.rows) for one in held)}
    best = [level for level in LEVELS if level in reached][-1]
    keys = len({one.verifier.id for one in held})
    attested = f" Attested by {keys} trusted key{'s' if keys != 1 else ''}." if keys else ""
    return Verdict(best, True, f"Checked here: {report.reached}.{attested}")


def shown_level(one: Attestation, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the level that an attestation counts as: no higher than its sample is large.

    Args:
        one: the attestation.
        rows: of the card.
    """
    solved = {row["task"]: (row["succ"], falsified_of(row["n"])) for row in rows}
    again = sum(sample_size(n, min(wrong, n), POWER) for n, wrong in solved.values() if n)
    audited = one.sample["decisions"] >= min(LEAST, sum(row["n"] for row in rows))
    fresh = (0, one.sample["fresh"] // len(rows))
    played = (Challenged(row["task"], (row["succ"], row["n"]), fresh) for row in rows)
    enough = {
        "audited": audited,
        "rerun": audited and one.sample["episodes"] >= max(again, 1),
        "challenged": fresh[1] > 0
        and all(power_of(part, ALPHA / len(rows)) >= ENOUGH for part in played),
    }
    at = LEVELS.index(one.level) if one.level in LEVELS else 0
    return next((level for level in reversed(LEVELS[: at + 1]) if enough.get(level, True)), "self")


def leaderboard_verdict(
    card: Path,
    levels: Collection[int] = (0, 1),
    trusted: Collection[PublicKey] = (),
    how: How | None = None,
) -> Verdict:
    """Return what a card is worth on a leaderboard; the ``verify`` of ``make_leaderboard``.

    Args:
        card: ``scorecard.json`` of a submission's run.
        levels: that are checked here.
        trusted: keys whose attestations count beside that.
        how: how it is checked; None draws a nonce and takes the defaults.
    """
    try:
        where = find_submission(card)
    except ArmillaryError as error:
        return Verdict("self", False, str(error))
    return verdict_of(where, verify(where, how, levels), trusted)
