"""Submitting: put all that a stranger needs into one folder, with the line that checks it."""

from __future__ import annotations

import shutil
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from armillary.core.errors import CheckFailedError, ConfigError
from armillary.core.files import replacing_folder
from armillary.proof.agent import open_agent
from armillary.proof.rows import tuned
from armillary.proof.sandbox import NO_BOUNDARY
from armillary.proof.verify.case import How, load_case
from armillary.proof.verify.submission import Submission, find_submission
from armillary.proof.verify.verdict import Report, verify

_SCRIPT = """#!/bin/sh
exec armillary proof verify "$(dirname "$0")" "$@"
"""
_README = """# {suite}: agent {agent}

{rows}

Seeds: {kind}, {label}. Attempt {k} of this key at this suite. Signed by {owner}.
The agent's process, by its owner's word: {boundary}.

| file | what |
| --- | --- |
| `agent/` | weights, scales and planner: what acted |
| `run/` | suite, environment, episodes, one record per episode, scorecard |
| `ledger.jsonl` | what was promised and done, in order |
| `key.pub` | the public key under all that |

Check it, with armillary {version} installed:

    armillary proof verify .

(`sh verify.sh` does that and nothing else; read it before you run it.)

Exit code 0: it holds; 1: refuted; 2: damaged; 4: cannot be decided here. With your own dice, on
episodes that do not exist yet: `armillary proof challenge .`
"""


def make_submission(where: Submission, out: Path, how: How | None = None) -> Report:
    """Copy agent, run, ledger and public key into one new folder, if they hold together.

    Args:
        where: the parts, wherever they are.
        out: the new folder.
        how: how they are checked first (level 0).

    Raises:
        ConfigError: the folder exists.
        CheckFailedError: the parts do not hold together.
        FormatError: something is missing or damaged.
        StorageError: the disk is full or not writable.
    """
    if out.exists():
        raise ConfigError(f"{out}: exists already; a submission is never changed. Name another.")
    how = how or How()
    case = load_case(where, how)
    open_agent(where.agent)
    with replacing_folder(out) as beside:
        shutil.copytree(where.agent, beside / "agent")
        shutil.copytree(where.run.path, beside / "run", ignore=shutil.ignore_patterns(".*"))
        shutil.copyfile(where.ledger, beside / "ledger.jsonl")
        raw = Ed25519PublicKey.from_public_bytes(case.sources.ledger.owner.raw)
        pem = raw.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (beside / "key.pub").write_bytes(pem)
        (beside / "README.md").write_text(_readme(case.card.value))
        (beside / "verify.sh").write_text(_SCRIPT)
        (beside / "verify.sh").chmod(0o755)
        report = verify(find_submission(beside), how, (0,))
        if report.verdict not in ("accepted", "undecided"):
            raise CheckFailedError(
                f"{where.run.path}: cannot be handed in: {report.refuting[0].detail}"
            )
    return report


def _readme(card: object) -> str:
    from armillary import __version__

    value: dict = dict(card)  # pyrefly: ignore
    rows = "\n".join(
        f"- {row['task']}: {row['succ']} of {row['n']} solved, 95 % {row['ci95'][0]} to "
        f"{row['ci95'][1]}"
        + "".join(f"; {name} {one['succ']}/{one['n']}" for name, one in row["controls"].items())
        + (f"; {tuned(row)}" if tuned(row) else "")
        for row in value["rows"]
    )
    return _README.format(
        suite=value["suite"]["id"],
        agent=value["agent"]["digest"][:16],
        rows=rows,
        kind=value["seed"]["kind"],
        label=value["seed"]["label"],
        k=value["attempts"]["k"],
        owner=value["ledger"]["owner"][:16],
        boundary=value["env"].get("boundary", NO_BOUNDARY),
        version=__version__,
    )
