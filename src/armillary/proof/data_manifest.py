"""Data manifest: what a model learned from, as Merkle roots of exact hashes.

Written as ``data.json`` with a row per episode beside it (``data-episodes.jsonl``), and as
Croissant. The dataset is read once, one picture at a time: memory does not grow with it.

    leaf = SHA256(0x00 | data), node = SHA256(0x01 | left | right), a tree as in RFC 9162
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from armillary import __version__
from armillary.core.errors import FormatError
from armillary.core.files import read_json, replacing, write_json
from armillary.core.hashing import canonical_json, file_sha256, json_sha256
from armillary.core.progress import Progress, silent
from armillary.data import Dataset, open_dataset
from armillary.proof.croissant import croissant
from armillary.proof.footage import (
    episode_footage,
    frame_digest,
    how_made,
    seed_digest,
    trajectory_digest,
)
from armillary.proof.merkle import Frontier, leaf_hash

FORMAT = "armillary.data/1"
DATA_FILE, ROWS_FILE, CROISSANT_FILE = "data.json", "data-episodes.jsonl", "croissant.json"


def write_data_manifest(
    dataset: Path, out: Path, url: str = "", progress: Progress = silent
) -> dict[str, Any]:
    """Hash everything that can be learned from a dataset; write the three files.

    Args:
        dataset: the dataset's folder.
        out: folder for ``data.json``, ``data-episodes.jsonl`` and ``croissant.json``.
        url: of the dataset, for Croissant; empty for its place on this disk.
        progress: told about each episode.

    Returns:
        What stands in ``data.json``.

    Raises:
        DatasetError: the dataset cannot be read.
        StorageError: ``out`` is not writable.
    """
    opened = open_dataset(dataset)
    rows, trees = out / ROWS_FILE, _Trees()
    with replacing(rows) as beside, beside.open("w") as file:
        for index in range(len(opened)):
            file.write(canonical_json(trees.row(opened, index)) + "\n")
            progress(index + 1, len(opened))
    value = trees.described(opened) | {
        "rows": {"file": ROWS_FILE, "sha256": file_sha256(rows)},
        "indexed_with": {"armillary": __version__, "worlds": worlds_digest()},
    }
    write_json(out / DATA_FILE, value)
    files = {name: file_sha256(out / name) for name in (DATA_FILE, ROWS_FILE)}
    write_json(out / CROISSANT_FILE, croissant(opened, value, files, url))
    return value


def data_digest(value: dict[str, Any]) -> str:
    """Return the digest D of a data manifest: of all but the program that wrote it."""
    return json_sha256({name: part for name, part in value.items() if name != "indexed_with"})


def read_data_manifest(path: Path) -> dict[str, Any]:
    """Read ``data.json``.

    Raises:
        FormatError: it is missing, damaged, or of another format.
    """
    value = read_json(path)
    roots = value.get("roots") if isinstance(value, dict) else None
    if not isinstance(roots, dict) or value.get("format") != FORMAT:
        raise FormatError(
            f"{path}: not a data manifest of format {FORMAT}; `armillary proof index` writes one."
        )
    return value


def differences(claimed: dict[str, Any], dataset: Path, progress: Progress = silent) -> list[str]:
    """Return one sentence for every root of a manifest that a dataset does not lead to.

    Raises:
        DatasetError: the dataset cannot be read.
    """
    opened, trees = open_dataset(dataset), _Trees()
    for index in range(len(opened)):
        trees.row(opened, index)
        progress(index + 1, len(opened))
    found = trees.described(opened)["roots"]
    names = sorted({*found, *claimed["roots"]})
    return [
        f"The root of {name} is {_short(found.get(name))}; the manifest claims "
        f"{_short(claimed['roots'].get(name))}."
        for name in names
        if found.get(name) != claimed["roots"].get(name)
    ]


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``data-episodes.jsonl``, one per episode.

    Raises:
        FormatError: it is missing, or a line is not a row.
    """
    if not path.is_file():
        raise FormatError(f"{path}: there is no such file; rows as JSON lines were expected.")
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(1 << 20), b""), start=1):
            try:
                row = json.loads(line)
                yield {"episode": int(row["episode"]), **row}
            except (KeyError, TypeError, ValueError, RecursionError) as error:
                raise FormatError(f"{path}, line {number}: not a row ({error}).") from error


class _Trees:
    """The trees of a dataset, grown episode by episode."""

    def __init__(self) -> None:
        self.frames: dict[str, Frontier] = {}
        self.trajectories, self.seeds, self.groups = Frontier(), Frontier(), Frontier()
        self.unseeded = 0

    def row(self, dataset: Dataset, index: int) -> dict[str, Any]:
        """Hash one episode into the trees and return its row."""
        footage = episode_footage(dataset, index)
        frames = {name: self._frames(dataset, index, name) for name in dataset.cameras}
        has_any = bool(footage.states) or footage.actions is not None
        trajectory = trajectory_digest(footage) if has_any else b""
        if has_any:  # plain video has no trajectory
            self.trajectories.add(leaf_hash(trajectory))
        groups = {"episode": str(index), **footage.groups()}
        self.groups.add(leaf_hash(canonical_json(groups).encode()))
        if footage.seed is None:
            self.unseeded += 1
        else:
            self.seeds.add(leaf_hash(seed_digest(footage.world, footage.seed)))
        return {
            "episode": index,
            "steps": int(dataset.lengths[index]),
            "frames": frames,
            "trajectory": trajectory.hex() or None,
            "seed": None if footage.seed is None else f"{footage.seed:x}",
            "groups": groups,
        }

    def _frames(self, dataset: Dataset, index: int, camera: str) -> str:
        whole, own = self.frames.setdefault(camera, Frontier()), Frontier()
        for picture in dataset.frames(index, camera):
            leaf = leaf_hash(frame_digest(picture))
            whole.add(leaf)
            own.add(leaf)
        return own.root().hex()

    def described(self, dataset: Dataset) -> dict[str, Any]:
        """Return the manifest, without the rows."""
        frames = {f"frames.{name}": tree.described() for name, tree in self.frames.items()}
        return {
            "format": FORMAT,
            "dataset": {
                "identity": dataset.identity() if dataset.is_ours else None,
                "episodes": len(dataset),
                "steps": int(dataset.lengths.sum()),
            },
            "generator": _generator(dataset),
            "roots": {
                **frames,
                "trajectories": self.trajectories.described(),
                "seeds": self.seeds.described(),
                "groups": self.groups.described(),
            },
            "episodes_without_seed": self.unseeded,
        }


def _generator(dataset: Dataset) -> dict[str, Any] | None:
    """Return how a recording was made, and the digest of that; None for what was not recorded."""
    about = how_made(dataset)
    return {"about": about, "digest": json_sha256(about)} if about else None


def worlds_digest() -> str:
    """Return the digest of the installed worlds' code: of the hashes of its files, by name."""
    import armillary.worlds

    folder = Path(armillary.worlds.__file__ or "").parent
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder).as_posix()} {file_sha256(file)}\n".encode())
    return digest.hexdigest()


def _short(tree: Any) -> str:
    if not isinstance(tree, dict):
        return "absent"
    return f"{str(tree.get('root'))[:12]} ({tree.get('leaves')} leaves)"
