"""Mutating: files changed at random, and what must hold of whoever reads them all the same.

A number names a mutation, so that it can be made again. Of each it is asked: does it end in a value
or a sentence, never in a traceback; is what is accepted what was there before; in how long.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from armillary.core.errors import ArmillaryError, CheckFailedError
from armillary.data import open_dataset
from armillary.data import verify as verify_data
from armillary.evaluation import make_manifest, read_records
from armillary.models import load_model
from armillary.proof.agent import Agent
from armillary.proof.attack.readers import small_recording
from armillary.proof.attack.stage import VALUE, Stage
from armillary.proof.episodes import check_row, draw_manifests
from armillary.proof.manifests import read_manifest
from armillary.proof.verify.case import How
from armillary.proof.verify.records import RowLimits, read_lines
from armillary.proof.verify.rules import FAULT
from armillary.proof.verify.submission import find_submission
from armillary.proof.verify.verdict import verify

_NONCE = "8" * 64
WEIRD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**53, 10**30, 1e308, float("nan"), float("inf"), ""),
    *("../../etc/passwd", "/etc/passwd", "\u0000", "a" * 5000, [], {}, [[[[[[[[[[]]]]]]]]]]),
    *({"a": 1}, [1] * 300, "0.0000", "1e999", "💥", "0" * 64),
)


# --- changes --------------------------------------------------------------------------------------


def bent(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with something done to them."""
    at, to = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    kinds = (
        lambda: data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :],
        lambda: (
            data[:at] + bytes([data[at % len(data)] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
        ),
        lambda: data[:at] + data[to:],
        lambda: data[:to] + data[at:],
        lambda: data[:at],
        lambda: data[:at] + rng.randbytes(rng.randrange(1, 40)) + data[at:],
        lambda: data[:at] + b"[" * 5000 + data[at:],
        lambda: b"\n".join(_swapped(data.split(b"\n"), rng)),
    )
    return rng.choice(kinds)()


def _swapped(lines: list[bytes], rng: random.Random) -> list[bytes]:
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return lines


def changed(value: Any, rng: random.Random) -> Any:
    """Return a JSON value with one place in it changed."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(sorted(value))
        kind = rng.randrange(8)
        if kind == 0:
            return {key: item for key, item in value.items() if key != name}
        if kind == 1:
            return {**value, "unknown": rng.choice(WEIRD)}
        return {**value, name: changed(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        place = rng.randrange(len(value))
        kind = rng.randrange(6)
        if kind == 0:
            return value[:place] + value[place + 1 :]
        if kind == 1:
            return [*value, value[place]]
        return [*value[:place], changed(value[place], rng), *value[place + 1 :]]
    if isinstance(value, int) and not isinstance(value, bool) and rng.random() < 0.5:
        return value + rng.choice((-1, 1, 2))
    if isinstance(value, float) and rng.random() < 0.5:
        return value * (1 + 1e-12) + 1e-15
    if isinstance(value, str) and len(value) == 64 and rng.random() < 0.5:
        return value[::-1]
    return rng.choice(WEIRD)


def mutated(data: bytes, name: str, rng: random.Random) -> bytes:
    """Return a file's bytes changed, as bytes or as JSON."""
    if not name.endswith((".json", ".jsonl")) or rng.random() < 0.4:
        return bent(data, rng)
    if name.endswith(".jsonl"):
        lines = data.splitlines()
        place = rng.randrange(len(lines))
        lines[place] = dumped(changed(json.loads(lines[place]), rng))
        return b"\n".join(lines) + b"\n"
    value = json.loads(data)
    if name.endswith("scorecard.json") and rng.random() < 0.5:
        inner = changed(json.loads(base64.b64decode(value["payload"])), rng)
        return dumped({**value, "payload": base64.b64encode(dumped(inner)).decode()})
    return dumped(changed(value, rng))


def dumped(value: Any) -> bytes:
    """Return a JSON value's text, NaN and infinity included."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


# --- readers --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """Files, and who reads them.

    Attributes:
        folder: of the files, which are changed one at a time and put back.
        read: returns what the files mean where they are accepted, and None where they are refused
            in words of its own; raises ArmillaryError where they are refused otherwise.
    """

    folder: Path
    read: Callable[[], Any]


@dataclass
class Tally:
    """What came of mutations.

    Attributes:
        endings: how many ended how: ``refused``, ``same`` (accepted, and nothing else was meant),
            ``changed`` (accepted, and something else was meant) and ``traceback``.
        worst: the number of every mutation that ended in one of the last two, with a sentence.
        slowest_s: seconds of the slowest.
    """

    endings: Counter[str] = field(default_factory=Counter)
    worst: list[str] = field(default_factory=list)
    slowest_s: float = 0.0


def targets(stage: Stage, folder: Path) -> dict[str, Target]:
    """Return what is mutated, by kind.

    Args:
        stage: an honest run.
        folder: an empty one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "models": _model(stage, folder / "model"),
        "datasets": _dataset(folder / "dataset"),
        "manifests": _manifest(folder / "manifest"),
        "records": _records(stage, folder / "records"),
        "submissions": _submission(stage, folder / "submission"),
    }


def mutate(target: Target, numbers: range, name: str) -> Tally:
    """Make mutations of a target's files, one after the other, and tell how each ended.

    Args:
        target: the files, unchanged.
        numbers: of the mutations.
        name: of the target, a part of the seed.
    """
    files = sorted(path for path in target.folder.rglob("*") if path.is_file())
    meant, tally = target.read(), Tally()
    for number in numbers:
        rng = random.Random(f"{name}/{number}")
        path = files[number % len(files)]
        before = path.read_bytes()
        path.write_bytes(mutated(before, path.name, rng))
        began = time.monotonic()
        ending, sentence = _ending(target, meant)
        tally.slowest_s = max(tally.slowest_s, time.monotonic() - began)
        tally.endings[ending] += 1
        if ending in ("changed", "traceback"):
            tally.worst.append(f"{number}, {path.name}: {sentence}")
        path.write_bytes(before)
    return tally


def _ending(target: Target, meant: Any) -> tuple[str, str]:
    try:
        found = target.read()
    except ArmillaryError as error:
        return ("refused", "") if str(error) else ("traceback", "an error without a sentence")
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"
    if found is None:
        return "refused", ""
    return ("same", "") if found == meant else ("changed", "what was accepted means something else")


def _model(stage: Stage, folder: Path) -> Target:
    """An agent that was opened before its folder changed: as a policy it must be refused."""
    shutil.copytree(stage.agent.folder, folder)
    opened = Agent(folder, stage.agent.digest, stage.agent.spec, stage.agent.parameters)

    def read() -> Any:
        weights = load_model(folder).state_dict()
        opened.check_unchanged()
        return [(name, value.tolist()) for name, value in sorted(weights.items())]

    return Target(folder, read)


def _dataset(folder: Path) -> Target:
    """A recording that ``data verify`` must not call whole once it says something else."""
    small_recording(folder)

    def read() -> Any:
        opened = open_dataset(folder)
        for index in range(len(opened)):
            opened.read(index)
        if not verify_data(folder).ok:
            return None
        digest = hashlib.sha256()
        for episode in open_dataset(folder):
            digest.update(episode.time_ns.tobytes())
            for name, stream in sorted(episode.streams.items()):
                told = f"{name} {stream.kind} {stream.unit} {stream.frame} {episode.license}"
                digest.update(told.encode() + stream.values.tobytes())
        return opened.info, digest.hexdigest()

    return Target(folder, read)


def _manifest(folder: Path) -> Target:
    """A list of episodes, which records name by its hash."""
    file = folder / "manifest.json"
    make_manifest("two_rooms", None, 4, 0, {"image_size": 16}).save(file)
    honest = read_manifest(file).sha256

    def read() -> Any:
        found = read_manifest(file)
        return found.to_dict() if found.sha256 == honest else None

    return Target(folder, read)


def _records(stage: Stage, folder: Path) -> Target:
    """Records of a row, as an evaluation reads its own, and as the verifier a stranger's."""
    folder.mkdir()
    task = stage.suite.tasks[0]
    file = folder / "agent.jsonl"
    shutil.copyfile(stage.honest.run.records(task.name, "agent"), file)
    manifest = draw_manifests(stage.suite, VALUE)[task.name]
    limits = RowLimits(task.episodes + 1, task.budget, 2)

    def read() -> Any:
        lines = read_lines(file, limits)
        strict = [line.record.body() for line in lines if line.holds]
        records = read_records(file)
        check_row(records, manifest, "agent", stage.agent.digest, str(file))
        found = [record.body() for record in records]
        if len(strict) != len(lines):
            raise CheckFailedError(f"{file}: a record was changed after it was written.")
        return strict if strict == found else "two readers, two meanings"

    return Target(folder, read)


def _submission(stage: Stage, folder: Path) -> Target:
    """A whole submission at level 0; a fault of ours that was caught counts as a traceback."""
    shutil.copytree(stage.honest.root, folder)
    for name in ("README.md", "verify.sh"):  # read by people alone
        (folder / name).unlink()

    def read() -> Any:
        where = find_submission(folder)
        report = verify(where, How(nonce=_NONCE, suites=(stage.suite,)), (0,))
        if faults := [rule.detail for rule in report.rules if FAULT in rule.detail]:
            raise RuntimeError(faults[0])
        if report.verdict != "accepted":
            return None
        cards = {name: value for name, value in report.to_dict().items() if name != "seconds"}
        return {
            **cards,
            "card": "",
            "config": json.loads((where.agent / "config.json").read_text()),
        }

    return Target(folder, read)
