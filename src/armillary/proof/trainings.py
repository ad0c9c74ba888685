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
from armillary.proof.entry import Entry
from armillary.proof.ledger import Ledger, create_ledger

WEIGHTS = "model.safetensors"


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
        ConfigError: another training has this name here, or its end was entered.
        FormatError: the folder is not a training's, or a data manifest is none.
        StorageError: the disk is full or not writable.
    """
    settings = _settings(run)
    manifests = {path: read_data_manifest(path) for path in data}
    if not book.path.exists():
        create_ledger(book.path, book.key)
    ledger = book.read()
    chain = ledger.history.trainings.get(name, [])
    if chain and chain[0].body["config"] != settings["digest"]:
        raise ConfigError(
            f"{run}: the ledger's training {name!r} has other settings or data; choose another "
            "name."
        )
    if chain and chain[-1].type == "train_end":
        raise ConfigError(f"The training {name!r} has ended in the ledger; nothing is left to say.")
    todo: list[tuple[str, dict[str, Any]]] = []
    if not chain:
        todo += _unknown_data(ledger, manifests)
        start = {
            "run": name,
            "config": settings["digest"],
            "seed": f"{settings['train']['seed']:x}",
            "data": sorted(data_digest(value) for value in manifests.values()),
            "rule": rule,
        }
        todo.append(("train_start", start))
    reached = chain[-1].body.get("step", 0) if chain else 0
    todo += _progress(run, name, int(settings["train"]["steps"]), reached)
    return [book.add(kind, body)[0] for kind, body in todo]


def ended_with(ledger: Ledger, name: str) -> str:
    """Return the SHA-256 of the weights that a training ended with.

    Raises:
        ConfigError: the ledger holds no such training, or not its end.
    """
    chain = ledger.history.trainings.get(name)
    if not chain or chain[-1].type != "train_end":
        raise ConfigError(
            f"The ledger holds no training {name!r} that ended; enter it with: armillary bench "
            "training"
        )
    return chain[-1].body["digest"]


def _settings(run: Path) -> dict[str, Any]:
    path = run / "run.json"
    value = read_json(path)
    known = isinstance(value, dict) and {"train", "digest"} <= value.keys()
    if not known or not {"seed", "steps"} <= value["train"].keys():
        raise FormatError(f"{path}: not the settings of a training (armillary train writes them).")
    return value


def _unknown_data(
    ledger: Ledger, manifests: Mapping[Path, dict[str, Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    known = {entry.body["digest"] for entry in ledger.entries if entry.type == "data"}
    for path, value in manifests.items():
        if (found := data_digest(value)) not in known:
            yield "data", {"name": path.resolve().parent.name[:80], "digest": found}


def _progress(
    run: Path, name: str, steps: int, reached: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the checkpoints after a step, and the end where the training has one."""
    finished = run / "model" / WEIGHTS
    folders = (run / "checkpoints").glob("[0-9]*/pretrained_model")
    kept = sorted((int(path.parent.name), path / WEIGHTS) for path in folders)
    for step, weights in kept:
        if reached < step <= steps and weights.is_file():
            yield "ckpt", {"run": name, "step": step, "digest": file_sha256(weights)}
    if finished.is_file():
        yield "train_end", {"run": name, "step": steps, "digest": file_sha256(finished)}
