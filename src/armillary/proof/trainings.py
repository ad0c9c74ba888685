"""Trainings: what a training's folder shows, told to the ledger as it goes.

Entered are its start (settings, seed, data), the checkpoints that are there, and its end; what was
entered before is not entered again. So a training that led to nothing stands in the ledger, too, if
its owner enters every one at its start; that nobody can check from outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from armillary.core.errors import ConfigError, FormatError
from armillary.core.files import read_json
from armillary.core.hashing import file_sha256
from armillary.proof.book import Book
from armillary.proof.data_manifest import data_digest, read_data_manifest
from armillary.proof.entry import Entry, check_body
from armillary.proof.ledger import Ledger, create_ledger
from armillary.proof.shapes import Anything, Fields, Hex, Whole

WEIGHTS = "model.safetensors"
_RUN = Fields({"digest": Hex(64), "train": Anything()})
_TRAIN = Fields({"seed": Whole(), "steps": Whole(1)})


def enter_training(
    run: Path, book: Book, name: str, data: Sequence[Path] = (), rule: str = "none"
) -> list[Entry]:
    """Enter what a training's folder shows and the ledger does not hold yet.

    Args:
        run: folder of the training (``run.json``, ``checkpoints``, ``model``).
        book: the ledger; begun where there is none.
        name: of the training in the ledger.
        data: ``data.json`` of everything that it learns from (``write_data_manifest``).
        rule: how its checkpoint will be chosen: ``last``, ``best-val`` or ``none``.

    Returns:
        The new entries, in order.

    Raises:
        ConfigError: another training has this name here, it began with other data or another rule,
            or its end was entered.
        FormatError: the folder is not a training's, a data manifest is none, or a name that cannot
            be.
        StorageError: the disk is full or not writable.
    """
    settings = _settings(run)
    manifests = {path: read_data_manifest(path) for path in data}
    check_body("ckpt", {"run": name, "step": 0, "digest": settings["digest"]}, "training")
    if not book.path.exists():
        create_ledger(book.path, book.key)
    ledger = book.read()
    chain = ledger.history.trainings.get(name, [])
    digests = sorted(data_digest(value) for value in manifests.values())
    if chain:
        _check_alike(chain[0], settings["digest"], digests, rule)
    if chain and chain[-1].type == "train_end":
        raise ConfigError(f"The training {name!r} has ended in the ledger; nothing is left to say.")
    todo: list[tuple[str, dict[str, Any]]] = []
    if not chain:
        todo += _unknown_data(ledger, manifests)
        start = {
            "run": name,
            "config": settings["digest"],
            "seed": f"{settings['train']['seed']:x}",
            "data": digests,
            "rule": rule,
        }
        todo.append(("train_start", start))
    reached = chain[-1].body.get("step", 0) if chain else 0
    todo += _since(reached, run, name, settings["train"]["steps"])
    return [book.add(kind, body)[0] for kind, body in todo]


def training_problem(ledger: Ledger, commit: Mapping[str, Any], weights: str) -> str:
    """Return what is wrong with the training that a commit names; empty where nothing is.

    Args:
        ledger: before the commit, or with it.
        commit: its body.
        weights: SHA-256 of the agent's file of weights.
    """
    name = commit.get("train")
    if name is None:
        return ""
    chain = ledger.history.trainings.get(name)
    if not chain or chain[-1].type != "train_end":
        return (
            f"the ledger holds no training {name!r} that ended; enter it with: armillary bench "
            "training"
        )
    start, end = chain[0].body, chain[-1].body
    if end["digest"] != weights:
        return f"the training {name!r} ended with other weights than the agent has."
    if commit["rule"] != start["rule"]:
        return (
            f"the training {name!r} began with the rule {start['rule']!r} for choosing its "
            f"checkpoint; the commit says {commit['rule']!r}."
        )
    if commit.get("data") is not None and commit["data"] not in start["data"]:
        return f"the training {name!r} began with other data than the commit names."
    return ""


def _check_alike(start: Entry, config: str, data: list[str], rule: str) -> None:
    """Check that nothing is said otherwise than at the start.

    Raises:
        ConfigError: it is.
    """
    body = start.body
    wrong = ["settings"] if body["config"] != config else []
    wrong += ["data"] if data and data != body["data"] else []
    wrong += ["rule"] if rule not in ("none", body["rule"]) else []
    if wrong:
        raise ConfigError(
            f"The ledger's training {body['run']!r} began with other {' and '.join(wrong)}, and a "
            "start is never changed; choose another --name."
        )


def _settings(run: Path) -> dict[str, Any]:
    path = run / "run.json"
    value = read_json(path)
    _check(value, path)
    return value


def _check(value: Any, path: Path) -> None:
    """Check what is read of ``run.json``, which holds more.

    Raises:
        FormatError: it is something else.
    """
    try:
        _RUN.check({name: value[name] for name in ("digest", "train")}, str(path))
        train = {name: value["train"][name] for name in ("seed", "steps")}
        _TRAIN.check(train, f"{path}: train")
    except (KeyError, TypeError) as error:
        raise FormatError(
            f"{path}: not the settings of a training (armillary train writes them)."
        ) from error


def _unknown_data(
    ledger: Ledger, manifests: Mapping[Path, dict[str, Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    known = {entry.body["digest"] for entry in ledger.entries if entry.type == "data"}
    for path, value in manifests.items():
        if (found := data_digest(value)) not in known:
            yield "data", {"name": path.resolve().parent.name[:80], "digest": found}


def _since(reached: int, run: Path, name: str, steps: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the checkpoints after a step, and the end where the training has one."""
    finished = run / "model" / WEIGHTS
    folders = (run / "checkpoints").glob("[0-9]*/pretrained_model")
    numbered = (path for path in folders if path.parent.name.isdecimal())
    kept = sorted((int(path.parent.name), path / WEIGHTS) for path in numbered)
    for step, weights in kept:
        if reached < step <= steps and weights.is_file():
            yield "ckpt", {"run": name, "step": step, "digest": file_sha256(weights)}
    if finished.is_file():
        yield "train_end", {"run": name, "step": steps, "digest": file_sha256(finished)}
