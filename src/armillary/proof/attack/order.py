"""Order: attacks on when things happened, and on results that were taken back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from armillary.proof.attack.forge import TIME, Forge
from armillary.proof.attack.paper import OTHER, Change, forged
from armillary.proof.attack.plan import Attack
from armillary.proof.attack.stage import OWNER, VALUE, VERIFIER
from armillary.proof.entry import Entry, make_entry, sign_entry
from armillary.proof.keys import PublicKey
from armillary.proof.ledger import read_entries
from armillary.proof.note import cosign
from armillary.proof.order import history_of
from armillary.proof.reveal import nonce_reveal
from armillary.proof.verify.submission import Submission

_EARLIER, _FAR = "2019-01-01T00:00:00Z", "2999-01-01T00:00:00Z"
_UNBORN = "2026-02-31T25:00:00Z"
# The neutral element, and what anybody writes under any message for it.
ANYBODY = PublicKey(bytes([1]) + bytes(31))
ANYBODY_SIGNED = "AQ" + "A" * 84 + "=="
_KEY = "sig"


def _last_at(time: str) -> Change:
    """Enter a last note at a time of one's choice, signed like all others."""

    def entries(every: list[Entry]) -> list[Entry]:
        note = make_entry(every[-1], "note", {"text": "all is well"}, OWNER, TIME)
        return [*every, sign_entry(replace(note, t=time), OWNER)]

    def change(forge: Forge) -> None:
        forge.entries = entries

    return change


def _impossible_time(forge: Forge) -> None:
    """Date the last entry to a day that there is not, when all else is written."""

    def late(where: Submission) -> None:
        note = make_entry(read_entries(where.ledger)[-1], "note", {"text": "x"}, OWNER, TIME)
        line = sign_entry(replace(note, t=_UNBORN), OWNER).line
        where.ledger.write_bytes(where.ledger.read_bytes() + line)

    forge.late = late


def _value_known(forge: Forge) -> None:
    """Reveal the value for an earlier commit, look at its episodes, and commit again."""
    named = {"id": forge.suite.id, "digest": forge.suite.digest}
    tried = {"suite": named, "agent": OTHER, "parameters": 1, "rule": "none"}
    forge.earlier = [
        ("suite", named),
        ("commit", tried),
        ("reveal", lambda entries: nonce_reveal(entries[-1].hash, VALUE, VERIFIER)),
    ]


def _nonce_of_another(forge: Forge) -> None:
    """Use a nonce that somebody signed for another commit, whose episodes are known."""

    def reveals(commit: Entry) -> list[Mapping[str, Any]]:
        return [{**nonce_reveal(OTHER, VALUE, VERIFIER), "commit": commit.hash}]

    forge.reveals = reveals


def _nonce_of_anybody(forge: Forge) -> None:
    """Sign a nonce of one's own with a key for which everybody can sign."""

    def reveals(commit: Entry) -> list[Mapping[str, Any]]:
        body = {"commit": commit.hash, "kind": "nonce", "value": VALUE}
        return [{**body, "by": ANYBODY.hex, _KEY: ANYBODY_SIGNED}]

    forge.reveals = reveals


def _owner_anybody(forge: Forge) -> None:
    """Name a key of small order as the owner's, so that nobody in particular can be blamed."""

    def late(where: Submission) -> None:
        text = where.ledger.read_bytes()
        where.ledger.write_bytes(text.replace(OWNER.public.hex.encode(), ANYBODY.hex.encode()))

    forge.late = late


def _run_again(forge: Forge) -> None:
    """Run the same episodes twice, and show the better run."""
    forge.runs = 2


def _interruption_unsaid(forge: Forge) -> None:
    """Kill the run, go on, and end it as if it had gone through."""
    note = {"text": "killed; goes on", "kind": "interrupted"}
    forge.between = lambda start: [("note", {**note, "about": start.hash})]


def _ends_with(kind: str, body: Callable[[list[Entry]], Mapping[str, Any]]) -> Change:
    """Append an entry of a kind that the ledger's own rules refuse."""

    def entries(every: list[Entry]) -> list[Entry]:
        return [*every, make_entry(every[-1], kind, body(every), OWNER, TIME)]

    def change(forge: Forge) -> None:
        forge.entries = entries

    return change


def _false_witness(every: list[Entry]) -> Mapping[str, Any]:
    return cosign(every[0].hash, len(every), OTHER, VERIFIER, 1_700_000_000)


def _anybody_s_witness(every: list[Entry]) -> Mapping[str, Any]:
    root = history_of(every).roots[-1].hex()
    body = cosign(every[0].hash, len(every), root, VERIFIER, 1_700_000_000)
    return {**body, "by": ANYBODY.hex, _KEY: ANYBODY_SIGNED}


def _true_witness(every: list[Entry]) -> Mapping[str, Any]:
    root = history_of(every).roots[-1].hex()
    return cosign(every[0].hash, len(every), root, VERIFIER, 1_700_000_000)


def _trained(*steps: int, weights: str = "") -> Change:
    """Enter a training with checkpoints at these steps, and commit to the agent that it ends in."""

    def change(forge: Forge) -> None:
        named = {"id": forge.suite.id, "digest": forge.suite.digest}
        start = {"run": "long", "config": OTHER, "seed": "0", "data": [], "rule": "last"}
        end = {"run": "long", "step": 1000, "digest": weights or forge.agent.weights}
        kept = [("ckpt", {"run": "long", "step": step, "digest": OTHER}) for step in steps]
        forge.earlier = [("suite", named), ("train_start", start), *kept, ("train_end", end)]
        forge.commit |= {"train": "long", "rule": "last"}

    return change


def _taken_back(*kinds: str, after: Change = lambda forge: None) -> Change:
    """Take back the last entry of each of these kinds, one after the other.

    Args:
        kinds: types of entries; ``retract`` takes a retraction back.
        after: another change before it.
    """

    def late(where: Submission) -> None:
        for kind in kinds:
            entries = read_entries(where.ledger)
            last = next(entry for entry in reversed(entries) if entry.type == kind)
            body = {"entry": last.hash, "reason": "the simulator was set up wrongly"}
            line = make_entry(entries[-1], "retract", body, OWNER, TIME).line
            where.ledger.write_bytes(where.ledger.read_bytes() + line)

    def change(forge: Forge) -> None:
        after(forge)
        forge.late = late

    return change


def _note_taken_back(forge: Forge) -> None:
    """Take back a note that nothing rests on."""
    _ends_with("note", lambda every: {"text": "it rained"})(forge)
    _taken_back("note", after=lambda forge: None)(forge)


def _tried_on(forge: Forge) -> None:
    """Commit four more agents after the card, and show the card of the first: it was the best."""

    def late(where: Submission) -> None:
        named = {"id": forge.suite.id, "digest": forge.suite.digest}
        for number in range(4):
            entries = read_entries(where.ledger)
            body = {"suite": named, "agent": f"{number}" * 64, "parameters": 1, "rule": "none"}
            line = make_entry(entries[-1], "commit", body, OWNER, TIME).line
            where.ledger.write_bytes(where.ledger.read_bytes() + line)

    forge.late = late


_ORDER = "ledger.order"
# Name, the one rule that catches it, the change, and what it is.
_ALONE: tuple[tuple[str, str, Change, str], ...] = (
    ("clock_back", "ledger.chain", _last_at(_EARLIER), "an entry that is dated back"),
    ("value_known", _ORDER, _value_known, "episodes that were known before the commit"),
    ("nonce_of_another", _ORDER, _nonce_of_another, "a nonce that was signed for another commit"),
    ("run_again", _ORDER, _run_again, "the same episodes run twice, the better run shown"),
    ("interruption_unsaid", _ORDER, _interruption_unsaid, "a run that was killed and says no"),
    ("two_births", _ORDER, _ends_with("genesis", lambda every: every[0].body),
     "a ledger that begins again in its middle"),
    ("anchor_of_nothing", _ORDER,
     _ends_with("anchor", lambda every: {"entry": OTHER, "kind": "drand", "proof": ""}),
     "an anchor of an entry that there is not"),
    ("training_back", _ORDER, _trained(500, 100), "a training that went back to the best step"),
    ("card_taken_back", "ledger.retracted", _taken_back("score"), "a card that was taken back"),
    ("commit_taken_back", "ledger.retracted", _taken_back("commit"),
     "a commit that was taken back"),
    ("retraction_taken_back", "ledger.retracted", _taken_back("run_start", "retract"),
     "a retraction that was taken back in its turn"),
)  # fmt: skip
ORDER: tuple[Attack, ...] = (
    *(Attack(name, about, forged(change), alone=rule) for name, rule, change, about in _ALONE),
    Attack(
        "training_taken_back",
        "a result of a training that was taken back",
        forged(_taken_back("train_end", after=_trained())),
        alone="ledger.retracted",
        twin=forged(_trained(100, 500)),
    ),
    Attack(
        "witness_made_up",
        "a witness who signed another past",
        forged(_ends_with("cosign", _false_witness)),
        alone=_ORDER,
        twin=forged(_ends_with("cosign", _true_witness)),
    ),
    Attack(
        "witness_anybody",
        "a witness with a key for which anybody can sign",
        forged(_ends_with("cosign", _anybody_s_witness)),
        alone=_ORDER,
        twin=forged(_ends_with("cosign", _true_witness)),
        guards=("armillary.proof.keys:small_order",),
    ),
    Attack(
        "nonce_of_anybody",
        "a nonce of one's own, signed with a key for which anybody can sign",
        forged(_nonce_of_anybody),
        alone=_ORDER,
        guards=("armillary.proof.keys:small_order",),
    ),
    Attack(
        "owner_anybody",
        "a ledger whose key is one for which anybody can sign",
        forged(_owner_anybody),
        expected="malformed",
        guards=("armillary.proof.keys:small_order",),
    ),
    Attack(
        "impossible_time",
        "an entry of 31 February, 25 o'clock",
        forged(_impossible_time),
        expected="malformed",
        guards=("armillary.proof.entry:check_time",),
    ),
    Attack(
        "time_to_come",
        "an entry of a time to come",
        forged(_last_at(_FAR)),
        alone="ledger.clock",
        expected="undecided",
    ),
    Attack(
        "first_of_five",
        "four more attempts after the card, the first shown because it was the best",
        forged(_tried_on),
        expected="exposed",
        shows="attempts.later",
        twin=forged(_note_taken_back),
    ),
)
