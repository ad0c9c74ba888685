"""Index of the zoo: what each model is, and whether its files are the ones that were measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from armillary.core.errors import CheckpointError, unknown_name
from armillary.core.files import read_json
from armillary.core.hashing import file_sha256

PREFIX = "zoo:"
ROOT = Path(__file__).parent
INDEX = "index.json"
MODEL, RECORDING = "model", "recording"


@dataclass(frozen=True)
class ZooModel:
    """One model of the zoo.

    Attributes:
        about: what it sees and does, a sentence.
        data: what it was trained on, a sentence.
        licence: of the weights, and of the data where it is of others.
        command: that trained it.
        commit: of the code that trained it.
        world: to act and play in; empty for a model of a recording.
        settings: of that world.
        task: of that world, which the numbers are of.
        numbers: what was measured with the files of the zoo, with command, date and machine.
        files: SHA-256 of each file, by its path inside the folder of the model.
    """

    about: str
    data: str
    licence: str
    command: str
    commit: str
    world: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    task: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def zoo_names(root: Path = ROOT) -> tuple[str, ...]:
    """Return the names of all models.

    Args:
        root: folder of the zoo.
    """
    return tuple(sorted(_index(root)))


def zoo_model(name: str, root: Path = ROOT) -> ZooModel:
    """Return what is known of a model.

    Args:
        name: with or without ``zoo:``.
        root: folder of the zoo.

    Raises:
        ConfigError: the zoo has no such model.
    """
    known = _index(root)
    bare = name.removeprefix(PREFIX)
    if bare not in known:
        raise unknown_name("model of the zoo", bare, known)
    return ZooModel(**known[bare])


def zoo_folder(name: str, root: Path = ROOT) -> Path:
    """Return the folder of a model, after its files were compared with their digests.

    Args:
        name: with or without ``zoo:``.
        root: folder of the zoo.

    Returns:
        A folder with ``model``, and ``recording`` where the model has one.

    Raises:
        CheckpointError: a file is missing, or is not the one that was measured.
        ConfigError: the zoo has no such model.
    """
    return _checked(name.removeprefix(PREFIX), root)


@cache
def _checked(name: str, root: Path) -> Path:
    folder = root / name
    for inside, digest in zoo_model(name, root).files.items():
        path = folder / inside
        if not path.is_file():
            raise CheckpointError(f"{path}: is missing. Install armillary again.")
        if file_sha256(path) != digest:
            raise CheckpointError(
                f"{path}: is not the file that the zoo's index names. Install armillary again."
            )
    return folder


def _index(root: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read_json(root / INDEX)
    return found
